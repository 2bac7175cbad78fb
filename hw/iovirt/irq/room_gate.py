"""Order between verdicts and the news that a verdict is out of date."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..stream.picker import lowest_of

__all__ = ["RoomGate"]


class RoomGate(wiring.Component):
    """Hold ``room`` of a queue back until all verdicts given before it have left.

    What arrives is collected, one bit per queue, while the collection before it waits or leaves.
    So ``i`` never waits, and a queue may be named once for several arrivals: after each arrival,
    it is named at least once.

    Latency is 3 clocks if no verdict is on its way; a collection waits for the one before it.

    Parameters
    ----------
    queues : :class:`int`
        Number of queues, at least 2.
    queue_width : :class:`int`
        Width of queue numbers.
    places : :class:`int`
        Verdicts that may be on their way.

    Members
    -------
    i, o : ``In(stream.Signature(queue_width))``, ``Out(stream.Signature(queue_width))``
        Queues that have room.
    given, left : ``In(range(2 * places))``
        Counts of the events that were taken and of the verdicts that have left.
    """

    def __init__(self, *, queues, queue_width, places):
        self.queues      = queues
        self.queue_width = queue_width
        self.places      = places
        super().__init__({
            "i":     In(stream.Signature(queue_width)),
            "o":     Out(stream.Signature(queue_width)),
            "given": In(range(2 * places)),
            "left":  In(range(2 * places)),
        })

    def elaborate(self, platform):
        m = Module()
        collected, leaving = Signal(self.queues), Signal(self.queues)
        until, passed = Signal.like(self.given), Signal()
        arriving, chosen = Signal(self.queues), Signal(self.queues)
        move = Signal()
        m.d.comb += [
            self.i.ready.eq(1),
            arriving.eq(Mux(self.i.valid, 1 << self.i.payload, 0)),
            move.eq(leaving == 0),
        ]
        with m.If(move):
            m.d.sync += [
                collected.eq(arriving),
                leaving.eq(collected),
                until.eq(self.given),
                passed.eq(self.given == self.left),
            ]
        with m.Else():
            m.d.sync += [
                collected.eq(collected | arriving),
                leaving.eq(leaving & ~chosen),
                passed.eq(passed | (self.left == until)),
            ]
        with m.If(passed & (~self.o.valid | self.o.ready)):
            m.d.sync += [self.o.valid.eq(leaving != 0), self.o.payload.eq(lowest_of(leaving))]
            m.d.comb += chosen.eq(leaving & (~leaving + 1))
        with m.Elif(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        return m
