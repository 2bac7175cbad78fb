"""What is known of the transactions in flight."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from iovirt.stream.slot_memory import SlotMemory

from .layouts import slot_write

__all__ = ["TransactionTable", "transaction"]

NAMES = {"entry": "entries", "answer": "answers", "share": "shares"}


def transaction(entry, answer, *, slots, share=None):
    """A transaction, with all that is known of it."""
    return data.StructLayout({"slot": range(slots), "entry": entry, "answer": answer,
                              **({"share": share} if share else {})})


class TransactionTable(wiring.Component):
    """Look up transactions by slot: what came with them, what their translation said, and what is
    known of their function if it may be shared.

    Memories that are read together, since their parts are written at different times. Latency
    is 1 clock, throughput 1 per clock, with a combinational path from ``o.ready`` to ``i.ready``.

    Parameters
    ----------
    entry, answer : :class:`ShapeLike`
        Shapes of the first two parts.
    slots : :class:`int`
        Number of slots, at least 2.
    share : :class:`ShapeLike`
        Shape of the third part, if there is one.

    Members
    -------
    entry : ``In(slot_write(entry, slots))``
        Writes the first part.
    answer : ``In(slot_write(answer, slots))``
        Writes the second part.
    share : ``In(slot_write(share, slots))``
        Writes the third part. None may be written in the clock in which its slot is looked up.
    i : ``In(stream.Signature(range(slots)))``
        Slots to look up.
    o : ``Out(stream.Signature(transaction(...)))``
        The same slots, with all parts.
    """

    def __init__(self, entry, answer, *, slots, share=None):
        self.slots = slots
        self._parts = {"entry": entry, "answer": answer, **({"share": share} if share else {})}
        super().__init__({
            **{name: In(slot_write(shape, slots)) for name, shape in self._parts.items()},
            "i": In(stream.Signature(range(slots))),
            "o": Out(stream.Signature(transaction(slots=slots, **self._parts))),
        })

    def elaborate(self, platform):
        m = Module()
        # All memories see the same valid and ready in each clock, so they stay in step.
        parts = {}
        for name, shape in self._parts.items():
            m.submodules[NAMES[name]] = part = SlotMemory(shape, slots=self.slots)
            parts[name] = part
            wiring.connect(m, part.write, wiring.flipped(getattr(self, name)))
            m.d.comb += [
                part.i.payload.eq(self.i.payload),
                part.i.valid.eq(self.i.valid),
                part.o.ready.eq(self.o.ready),
            ]
        entries = parts["entry"]
        m.d.comb += [
            self.i.ready.eq(entries.i.ready),
            self.o.valid.eq(entries.o.valid),
            self.o.payload.slot.eq(entries.o.payload.slot),
            *(self.o.payload[name].eq(part.o.payload.data) for name, part in parts.items()),
        ]
        return m
