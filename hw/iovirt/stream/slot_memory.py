"""A memory read by a stream of slot numbers."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

__all__ = ["SlotMemory"]


class SlotMemory(wiring.Component):
    """Look up what is stored for each slot that passes.

    A synchronous memory with one write port and one read port. A slot must not be written in the
    clock in which it is read (in which it transfers on ``i``).

    Latency is 1 clock and throughput is 1 transfer per clock. There is a combinational path from
    ``o.ready`` to ``i.ready``.

    Parameters
    ----------
    shape : :class:`ShapeLike`
        Shape of what is stored.
    slots : :class:`int`
        Number of slots, at least 2.

    Members
    -------
    write : ``In(...)``
        Pulse ``en`` stores ``data`` for ``slot``.
    i : ``In(stream.Signature(range(slots)))``
        Slots to look up.
    o : ``Out(stream.Signature(...))``
        The same slots (``slot``) and what is stored for them (``data``).

    Raises
    ------
    ValueError
        If ``slots`` is not an integer of at least 2.
    """

    def __init__(self, shape, *, slots):
        if not isinstance(slots, int) or slots < 2:
            raise ValueError(f"Number of slots must be an integer of at least 2, not {slots!r}")
        self.shape = shape
        self.slots = slots
        looked_up = data.StructLayout({"slot": range(slots), "data": shape})
        super().__init__({
            "write": In(wiring.Signature({
                "en":   Out(1),
                "slot": Out(range(slots)),
                "data": Out(shape),
            })),
            "i":     In(stream.Signature(range(slots))),
            "o":     Out(stream.Signature(looked_up)),
        })

    def elaborate(self, platform):
        m = Module()
        width = Shape.cast(self.shape).width
        # The user never reads and writes one slot at once; telling so saves collision logic.
        m.submodules.memory = memory = Memory(shape=width, depth=self.slots, init=[],
                                              attrs={"no_rw_check": 1})
        write, read = memory.write_port(), memory.read_port()
        advance, slot = Signal(), Signal(range(self.slots))
        m.d.comb += [
            write.en.eq(self.write.en),
            write.addr.eq(self.write.slot),
            write.data.eq(self.write.data),
            advance.eq(~self.o.valid | self.o.ready),
            self.i.ready.eq(advance),
            read.en.eq(advance),
            read.addr.eq(self.i.payload),
            self.o.payload.slot.eq(slot),
            Value.cast(self.o.payload.data).eq(read.data),
        ]
        with m.If(advance):
            m.d.sync += [self.o.valid.eq(self.i.valid), slot.eq(self.i.payload)]
        return m
