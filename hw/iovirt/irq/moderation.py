"""When a queue notifies: the arm rule, and moderation by count and time."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .queue_layouts import TailOp, TailOpKind, tail_state

__all__ = ["Moderation"]


class Moderation(wiring.Component):
    """Say what an operation does to the notification of a queue, and whether to notify now.

    A queue can notify while it runs, is not masked, has no notification on its way, and
    tail - arm is in 1..size (with ``once``: if it has not notified since the last write of
    arm). Then it does when one of these holds for the records not yet notified:

    * there is no moderation (``plain``, that is, the hold-off time is 0);
    * one of them was urgent;
    * they are at least ``threshold``, if that is not 0;
    * the hold-off time has passed since the first of them, within a tick and a sweep.

    A notification that failed is repeated, as soon as a sweep comes, until one is written or the
    rule does not hold any more. ``failed`` tells of the first of them only.

    A record and a sweep are tested; a write of arm or of anything else is followed by two sweeps,
    as a sweep judges by what the one before it has worked out: ``inside``, ``last`` and
    ``end`` say where ``beyond`` is, so that a record need not be compared after it was added.

    Combinational.

    Members
    -------
    state : ``In(tail_state)``
        State that the operation meets.
    op : ``In(TailOp)``
        Operation.
    now : ``In(16)``
        Time in ticks.
    fire : ``Out(1)``
        Notify.
    failed : ``Out(1)``
        A notification has failed, and none has failed since the last that did not, or since START.
    next : ``Out(tail_state)``
        State that the operation leaves; fields that have nothing to do with notification are as
        in ``state``.
    """

    state:  In(tail_state)
    op:     In(TailOp)
    now:    In(16)
    fire:   Out(1)
    failed: Out(1)
    next:   Out(tail_state)

    def elaborate(self, platform):
        m = Module()
        state, new, op = self.state, self.next, self.op
        able, due, inside = Signal(), Signal(), Signal()
        m.d.comb += [
            new.eq(state),
            able.eq(state.run & ~state.mask & ~state.notifying & ~(state.once & state.fired)),
            self.fire.eq(able & inside & due),
        ]

        with m.Switch(op.kind):
            with m.Case(TailOpKind.COMPLETE):
                with m.If(~op.flag & ~state.error):
                    self._record(m, inside, due)
            with m.Case(TailOpKind.SWEEP):
                self._sweep(m, inside, due)
            with m.Case(TailOpKind.NOTIFIED):
                m.d.comb += [
                    new.notifying.eq(0),
                    new.failing.eq(op.flag),
                    self.failed.eq(op.flag & ~state.failing),
                ]
                with m.If(op.flag):
                    m.d.comb += [new.fresh.eq(1), new.fired.eq(0)]
            with m.Case(TailOpKind.ARM):
                m.d.comb += [new.beyond.eq(state.tail + ~op.value), new.fired.eq(0)]
                self._forget(m)
            with m.Case(TailOpKind.PRESET):
                m.d.comb += new.beyond.eq(~C(0, 32))
                self._forget(m)
            with m.Case(TailOpKind.START, TailOpKind.SETTINGS):
                m.d.comb += [
                    new.once.eq(op.once),
                    new.threshold.eq(op.threshold),
                    new.holdoff.eq(op.holdoff),
                    new.plain.eq(op.holdoff == 0),
                ]
                with m.If(op.kind == TailOpKind.START):
                    m.d.comb += [new.size_log2.eq(op.size_log2), new.fired.eq(0),
                                 new.failing.eq(0)]
                    self._forget(m)

        with m.If(self.fire):
            m.d.comb += [
                new.notifying.eq(1),
                new.fired.eq(1),
                new.count.eq(0),
                new.urgent.eq(0),
                new.fresh.eq(0),
                new.timing.eq(0),
            ]
        return m

    def _record(self, m, inside, due):
        state, new, op = self.state, self.next, self.op
        size_less_2 = Cat(C(0, 1), *(state.size_log2 > bit for bit in range(1, 16)))
        more = Signal(9)
        m.d.comb += [
            inside.eq((state.inside & ~state.end) | state.last),
            more.eq(state.count + 1),
            due.eq(state.plain | state.urgent | op.urgent
                   | ((state.threshold != 0) & (more >= state.threshold))),
            new.beyond.eq(state.beyond + 1),
            new.inside.eq(inside),
            new.last.eq(state.beyond == 0xFFFF_FFFE),
            new.end.eq(state.beyond == size_less_2),
        ]
        with m.If(inside):
            m.d.comb += [
                new.count.eq(Mux(more[8], 255, more)),
                new.urgent.eq(state.urgent | op.urgent),
            ]
            self._start_timer(m)

    def _sweep(self, m, inside, due):
        state, new = self.state, self.next
        size_less_1, passed = Signal(32), Signal()
        m.d.comb += [
            size_less_1.eq(Cat(state.size_log2 > bit for bit in range(16))),
            passed.eq(~(self.now - state.deadline)[15]),
            inside.eq(state.inside & (state.count != 0)),
            due.eq(state.plain | state.urgent | (state.timing & passed)
                   | ((state.threshold != 0) & (state.count >= state.threshold))),
            new.inside.eq((state.beyond & ~size_less_1) == 0),
            new.last.eq(state.beyond.all()),
            new.end.eq(state.beyond == size_less_1),
            new.fresh.eq(0),
        ]
        with m.If(state.fresh & ~self.fire):
            m.d.comb += new.count.eq(
                Mux(new.inside, Mux(state.beyond >= 255, 255, state.beyond + 1), 0))
        with m.If(inside):
            self._start_timer(m)

    def _start_timer(self, m):
        with m.If(~self.state.timing):
            m.d.comb += [
                self.next.timing.eq(1),
                self.next.deadline.eq(self.now + self.state.holdoff),
            ]

    def _forget(self, m):
        """Let the next sweep work out what follows from ``beyond``."""
        new = self.next
        m.d.comb += [signal.eq(0) for signal in (
            new.inside, new.last, new.end, new.count, new.urgent, new.timing)]
        m.d.comb += new.fresh.eq(1)
