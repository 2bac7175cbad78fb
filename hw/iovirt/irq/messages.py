"""Messages that are interrupts."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from iovirt.pcie.layouts import PostedSignal
from iovirt.pcie.tlp import MessageCode
from iovirt.stream.picker import lowest_of

from .layouts import MessageKind, Notice

__all__ = ["MessageSorter"]

_ERRORS = {
    MessageCode.ERR_COR:      MessageKind.ERR_COR,
    MessageCode.ERR_NONFATAL: MessageKind.ERR_NONFATAL,
    MessageCode.ERR_FATAL:    MessageKind.ERR_FATAL,
    MessageCode.PM_PME:       MessageKind.PM_PME,
}


class MessageSorter(wiring.Component):
    """Turn messages that are interrupts into notices.

    Those are INTx, ERR_COR, ERR_NONFATAL, ERR_FATAL and PM_PME. An INTx message that does not
    change the level of its pin is dropped; a change is a notice with the new level as its data.
    So are messages of other codes: who sends them here has no use for them.

    A link that goes down deasserts all pins (PCIe Base, 2.2.8.1): each that was asserted makes a
    notice of level 0, with RID and segment 0, before any other message is taken.

    Latency is 0 clocks; combinational paths run from ``i`` to ``notice`` and back. One message per
    clock.

    Parameters
    ----------
    None.

    Members
    -------
    i : ``In(stream.Signature(PostedSignal))``
        Messages received; their kind is not looked at.
    notice : ``Out(stream.Signature(Notice))``
    level : ``Out(4)``
        Levels of INTA to INTD.
    clear : ``In(1)``
        The link is down.
    settled : ``Out(1)``
        No pin waits to be told that the link is down.
    """

    i:       In(stream.Signature(PostedSignal))
    notice:  Out(stream.Signature(Notice))
    level:   Out(4)
    clear:   In(1)
    settled: Out(1)

    def elaborate(self, platform):
        m = Module()
        code, kind = self.i.p.data[:8], Signal(MessageKind)
        intx, pin, level = Signal(), code[:2], ~code[2]
        known, change    = Signal(), Signal()
        m.d.comb += [
            intx.eq(code[3:] == MessageCode.ASSERT_INTA.value >> 3),
            change.eq(self.level.bit_select(pin, 1) != level),
            known.eq(intx & change),
            kind.eq(pin),
        ]
        for value, meaning in _ERRORS.items():
            with m.If(code == value):
                m.d.comb += [known.eq(1), kind.eq(meaning)]

        # Pins to be deasserted. They go first, so that each pin alternates between its levels.
        falling, late = Signal(4), Signal()
        fall, down, taken = Signal(), Signal(), Signal()
        m.d.comb += [
            fall.eq(falling != 0),
            self.settled.eq(~fall & ~late),
            self.notice.valid.eq(fall | (self.i.valid & known)),
            self.i.ready.eq(~fall & (~known | self.notice.ready)),
            taken.eq(self.notice.valid & self.notice.ready),
        ]
        with m.If(fall):
            m.d.comb += self.notice.p.kind.eq(lowest_of(falling))
        with m.Else():
            m.d.comb += [
                self.notice.p.kind.eq(kind),
                self.notice.p.segment.eq(self.i.p.segment),
                self.notice.p.rid.eq(self.i.p.rid),
                self.notice.p.data.eq(intx & level),
            ]

        # The link is down as soon as no message is offered: an offer must not be withdrawn.
        now = Signal(4)
        m.d.comb += [
            down.eq((self.clear | late) & (~self.notice.valid | self.notice.ready)),
            now.eq(self.level),
        ]
        with m.If(taken & intx & ~fall):
            m.d.comb += now.bit_select(pin, 1).eq(level)
        m.d.sync += [
            late.eq((self.clear | late) & ~down),
            self.level.eq(Mux(down, 0, now)),
            falling.eq(Mux(taken & fall, falling & (falling - 1), falling) | Mux(down, now, 0)),
        ]
        return m
