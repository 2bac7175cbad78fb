"""Events that have no verdict yet."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .layouts import VerdictKind, verdict
from .operations import Gathered, Operation, OperationKind
from .source_memory import source_width

__all__ = ["InFlight", "flight"]


def flight(*, entries, queue_width):
    """What must be known of an event in case it has to be made pending."""
    return data.StructLayout({
        "index": 14,
        "queue": queue_width,
        "what":  Gathered,
    })


class InFlight(wiring.Component):
    """Keep each event until its verdict, and turn it into an operation if it has to wait.

    A source has at most one event in flight, so that its interrupts stay in order: the user asks
    ``flying`` before it adds one. A place is free again only when whoever does not see it any more
    also sees what the verdict changed: the position in ``last``, or the pending slot.

    A verdict per clock if events are accepted, one per 4 clocks or more if they are not. ``flying``
    comes 1 clock after ``index``.

    Parameters
    ----------
    entries : :class:`int`
        Entries of the remap table.
    queue_width : :class:`int`
        Width of the number of a queue.
    events : :class:`int`
        Places, a power of two in 2..64.

    Members
    -------
    index : ``In(14)``, ``flying`` : ``Out(1)``
        There is an event of this source.
    busy : ``Out(events)``
        Places that are not free.
    free : ``Out(1)``
        At least two places are free.
    tag : ``Out(range(events))``
        That the next event gets.
    add : ``In(1)``, ``event`` : ``In(flight(...))``
        An event is on its way.
    verdict : ``In(stream.Signature(verdict(...)))``
        In the order of events.
    last_enable : ``Out(1)``, ``last_index`` : ``Out(14)``, ``last_position`` : ``Out(32)``
        A record of this source got this position.
    hold : ``In(1)``
        Take no verdict in this clock.
    spill : ``Out(stream.Signature(Operation))``
        Make an event pending.
    spilt : ``In(1)``, ``spilt_tag`` : ``In(range(events))``
        That has happened.
    next_tag : ``In(range(events))``, ``dropped`` : ``Out(1)``
        The event of ``next_tag`` of the clock before has nobody to go to any more, so it must not
        become pending.
    stale : ``Out(1)``
        That event was made from an entry that has been rewritten since.
    full : ``Out(1)``, ``full_queue`` : ``Out(queue_width)``
        This queue took no event, because it is full or off.
    settled : ``Out(1)``
        All verdicts have been dealt with.
    commit : ``In(1)``, ``commit_index`` : ``In(14)``, ``commit_drop`` : ``In(1)``
        The entry of this source has been rewritten; with ``commit_drop``, it is invalid now.
    old : ``Out(1)``
        An event made from the entry before the last ``commit`` is in flight.
    """

    def __init__(self, *, entries, queue_width, events):
        if not isinstance(events, int) or events & (events - 1) or not 2 <= events <= 64:
            raise ValueError(f"Number of events must be a power of two in 2..64, not {events!r}")
        self.entries = entries
        self.events  = events
        tag          = range(events)
        self.layout  = flight(entries=entries, queue_width=queue_width)
        super().__init__({
            "index":         In(14),
            "flying":        Out(1),
            "busy":          Out(events),
            "free":          Out(1),
            "tag":           Out(tag),
            "add":           In(1),
            "event":         In(self.layout),
            "verdict":       In(stream.Signature(verdict(tag_width=ceil_log2(events)))),
            "last_enable":   Out(1),
            "last_index":    Out(14),
            "last_position": Out(32),
            "hold":          In(1),
            "spill":         Out(stream.Signature(Operation)),
            "spilt":         In(1),
            "spilt_tag":     In(tag),
            "next_tag":      In(tag),
            "dropped":       Out(1),
            "stale":         Out(1),
            "full":          Out(1),
            "full_queue":    Out(queue_width),
            "settled":       Out(1),
            "commit":        In(1),
            "commit_index":  In(14),
            "commit_drop":   In(1),
            "old":           Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        busy, old, dead = self.busy, Signal(self.events), Signal(self.events)
        sources = [Signal(source_width(self.entries), name=f"source_{n}")
                   for n in range(self.events)]
        free, drop = Signal(self.events), Signal(self.events)
        taken      = Mux(self.add, 1 << self.tag, 0)
        match      = lambda index: Cat(source == index for source in sources) & busy

        m.d.comb += self.free.eq(~(busy.bit_select(self.tag, 1)
                                   | busy.bit_select((self.tag + 1)[:len(self.tag)], 1)))
        m.d.sync += [
            self.flying.eq(match(self.index).any()),
            self.old.eq((old & busy).any()),
            busy.eq((busy & ~free) | taken),
            old.eq(Mux(self.commit, match(self.commit_index), old) & ~free & ~taken),
            dead.eq((dead | drop) & ~taken),
        ]
        with m.If(self.commit & self.commit_drop):
            m.d.comb += drop.eq(match(self.commit_index))
        with m.If(self.add):
            m.d.sync += self.tag.eq(self.tag + 1)
            for n in range(self.events):
                with m.If(self.tag == n):
                    m.d.sync += sources[n].eq(self.event.index)
        m.d.sync += [
            self.dropped.eq(dead.bit_select(self.next_tag, 1)),
            self.stale.eq(old.bit_select(self.next_tag, 1)),
        ]
        self._answer(m, sources=sources, old=old, free=free)
        return m

    def _answer(self, m, *, sources, old, free):
        """Take the verdict on the oldest event."""
        m.submodules.memory = memory = Memory(
            shape=self.layout, depth=self.events, init=[],
            attrs={"ram_style": "distributed", "no_rw_check": 1})
        write, read = memory.write_port(), memory.read_port()
        head, answer = Signal.like(self.tag), self.verdict.p
        m.d.comb += [
            write.addr.eq(self.tag),
            write.en.eq(self.add),
            write.data.eq(self.event),
            read.addr.eq(head),
        ]

        # An event that has its record, or is counted as dropped, is done with.
        waits, busy       = Signal(), Signal()
        done, gone        = Signal(), Signal.like(self.tag)
        m.d.comb += [
            waits.eq((answer.kind != VerdictKind.ACCEPTED) & (answer.kind != VerdictKind.DROPPED)),
            self.verdict.ready.eq(~self.hold & ~busy),
            self.last_enable.eq(self.verdict.valid & self.verdict.ready & ~old.bit_select(head, 1)
                                & (answer.kind == VerdictKind.ACCEPTED)),
            self.last_index.eq(Array(sources)[head]),
            self.last_position.eq(answer.position),
            free.eq(Mux(done, 1 << gone, 0) | Mux(self.spilt, 1 << self.spilt_tag, 0)),
        ]
        m.d.sync += [done.eq(self.verdict.valid & self.verdict.ready & ~waits), gone.eq(head)]

        # One that has to wait is read, then made an operation. `busy` ends as that starts.
        loaded, unread, spills = Signal(), Signal(), Signal(range(self.events + 1))
        m.d.comb += self.settled.eq(spills == 0)
        m.d.sync += spills.eq(spills + (self.verdict.valid & self.verdict.ready & waits)
                              - self.spilt)
        with m.If(self.verdict.valid & self.verdict.ready):
            m.d.sync += [head.eq(head + 1), busy.eq(waits), loaded.eq(waits),
                         unread.eq(answer.kind == VerdictKind.UNREAD)]
        with m.If(loaded):
            m.d.sync += [
                loaded.eq(0),
                self.spill.valid.eq(1),
                self.spill.p.index.eq(read.data.index),
                self.spill.p.what.eq(read.data.what),
                self.spill.p.unread.eq(unread),
                self.spill.p.tag.eq(gone),
                self.full_queue.eq(read.data.queue),
            ]
        m.d.sync += self.full.eq(loaded & ~unread)
        m.d.comb += self.spill.p.kind.eq(OperationKind.SPILL)
        with m.If(self.spill.valid & self.spill.ready):
            m.d.sync += [self.spill.valid.eq(0), busy.eq(0)]
