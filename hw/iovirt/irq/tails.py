"""Tails of the event queues: what the reader may see, and when it is told."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..stream import StreamQueue
from .layouts import queue_width
from .moderation import Moderation
from .queue_layouts import TailOp, TailOpKind, completion, tail_state
from .queue_state import QueueState

__all__ = ["QueueTails"]

#: A notified queue or a sweep waits at most this many clocks for its turn.
PATIENCE = 32


class QueueTails(wiring.Component):
    """Move tails over records that were written, and say which queues to notify.

    A record that failed stops its queue: from then on no record moves the tail, until software
    starts the queue again; each one is counted in ``lost``. The rules of notification are those
    of :class:`Moderation`. At most one notification of a queue is on its way.

    All queues are swept in turn, in clocks in which nothing else is to be done, and at least
    every ``2 * PATIENCE`` clocks. So a hold-off time is late by at most ``2 * PATIENCE * queues``
    clocks; by about ``queues`` clocks if the table port is not saturated.

    Latency is 3 clocks from ``done`` to the tail and to ``notify``; throughput is 1 record per
    clock, of one or of several queues.

    Parameters
    ----------
    queues : :class:`int`
        Number of queues, a power of two of at least 2.
    tick_log2 : :class:`int`
        Clocks per unit of the hold-off time, as a power of two, at least 0.

    Members
    -------
    done : ``In(stream.Signature(completion(...)))``
        Records that were written, or have failed.
    notify : ``Out(stream.Signature(...))``
        Queues to notify.
    notified : ``In(stream.Signature(...))``
        Queues that have been: ``queue``, ``failed``.
    stop : ``Out(stream.Signature(...))``
        Queues that an error has stopped.
    failed : ``Out(1)``, ``failed_queue`` : ``Out(...)``
        Pulse: a notification of this queue has failed, the first in a row.
    op : ``In(stream.Signature(...))``
        Operations (``op``) on ``queue``.
    answer : ``Out(tail_state)``
        What the operation met, valid from the clock in which ``answered``.
    answered : ``Out(1)``
        Pulse: the operation was executed.
    """

    def __init__(self, *, queues, tick_log2):
        if type(tick_log2) is not int or not 0 <= tick_log2 <= 16:
            raise ValueError(f"Tick must be the power of two of an integer in 0..16, not "
                             f"{tick_log2!r}")
        self._state = QueueState(tail_state, TailOp, queues=queues)
        self.queues    = queues
        self.tick_log2 = tick_log2
        self.width = width = queue_width(queues)
        self._notified = data.StructLayout({"queue": width, "failed": 1})
        super().__init__({
            "done":     In(stream.Signature(completion(width))),
            "notify":   Out(stream.Signature(width)),
            "notified": In(stream.Signature(self._notified)),
            "stop":     Out(stream.Signature(width)),
            "failed":   Out(1),
            "failed_queue": Out(width),
            "op":       In(stream.Signature(data.StructLayout({"queue": width, "op": TailOp}))),
            "answer":   Out(tail_state),
            "answered": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.state      = state      = self._state
        m.submodules.moderation = moderation = Moderation()
        # A queue is in each of them at most once, so they never are what others wait for.
        m.submodules.notices = notices = StreamQueue(self.width, depth=self.queues)
        m.submodules.stops   = stops   = StreamQueue(self.width, depth=self.queues)
        wiring.connect(m, notices.o, wiring.flipped(self.notify))
        wiring.connect(m, stops.o, wiring.flipped(self.stop))
        self._choose(m, state.i)

        clock = Signal(16 + self.tick_log2)
        m.d.sync += clock.eq(clock + 1)
        now, go = state.now, Signal()
        m.d.comb += [
            state.hold.eq(~stops.i.ready),
            go.eq(now.valid & ~state.hold),
            moderation.state.eq(now.state),
            moderation.op.eq(now.op),
            moderation.now.eq(clock[self.tick_log2:]),
            notices.i.valid.eq(go & moderation.fire),
            notices.i.payload.eq(now.queue),
            stops.i.payload.eq(now.queue),
        ]
        software = ~((now.op.kind == TailOpKind.COMPLETE) | (now.op.kind == TailOpKind.NOTIFIED)
                     | ((now.op.kind == TailOpKind.SWEEP) & ~now.op.flag))
        m.d.sync += [
            self.answered.eq(go & software),
            self.failed.eq(go & moderation.failed),
            self.failed_queue.eq(now.queue),
        ]
        with m.If(go & software):
            m.d.sync += self.answer.eq(now.state)
        new = Signal(tail_state)
        m.d.comb += [new.eq(moderation.next), state.update.eq(new)]
        self._operate(m, now.state, now.op, new, go, stops.i.valid)
        return m

    def _choose(self, m, into):
        """Software goes first, then records; what has waited too long goes before them."""
        swept, patience, hurry = Signal(self.width), Signal(range(PATIENCE)), Signal()
        turn, sweep = Signal(), Signal(TailOp)
        m.d.comb += [sweep.kind.eq(TailOpKind.SWEEP), hurry.eq(patience == PATIENCE - 1)]

        op = into.p.op
        m.d.comb += into.valid.eq(1)
        with m.If(self.op.valid):
            m.d.comb += [into.p.eq(self.op.p), self.op.ready.eq(into.ready)]
        with m.Elif(self.done.valid & ~hurry):
            m.d.comb += [
                into.p.queue.eq(self.done.p.queue),
                op.kind.eq(TailOpKind.COMPLETE),
                op.urgent.eq(self.done.p.urgent),
                op.flag.eq(self.done.p.failed),
                self.done.ready.eq(into.ready),
            ]
            with m.If(into.ready):
                m.d.sync += patience.eq(patience + 1)
        with m.Elif(self.notified.valid & turn):
            m.d.comb += [
                into.p.queue.eq(self.notified.p.queue),
                op.kind.eq(TailOpKind.NOTIFIED),
                op.flag.eq(self.notified.p.failed),
                self.notified.ready.eq(into.ready),
            ]
            with m.If(into.ready):
                m.d.sync += [patience.eq(0), turn.eq(0)]
        with m.Else():
            m.d.comb += [into.p.queue.eq(swept), op.eq(sweep)]
            with m.If(into.ready):
                m.d.sync += [swept.eq(swept + 1), patience.eq(0), turn.eq(1)]

    def _operate(self, m, state, op, new, go, stop):
        """Change what has nothing to do with notification."""
        with m.Switch(op.kind):
            with m.Case(TailOpKind.COMPLETE):
                m.d.comb += new.done.eq(state.done + 1)
                with m.If(op.flag | state.error):
                    m.d.comb += [
                        new.error.eq(1),
                        new.run.eq(0),
                        new.lost.eq(Mux(state.lost.all(), state.lost, state.lost + 1)),
                        stop.eq(go & ~state.error),
                    ]
                with m.Else():
                    m.d.comb += [
                        new.tail.eq(state.tail + 1),
                        new.unread.eq(state.unread + 1),
                    ]
            with m.Case(TailOpKind.HEAD):
                m.d.comb += new.unread.eq(state.unread - op.value[:17])
            with m.Case(TailOpKind.MASK):
                m.d.comb += new.mask.eq(op.flag)
            with m.Case(TailOpKind.START):
                m.d.comb += [new.run.eq(1), new.error.eq(0)]
            with m.Case(TailOpKind.STOP):
                m.d.comb += new.run.eq(0)
            with m.Case(TailOpKind.PRESET):
                m.d.comb += [new.tail.eq(op.value), new.unread.eq(0)]
