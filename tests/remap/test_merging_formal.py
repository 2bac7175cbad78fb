import pytest
from amaranth import *
from amaranth.hdl import Assert, Assume

from iovirt.remap.merging import WalkMerger
from iovirt_sim.harness import check_bounded


class WalkMergerSpec(Elaboratable):
    """Each miss leads to one walk or one replay, and to one soon if no walk is running."""

    def __init__(self, dut):
        self.dut = dut

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut

        pending = Signal(dut.slots)  # has missed, is neither walked nor replayed yet
        walking = Signal(dut.slots)
        missed  = Mux(dut.missed.en, 1 << dut.missed.slot, 0)
        done    = Mux(dut.done.en, 1 << dut.done.slot, 0)
        walk    = Mux(dut.walk.valid & dut.walk.ready, 1 << dut.walk.payload, 0)
        replay  = Mux(dut.replay.valid & dut.replay.ready, 1 << dut.replay.payload, 0)
        m.d.sync += [
            pending.eq((pending | missed) & ~walk & ~replay),
            walking.eq((walking | walk) & ~done),
        ]
        m.d.comb += [
            Assume((missed & (pending | walking)) == 0),
            Assume(dut.missed.slot < dut.slots),
            Assume((done & ~walking) == 0),
            Assert(((walk | replay) & ~pending) == 0),
            Assert((walk & replay) == 0),
        ]

        # Who missed after two replays walks, whatever the others do.
        twice, thrice = Signal(dut.slots), Signal(dut.slots)
        m.d.sync += [
            twice.eq(((twice & ~missed) | Mux(dut.missed.replayed, missed, 0)) & ~walk),
            thrice.eq((thrice | Mux(dut.missed.replayed, missed & twice, 0)) & ~walk),
        ]
        m.d.comb += Assert((replay & thrice) == 0)

        idle = Signal(3)
        with m.If((pending == 0) | walking.any() | missed.any() | walk.any() | replay.any()
                  | dut.hold | ~dut.walk.ready | ~dut.replay.ready):
            m.d.sync += idle.eq(0)
        with m.Else():
            m.d.sync += idle.eq(idle + 1)
        m.d.comb += Assert(idle < 4)
        return m


@pytest.mark.formal
@pytest.mark.parametrize("slots, depth", [(2, 11), (3, 9)])
def test_each_miss_leads_to_one_walk_or_replay_and_none_is_forgotten(slots, depth):
    dut  = WalkMerger(slots=slots, hash_width=1)
    free = [dut.missed.en, dut.missed.slot, dut.missed.hash, dut.missed.replayed, dut.done.en,
            dut.done.slot, dut.hold, dut.walk.ready, dut.replay.ready]
    check_bounded(WalkMergerSpec(dut), free=free, depth=depth)
