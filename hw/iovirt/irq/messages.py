"""Messages that are interrupts."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from iovirt.pcie.layouts import Message
from iovirt.pcie.tlp import MessageCode, MessageHeader

from .layouts import MessageKind, Notice

__all__ = ["MessageSorter"]

_ERRORS = {
    MessageCode.ERR_COR:      MessageKind.ERR_COR,
    MessageCode.ERR_NONFATAL: MessageKind.ERR_NONFATAL,
    MessageCode.ERR_FATAL:    MessageKind.ERR_FATAL,
    MessageCode.PM_PME:       MessageKind.PM_PME,
}


class MessageSorter(wiring.Component):
    """Turn the messages that are interrupts into notices, and hand on the others.

    Those are INTx, ERR_COR, ERR_NONFATAL, ERR_FATAL and PM_PME. An INTx message that does not
    change the level of its pin is dropped; a change is a notice with the new level as its data.

    Latency is 0 clocks; combinational paths run from ``i`` to the outputs and back. One message per
    clock.

    Parameters
    ----------
    None.

    Members
    -------
    i : ``In(stream.Signature(Message))``
        Messages received.
    notice : ``Out(stream.Signature(Notice))``
    o : ``Out(stream.Signature(Message))``
        Messages of other kinds.
    level : ``Out(4)``
        Levels of INTA to INTD.
    clear : ``In(1)``
        The link is down: all levels are 0, without notice.
    """

    i:      In(stream.Signature(Message))
    notice: Out(stream.Signature(Notice))
    o:      Out(stream.Signature(Message))
    level:  Out(4)
    clear:  In(1)

    def elaborate(self, platform):
        m = Module()
        header, kind = MessageHeader(self.i.p.hdr), Signal(MessageKind)
        intx, pin, level = Signal(), header.code[:2], ~header.code[2]
        known, change    = Signal(), Signal()
        m.d.comb += [
            intx.eq(header.code[3:] == MessageCode.ASSERT_INTA.value >> 3),
            change.eq(self.level.bit_select(pin, 1) != level),
            known.eq(intx),
            kind.eq(pin),
        ]
        for code, meaning in _ERRORS.items():
            with m.If(header.code == code):
                m.d.comb += [known.eq(1), kind.eq(meaning)]

        m.d.comb += [
            self.notice.valid.eq(self.i.valid & known & (change | ~intx)),
            self.notice.p.kind.eq(kind),
            self.notice.p.segment.eq(self.i.p.segment),
            self.notice.p.rid.eq(header.rid),
            self.notice.p.data.eq(intx & level),
            self.o.valid.eq(self.i.valid & ~known),
            self.o.p.eq(self.i.p),
            self.i.ready.eq(Mux(known, self.notice.ready | (intx & ~change), self.o.ready)),
        ]
        with m.If(self.notice.valid & self.notice.ready & intx):
            m.d.sync += self.level.bit_select(pin, 1).eq(level)
        with m.If(self.clear):
            m.d.sync += self.level.eq(0)
        return m
