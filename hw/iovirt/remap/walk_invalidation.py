"""What an invalidation does to the walker."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .layouts import InvalidateKind, InvalidateOp
from .pointers import pointer_sweep

__all__ = ["WalkInvalidation"]


class WalkInvalidation(wiring.Component):
    """Sequence an invalidation: mark running walks, sweep pointers, wait for fills under way.

    A walk that was over before the mark may still be sending what it learnt; ``invalidate``
    transfers when all that has been accepted. At least 4 clocks; a sweep takes as long as
    :class:`PointerCache` says. The change of a leaf leaves pointers alone, that of a device context
    too.

    Parameters
    ----------
    walks, contexts : :class:`int`
        Finished walks, and device contexts, that can wait for being sent.

    Members
    -------
    invalidate : ``In(stream.Signature(InvalidateOp))``
        What to invalidate.
    hold : ``In(1)``
        No walk may start.
    go : ``Out(1)``
        Walks may start: neither ``hold`` nor an invalidation.
    mark : ``Out(1)``
        Mark the walks that the operation concerns.
    sweep : ``Out(stream.Signature(pointer_sweep()))``
        Drop pointers.
    job_level, job_left : ``In(...)``
        Finished walks that wait; one is done.
    context_level, context_left : ``In(...)``
        Device contexts that wait; one is accepted.
    """

    def __init__(self, *, walks, contexts):
        for name, value in ("walks", walks), ("contexts", contexts):
            if type(value) is not int or value < 1:
                raise ValueError(f"Number of {name} must be an integer of at least 1, not "
                                 f"{value!r}")
        self.walks    = walks
        self.contexts = contexts
        super().__init__({
            "invalidate":    In(stream.Signature(InvalidateOp)),
            "hold":          In(1),
            "go":            Out(1),
            "mark":          Out(1),
            "sweep":         Out(stream.Signature(pointer_sweep())),
            "job_level":     In(range(walks + 1)),
            "job_left":      In(1),
            "context_level": In(range(contexts + 1)),
            "context_left":  In(1),
        })

    def elaborate(self, platform):
        m = Module()
        op = self.invalidate.p
        jobs, contexts = Signal.like(self.job_level), Signal.like(self.context_level)
        unswept, idle = Signal(), Signal()
        m.d.comb += [
            self.go.eq(idle & ~self.hold),
            self.sweep.p.gv.eq(op.gv),
            self.sweep.p.gscid.eq(op.gscid),
            self.sweep.valid.eq(unswept),
        ]
        m.d.sync += [
            jobs.eq(jobs - (self.job_left & (jobs != 0))),
            contexts.eq(contexts - (self.context_left & (contexts != 0))),
        ]
        with m.If(self.sweep.ready):
            m.d.sync += unswept.eq(0)

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += idle.eq(1)
                with m.If(self.invalidate.valid):
                    m.next = "COMPARE"
            with m.State("COMPARE"):
                m.next = "MARK"
            with m.State("MARK"):
                m.d.comb += self.mark.eq(1)
                m.next = "COUNT"
            with m.State("COUNT"):
                m.d.sync += [
                    jobs.eq(self.job_level - self.job_left),
                    contexts.eq(self.context_level - self.context_left),
                    unswept.eq((op.kind == InvalidateKind.IOTLB) & ~op.av),
                ]
                m.next = "DRAIN"
            with m.State("DRAIN"):
                with m.If((jobs == 0) & (contexts == 0) & ~unswept):
                    m.d.comb += self.invalidate.ready.eq(1)
                    m.next = "IDLE"
        return m
