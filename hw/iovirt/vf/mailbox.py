"""Accesses of guests that the manager answers."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, connect, flipped

from iovirt.stream import StreamArbiter

from .guest_layouts import check_guests
from .notices import event_signature
from .page_layouts import (
    APERTURE_LOG2,
    MailboxAnswerSignature,
    MailboxRequest,
    PageCall,
    PageEnd,
    page_end,
)
from .share_layouts import COLOUR_WIDTH, GuestCounter

__all__ = ["Mailbox"]


class Mailbox(wiring.Component):
    """Keep one access of each guest until the manager has answered it.

    A further access of a guest fails at once, so no guest takes the place of another, and nobody
    ever waits for a place. The manager sees the oldest access. When its time is over, an access
    fails, but the manager still sees it, marked as expired, until it answers: so an answer never
    meets another access than the one that was read.

    Each access ends once. Latency is 5 clocks to ``oldest``, and from ``answer`` 2 clocks to
    ``end``; throughput is 1 access per 2 clocks. After reset it takes ``guests`` clocks until
    accesses are taken.

    Parameters
    ----------
    guests : :class:`int`
        A power of two in 4..256.
    tick_log2 : :class:`int`
        log2 of the clocks of a unit of time, 1 to 20.

    Members
    -------
    i : ``In(stream.Signature(PageCall))``
    mask : ``In(28)``
        Size of the region of a guest - 1.
    timeout : ``In(16)``
        Time that an access has, in units, plus up to 1; 0: no limit. 65535 counts as no limit.
    oldest : ``Out(MailboxRequest)``
    pending : ``Out(range(guests + 1))``
        Number of accesses that wait, expired ones included.
    answer : ``In(MailboxAnswerSignature())``
        The oldest access is answered. Ignored while there is none.
    event : ``Out(event_signature())``
        An access has come.
    end : ``Out(stream.Signature(PageEnd))``
    ready : ``Out(1)``
        The state of before reset has been cleared.
    """

    def __init__(self, *, guests, tick_log2=10):
        check_guests(guests)
        if type(tick_log2) is not int or not 1 <= tick_log2 <= 20:
            raise ValueError(f"Tick must be an integer in 1..20, not {tick_log2!r}")
        self.guests    = guests
        self.tick_log2 = tick_log2
        super().__init__({
            "i":       In(stream.Signature(PageCall)),
            "mask":    In(APERTURE_LOG2),
            "timeout": In(16),
            "oldest":  Out(MailboxRequest),
            "pending": Out(range(guests + 1)),
            "answer":  In(MailboxAnswerSignature()),
            "event":   Out(event_signature()),
            "end":     Out(stream.Signature(PageEnd)),
            "ready":   Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        # The two sides of an access: what the manager sees, and what its core waits for. Either is
        # in a ring of its own, as many have ended for their cores that the manager still sees.
        shown = data.StructLayout({"guest": COLOUR_WIDTH, "turn": 1, "write": 1, "be": 4,
                                   "address": APERTURE_LOG2, "data": 32})
        waits = data.StructLayout({"owner": 16, "write": 1, "core": 8, "guest": COLOUR_WIDTH,
                                   "address": APERTURE_LOG2, "since": 16})
        m.submodules.ends = self._arbiter = ends = StreamArbiter(PageEnd, ports=2)
        connect(m, ends.o, flipped(self.end))

        self._admits, self._pops, self._ends = Signal(), Signal(), Signal()
        self._behind = behind = Signal(range(self.guests + 1))
        self._put = Signal(range(self.guests))
        self._shown, self._sees = self._ring(m, "shown", shown, self._pops, self.pending != 0)
        self._waits, self._lasts = self._ring(m, "waits", waits, self._ends,
                                              self.pending != behind)
        m.d.sync += [
            self._put.eq(self._put + self._admits),
            self.pending.eq(self.pending + self._admits - self._pops),
        ]
        ticks, now = Signal(self.tick_log2), Signal(16)
        m.d.sync += [ticks.eq(ticks + 1), now.eq(now + ticks.all())]
        self._admit(m, now)
        self._finish(m, now)
        return m

    def _ring(self, m, name, shape, pops, some):
        """Return the head of a ring, after the entry to be put into it, and whether it is there."""
        memory = Memory(shape=shape, depth=self.guests, init=[], attrs={"no_rw_check": 1})
        m.submodules[name] = memory
        write, read = memory.write_port(), memory.read_port()
        head, there = Signal(range(self.guests), name=f"{name}_head"), Signal(name=f"{name}_there")
        entry, valid = Signal(shape, name=f"{name}_entry"), Signal(name=f"{name}_valid")
        m.d.comb += [
            write.en.eq(self._admits),
            write.addr.eq(self._put),
            read.addr.eq(head),
        ]
        m.d.sync += [
            head.eq(head + pops), there.eq(some & ~pops),
            entry.eq(read.data), valid.eq(there & ~pops),
        ]
        return (write.data, entry), valid

    def _admit(self, m, now):
        # A guest is busy if its bits in the two memories differ; each has one writer. They keep
        # their contents over a reset.
        count, scrub = Signal(range(self.guests)), Signal(init=1)
        with m.If(scrub):
            m.d.sync += [count.eq(count + 1), scrub.eq(count != self.guests - 1)]
        m.d.comb += self.ready.eq(~scrub)

        def turns(name):
            m.submodules[name] = memory = Memory(shape=1, depth=self.guests, init=[])
            write = memory.write_port()
            read  = memory.read_port(transparent_for=(write,))
            m.d.comb += [read.en.eq(~valid), read.addr.eq(self.i.payload.guest)]
            return write, read.data

        valid, call, busy = Signal(), Signal(PageCall), Signal()
        (take, taken), (leave, left) = turns("taken"), turns("left")
        refused, (shown, seen), (waits, _) = self._arbiter.i[0], self._shown, self._waits
        m.d.comb += [
            busy.eq(taken ^ left),
            self._admits.eq(valid & ~busy),
            self.i.ready.eq(~valid & ~scrub),
            refused.valid.eq(valid & busy),
            *page_end(refused.payload, call, data=0xFFFFFFFF),
            take.en.eq(scrub | self._admits),
            take.addr.eq(Mux(scrub, count, call.guest)),
            take.data.eq(~scrub & ~taken),
            leave.en.eq(scrub | self._pops),
            leave.addr.eq(Mux(scrub, count, seen.guest)),
            leave.data.eq(~scrub & seen.turn),
            self.event.valid.eq(self._admits),
            self.event.colour.eq(call.guest),
            *(shown[name].eq(call[name]) for name in ("guest", "write", "be", "address", "data")),
            *(waits[name].eq(call[name]) for name in ("owner", "write", "core", "guest",
                                                      "address")),
            shown.turn.eq(~taken),
            waits.since.eq(now),
        ]
        with m.If(valid):
            m.d.sync += valid.eq(busy & ~refused.ready)
        with m.Else():
            m.d.sync += [valid.eq(self.i.valid & self.i.ready), call.eq(self.i.payload)]

    def _finish(self, m, now):
        # `behind` accesses at the head of `shown` have expired; then both heads are one access.
        # What is over keeps its head of `waits` until its end was taken.
        behind, held, answer = self._behind, Signal(), Signal(33)
        over, late, old, passed = Signal(), Signal(), Signal(), Signal()
        age = Signal(16)
        oldest, (_, seen), (_, waits) = self.oldest, self._shown, self._waits
        ended = self._arbiter.i[1]
        m.d.comb += [
            oldest.valid.eq(self._sees & ~held & ((behind != 0) | self._lasts)),
            oldest.expired.eq(behind != 0),
            *(oldest[name].eq(seen[name]) for name in ("write", "be", "guest", "data")),
            oldest.offset.eq(seen.address & self.mask),

            age.eq(now - waits.since),
            passed.eq(held & (behind != 0)),
            ended.valid.eq(over),
            *page_end(ended.payload, waits, ok=~late & answer[32],
                      data=Mux(~late & answer[32], answer, 0xFFFFFFFF), counted=1,
                      counter=GuestCounter.MAILBOX),
            self._ends.eq(over & ended.ready),
            self._pops.eq(passed | (self._ends & ~late)),
        ]
        m.d.sync += [
            old.eq(self._lasts & ~self._ends & (self.timeout != 0) & (age > self.timeout)),
            behind.eq(behind + (self._ends & late) - passed),
        ]
        with m.If(self._ends):
            m.d.sync += over.eq(0)
        with m.Elif(~over):
            m.d.sync += [over.eq((held & (behind == 0)) | (old & ~held)), late.eq(~held)]
        with m.If(self.answer.en & oldest.valid):
            m.d.sync += [held.eq(1), answer.eq(Cat(self.answer.data, self.answer.ok))]
        with m.Elif(self._pops):
            m.d.sync += held.eq(0)
