"""Sequence of one invalidation through the parts of the engine."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .layouts import InvalidateKind, InvalidateOp

__all__ = ["Invalidator"]


class Invalidator(wiring.Component):
    """Carry out invalidations one at a time.

    ``hold`` keeps walks from being asked for. When ``held`` says that none is on its way to the
    walker, ``stop`` keeps the walker from starting any; it marks the running walks that the
    invalidation could concern and sweeps its pointers, then the lookup sweeps its caches. As the
    marked walks do not fill, nothing that was read before survives. When the lookup is done, no
    outcome carries a swept device context any more, and parked requests forget theirs.

    ``op`` transfers when all of that is done and is to stay as it is until then. Latency is 4
    clocks plus the times of ``held`` and the two sweeps, and 1 more for contexts.

    Members
    -------
    op : ``In(stream.Signature(InvalidateOp))``
        What to invalidate.
    walker, lookup : ``Out(stream.Signature(InvalidateOp))``
        Each transfers when its part is done.
    forget_contexts : ``Out(1)``
        Pulse: parked requests must find their contexts again.
    hold : ``Out(1)``
        No walk may be asked for.
    held : ``In(1)``
        While ``hold``: no walk is on its way to the walker.
    stop : ``Out(1)``
        The walker may start no walk.
    """

    op:              In(stream.Signature(InvalidateOp))
    walker:          Out(stream.Signature(InvalidateOp))
    lookup:          Out(stream.Signature(InvalidateOp))
    forget_contexts: Out(1)
    hold:            Out(1)
    held:            In(1)
    stop:            Out(1)

    def elaborate(self, platform):
        m = Module()
        m.d.comb += [
            self.walker.p.eq(self.op.p),
            self.lookup.p.eq(self.op.p),
        ]
        with m.FSM():
            with m.State("IDLE"):
                with m.If(self.op.valid):
                    m.d.sync += self.hold.eq(1)
                    m.next = "HOLD"
            with m.State("HOLD"):
                with m.If(self.hold & self.held):
                    m.d.sync += self.stop.eq(1)
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
                        m.next = "FORGET"
            with m.State("FORGET"):
                m.d.comb += self.forget_contexts.eq(1)
                m.next = "DONE"
            with m.State("DONE"):
                m.d.comb += self.op.ready.eq(1)
                m.d.sync += [self.hold.eq(0), self.stop.eq(0)]
                m.next = "IDLE"
        return m
