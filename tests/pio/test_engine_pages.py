"""The ways of pages through the whole block of programmed I/O."""

from iovirt.config import preset
from iovirt.pcie.layouts import ErrorCause
from iovirt.pio.engine import PioEngine
from iovirt_sim.harness import simulate


def make():
    tiny = preset("tiny")
    return PioEngine(data_width=64, pio=tiny.pio, pcie=tiny.pcie, pages=True)


def test_failed_accesses_to_pages_are_kept_with_their_guests():
    dut = make()

    async def testbench(ctx):
        ctx.set(dut.page_error.payload, {"core": 3, "guest": 9, "address": 0xABCDEF0})
        ctx.set(dut.page_error.valid, 1)
        await ctx.tick().until(dut.page_error.ready)
        ctx.set(dut.page_error.valid, 0)
        await ctx.tick().repeat(6)
        first = ctx.get(dut.ring.first)
        assert ctx.get(dut.ring.tail) == 1
        assert (first.cause, first.core, first.guest, first.address) == (
            ErrorCause.SHARE_DOORBELL, 3, 9, 0xABCDEF0)

    simulate(dut, testbench)


def test_failed_accesses_of_guests_are_masked_alone():
    dut = make()
    pulses = []

    async def testbench(ctx):
        ctx.set(dut.ring.mask, 1 << ErrorCause.SHARE_DOORBELL.value)
        ctx.set(dut.page_error.payload, {"core": 3, "guest": 9, "address": 0xABCDEF0})
        ctx.set(dut.page_error.valid, 1)
        await ctx.tick().until(dut.page_error.ready)
        ctx.set(dut.page_error.valid, 0)
        await ctx.tick().repeat(6)
        assert ctx.get(dut.ring.tail) == 0 and pulses == [1]
        # The mask leaves accesses of the host to what is not there.
        ctx.set(dut.bus.araddr, 0x7000_0000)
        for name, value in (("arsize", 2), ("arburst", 1), ("rready", 1), ("arvalid", 1)):
            ctx.set(getattr(dut.bus, name), value)
        await ctx.tick().until(dut.bus.arready)
        ctx.set(dut.bus.arvalid, 0)
        await ctx.tick().until(dut.bus.rvalid)
        await ctx.tick().repeat(6)
        assert ctx.get(dut.ring.tail) == 1
        assert ctx.get(dut.ring.first).cause == ErrorCause.PIO_NO_TARGET

    async def watch(ctx):
        async for _, _, masked in ctx.tick().sample(dut.masked):
            pulses.extend([1] * masked)

    simulate(dut, testbench, background=[watch])


def test_core_reads_what_the_page_answers():
    dut = make()

    async def testbench(ctx):
        ctx.set(dut.doorbells, {"enable": 1, "base": 0x5000_0000, "mask": 0xFFFF})
        await ctx.tick().repeat(300)  # slots are given after reset
        bus = dut.bus
        for name, value in (("araddr", 0x5000_1008), ("arsize", 2), ("arburst", 1), ("rready", 1),
                            ("arvalid", 1)):
            ctx.set(getattr(bus, name), value)
        await ctx.tick().until(bus.arready)
        ctx.set(bus.arvalid, 0)
        ctx.set(dut.page.ready, 1)
        access, = await ctx.tick().sample(dut.page.payload).until(dut.page.valid)
        assert (access.write, access.address, access.legal) == (0, 0x1008, 1)
        ctx.set(dut.page_answer.payload, {"owner": access.owner, "ok": 1, "data": 0x1234})
        ctx.set(dut.page_answer.valid, 1)
        await ctx.tick().until(dut.page_answer.ready)
        ctx.set(dut.page_answer.valid, 0)
        data, = await ctx.tick().sample(bus.rdata).until(bus.rvalid)
        assert data == 0x1234

    simulate(dut, testbench)
