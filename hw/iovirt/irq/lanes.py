"""Priorities of events on their way to the queues."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..stream import StreamQueue

__all__ = ["PRIORITIES", "PriorityLanes"]

PRIORITIES = 4

#: A lane that was passed over this often goes first.
PATIENCE = 15


class PriorityLanes(wiring.Component):
    """Let events of higher ``priority`` overtake others, and put their verdicts in order again.

    Each priority has a short queue. The highest one that has an event goes first, but one that was
    passed over 15 times goes before those that were not, so the first event of a queue waits
    for at most 18 others. Events of one priority stay in order. Verdicts leave in the order
    in which the events came.

    Latency is 2 clocks for an event and 2 for its verdict, if nobody is before it; throughput is 1
    per clock. No combinational path runs between ``i`` and ``o``.

    Parameters
    ----------
    event, verdict : :class:`ShapeLike`
        Shapes of events, with fields ``priority`` and ``tag``, and of verdicts, with a ``tag``.
    depth : :class:`int`
        Events per priority, at least 1.

    Members
    -------
    i : ``In(stream.Signature(event))``
        Events.
    o : ``Out(stream.Signature(...))``
        The same events; ``tag`` is a number of this component.
    result : ``In(stream.Signature(...))``
        Verdicts in any order, ``tag`` being that of ``o``.
    verdict : ``Out(stream.Signature(verdict))``
        Verdicts in the order of ``i``.
    given, left : ``Out(range(2 * places))``
        Counts of the events that were taken and of the verdicts that have left.
    """

    def __init__(self, event, verdict, *, depth=4):
        if type(depth) is not int or depth < 1:
            raise ValueError(f"Depth of a lane must be an integer of at least 1, not {depth!r}")
        #: Events that have no verdict yet: in the lanes and in the pipeline behind.
        self.places = 1 << (PRIORITIES * depth + 8 - 1).bit_length()
        number = range(self.places)
        self.event_shape   = event
        self.verdict_shape = verdict
        self.depth         = depth
        super().__init__({
            "i":       In(stream.Signature(event)),
            "o":       Out(stream.Signature(_with_tag(event, number))),
            "result":  In(stream.Signature(_with_tag(verdict, number))),
            "verdict": Out(stream.Signature(verdict)),
            "given":   Out(range(2 * self.places)),
            "left":    Out(range(2 * self.places)),
        })

    def elaborate(self, platform):
        m = Module()
        inner = self.o.p.shape()
        m.submodules.tags = tags = StreamQueue(len(self.i.p.tag), depth=self.places)
        newest = self.given[:-1]

        # In: number the event and put it in its lane.
        lanes = [StreamQueue(inner, depth=self.depth) for _ in range(PRIORITIES)]
        take, space = Signal(), Signal()
        m.d.comb += [
            space.eq(Cat(lane.i.ready for lane in lanes).bit_select(self.i.p.priority, 1)),
            self.i.ready.eq(space & tags.i.ready),
            take.eq(self.i.valid & self.i.ready),
            tags.i.valid.eq(take),
            tags.i.payload.eq(self.i.p.tag),
        ]
        with m.If(take):
            m.d.sync += self.given.eq(self.given + 1)
        for n, lane in enumerate(lanes):
            m.submodules[f"lane_{n}"] = lane
            m.d.comb += [
                lane.i.valid.eq(take & (self.i.p.priority == n)),
                lane.i.p.tag.eq(newest),
                *(lane.i.p[name].eq(self.i.p[name]) for name, _ in inner if name != "tag"),
            ]
        self._choose(m, lanes)
        self._order(m, tags.o)
        return m

    def _choose(self, m, lanes):
        # The offer is a register, so that the choice is not on the path of those behind.
        passed = [Signal(range(PATIENCE + 1), name=f"passed_{n}") for n in range(PRIORITIES)]
        free, chosen = Signal(), Signal(PRIORITIES)
        m.d.comb += free.eq(~self.o.valid | self.o.ready)
        for n, lane in enumerate(lanes):
            with m.If(lane.o.valid):
                m.d.comb += chosen.eq(1 << n)
        for n, lane in reversed(list(enumerate(lanes))):
            with m.If(lane.o.valid & (passed[n] == PATIENCE)):
                m.d.comb += chosen.eq(1 << n)
        with m.If(free):
            m.d.sync += self.o.valid.eq(chosen.any())
            for n, lane in enumerate(lanes):
                m.d.comb += lane.o.ready.eq(chosen[n])
                with m.If(chosen[n]):
                    m.d.sync += [self.o.p.eq(lane.o.p), passed[n].eq(0)]
                with m.Elif(lane.o.valid & (passed[n] != PATIENCE)):
                    m.d.sync += passed[n].eq(passed[n] + 1)

    def _order(self, m, tag):
        kept  = {name: field.shape for name, field in self.verdict.p.shape() if name != "tag"}
        shape = data.StructLayout(kept)
        m.submodules.verdicts = verdicts = Memory(
            shape=Shape.cast(shape).width, depth=self.places, init=[], attrs={"no_rw_check": 1})
        write, read = verdicts.write_port(), verdicts.read_port()
        known, ready, go = Signal(self.places), Signal(), Signal()
        oldest, following = self.left[:-1], Signal.like(self.left)
        stored = data.View(shape, read.data)
        result = self.result
        m.d.comb += [
            result.ready.eq(1),
            write.en.eq(result.valid),
            write.addr.eq(result.p.tag),
            write.data.eq(Cat(result.p[name] for name in kept)),
            # What is known was written in an earlier clock than the one in which it is read.
            go.eq(self.verdict.valid & self.verdict.ready),
            following.eq(self.left + go),
            read.en.eq(1),
            read.addr.eq(following[:-1]),
            self.verdict.valid.eq(ready & tag.valid),
            self.verdict.p.tag.eq(tag.payload),
            tag.ready.eq(go),
            *(self.verdict.p[name].eq(stored[name]) for name in kept),
        ]
        m.d.sync += [
            self.left.eq(following),
            ready.eq(known.bit_select(following[:-1], 1)),
        ]
        with m.If(result.valid):
            m.d.sync += known.bit_select(result.p.tag, 1).eq(1)
        with m.If(go):
            m.d.sync += known.bit_select(oldest, 1).eq(0)


def _with_tag(layout, number):
    """Return ``layout`` with a ``tag`` of the shape ``number``."""
    return data.StructLayout({name: number if name == "tag" else field.shape
                              for name, field in layout})
