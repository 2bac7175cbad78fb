"""What becomes of a walk after its turn."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..axi import table_read_request
from .layouts import Cause, context_fill
from .rules import cause_by_access, check_physical
from .walk_state import Step, finding, line_job, walk_job, walk_state

__all__ = ["WalkDecide"]

#: Causes that tc.DTF does not silence can only come before the second stage.
_BEFORE_STAGES = (Step.DIRECTORY, Step.DDT, Step.CONTEXT)


class WalkDecide(wiring.Component):
    """Decide how a walk goes on: a read, another turn, the end, or all over again.

    Combinational, about 6 levels of logic. Just one of ``read``, ``again`` and ``finish`` is set.

    Parameters
    ----------
    walk_width, slot_width, address_width : :class:`int`
        Widths of the number of a walk, of a miss-file entry, and of a physical address.

    Members
    -------
    walk : ``In(walk_width)``
        Number of the walk.
    found : ``In(finding(...))``
        What it found.
    stale : ``In(1)``
        An invalidation concerned it: it starts again, or ends if it is a prefetch.
    hit, pointer : ``In(1)``, ``In(address_width - 12)``
        The pointer cache knows the last-level table.
    state : ``Out(walk_state(...))``
        The walk afterwards.
    read, request : ``Out(1)``, ``Out(table_read_request(...))``
        It waits for this read.
    again, restart : ``Out(1)``
        It gets another turn; ``restart``: from ddtp.
    finish, job : ``Out(1)``, ``Out(walk_job(...))``
        It is over, but for this.
    line : ``Out(line_job(...))``
        With ``finish`` and ``job.line``.
    learn, context : ``Out(1)``, ``Out(context_fill())``
        A device context to keep.
    point : ``Out(1)``
        ``found.ppn`` is a last-level table, to be kept as pointer.
    """

    def __init__(self, *, walk_width, slot_width, address_width):
        check_physical(address_width)
        self.walk_width    = walk_width
        self.slot_width    = slot_width
        self.address_width = address_width
        state = walk_state(slot_width, address_width)
        super().__init__({
            "walk":    In(walk_width),
            "found":   In(finding(slot_width, address_width)),
            "stale":   In(1),
            "hit":     In(1),
            "pointer": In(address_width - 12),
            "state":   Out(state),
            "read":    Out(1),
            "request": Out(table_read_request(address_width=address_width, tag_width=walk_width)),
            "again":   Out(1),
            "restart": Out(1),
            "finish":  Out(1),
            "job":     Out(walk_job(walk_width, slot_width, address_width)),
            "line":    Out(line_job(walk_width)),
            "learn":   Out(1),
            "context": Out(context_fill()),
            "point":   Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        found, state = self.found, self.found.state
        cause = self._order_faults(m)

        # A stale walk has learnt nothing. What starts at ddtp has read nothing that could be stale.
        stale, shortcut, ended = Signal(), Signal(), Signal()
        m.d.comb += [
            stale.eq(self.stale & ((found.step != Step.DIRECTORY) | state.prefetch)),
            shortcut.eq((found.step == Step.START) & self.hit),
            ended.eq((cause != Cause.NONE) | found.end),
            self.restart.eq(stale & ~state.prefetch),
            self.finish.eq(Mux(stale, state.prefetch, ended)),
            self.again.eq(Mux(stale, ~state.prefetch, ~ended & (found.step == Step.CONTEXT))),
            self.read.eq(~stale & ~ended & (found.step != Step.CONTEXT)),
            self.learn.eq(~stale & (cause == Cause.NONE) & (found.step == Step.CONTEXT)
                          & (state.step == Step.START) & (~state.access.pv | state.pdtv)),
            self.point.eq(~stale & ~ended & (found.step == Step.TABLE)
                          & (state.step == Step.LINE)),
            self.context.key.device_id.eq(state.access.device_id),
            self.context.key.pv.eq(state.access.pv),
            self.context.key.pid.eq(state.access.pid),
            self.context.context.eq(state.context),
            self.state.eq(state),
        ]
        line = state.access.iova[12:21]
        with m.If(stale):
            m.d.comb += [
                self.state.step.eq(Step.DIRECTORY),
                self.state.context.eq(0),
                self.state.pdtv.eq(0),
            ]
        with m.Elif(shortcut):
            m.d.comb += [
                self.state.step.eq(Step.LINE),
                self.state.word.eq(line[:3]),
                self.state.table.eq(self.pointer),
            ]

        # Tables are aligned to their size, so the address of an entry takes no addition.
        ppn, offset = Signal.like(found.ppn), Signal.like(found.offset)
        m.d.comb += [
            ppn.eq(Mux(shortcut, self.pointer, found.ppn)),
            offset.eq(Mux(shortcut, line[3:] << 6, found.offset)),
            self.request.address.eq(Cat(C(0, 12), ppn) | offset),
            self.request.size_log2.eq(3),
            self.request.tag.eq(self.walk),
        ]
        with m.If(self.state.step == Step.LINE):
            m.d.comb += self.request.size_log2.eq(6)
        with m.Elif(self.state.step == Step.CONTEXT):
            m.d.comb += self.request.size_log2.eq(5)

        self._finish(m, cause, stale)
        return m

    def _order_faults(self, m):
        found, access = self.found, self.found.state.access
        directory, retried = Signal(), Signal()
        m.d.comb += [
            directory.eq(Cat(found.step == step for step in _BEFORE_STAGES).any() & ~found.end),
            retried.eq((found.step == Step.LINE) & (found.access | found.poison)),
        ]
        cause = Signal(Cause)
        denied = cause_by_access(access, Cause.FETCH_ACCESS, Cause.READ_ACCESS, Cause.WRITE_ACCESS)
        denied = Mux(directory, Cause.DDT_ACCESS, denied)
        with m.If(found.off):
            m.d.comb += cause.eq(Cause.ALL_DISALLOWED)
        with m.Elif(found.disallowed):
            m.d.comb += cause.eq(Cause.TYPE_DISALLOWED)
        with m.Elif(retried):
            m.d.comb += cause.eq(Cause.NONE)
        with m.Elif(found.access):
            m.d.comb += cause.eq(denied)
        with m.Elif(found.poison):
            m.d.comb += cause.eq(Mux(directory, Cause.DDT_CORRUPT, Cause.TABLE_CORRUPT))
        with m.Elif(found.invalid):
            m.d.comb += cause.eq(Cause.DDT_INVALID)
        with m.Elif(found.misconfigured):
            m.d.comb += cause.eq(Cause.DDT_MISCONFIGURED)
        with m.Elif(found.guest):
            m.d.comb += cause.eq(cause_by_access(access, Cause.GUEST_FETCH, Cause.GUEST_READ,
                                                 Cause.GUEST_WRITE))
        with m.Elif(found.beyond & ~((found.step == Step.START) & self.hit & ~found.end)):
            m.d.comb += cause.eq(denied)
        return cause

    def _finish(self, m, cause, stale):
        found, state, job = self.found, self.found.state, self.job
        ok, silenced = Signal(), Signal()
        last = (found.step == Step.LINE) | (found.step == Step.ALONE)
        # A leaf larger than the physical address space could not be told from what lies beyond it,
        # so it is not kept.
        fits = Cat(12 + 9 * level <= self.address_width for level in range(8))
        always = ((cause == Cause.ALL_DISALLOWED) | (cause == Cause.DDT_ACCESS)
                  | (cause == Cause.DDT_INVALID) | (cause == Cause.DDT_MISCONFIGURED)
                  | (cause == Cause.DDT_CORRUPT))
        level = state.level + 1  # of the entry: `state` is already a level further
        m.d.comb += [
            ok.eq((cause == Cause.NONE) & ~stale),
            silenced.eq(state.context.dtf & ~always),
            job.walk.eq(self.walk),
            job.slot.eq(state.slot),
            job.access.eq(state.access),
            job.gscid.eq(state.context.gscid),
            job.prefetch.eq(state.prefetch),
            job.ok.eq(ok),
            job.cause.eq(cause),
            job.record.eq(~ok & ~silenced & ~state.prefetch),
            job.line.eq(ok & last),
            job.superpage.eq(ok & (found.step == Step.TABLE) & fits.bit_select(level[:3], 1)),
            job.level.eq(level),
            job.napot.eq(found.napot),
            Cat(job.r, job.w, job.x).eq(Cat(found.r, found.w, found.x)),
            job.ppn.eq(found.ppn),
            self.line.walk.eq(self.walk),
            self.line.word.eq(state.access.iova[12:15]),
            self.line.napot.eq(found.napot),
            self.line.half.eq(state.access.iova[15]),
            self.line.alone.eq(found.step == Step.ALONE),
        ]
