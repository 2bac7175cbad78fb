"""Notices of things that are only known by a pulse."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .layouts import MessageKind, Notice

__all__ = ["PulseNotice"]


class PulseNotice(wiring.Component):
    """Offer notices of ``kind`` for pulses of ``event``; each tells how many it stands for.

    A notice names the requester of its first event; its data is the number of events (saturating at
    65535). Latency is 2 clocks.

    Parameters
    ----------
    kind : :class:`MessageKind`
        What happened.

    Members
    -------
    event : ``In(1)``, ``device_id`` : ``In(24)``
        It happened, to this {segment, RID}.
    o : ``Out(stream.Signature(Notice))``
    """

    def __init__(self, *, kind):
        self.kind = MessageKind(kind)
        super().__init__({
            "event":     In(1),
            "device_id": In(24),
            "o":         Out(stream.Signature(Notice)),
        })

    def elaborate(self, platform):
        m = Module()
        # What is offered must not change, so events that come meanwhile gather beside it.
        first, count, take = Signal(24), Signal(16), Signal()
        m.d.comb += [
            take.eq((count != 0) & (~self.o.valid | self.o.ready)),
            self.o.p.kind.eq(self.kind),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(take):
            m.d.sync += [
                self.o.valid.eq(1),
                Cat(self.o.p.rid, self.o.p.segment).eq(first),
                self.o.p.data.eq(count),
                count.eq(self.event),
            ]
        with m.Elif(self.event & ~count.all()):
            m.d.sync += count.eq(count + 1)
        with m.If(self.event & (take | (count == 0))):
            m.d.sync += first.eq(self.device_id)
        return m
