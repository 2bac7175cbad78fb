"""What is pending, and what is delivered."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .checks import SourceCheck
from .layouts import MESSAGES, EventType, IrtEntry, MessageKind, event
from .operations import (
    Denial,
    Forwarded,
    Gathered,
    Last,
    Operation,
    OperationKind,
    Slot,
    Waiting,
    looked_up,
    prepared,
)
from .source_memory import SourceMemory
from .storm import StormLimit

__all__ = ["PendingSlots"]


class PendingSlots(wiring.Component):
    """Deliver interrupts, or keep them pending, so that none is lost and none comes twice.

    Each source has a slot. An interrupt is delivered at once if its source is not suspended, has
    nothing pending, has no event without a verdict, has not reached its limit, and its queue is not
    known to be full. Otherwise it goes into the slot: what is there counts up and gets the new
    data. So the interrupts of a source stay in order, and nothing ever has to wait for a place.

    A pipeline of 4 clocks from ``i`` to the outputs, an operation per clock. Two operations of the
    same source must be at least 4 clocks apart. The memories are cleared in the first
    ``entries + 16`` clocks after reset, in which nothing may come.

    Parameters
    ----------
    entries : :class:`int`
        Entries of the remap table.
    queues : :class:`int`
        Number of event queues.
    queue_width, tag_width : :class:`int`
        Widths in an event.

    Members
    -------
    i_valid : ``In(1)``, ``i`` : ``In(looked_up())``
        An operation and its entry.
    waiting : ``In(Waiting)``
        For the operation of the clock before.
    flight_free : ``In(1)``, ``tag`` : ``In(tag_width)``
        At least two events can be sent, one for this and one for the operation before it.
    forward_free : ``In(1)``
        The same for interrupts to be forwarded, as of the clock before.
    next_tag : ``Out(tag_width)``, ``dropped`` : ``In(1)``, ``stale`` : ``In(1)``
        The spilt event of the clock before must not become pending; its entry was rewritten.
    interval : ``In(24)``
        As of :class:`StormLimit`.
    last_enable, last_index, last_position : ``In``
        A record of a source was put; not while ``commit``.
    o : ``Out(Operation)``
        The operation that ends in this clock, if any of the following says so.
    arrive, spill, commit, read, replay : ``Out(1)``
        An operation of this kind ends.
    valid : ``Out(1)``
        The entry of ``o`` is valid.
    push : ``Out(1)``
        The source of ``o`` gets a token.
    send : ``Out(1)``, ``event`` : ``Out(event(...))``, ``what`` : ``Out(Gathered)``
        An event is sent, for these interrupts.
    forward : ``Out(1)``, ``forwarded`` : ``Out(Forwarded)``
        An interrupt is forwarded.
    deny : ``Out(1)``, ``denial`` : ``Out(Denial)``
        An interrupt is refused.
    entry : ``Out(IrtEntry)``, ``fatal`` : ``Out(1)``
        With ``read``: what software sees.
    """

    def __init__(self, *, entries, queues, queue_width, tag_width):
        self.entries, self.queues = entries, queues
        self.slots    = SourceMemory(Slot, entries=entries)
        self.lasts    = SourceMemory(Last, entries=entries)
        self._cleared = entries + MESSAGES  # words to clear after reset
        super().__init__({
            "i_valid":       In(1),
            "i":             In(looked_up()),
            "waiting":       In(Waiting),
            "flight_free":   In(1),
            "tag":           In(tag_width),
            "forward_free":  In(1),
            "next_tag":      Out(tag_width),
            "dropped":       In(1),
            "stale":         In(1),
            "interval":      In(24),
            "last_enable":   In(1),
            "last_index":    In(14),
            "last_position": In(32),
            "queue":         Out(queue_width),
            "o":             Out(Operation),
            **{name: Out(1) for name in ("arrive", "spill", "commit", "read", "replay", "valid")},
            "push":          Out(1),
            "send":          Out(1),
            "event":         Out(event(queue_width=queue_width, tag_width=tag_width)),
            "what":          Out(Gathered),
            "forward":       Out(1),
            "forwarded":     Out(Forwarded),
            "deny":          Out(1),
            "denial":        Out(Denial),
            "entry":         Out(IrtEntry),
            "fatal":         Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.check = check = SourceCheck(queues=self.queues)
        m.submodules.storm = storm = StormLimit()
        m.submodules.slots, m.submodules.lasts = self.slots, self.lasts

        # Stage 0: check; memories are read. Stage 1: what may make it wait.
        first, second = Signal(prepared()), Signal(prepared())
        m.d.comb += [
            check.i.eq(self.i),
            self.slots.read_source.eq(self.i.operation.index),
            self.lasts.read_source.eq(self.i.operation.index),
            self.queue.eq(first.entry.queue),
            self.next_tag.eq(second.operation.tag),
            storm.interval.eq(self.interval),
        ]
        running = Signal(3)
        m.d.sync += [
            running.eq(Cat(self.i_valid, running)),
            first.operation.eq(self.i.operation),
            first.entry.eq(self.i.entry),
            first.facts.eq(check.facts),
            second.eq(first),
            second.waiting.eq(self.waiting),
            second.slot.eq(self.slots.read_data),
            second.last.eq(self.lasts.read_data),
        ]

        # Stage 2: may it be delivered, and what would it be together with what is pending.
        third = Signal(prepared())
        wants, may, admitted = Signal(), Signal(), Signal()
        merged, stamp, sent  = Signal(Gathered), Signal(8), Signal(16)
        m.d.comb += [
            storm.limit.eq(second.entry.limit),
            storm.stamp.eq(second.slot.stamp),
            storm.sent.eq(second.slot.sent),
        ]
        m.d.sync += [
            third.eq(second),
            admitted.eq(second.facts.admitted(second.operation.message)),
            wants.eq(self._wants(second)),
            may.eq(storm.ok & Mux(second.facts.forward, self.forward_free,
                                  self.flight_free & ~second.waiting.blocked
                                  & ~second.waiting.flying)),
            merged.eq(self._merged(m, second)),
            stamp.eq(storm.now),
            sent.eq(storm.next_sent),
        ]

        # Stage 3: the outcome.
        deliver = Signal()
        m.d.comb += deliver.eq(running[2] & wants & may)
        self._outputs(m, third, running[2], deliver=deliver, admitted=admitted)
        self._store(m, third, running[2], deliver=deliver, admitted=admitted, merged=merged,
                    stamp=stamp, sent=sent)
        return m

    def _wants(self, at):
        """Return whether the operation delivers something if nothing makes it wait."""
        kind, slot = at.operation.kind, at.slot
        arrives = (kind == OperationKind.ARRIVE) & ~slot.pending \
            & at.facts.admitted(at.operation.message)
        returns = (kind == OperationKind.REPLAY) & slot.pending & at.facts.usable() \
            & (~slot.unread | at.waiting.awake)
        return ~at.entry.suspend & (arrives | returns)

    def _merged(self, m, at):
        """Return what is pending if the operation adds to it. An event that comes back is older
        than what is in the slot, an interrupt that arrives is younger.
        """
        merged, new, old = Signal(Gathered), at.operation.what, at.slot.what
        spill, pending   = at.operation.kind == OperationKind.SPILL, at.slot.pending
        differ = pending & (Cat(new.segment, new.rid) != Cat(old.segment, old.rid))
        count  = Signal(17)
        m.d.comb += [
            count.eq(new.count + old.count),
            merged.eq(new),
            merged.count.eq(count[:16] | count[16].replicate(16)),
            merged.more.eq(new.more | old.more | differ),
        ]
        with m.If(pending & spill):
            m.d.comb += merged.data.eq(old.data)
        with m.If(pending & ~spill):
            m.d.comb += [merged.segment.eq(old.segment), merged.rid.eq(old.rid)]
        return merged

    def _store(self, m, at, running, *, deliver, admitted, merged, stamp, sent):
        """Write the slot and the position of the last record."""
        kind, slot, new = at.operation.kind, at.slot, Signal(Slot)
        adds = Signal()
        m.d.comb += new.eq(slot)
        with m.Switch(kind):
            with m.Case(OperationKind.ARRIVE):
                m.d.comb += adds.eq(admitted & ~deliver)
            with m.Case(OperationKind.SPILL):
                m.d.comb += adds.eq(~self.dropped)
                with m.If(~self.dropped):
                    # Nobody who reads the queue of the old entry wakes one of the new.
                    m.d.comb += new.unread.eq(at.operation.unread & ~self.stale)
            with m.Case(OperationKind.REPLAY):
                # What may ask again but finds no place asks later, without another read.
                with m.If(at.waiting.awake):
                    m.d.comb += new.unread.eq(0)
                with m.If(deliver):
                    m.d.comb += [new.pending.eq(0), new.what.eq(0), new.unread.eq(0)]
            with m.Case(OperationKind.COMMIT):
                # Another owner gets nothing of the one before (rule S10).
                m.d.comb += new.unread.eq(0)
                with m.If(~at.facts.valid):
                    m.d.comb += [new.pending.eq(0), new.what.eq(0)]
        with m.If(adds):
            m.d.comb += [new.pending.eq(1), new.what.eq(merged)]
        with m.If(deliver):
            m.d.comb += [new.stamp.eq(stamp), new.sent.eq(sent)]
        # What is refused stores nothing: beyond the tables, the word is that of another source.
        again, stores = kind == OperationKind.REPLAY, Signal()
        m.d.comb += [
            stores.eq(running & (admitted | (kind != OperationKind.ARRIVE))),
            new.token.eq(new.pending | (slot.token & ~again)),
            self.push.eq(stores & new.pending & (again | ~slot.token)),
        ]

        scrubbed, scrub = Signal(), Signal.like(self.slots.write_source)
        written = Mux(self.commit, at.operation.index, self.last_index)
        with m.If(~scrubbed):
            m.d.sync += [scrub.eq(scrub + 1), scrubbed.eq(scrub == self._cleared - 1)]
        m.d.comb += [
            self.slots.write_enable.eq(stores | ~scrubbed),
            self.slots.write_source.eq(Mux(scrubbed, at.operation.index, scrub)),
            self.slots.write_data.eq(Mux(scrubbed, new.as_value(), 0)),
            self.lasts.write_enable.eq(self.commit | self.last_enable | ~scrubbed),
            self.lasts.write_source.eq(Mux(scrubbed, written, scrub)),
            self.lasts.write_data.position.eq(self.last_position),
            self.lasts.write_data.valid.eq(scrubbed & ~self.commit),
        ]

    def _outputs(self, m, at, running, *, deliver, admitted):
        kind, operation, entry = at.operation.kind, at.operation, at.entry
        for name in ("arrive", "spill", "commit", "read", "replay"):
            m.d.comb += getattr(self, name).eq(running & (kind == OperationKind[name.upper()]))
        with m.If(kind == OperationKind.REPLAY):
            m.d.comb += self.what.eq(at.slot.what)
        with m.Else():
            m.d.comb += self.what.eq(operation.what)

        # Message kinds and types of records are in the same order, but INTx is one type.
        number  = operation.index[:4]
        message = Mux(number < MessageKind.ERR_COR.value, EventType.INTX.value,
                      number - MessageKind.ERR_COR.value + EventType.ERR_COR.value)
        is_message = operation.index.bit_select(self.entries.bit_length() - 1, 1)
        m.d.comb += [
            self.o.eq(operation),
            self.valid.eq(at.facts.valid),
            self.send.eq(deliver & ~at.facts.forward),
            self.event.queue.eq(entry.queue),
            self.event.index.eq(operation.index),
            self.event.type.as_value().eq(Mux(is_message, message, EventType.MSI.value)),
            self.event.cookie.eq(entry.cookie),
            self.event.rid.eq(self.what.rid),
            self.event.segment.eq(self.what.segment),
            self.event.guest.eq(entry.guest),
            self.event.data.eq(self.what.data),
            self.event.priority.eq(entry.priority),
            self.event.urgent.eq(entry.urgent),
            self.event.merge_count.eq(self.what.count),
            self.event.more.eq(self.what.more),
            self.event.last_valid.eq(entry.merge & at.last.valid),
            self.event.last.eq(at.last.position),
            self.event.tag.eq(self.tag),
            self.forward.eq(deliver & at.facts.forward),
            self.forwarded.address.eq(entry.address),
            self.forwarded.data.eq(entry.data),
            self.forwarded.index.eq(operation.index),
            self.forwarded.segment.eq(self.what.segment),
            self.forwarded.rid.eq(self.what.rid),
            self.deny.eq(running & (kind == OperationKind.ARRIVE) & ~admitted),
            self.denial.fatal.eq(at.facts.fatal & (operation.message | at.facts.reach)),
            self.denial.message.eq(operation.message),
            self.denial.index.eq(operation.index),
            self.denial.segment.eq(operation.what.segment),
            self.denial.rid.eq(operation.what.rid),
            self.entry.eq(entry),
            self.entry.pending.eq(at.slot.pending),
            self.fatal.eq(at.facts.fatal),
        ]
