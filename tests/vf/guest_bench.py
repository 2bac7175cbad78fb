"""Access to a guest table, as its readers and software have it."""

import random

from iovirt_sim.drivers.sharing_words import GuestEntry
from iovirt_sim.streams import receive, send

OFF, RUN, FREEZE, DRAIN, QUARANTINE = range(5)


def random_guest(rng):
    """Return an entry, as software writes it."""
    return GuestEntry(key=rng.getrandbits(16), device_id=rng.getrandbits(24),
                      ring_device_id=rng.getrandbits(24), first_pair=rng.getrandbits(10),
                      pairs=rng.getrandbits(8), function=rng.getrandbits(2))


class Registers:
    """Software, at the port of the table."""

    def __init__(self, dut, data_width=64):
        self.dut, self.lane = dut, data_width // 8

    async def access(self, ctx, address, *, write=0, data=0, strobe=0):
        """Make one access; return (data, error)."""
        port = self.dut.port
        await send(ctx, port.request, [{"address": address, "write": write, "data": data,
                                        "strobe": strobe}])
        (response,), = await receive(ctx, port.response, 1)
        return response.data, response.error

    async def write(self, ctx, address, word, strobe=0xff):
        """Write a doubleword, in parts if the bus is narrower."""
        for at in range(0, 8, self.lane):
            part = strobe >> at & (1 << self.lane) - 1
            _, error = await self.access(ctx, address + at, write=1, strobe=part,
                                         data=word >> 8 * at & (1 << 8 * self.lane) - 1)
            assert not error

    async def read(self, ctx, address):
        """Return a doubleword and whether there was an error."""
        word, bad = 0, 0
        for at in range(0, 8, self.lane):
            data, error = await self.access(ctx, address + at)
            word |= data << 8 * at
            bad |= error
        return word, bad

    async def set_entry(self, ctx, guest, entry):
        """Put an entry in place."""
        for n, word in enumerate(entry.words()):
            await self.write(ctx, 64 * guest + 8 * n, word)

    async def set_state(self, ctx, guest, state, fatal=0):
        """Set a state."""
        await self.write(ctx, 64 * guest + 16, state | fatal << 3)

    async def entry(self, ctx, guest):
        """Return the words of an entry, and whether there was an error."""
        low, bad = await self.read(ctx, 64 * guest)
        high, worse = await self.read(ctx, 64 * guest + 8)
        return (low, high), bad | worse

    async def state(self, ctx, guest):
        """Return (state, fatal), and whether there was an error."""
        word, bad = await self.read(ctx, 64 * guest + 16)
        return (word & 7, word >> 3), bad


async def fast(ctx, dut, guest):
    """Read by the fast port; return what is found."""
    ctx.set(dut.fast.guest, guest)
    ctx.set(dut.fast.valid, 1)
    await ctx.tick()
    ctx.set(dut.fast.valid, 0)
    for _ in range(3):
        await ctx.tick()
    return found_now(ctx, dut)


def found_now(ctx, dut):
    """Return what the fast port shows: words of the entry, state, fatal, exists, broken."""
    found = dut.fast.found
    word  = ctx.get(found.entry.as_value())
    return ((word & (1 << 64) - 1, word >> 64), ctx.get(found.state.as_value()),
            ctx.get(found.fatal), ctx.get(found.exists), ctx.get(found.bad) | ctx.get(found.odd))


async def lookup(ctx, port, guest):
    """Look a guest up; return the answer."""
    await send(ctx, port.request, [guest])
    (answer,), = await receive(ctx, port.answer, 1)
    return answer


async def until_ready(ctx, dut):
    """Wait until the table is clear; nobody is attributed."""
    ctx.set(dut.fast.idle, 1)
    while not ctx.get(dut.ready):
        await ctx.tick()


def gaps(seed, most):
    """Return a function for random pauses below ``most``."""
    rng = random.Random(seed)
    return lambda: rng.randrange(most)
