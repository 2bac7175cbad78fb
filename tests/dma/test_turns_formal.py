import pytest
from amaranth import *
from amaranth.hdl import Assert, Assume

from iovirt.dma.turns import PostedTurns
from iovirt_sim.harness import check_bounded

CAPACITY = 3


class TurnsSpec(Elaboratable):
    """A completion is held as long as a posted request that started before it is not done, and let
    go when nothing is under way.

    Any one request is followed from its start to its end, and, if it is a signal, to when the
    interrupt block has dealt with it; and any one completion that comes meanwhile.
    """

    def __init__(self, dut):
        self.dut = dut
        names = ("follow", "is_signal", "ends", "leaves", "watch")
        self.picks = {name: Signal(name=name) for name in names}

    @property
    def free(self):
        dut = self.dut
        return [*self.picks.values(), dut.start, dut.stamped, dut.settled, dut.snapshot_done,
                *(getattr(port, name) for port in dut.finish for name in ("valid", "turn"))]

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        follow, is_signal, ends, leaves, watch = self.picks.values()

        # The request that is followed is not among the others.
        followed, alive, turn, signal = Signal(), Signal(), Signal(), Signal()
        starts, ended = Signal(), Signal()
        m.d.comb += [
            starts.eq(dut.start & follow & ~followed),
            ended.eq(alive & ends & dut.finish[0].valid),
            Assume(~ended | (dut.finish[0].turn == turn)),
        ]
        with m.If(starts):
            m.d.sync += [followed.eq(1), alive.eq(1), turn.eq(dut.turn), signal.eq(is_signal)]
        with m.If(ended):
            m.d.sync += alive.eq(0)
        others, total = [Signal(3, name=f"others_{n}") for n in range(2)], 0
        for n, count in enumerate(others):
            gone = ((dut.finish[0].valid & ~ended & (dut.finish[0].turn == n))
                    + (dut.finish[1].valid & (dut.finish[1].turn == n)))
            m.d.sync += count.eq(count + (dut.start & ~starts & (dut.turn == n)) - gone)
            m.d.comb += Assume(gone <= count)
            total += count
        m.d.comb += [
            Assume(~dut.start | (total + alive < CAPACITY)),
            Assume(~(dut.start & dut.stamped)),
        ]

        # The interrupt block: `settled` may fall 2 clocks after the end.
        inside, asked, since = Signal(), Signal(), Signal()
        m.d.comb += [
            Assume(~(since & inside & dut.settled)),
            Assume(~(asked & inside & dut.snapshot_done)),
        ]
        m.d.sync += since.eq(inside)
        with m.If(ended & signal):
            m.d.sync += inside.eq(1)
        with m.Elif(inside & leaves):
            m.d.sync += [inside.eq(0), asked.eq(0)]
        with m.Elif(inside & dut.snapshot):
            m.d.sync += asked.eq(1)

        # A completion that is watched comes after the request and before its end.
        pending, watched, stamp = Signal(), Signal(), Signal.like(dut.stamp)
        comes = dut.stamped & watch & pending & ~watched
        m.d.comb += [
            pending.eq(alive | inside),
            Assert(~comes | (dut.done - dut.stamp)[11]),
            Assert(~(watched & pending) | (dut.done - stamp)[11]),
        ]
        with m.If(comes):
            m.d.sync += [watched.eq(1), stamp.eq(dut.stamp)]

        # Nothing is held for ever.
        rest, last = Signal(3), Signal.like(dut.stamp)
        with m.If(dut.stamped):
            m.d.sync += last.eq(dut.stamp)
        quiet = ~dut.start & ~dut.stamped & (total == 0) & ~alive & dut.settled & dut.snapshot_done
        m.d.sync += rest.eq(Mux(quiet, rest + ~rest.all(), 0))
        m.d.comb += Assert(~rest.all() | ~(dut.done - last)[11])
        return m


@pytest.mark.formal
@pytest.mark.parametrize("signals", [False, True])
def test_completion_is_held_until_what_came_before_is_done(signals):
    spec = TurnsSpec(PostedTurns(capacity=CAPACITY, signals=signals, finishes=2))
    if not signals:
        spec.picks["is_signal"] = Const(0)
    check_bounded(spec, free=[pick for pick in spec.free if isinstance(pick, Signal)], depth=10)
