"""Access to a header, for the tests of what is behind its port."""

from iovirt_sim.streams import send


async def access(ctx, port, offset, *, write=0, be=15, data=0):
    """Do one access of a Dword; return what is read."""
    await send(ctx, port.request, [{"write": write, "register": offset // 4, "be": be,
                                    "data": data}])
    ctx.set(port.response.ready, 1)
    value, = await ctx.tick().sample(port.response.payload).until(port.response.valid)
    ctx.set(port.response.ready, 0)
    return value


async def read(ctx, port, offset, size=4):
    """Read ``size`` bytes at ``offset``, as software does."""
    shift = 8 * (offset & 3)
    value = await access(ctx, port, offset, be=(1 << size) - 1 << (offset & 3))
    return value >> shift & (1 << 8 * size) - 1


async def write(ctx, port, offset, value, size=4):
    """Write ``size`` bytes at ``offset``, as software does."""
    await access(ctx, port, offset, write=1, be=(1 << size) - 1 << (offset & 3),
                 data=value << 8 * (offset & 3))


async def tell_event(ctx, dut, cause, *, advisory=0):
    """Offer an error for one clock."""
    ctx.set(dut.event.cause, cause)
    ctx.set(dut.event.advisory, advisory)
    ctx.set(dut.event.valid, 1)
    await ctx.tick()
    ctx.set(dut.event.valid, 0)


async def tell_message(ctx, dut, code, rid):
    """Offer a message for one clock."""
    ctx.set(dut.message.code, code)
    ctx.set(dut.message.rid, rid)
    ctx.set(dut.message.valid, 1)
    await ctx.tick()
    ctx.set(dut.message.valid, 0)
