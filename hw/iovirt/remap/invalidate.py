"""Sequence of one invalidation through the parts of the engine."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .layouts import InvalidateKind, InvalidateOp

__all__ = ["Invalidator"]


class Invalidator(wiring.Component):
    """Carry out invalidations one at a time.

    While ``hold`` keeps walks from starting, the walker marks the running walks that the
    invalidation could concern and sweeps its pointers, then the lookup sweeps its caches. As the
    marked walks do not fill, nothing that was read before survives. After device contexts have
    been swept, ``settle`` clocks let the outcomes that still carry one reach the miss file, whose
    entries then forget theirs.

    ``op`` transfers when all of that is done and is to stay as it is until then. Latency is 3
    clocks plus the time of the two sweeps, and ``settle + 1`` more for contexts.

    Parameters
    ----------
    settle : :class:`int`
        Clocks from a transfer of ``lookup`` until no outcome carries what was swept; at least 1.

    Members
    -------
    op : ``In(stream.Signature(InvalidateOp))``
        What to invalidate.
    walker, lookup : ``Out(stream.Signature(InvalidateOp))``
        Each transfers when its part is done.
    forget_contexts : ``Out(1)``
        Pulse: parked requests must find their contexts again.
    hold : ``Out(1)``
        No walk may start.
    """

    def __init__(self, *, settle=8):
        if type(settle) is not int or settle < 1:
            raise ValueError(f"Settling time must be an integer of at least 1, not {settle!r}")
        self.settle = settle
        super().__init__({
            "op":              In(stream.Signature(InvalidateOp)),
            "walker":          Out(stream.Signature(InvalidateOp)),
            "lookup":          Out(stream.Signature(InvalidateOp)),
            "forget_contexts": Out(1),
            "hold":            Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        left = Signal(range(self.settle), init=self.settle - 1)
        m.d.comb += [
            self.walker.p.eq(self.op.p),
            self.lookup.p.eq(self.op.p),
        ]
        with m.FSM():
            with m.State("IDLE"):
                with m.If(self.op.valid):
                    m.d.sync += self.hold.eq(1)
                    m.next = "WALKER"
            with m.State("WALKER"):
                m.d.comb += self.walker.valid.eq(1)
                with m.If(self.walker.ready):
                    m.next = "LOOKUP"
            with m.State("LOOKUP"):
                m.d.comb += self.lookup.valid.eq(1)
                with m.If(self.lookup.ready):
                    m.next = "DONE"
                    with m.If(self.op.p.kind == InvalidateKind.CONTEXT):
                        m.d.sync += left.eq(self.settle - 1)
                        m.next = "SETTLE"
            with m.State("SETTLE"):
                m.d.sync += left.eq(left - 1)
                with m.If(left == 0):
                    m.next = "FORGET"
            with m.State("FORGET"):
                m.d.comb += self.forget_contexts.eq(1)
                m.next = "DONE"
            with m.State("DONE"):
                m.d.comb += self.op.ready.eq(1)
                m.d.sync += self.hold.eq(0)
                m.next = "IDLE"
        return m
