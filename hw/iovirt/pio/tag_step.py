"""What a completion, or a look at its age, does to a tag."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from ..pcie.layouts import ErrorCause
from .completion_check import CompletionMatch
from .layouts import FinishStatus
from .request_layouts import (
    TIME_WIDTH,
    Phase,
    store_beat,
    tag_operation,
    tag_progress,
    tag_result,
)
from .timer import PERIOD_TICKS

__all__ = ["TagStep"]

#: The error that an end is recorded as. OK and RRS are none here.
CAUSES = {
    FinishStatus.UR:        ErrorCause.PIO_UNSUPPORTED,
    FinishStatus.CA:        ErrorCause.PIO_ABORT,
    FinishStatus.TIMEOUT:   ErrorCause.PIO_TIMEOUT,
    FinishStatus.POISONED:  ErrorCause.PIO_POISON,
    FinishStatus.LINK_DOWN: ErrorCause.PIO_LINK_DOWN,
}


class TagStep(wiring.Component):
    """Decide an operation on a tag. Combinational, but for what it keeps of a TLP in its beats.

    A completion that is not for a waiting request, or contradicts it, changes nothing but the error
    records. What is accepted is decided anew on each beat, and nothing of a TLP counts unless all
    its beats were accepted; so a tag that changes hands meanwhile gets no half of it. Data may
    be stored before the end of its TLP is seen: only where data are still to come.

    A tag in quarantine is not used again while its TLP waits to be sent: each look begins the
    quarantine anew until it is gone. Nor does a completion count before that.

    Parameters
    ----------
    depth, data_width, owner_width, max_read_bytes : :class:`int`
        Shape operations.

    Members
    -------
    op : ``In(tag_operation(...))``
    now : ``In(TIME_WIDTH)``
    timeout_disable : ``In(1)``
    down : ``In(1)``
        The link is down: requests end, and completions are dropped.
    may_expire : ``In(1)``
        ``expired`` can be taken.
    write : ``Out(1)``, ``progress`` : ``Out(tag_progress(...))``
        What to keep of the tag.
    store : ``Out(store_beat(...))``
        Data to keep.
    end : ``Out(1)``, ``result`` : ``Out(tag_result(...))``
        The request ends.
    quarantine : ``Out(1)``
        With ``end``: by a time-out.
    expired : ``Out(1)``
        The quarantine is over, and the client has returned the tag.
    cause : ``Out(ErrorCause)``
        What to record.
    """

    def __init__(self, *, depth, data_width, owner_width, max_read_bytes):
        self.data_width     = data_width
        self.max_read_bytes = max_read_bytes
        self._match = CompletionMatch(owner_width=owner_width, max_read_bytes=max_read_bytes)
        shape = {"depth": depth, "data_width": data_width, "max_read_bytes": max_read_bytes}
        super().__init__({
            "op":              In(tag_operation(owner_width=owner_width, **shape)),
            "now":             In(TIME_WIDTH),
            "timeout_disable": In(1),
            "down":            In(1),
            "may_expire":      In(1),
            "write":           Out(1),
            "progress":        Out(tag_progress(max_read_bytes=max_read_bytes)),
            "store":           Out(store_beat(**shape)),
            "end":             Out(1),
            "result":          Out(tag_result(owner_width=owner_width)),
            "quarantine":      Out(1),
            "expired":         Out(1),
            "cause":           Out(ErrorCause),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.match = match = self._match
        op, old, new = self.op, self.op.progress, self.progress
        fresh, position = Signal(), Signal.like(old.position)
        self._waiting, self._quarantined, self._over = Signal(), Signal(), Signal()
        status = self.result.finish.status
        m.d.comb += [
            fresh.eq(op.entry.lap != old.lap),
            match.facts.eq(op.facts),
            match.completer.eq(op.completer),
            match.entry.eq(op.entry),
            match.progress.eq(old),
            match.fresh.eq(fresh),
            self._waiting.eq(op.known & (fresh | (old.phase == Phase.WAITING))),
            self._quarantined.eq(op.known & ~fresh & (old.phase == Phase.QUARANTINE)),
            self._over.eq(op.known & ~fresh & (old.phase == Phase.OVER)),
            position.eq(Mux(fresh, op.entry.position, old.position)),
            new.lap.eq(op.entry.lap),
            new.phase.eq(old.phase),
            new.left.eq(Mux(fresh, op.entry.count, old.left)),
            new.position.eq(position),
            new.poisoned.eq(~fresh & old.poisoned),
            new.since.eq(old.since),
            new.data.eq(old.data),
        ]
        sound = Signal()  # all beats of this TLP so far
        at = Signal.like(op.tag)  # its tag
        with m.If(op.beat):
            m.d.sync += at.eq(op.tag)
        with m.If(op.look):
            self._look(m, op)
            # The tag of this TLP is about to change hands.
            with m.If((self.expired | (self.end & self.down)) & (op.tag == at)):
                m.d.sync += sound.eq(0)
        with m.Elif(op.beat):
            self._complete(m, op, match, position, sound)
        self._keep_first(m, op, fresh)

        m.d.comb += [
            self.result.client.eq(op.entry.client),
            self.result.stamp.eq(op.stamp),
            self.result.passed.eq(op.look | op.passed),
            self.result.finish.owner.eq(op.entry.owner),
            self.result.finish.tag.eq(op.tag),
            self.result.finish.data.eq(new.data),
            self.result.finish.rid.eq(Mux(op.look, 0, op.completer)),
        ]
        with m.If(self.end):
            with m.Switch(status):
                for ending, cause in CAUSES.items():
                    with m.Case(ending):
                        m.d.comb += self.cause.eq(cause)
        return m

    def _look(self, m, op):
        """Look at the age of a tag."""
        age, old_age = Signal(TIME_WIDTH), Signal()
        new, status = self.progress, self.result.finish.status
        m.d.comb += [
            age.eq(self.now - Mux(self._waiting, op.entry.issued, op.progress.since)),
            old_age.eq(age > PERIOD_TICKS),
        ]
        with m.If(self._waiting & self.down):
            m.d.comb += [self.write.eq(1), self.end.eq(1), new.phase.eq(Phase.ENDED),
                         status.eq(FinishStatus.LINK_DOWN)]
        with m.Elif(self._waiting & old_age & ~self.timeout_disable):
            m.d.comb += [self.write.eq(1), self.end.eq(1), new.phase.eq(Phase.QUARANTINE),
                         new.since.eq(self.now), self.quarantine.eq(1),
                         status.eq(FinishStatus.TIMEOUT)]
        with m.Elif(self._quarantined & op.unsent):
            m.d.comb += [self.write.eq(1), new.since.eq(self.now)]
        with m.Elif(self._quarantined & (old_age | self.down)):
            m.d.comb += [self.write.eq(1), new.phase.eq(Phase.OVER)]
        with m.Elif(self._over & (op.returned == op.entry.lap) & self.may_expire):
            m.d.comb += [self.write.eq(1), new.phase.eq(Phase.ENDED), self.expired.eq(1)]

    def _complete(self, m, op, match, position, sound):
        """Judge a beat of a completion, and at the last one its TLP."""
        good, new, facts = Signal(), self.progress, op.facts
        live, ends = (self._waiting | self._quarantined) & ~op.unsent, Signal()
        m.d.comb += good.eq(facts.ours & live & match.matches & (op.first | sound))
        m.d.sync += sound.eq(good)

        lanes = exact_log2(self.data_width // 32)
        m.d.comb += [
            self.store.en.eq(good & self._waiting & facts.has_data & ~self.down),
            self.store.tag.eq(op.tag),
            self.store.row.eq(position[2 + lanes:exact_log2(self.max_read_bytes)] + op.row),
            self.store.lane.eq(position[2:2 + lanes]),
            self.store.strb.eq(op.strb),
            self.store.data.eq(op.data),
            ends.eq(op.last & ~op.abort & ~self.down),
        ]
        with m.If(ends & good):
            m.d.comb += [
                self.write.eq(1),
                new.poisoned.eq(facts.poisoned | match.poisoned),
                new.left.eq(facts.remains),
                new.position.eq(Cat(C(0, 2), (position[2:] + facts.length_dw)[:len(position) - 2])),
                new.phase.eq(Mux(self._waiting, Phase.WAITING, Phase.QUARANTINE)),
                self.end.eq(self._waiting & match.final),
                self.result.finish.status.eq(match.status),
            ]
            with m.If(match.final):
                m.d.comb += new.phase.eq(Mux(self._waiting, Phase.ENDED, Phase.OVER))
            with m.If(self._quarantined):
                m.d.comb += self.cause.eq(ErrorCause.COMPLETION_LATE)
        with m.Elif(ends):
            with m.If(facts.ours & (self._quarantined | self._over)):
                m.d.comb += self.cause.eq(ErrorCause.COMPLETION_LATE)
            with m.Elif(facts.ours & self._waiting & ~match.matches):
                m.d.comb += self.cause.eq(ErrorCause.COMPLETION_MISMATCH)
            with m.Else():
                m.d.comb += self.cause.eq(ErrorCause.UNEXPECTED_COMPLETION)

    def _keep_first(self, m, op, fresh):
        """Keep the first Dword of the first completion."""
        start, kept = Signal(32), Signal(32)
        m.d.comb += start.eq(Mux(op.first, op.data[:32], kept))
        with m.If(op.beat):
            m.d.sync += kept.eq(start)
        with m.If(fresh):
            m.d.comb += self.progress.data.eq(start)
