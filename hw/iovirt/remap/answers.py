"""What the lookup and the walker found for the slots of the miss file."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..stream.slot_memory import SlotMemory
from .layouts import remap_result, walk_done

__all__ = ["Answers", "answer_hit", "miss_result"]


def miss_result(id_width, address_width):
    """Answer to a request, or to the debug registers: a :func:`remap_result` and ``debug``."""
    return data.StructLayout({**remap_result(id_width, address_width).members, "debug": 1})


def answer_hit(result, hit):
    """Return the assignments that make ``result`` the answer of the outcome ``hit``."""
    return [
        result.ok.eq(1),
        result.ca.eq(0),
        result.ppn.eq(hit.ppn),
        result.cause.eq(0),
        result.id.eq(hit.request.id),
        result.epoch.eq(hit.request.epoch),
        result.debug.eq(hit.request.debug),
    ]


class Answers(wiring.Component):
    """Keep the answers of slots until they leave.

    Two memories, because the lookup and the walker may both report in one clock; the later report
    counts. Latency is 1 clock from ``i`` to ``o``, and 1 clock from a report to ``finished``;
    throughput is 1 slot per clock. There is a combinational path from ``o.ready`` to ``i.ready``.

    Parameters
    ----------
    id_width : :class:`int`
        Width of the id of a request.
    slots : :class:`int`
        Number of slots, at least 2.
    address_width : :class:`int`
        Width of an SPA.

    Members
    -------
    found : ``In(...)``
        Pulse ``en``: the lookup found ``result`` for ``slot`` if it is a ``hit``; else only the
        identity in ``result`` is meant, and an answer is still to come.
    walk_done : ``In(1)``, ``walked`` : ``In(walk_done(...))``
        Pulse: the walker's answer.
    finished : ``Out(slots)``
        Slots that have an answer.
    i : ``In(stream.Signature(range(slots)))``
        Slots that leave; they are finished.
    o : ``Out(stream.Signature(...))``
        The same slots (``slot``) and their :func:`miss_result` (``data``).
    """

    def __init__(self, *, id_width, slots, address_width):
        result = miss_result(id_width, address_width)
        self.id_width = id_width
        self.slots = slots
        self.address_width = address_width
        super().__init__({
            "found":     In(wiring.Signature({
                "en":     Out(1),
                "slot":   Out(range(slots)),
                "hit":    Out(1),
                "result": Out(result),
            })),
            "walk_done": In(1),
            "walked":    In(walk_done((slots - 1).bit_length(), address_width)),
            "finished":  Out(slots),
            "i":         In(stream.Signature(range(slots))),
            "o":         Out(stream.Signature(data.StructLayout({
                "slot": range(slots),
                "data": result,
            }))),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.found = found = SlotMemory(self.found.result.shape(), slots=self.slots)
        m.submodules.walked = walked = SlotMemory(self.walked.shape(), slots=self.slots)
        m.d.comb += [
            found.write.en.eq(self.found.en),
            found.write.slot.eq(self.found.slot),
            found.write.data.eq(self.found.result),
            walked.write.en.eq(self.walk_done),
            walked.write.slot.eq(self.walked.slot),
            walked.write.data.eq(self.walked),
        ]

        by_walk, found_now, walked_now = (Signal(self.slots) for _ in range(3))
        m.d.comb += [
            found_now.eq(Mux(self.found.en, 1 << self.found.slot, 0)),
            walked_now.eq(Mux(self.walk_done, 1 << self.walked.slot, 0)),
        ]
        m.d.sync += [
            self.finished.eq((self.finished & ~found_now)
                             | Mux(self.found.hit, found_now, 0) | walked_now),
            by_walk.eq((by_walk & ~found_now) | walked_now),
        ]

        # Both memories are read for each slot, side by side.
        use_walk = Signal()
        with m.If(self.i.ready):
            m.d.sync += use_walk.eq(by_walk.bit_select(self.i.payload, 1))
        for memory in (found, walked):
            m.d.comb += [
                memory.i.payload.eq(self.i.payload),
                memory.i.valid.eq(self.i.valid),
                memory.o.ready.eq(self.o.ready),
            ]
        m.d.comb += [
            self.i.ready.eq(found.i.ready),
            self.o.valid.eq(found.o.valid),
            self.o.payload.eq(found.o.payload),
        ]
        with m.If(use_walk):
            m.d.comb += [self.o.p.data[name].eq(walked.o.p.data[name])
                         for name in ("ok", "ca", "cause", "ppn")]
        return m
