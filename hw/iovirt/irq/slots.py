"""Reservation of places in the rings of the event queues."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..stream import StreamQueue
from .layouts import EventRecord, VerdictKind, event, queue_width, room, verdict
from .queue_layouts import SlotOp, SlotOpKind, record_write, slot_state
from .queue_state import QueueState

__all__ = ["SlotReserver"]


class SlotReserver(wiring.Component):
    """Give each event a verdict, and each accepted one the next slot of its queue's ring.

    Never more slots are in use than the ring has: a slot is in use from the acceptance of its event
    until the reader's head has passed it. Verdicts and records leave in the order of events. After
    a verdict ``OFF``, ``FULL`` or ``UNREAD``, ``room`` names the queue once, when slots become
    free or the queue starts.

    Latency is 4 clocks from ``event`` to ``verdict`` and ``record``; throughput is 1 event per
    clock, of one or of several queues. ``op`` goes before events. Not accepted until ``queues``
    clocks after reset.

    Parameters
    ----------
    queues : :class:`int`
        Number of queues, a power of two of at least 2.
    address_width : :class:`int`
        Width of a physical address.
    tag_width : :class:`int`
        Width of the tags of events.

    Members
    -------
    event : ``In(stream.Signature(event(...)))``
        Events.
    verdict : ``Out(stream.Signature(verdict(...)))``
        One for each event.
    record : ``Out(stream.Signature(record_write(...)))``
        Records to write.
    room : ``Out(stream.Signature(room(...)))``
        Queues for which an event may wait no longer.
    op : ``In(stream.Signature(...))``
        Operations (``op``) on ``queue``. One that reports an error is not answered.
    answer : ``Out(slot_state(...))``
        What the operation met, valid from the clock in which ``answered``.
    answered : ``Out(1)``
        Pulse: the operation was executed.
    time : ``In(56)``
        Time stamp of records.
    accepted, dropped : ``Out(1)``
        Pulses: an event will have a record, or was lost by policy.
    """

    def __init__(self, *, queues, address_width, tag_width):
        if type(address_width) is not int or not 32 <= address_width <= 56:
            raise ValueError(f"Address width must be an integer in 32..56, not {address_width!r}")
        width = queue_width(queues)
        self._event = event(queue_width=width, tag_width=tag_width)
        work = data.StructLayout({"event": 1, "op": SlotOp, "item": self._event})
        self._state = QueueState(slot_state(address_width), work, queues=queues)
        self.queues        = queues
        self.address_width = address_width
        self.tag_width     = tag_width
        op = data.StructLayout({"queue": range(queues), "op": SlotOp})
        self._verdict = verdict(tag_width=tag_width)
        self._room    = room(queue_width=width)
        self._record  = record_write(width, address_width)
        super().__init__({
            "event":    In(stream.Signature(self._event)),
            "verdict":  Out(stream.Signature(self._verdict)),
            "record":   Out(stream.Signature(self._record)),
            "room":     Out(stream.Signature(self._room)),
            "op":       In(stream.Signature(op)),
            "answer":   Out(slot_state(address_width)),
            "answered": Out(1),
            "time":     In(56),
            "accepted": Out(1),
            "dropped":  Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.state    = state    = self._state
        m.submodules.verdicts = verdicts = StreamQueue(self._verdict, depth=2)
        m.submodules.records  = records  = StreamQueue(self._record, depth=2)
        m.submodules.rooms    = rooms    = StreamQueue(self._room, depth=2)
        wiring.connect(m, verdicts.o, wiring.flipped(self.verdict))
        wiring.connect(m, records.o, wiring.flipped(self.record))
        wiring.connect(m, rooms.o, wiring.flipped(self.room))

        m.d.comb += [
            state.i.valid.eq(self.op.valid | self.event.valid),
            state.i.p.queue.eq(Mux(self.op.valid, self.op.p.queue, self.event.p.queue)),
            state.i.p.op.event.eq(~self.op.valid),
            state.i.p.op.op.eq(self.op.p.op),
            state.i.p.op.item.eq(self.event.p),
            self.op.ready.eq(state.i.ready),
            self.event.ready.eq(state.i.ready & ~self.op.valid),
            state.hold.eq(~(verdicts.i.ready & records.i.ready & rooms.i.ready)),
        ]

        now, new = state.now, Signal(state.state)
        go, free = Signal(), Signal()
        m.d.comb += [
            go.eq(now.valid & ~state.hold),
            new.eq(now.state),
            state.update.eq(new),
            rooms.i.p.queue.eq(now.queue),
            rooms.i.valid.eq(go & free & now.state.waiting),
        ]
        with m.If(free):
            m.d.comb += new.waiting.eq(0)
        software = ~now.op.event & ~now.op.op.error
        m.d.sync += [
            self.answered.eq(go & software),
            self.accepted.eq(records.i.valid),
            self.dropped.eq(0),
        ]
        with m.If(go & software):
            m.d.sync += self.answer.eq(now.state)
        with m.If(now.op.event):
            self._decide(m, now, new, go, verdicts.i, records.i)
        with m.Else():
            self._operate(m, now, new, free)
        self._write(m, now, records.i.p)
        return m

    def _decide(self, m, now, new, go, verdicts, records):
        state, item = now.state, now.op.item
        full, unread, age = Signal(), Signal(), Signal(32)
        m.d.comb += [
            full.eq(state.used.bit_select(state.size_log2, 1)),
            # `last` is one of the last `used` records.
            age.eq(state.reserved - item.last),
            unread.eq(item.last_valid & (age != 0) & (age <= state.used)),
            verdicts.valid.eq(go),
            verdicts.p.tag.eq(item.tag),
            verdicts.p.position.eq(state.reserved),
            verdicts.p.error.eq(~state.run & state.error),
        ]
        with m.If(~state.run):
            m.d.comb += [verdicts.p.kind.eq(VerdictKind.OFF), new.waiting.eq(1)]
        with m.Elif(unread):
            m.d.comb += [verdicts.p.kind.eq(VerdictKind.UNREAD), new.waiting.eq(1)]
        with m.Elif(full & ~state.drop_new):
            m.d.comb += [verdicts.p.kind.eq(VerdictKind.FULL), new.waiting.eq(1)]
        with m.Elif(full):
            m.d.comb += verdicts.p.kind.eq(VerdictKind.DROPPED)
            m.d.sync += self.dropped.eq(go)
            with m.If(~state.dropped.all()):
                m.d.comb += new.dropped.eq(state.dropped + 1)
        with m.Else():
            m.d.comb += [
                verdicts.p.kind.eq(VerdictKind.ACCEPTED),
                records.valid.eq(go),
                new.reserved.eq(state.reserved + 1),
                new.used.eq(state.used + 1),
                new.issued.eq(state.issued + 1),
            ]

    def _operate(self, m, now, new, free):
        op = now.op.op
        with m.Switch(op.kind):
            with m.Case(SlotOpKind.START):
                m.d.comb += new.drop_new.eq(op.drop_new)
                with m.If(~now.state.run & ~op.settings):
                    m.d.comb += [
                        new.run.eq(1),
                        new.error.eq(0),
                        new.size_log2.eq(op.size_log2),
                        new.reserved.eq(op.reserved),
                        new.used.eq(op.amount),
                        new.base.eq(op.base),
                        free.eq(1),
                    ]
            with m.Case(SlotOpKind.STOP):
                m.d.comb += [new.run.eq(0), new.error.eq(now.state.error | op.error)]
            with m.Case(SlotOpKind.FREE):
                m.d.comb += [
                    new.used.eq(now.state.used - op.amount),
                    free.eq(now.state.run),
                ]

    def _write(self, m, now, out):
        """Assemble the record (docs/architecture.md, event queues)."""
        state, item = now.state, now.op.item
        mask = Cat(state.size_log2 > bit for bit in range(16))
        record = Signal(EventRecord)
        m.d.comb += [getattr(record, name).eq(item[name])
                     for name in ("cookie", "merge_count", "index", "rid", "segment", "guest",
                                  "more", "data", "type", "priority")]
        m.d.comb += [
            out.queue.eq(now.queue),
            out.urgent.eq(item.urgent),
            # The ring is aligned to its size.
            out.address.eq(state.base | Cat(C(0, 5), state.reserved[:16] & mask)),
            record.sequence.eq(state.reserved),
            record.time.eq(self.time),
            record.phase.eq(~state.reserved.bit_select(state.size_log2, 1)),
            out.record.eq(record),
        ]
