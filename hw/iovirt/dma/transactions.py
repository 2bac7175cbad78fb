"""What is known of the transactions in flight."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from iovirt.stream.slot_memory import SlotMemory

from .layouts import slot_write

__all__ = ["TransactionTable", "transaction"]


def transaction(entry, answer, *, slots):
    """A transaction, with all that is known of it."""
    return data.StructLayout({"slot": range(slots), "entry": entry, "answer": answer})


class TransactionTable(wiring.Component):
    """Look up transactions by slot: what came with them, and what their translation said.

    Two memories that are read together, since their halves are written at different times. Latency
    is 1 clock, throughput 1 per clock, with a combinational path from ``o.ready`` to ``i.ready``.

    Parameters
    ----------
    entry, answer : :class:`ShapeLike`
        Shapes of the two halves.
    slots : :class:`int`
        Number of slots, at least 2.

    Members
    -------
    entry : ``In(slot_write(entry, slots))``
        Writes the first half.
    answer : ``In(slot_write(answer, slots))``
        Writes the second half. Neither may be written in the clock in which its slot is looked up.
    i : ``In(stream.Signature(range(slots)))``
        Slots to look up.
    o : ``Out(stream.Signature(transaction(...)))``
        The same slots, with both halves.
    """

    def __init__(self, entry, answer, *, slots):
        self.slots = slots
        self._shapes = entry, answer
        super().__init__({
            "entry":  In(slot_write(entry, slots)),
            "answer": In(slot_write(answer, slots)),
            "i":      In(stream.Signature(range(slots))),
            "o":      Out(stream.Signature(transaction(entry, answer, slots=slots))),
        })

    def elaborate(self, platform):
        m = Module()
        # Both memories see the same valid and ready in each clock, so they stay in step.
        halves = []
        for name, shape, write in zip(("entries", "answers"), self._shapes,
                                      (self.entry, self.answer), strict=True):
            m.submodules[name] = half = SlotMemory(shape, slots=self.slots)
            halves.append(half)
            wiring.connect(m, half.write, wiring.flipped(write))
            m.d.comb += [
                half.i.payload.eq(self.i.payload),
                half.i.valid.eq(self.i.valid),
                half.o.ready.eq(self.o.ready),
            ]
        entries, answers = halves
        m.d.comb += [
            self.i.ready.eq(entries.i.ready),
            self.o.valid.eq(entries.o.valid),
            self.o.payload.slot.eq(entries.o.payload.slot),
            self.o.payload.entry.eq(entries.o.payload.data),
            self.o.payload.answer.eq(answers.o.payload.data),
        ]
        return m
