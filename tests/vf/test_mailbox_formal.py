import pytest
from amaranth import *
from amaranth.hdl import Assert, Assume

from iovirt.vf.mailbox import Mailbox
from iovirt_sim.harness import check_bounded


class MailboxSpec(Elaboratable):
    """An access of one guest, whichever, ends exactly once, and never more than one waits."""

    def __init__(self, dut):
        self.dut   = dut
        self.guest = Signal(2)
        self.comes = Signal(2)

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        guest, started = Signal(2), Signal()
        m.d.sync += [started.eq(1), guest.eq(self.guest)]
        m.d.comb += [
            Assume(~started | (guest == self.guest)),
            dut.i.payload.guest.eq(self.comes),
        ]

        # Accesses of this guest under way, and those of them that hold its place.
        inside, waiting = Signal(4), Signal(2)
        came, left = Signal(), Signal()
        answered, admitted = Signal(), Signal()
        mine = dut.end.payload.guest == self.guest
        m.d.comb += [
            came.eq(dut.i.valid & dut.i.ready & (dut.i.payload.guest == self.guest)),
            left.eq(dut.end.valid & dut.end.ready & mine),
            admitted.eq(dut.event.valid & (dut.event.colour == self.guest)),
            answered.eq(left & dut.end.payload.counted),
        ]
        m.d.sync += [inside.eq(inside + came - left), waiting.eq(waiting + admitted - answered)]

        # The manager's view holds still until it answers.
        oldest, seen, asked = Value.cast(dut.oldest), Signal(len(Value.cast(dut.oldest))), Signal()
        expired = dut.oldest.expired
        m.d.sync += [seen.eq(oldest), asked.eq(dut.oldest.valid & ~dut.answer.en)]
        # Nobody waits for ever: places are enough for all.
        stuck = Signal(4)
        with m.If(dut.i.valid & ~dut.i.ready & dut.ready & ~dut.end.valid):
            m.d.sync += stuck.eq(stuck + 1)
        with m.Else():
            m.d.sync += stuck.eq(0)
        m.d.comb += [
            Assert(~(dut.end.valid & mine) | (inside != 0)),
            Assert(waiting <= 2),
            Assert(~admitted | (inside != 0)),
            Assert(~asked | (dut.oldest.valid & ((oldest | 2) == (seen | 2)))),
            Assert(~asked | ~seen[1] | expired),
            Assert(dut.pending <= dut.guests),
            Assert(stuck < 3),
        ]
        return m


@pytest.mark.formal
def test_each_access_ends_once_and_the_view_of_the_manager_holds_still():
    dut  = Mailbox(guests=4, tick_log2=1)
    spec = MailboxSpec(dut)
    free = [spec.guest, spec.comes, dut.i.valid, dut.end.ready, dut.timeout, dut.answer.en,
            dut.answer.ok]
    check_bounded(spec, free=free, depth=13)
