"""Waiting for earlier writes."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from iovirt.stream import StreamArbiter, StreamQueue

from .layouts import gate_request
from .order import ask_signature

__all__ = ["OrderGate"]


class OrderGate(wiring.Component):
    """Let a read or a signal go when the earlier writes of its class have their responses (rules S3
    and S12).

    What waits goes round in a loop and is looked at in turn, so that other classes pass it. A
    denied read never waits. A read with IDO waits as well: IDO lets it pass writes of other
    requesters only (PCIe Base, 2.4.1), and those are of another class except by accident.

    With ``in_order``, what is of one class also goes in the order in which it came.

    What need not wait takes 3 clocks. While something waits, every second clock is for what is new;
    each is looked at within ``2 * slots`` clocks.

    Parameters
    ----------
    slots : :class:`int`
        Number of slots for reads, or for signals.
    classes, number_width : :class:`int`
        Number of ordering classes, width of sequence numbers.
    in_order : :class:`bool`
        See above.

    Members
    -------
    i : ``In(stream.Signature(gate_request(...)))``
        Translated reads or signals.
    ask : ``Out(ask_signature(...))``
        Asks for the responses of the class.
    o : ``Out(stream.Signature(range(slots)))``
        Slots of what may go.
    """

    def __init__(self, *, slots, classes, number_width, in_order=False):
        self.slots    = slots
        self.classes  = classes
        self.in_order = in_order
        shape = gate_request(slots=slots, classes=classes, number_width=number_width)
        super().__init__({
            "i":   In(stream.Signature(shape)),
            "ask": Out(ask_signature(classes=classes, width=number_width)),
            "o":   Out(stream.Signature(range(slots))),
        })

    def elaborate(self, platform):
        m = Module()
        # `place` counts what has come of the class.
        shape = data.StructLayout({
            "request": self.i.payload.shape(),
            "place":   range(self.slots) if self.in_order else 0,
        })
        m.submodules.arbiter = arbiter = StreamArbiter(shape, ports=2)
        m.submodules.again = again = StreamQueue(shape, depth=self.slots)
        m.submodules.ready = ready = StreamQueue(range(self.slots), depth=self.slots)
        wiring.connect(m, again.o, arbiter.i[1])
        wiring.connect(m, ready.o, wiring.flipped(self.o))
        m.d.comb += [
            arbiter.i[0].valid.eq(self.i.valid),
            arbiter.i[0].payload.request.eq(self.i.payload),
            self.i.ready.eq(arbiter.i[0].ready),
        ]

        # Both queues have room for every slot, so this stage never stops.
        valid, late, behind = Signal(), Signal(), Signal()
        next, here = arbiter.o.payload, Signal(shape)
        distance = Signal.like(self.ask.distance)
        m.d.comb += [
            arbiter.o.ready.eq(1),
            self.ask.order.eq(next.request.order),
            self.ask.number.eq(next.request.number),
            behind.eq((distance != 0) & ~distance[-1] & ~here.request.denied),
            again.i.valid.eq(valid & (behind | late)),
            again.i.payload.eq(here),
            ready.i.valid.eq(valid & ~behind & ~late),
            ready.i.payload.eq(here.request.slot),
            # Once the writes are done they stay so, but numbers come round again.
            again.i.payload.request.denied.eq(~behind),
        ]
        m.d.sync += [
            valid.eq(arbiter.o.valid),
            here.eq(next),
            distance.eq(self.ask.distance),
        ]
        if self.in_order:
            self._keep_order(m, arbiter, ready.i.valid, here, late)
        return m

    def _keep_order(self, m, arbiter, goes, here, late):
        """Set ``late`` while something that came before ``here`` of its class has not gone."""
        came = Array(Signal(range(self.slots), name=f"came_{n}") for n in range(self.classes))
        gone = Array(Signal(range(self.slots), name=f"gone_{n}") for n in range(self.classes))
        order, next = self.i.payload.order, arbiter.o.payload

        def select(counts, index):
            return counts[index] if self.classes > 1 else counts[0]

        def following(count):
            return Mux(count == self.slots - 1, 0, count + 1)

        m.d.comb += arbiter.i[0].payload.place.eq(select(came, order))
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += select(came, order).eq(following(select(came, order)))
        with m.If(goes):
            m.d.sync += select(gone, here.request.order).eq(
                following(select(gone, here.request.order)))

        # Compared a clock earlier, with what goes in that clock counted afterwards.
        turn, expected = Signal(), Signal(range(self.slots))
        m.d.comb += expected.eq(select(gone, next.request.order))
        with m.If(goes & (here.request.order == next.request.order)):
            m.d.sync += turn.eq(following(expected) == next.place)
        with m.Else():
            m.d.sync += turn.eq(expected == next.place)
        m.d.comb += late.eq(~turn)
