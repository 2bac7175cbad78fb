"""Slots that are free."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from iovirt.stream import StreamQueue

__all__ = ["SlotPool", "slot_put"]


def slot_put(slots):
    """Pulse ``en``: ``slot`` is free again. Seen from the giver."""
    return wiring.Signature({"en": Out(1), "slot": Out(range(slots))})


class SlotPool(wiring.Component):
    """Give out slot numbers, each at most once until it is given back.

    After a reset the numbers are counted out first; so nothing needs to be filled in. A slot is
    offered again 4 clocks after ``put``; throughput is 1 slot per clock.

    Parameters
    ----------
    slots : :class:`int`
        Number of slots, at least 4.

    Members
    -------
    o : ``Out(stream.Signature(range(slots)))``
        A free slot; taken with the transfer.
    put : ``In(slot_put(slots))``
        Pulse ``en`` gives ``slot`` back. It must have been taken, and not given back since.
    used : ``Out(range(slots + 1))``
        Number of slots taken and not given back.

    Raises
    ------
    ValueError
        If ``slots`` is not an integer of at least 4.
    """

    def __init__(self, *, slots):
        if not isinstance(slots, int) or slots < 4:
            raise ValueError(f"Number of slots must be an integer of at least 4, not {slots!r}")
        self.slots = slots
        super().__init__({
            "o":    Out(stream.Signature(range(slots))),
            "put":  In(slot_put(slots)),
            "used": Out(range(slots + 1)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.queue = queue = StreamQueue(range(self.slots), depth=self.slots)
        # The offer comes out of registers, because much depends on whether there is one.
        m.submodules.offer = offer = StreamQueue(range(self.slots), depth=2)
        wiring.connect(m, offer.o, wiring.flipped(self.o))

        # Slots that were never taken go first, and nothing interrupts them, so an offer is stable.
        fresh, counting = Signal(range(self.slots + 1)), Signal()
        m.d.comb += [
            counting.eq(fresh != self.slots),
            offer.i.valid.eq(counting | queue.o.valid),
            offer.i.payload.eq(Mux(counting, fresh, queue.o.payload)),
            queue.o.ready.eq(~counting & offer.i.ready),
            queue.i.payload.eq(self.put.slot),
            queue.i.valid.eq(self.put.en),
        ]
        with m.If(counting & offer.i.ready):
            m.d.sync += fresh.eq(fresh + 1)
        m.d.sync += self.used.eq(self.used + (self.o.valid & self.o.ready) - self.put.en)
        return m
