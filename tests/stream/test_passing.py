import random

import pytest
from amaranth import *
from amaranth.hdl import Assert

from iovirt.stream import PassingQueue
from iovirt_sim.harness import check_bounded, simulate
from iovirt_sim.streams import receive, send


def test_depth_is_checked():
    with pytest.raises(ValueError, match="Depth of queue must be an integer of at least 1, not 0"):
        PassingQueue(8, depth=0)


def test_transfer_passes_without_delay_while_nothing_waits():
    dut = PassingQueue(8, depth=4)

    async def testbench(ctx):
        ctx.set(dut.o.ready, 1)
        for n in range(5):
            ctx.set(dut.i.payload, n)
            ctx.set(dut.i.valid, 1)
            assert (ctx.get(dut.o.valid), ctx.get(dut.o.payload)) == (1, n)
            await ctx.tick()

    simulate(dut, testbench)


@pytest.mark.parametrize("depth", [1, 2, 3, 8])
@pytest.mark.parametrize("full, empty", [(0, 0), (0, 3), (3, 0), (2, 2)])
def test_transfers_keep_their_order(depth, full, empty):
    rng = random.Random(depth)
    dut, sent = PassingQueue(8, depth=depth), [rng.randrange(256) for _ in range(200)]

    async def take(ctx):
        taken = await receive(ctx, dut.o, len(sent), gap=lambda: rng.randint(0, full))
        assert [value for value, in taken] == sent

    async def give(ctx):
        await send(ctx, dut.i, sent, gap=lambda: rng.randint(0, empty))

    simulate(dut, give, take)


class Spec(Elaboratable):
    """What goes in comes out, in order, and there is a place for ``depth``."""

    def __init__(self, dut):
        self.dut = dut

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        # The payload is a count, so order and loss show in the next one expected.
        given, taken = Signal(4), Signal(4)
        m.d.comb += dut.i.payload.eq(given)
        with m.If(dut.i.valid & dut.i.ready):
            m.d.sync += given.eq(given + 1)
        with m.If(dut.o.valid & dut.o.ready):
            m.d.sync += taken.eq(taken + 1)
        waits, inside = Signal(), Signal(4)
        m.d.sync += waits.eq(dut.o.valid & ~dut.o.ready)
        m.d.comb += [
            inside.eq(given - taken),
            Assert(~dut.o.valid | (dut.o.payload == taken)),
            Assert(~waits | dut.o.valid),
            Assert((inside >= dut.depth) | dut.i.ready),
            Assert(inside <= dut.depth + 1),
        ]
        return m


@pytest.mark.formal
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_nothing_is_lost_or_passed_by_another(depth):
    dut = PassingQueue(4, depth=depth)
    check_bounded(Spec(dut), free=[dut.i.valid, dut.o.ready], depth=10)
