"""Invalidation of all parts of the lookup pipeline."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .layouts import InvalidateOp

__all__ = ["Sweep"]


class Sweep(wiring.Component):
    """Have each part execute an invalidation, then wait until older outcomes have left.

    Each of ``parts`` gets the operation and says when it is done. What was read before that may
    still be in the pipeline: the requests in flight when the last part is done are counted down as
    they leave, while new ones may enter. Takes 2 cycles more than the slowest part, if nothing is
    in flight.

    Parameters
    ----------
    parts : :class:`int`
        Number of parts, at least 1.
    places : :class:`int`
        Largest number of requests in flight.

    Members
    -------
    i : ``In(stream.Signature(InvalidateOp))``
        Invalidations; a transfer means that no later outcome that leaves uses what was to be
        dropped.
    o : ``Out(stream.Signature(InvalidateOp)).array(parts)``
        The same for each part; a transfer means that the part is done.
    in_flight : ``In(range(places + 1))``
        Requests accepted before this cycle whose outcome has not left before this cycle.
    leaves : ``In(1)``
        An outcome leaves in this cycle.
    """

    def __init__(self, *, parts, places):
        self.parts = parts
        self.places = places
        super().__init__({
            "i":         In(stream.Signature(InvalidateOp)),
            "o":         Out(stream.Signature(InvalidateOp)).array(parts),
            "in_flight": In(range(places + 1)),
            "leaves":    In(1),
        })

    def elaborate(self, platform):
        m = Module()
        done  = Signal(self.parts)
        older = Signal(range(self.places + 1))
        with m.FSM():
            with m.State("SWEEP"):
                for n, part in enumerate(self.o):
                    m.d.comb += part.valid.eq(self.i.valid & ~done[n])
                    with m.If(part.valid & part.ready):
                        m.d.sync += done[n].eq(1)
                m.d.sync += older.eq(self.in_flight - self.leaves)
                with m.If(done.all()):
                    m.next = "DRAIN"
            with m.State("DRAIN"):
                m.d.sync += [done.eq(0), older.eq(older - (self.leaves & (older != 0)))]
                with m.If(older == 0):
                    m.d.comb += self.i.ready.eq(1)
                    m.next = "SWEEP"
        for part in self.o:
            m.d.comb += part.payload.eq(self.i.payload)
        return m
