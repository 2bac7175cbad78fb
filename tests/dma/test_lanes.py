# amaranth: UnusedElaboratable=no

import random

import pytest
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from iovirt.dma.align import lanes_below, rotate_lanes
from iovirt.dma.lanes import LaneMemory
from iovirt_sim.harness import simulate


class Aligner(wiring.Component):
    """The functions of `align`, as a component."""

    words:  In(128)
    amount: In(2)
    moved:  Out(128)
    below:  Out(4)

    def elaborate(self, platform):
        m = Module()
        m.d.sync += [self.moved.eq(rotate_lanes(self.words, self.amount)),
                     self.below.eq(lanes_below(self.amount))]
        return m


def test_rotation_moves_dword_0_to_the_lane():
    dut = Aligner()

    async def testbench(ctx):
        for amount in range(4):
            ctx.set(dut.words, 0x33333333_22222222_11111111_00000000)
            ctx.set(dut.amount, amount)
            await ctx.tick()
            moved = ctx.get(dut.moved)
            for dword in range(4):
                assert moved >> 32 * ((dword + amount) % 4) & 0xF == dword
            assert ctx.get(dut.below) == (1 << amount) - 1

    simulate(dut, testbench)


@pytest.mark.parametrize("change, message", [
    ({"lanes": 3}, r"^Number of lanes must be a power of two of at least 2, not 3$"),
    ({"slots": 0}, r"^Number of slots must be a power of two of at least 1, not 0$"),
    ({"rows": 1},  r"^Number of rows must be a power of two of at least 2, not 1$"),
])
def test_wrong_sizes(change, message):
    with pytest.raises(ValueError, match=message):
        LaneMemory(**{"lanes": 2, "slots": 2, "rows": 2} | change)


@pytest.mark.parametrize("lanes, slots, rows", [(2, 2, 2), (2, 1, 4), (4, 4, 2)])
def test_unaligned_payload_of_a_whole_slot_fits(lanes, slots, rows):
    rng = random.Random(lanes * rows)
    dut = LaneMemory(lanes=lanes, slots=slots, rows=rows)
    mask = (1 << 32 * lanes) - 1

    def rotate(value, amount):
        return (value << 32 * amount | value >> 32 * (lanes - amount)) & mask

    async def testbench(ctx):
        stored = {}
        for _ in range(30):
            slot, first = rng.randrange(slots), rng.randrange(lanes)
            stored[slot] = first, [rng.getrandbits(32 * lanes) for _ in range(rows)]
            ctx.set(dut.write.en, 1)
            ctx.set(dut.write.slot, slot)
            ctx.set(dut.write.bump, (1 << first) - 1)
            for row, beat in enumerate(stored[slot][1]):
                ctx.set(dut.write.row, row)
                ctx.set(dut.write.data, rotate(beat, first))
                await ctx.tick()
            ctx.set(dut.write.en, 0)
            slot, (first, beats) = rng.choice(sorted(stored.items()))
            ctx.set(dut.read.en, 1)
            ctx.set(dut.read.slot, slot)
            ctx.set(dut.read.bump, (1 << first) - 1)
            for row, beat in enumerate(beats):
                ctx.set(dut.read.row, row)
                await ctx.tick()
                assert rotate(ctx.get(dut.read.data), lanes - first) == beat
            ctx.set(dut.read.en, 0)

    simulate(dut, testbench)
