"""Waiting of reads for the writes before them."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from iovirt.stream import StreamArbiter, StreamQueue

from .layouts import gate_request
from .order import ask_signature

__all__ = ["ReadGate"]


class ReadGate(wiring.Component):
    """Let a read go when the earlier writes of its class have their responses (rule S12).

    Reads that wait go round in a loop and are looked at in turn, so reads of other classes pass
    them. A denied read never waits. A read with IDO waits as well: IDO lets it pass writes of other
    requesters only (PCIe Base, 2.4.1), and those are of another class except by accident.

    A read that need not wait takes 5 clocks. While reads wait, every second clock is for new ones;
    each is looked at within ``2 * slots`` clocks.

    Parameters
    ----------
    slots : :class:`int`
        Number of slots for reads.
    classes, number_width : :class:`int`
        Number of ordering classes, width of sequence numbers.

    Members
    -------
    i : ``In(stream.Signature(gate_request(...)))``
        Translated reads.
    ask : ``Out(ask_signature(...))``
        Asks for the responses of the class.
    o : ``Out(stream.Signature(range(slots)))``
        Reads that may be issued.
    """

    def __init__(self, *, slots, classes, number_width):
        self.slots = slots
        shape = gate_request(slots=slots, classes=classes, number_width=number_width)
        super().__init__({
            "i":   In(stream.Signature(shape)),
            "ask": Out(ask_signature(classes=classes, width=number_width)),
            "o":   Out(stream.Signature(range(slots))),
        })

    def elaborate(self, platform):
        m = Module()
        shape = self.i.payload.shape()
        m.submodules.arbiter = arbiter = StreamArbiter(shape, ports=2)
        m.submodules.again = again = StreamQueue(shape, depth=self.slots)
        m.submodules.ready = ready = StreamQueue(range(self.slots), depth=self.slots)
        wiring.connect(m, wiring.flipped(self.i), arbiter.i[0])
        wiring.connect(m, again.o, arbiter.i[1])
        wiring.connect(m, ready.o, wiring.flipped(self.o))

        # Both queues have room for every read, so this stage never stops.
        valid, waits = Signal(), Signal()
        read     = Signal(shape)
        distance = Signal.like(self.ask.distance)
        m.d.comb += [
            arbiter.o.ready.eq(1),
            self.ask.order.eq(arbiter.o.payload.order),
            self.ask.number.eq(arbiter.o.payload.number),
            waits.eq((distance != 0) & ~distance[-1] & ~read.denied),
            again.i.valid.eq(valid & waits),
            again.i.payload.eq(read),
            ready.i.valid.eq(valid & ~waits),
            ready.i.payload.eq(read.slot),
        ]
        m.d.sync += [
            valid.eq(arbiter.o.valid),
            read.eq(arbiter.o.payload),
            distance.eq(self.ask.distance),
        ]
        return m
