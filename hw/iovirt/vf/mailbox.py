"""Accesses of guests that the manager answers."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, connect, flipped

from iovirt.stream import StreamArbiter, StreamQueue

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

    Each access ends once. Latency is 3 clocks to ``oldest``, and from ``answer`` 2 clocks to
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
        # The two sides of an access: what the manager sees, and what its core waits for.
        shown  = data.StructLayout({"guest": COLOUR_WIDTH, "turn": 1, "write": 1, "be": 4,
                                    "address": APERTURE_LOG2, "data": 32})
        waits  = data.StructLayout({"owner": 16, "write": 1, "core": 8, "guest": COLOUR_WIDTH,
                                    "address": APERTURE_LOG2, "since": 16})
        m.submodules.shown = self._shown = StreamQueue(shown, depth=self.guests)
        m.submodules.waits = self._waits = StreamQueue(waits, depth=self.guests)
        m.submodules.ends = ends = StreamArbiter(PageEnd, ports=2)
        m.submodules.ended = self._ended = StreamQueue(PageEnd, depth=1)
        self._refused = ends.i[0]
        connect(m, self._ended.o, ends.i[1])
        connect(m, ends.o, flipped(self.end))

        # The manager is done with the oldest.
        self._pops = Signal()
        ticks, now = Signal(self.tick_log2), Signal(16)
        m.d.sync += [ticks.eq(ticks + 1), now.eq(now + ticks.all())]
        self._admit(m, now)
        self._finish(m, now)
        return m

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

        valid, call, busy, moves = Signal(), Signal(PageCall), Signal(), Signal()
        (take, taken), (leave, left) = turns("taken"), turns("left")
        admits = Signal()
        m.d.comb += [
            busy.eq(taken ^ left),
            moves.eq(valid & (~busy | self._refused.ready)),
            admits.eq(valid & ~busy),
            self.i.ready.eq(~valid & ~scrub),
            self._refused.valid.eq(valid & busy),
            *page_end(self._refused.payload, call, data=0xFFFFFFFF),
            take.en.eq(scrub | admits),
            take.addr.eq(Mux(scrub, count, call.guest)),
            take.data.eq(~scrub & ~taken),
            leave.en.eq(scrub | self._pops),
            leave.addr.eq(Mux(scrub, count, self._shown.o.payload.guest)),
            leave.data.eq(~scrub & self._shown.o.payload.turn),
            self.event.valid.eq(admits),
            self.event.colour.eq(call.guest),
        ]
        with m.If(~valid | moves):
            m.d.sync += valid.eq(self.i.valid & self.i.ready)
        with m.If(~valid):
            m.d.sync += call.eq(self.i.payload)
        shown, waits = self._shown.i, self._waits.i
        m.d.comb += [
            shown.valid.eq(admits),
            waits.valid.eq(admits),
            *(shown.payload[name].eq(call[name])
              for name in ("guest", "write", "be", "address", "data")),
            *(waits.payload[name].eq(call[name])
              for name in ("owner", "write", "core", "guest", "address")),
            shown.payload.turn.eq(~taken),
            waits.payload.since.eq(now),
        ]

    def _finish(self, m, now):
        shown, waits, ended = self._shown.o, self._waits.o, self._ended.i
        # `behind` accesses at the head of `shown` have expired; then both heads are one access.
        behind, held, answer = Signal(range(self.guests + 1)), Signal(), Signal(33)
        expires, old, finishes = Signal(), Signal(), Signal()
        age = Signal(16)
        oldest, seen = self.oldest, shown.payload
        m.d.comb += [
            age.eq(now - waits.payload.since),
            oldest.valid.eq(shown.valid & ~held & ((behind != 0) | waits.valid)),
            oldest.expired.eq(behind != 0),
            *(oldest[name].eq(seen[name]) for name in ("write", "be", "guest", "data")),
            oldest.offset.eq(seen.address & self.mask),
            self.pending.eq(self._shown.level),

            expires.eq(old & ~held & ended.ready),
            finishes.eq(held & (behind == 0) & ended.ready),
            self._pops.eq(finishes | (held & (behind != 0))),
            shown.ready.eq(self._pops),
            waits.ready.eq(expires | finishes),
            ended.valid.eq(expires | finishes),
            *page_end(ended.payload, waits.payload, ok=finishes & answer[32],
                      data=Mux(finishes & answer[32], answer, 0xFFFFFFFF), counted=1,
                      counter=GuestCounter.MAILBOX),
        ]
        # The next access is not old before it was looked at.
        m.d.sync += [
            old.eq(waits.valid & ~waits.ready & (self.timeout != 0) & (age > self.timeout)),
            behind.eq(behind + expires - (held & (behind != 0))),
        ]
        with m.If(self.answer.en & oldest.valid):
            m.d.sync += [held.eq(1), answer.eq(Cat(self.answer.data, self.answer.ok))]
        with m.Elif(self._pops):
            m.d.sync += held.eq(0)
