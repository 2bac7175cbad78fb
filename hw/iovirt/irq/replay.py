"""Which sources are looked at again, and when."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from iovirt.stream import CreditQueue

from .layouts import MESSAGES
from .operations import Operation, OperationKind
from .source_memory import SourceMemory, source_width

__all__ = ["ReplayList"]

#: Clocks from the look at `awake` to the end of an operation, and some more.
_SLACK = 8


class ReplayList(wiring.Component):
    """Go round the sources that have something pending.

    Each has one token, in a list in memory. A token that comes out becomes an operation, which
    consumes it or puts it back at the end. So the list cannot overflow, and each source gets its
    turn after all others at most once.

    A source that waits until its last record is read is looked at only on the round that begins
    after :attr:`wake`: sources that wait for other queues cost a turn, not an event.

    One token per clock, in and out.

    Parameters
    ----------
    entries : :class:`int`
        Entries of the remap table.
    queues : :class:`int`
        Number of event queues.

    Members
    -------
    push : ``In(1)``, ``push_index`` : ``In(14)``
        Append a token.
    used : ``In(1)``
        An operation has used a token up, or puts it back in this clock.
    o : ``Out(stream.Signature(Operation))``
        Look at this source.
    wake : ``In(1)``, ``wake_queue`` : ``In(range(queues))``
        Something has been read from a queue. Everything that was to wait for that has a token.
    awake : ``Out(queues)``
        Queues whose waiting sources may ask again.
    """

    def __init__(self, *, entries, queues):
        self.entries = entries
        self.queues  = queues
        super().__init__({
            "push":       In(1),
            "push_index": In(14),
            "used":       In(1),
            "o":          Out(stream.Signature(Operation)),
            "wake":       In(1),
            "wake_queue": In(range(queues)),
            "awake":      Out(queues),
        })

    def elaborate(self, platform):
        m = Module()
        width = source_width(self.entries)
        m.submodules.memory = memory = SourceMemory(width, entries=self.entries)
        m.submodules.queue  = queue  = CreditQueue(width, depth=4)

        # The list is a ring; what is read from it has its place in the queue.
        head, tail = Signal(width), Signal(width)
        stored     = Signal(range(self.entries + MESSAGES + 1))
        last  = self.entries + MESSAGES - 1
        fetch = Signal()
        m.d.comb += [
            memory.read_source.eq(head),
            memory.write_source.eq(tail),
            memory.write_data.eq(self.push_index),
            memory.write_enable.eq(self.push),
            fetch.eq((stored != 0) & queue.free),
            queue.reserve.eq(fetch),
            queue.i.payload.eq(memory.read_data),
            queue.o.ready.eq(self.o.ready),
            self.o.valid.eq(queue.o.valid),
            self.o.p.kind.eq(OperationKind.REPLAY),
            self.o.p.index.eq(queue.o.payload),
        ]
        m.d.sync += [
            queue.i.valid.eq(fetch),
            stored.eq(stored + self.push - fetch),
        ]
        with m.If(fetch):
            m.d.sync += head.eq(Mux(head == last, 0, head + 1))
        with m.If(self.push):
            m.d.sync += tail.eq(Mux(tail == last, 0, tail + 1))
        self._rounds(m)
        return m

    def _rounds(self, m):
        """A round covers all tokens there are, once what began before it has ended."""
        tokens = Signal(range(self.entries + MESSAGES + 1))
        left   = Signal.like(tokens)
        woken, slack = Signal(self.queues), Signal(range(_SLACK))
        running, new = Signal(), Signal()
        m.d.sync += [
            tokens.eq(tokens + self.push - self.used),
            woken.eq(Mux(new, 0, woken) | Mux(self.wake, 1 << self.wake_queue, 0)),
        ]
        with m.If(~running):
            m.d.comb += new.eq(1)
            m.d.sync += [self.awake.eq(woken), slack.eq(_SLACK - 1), running.eq(woken.any())]
        with m.Elif(slack != 0):
            m.d.sync += [slack.eq(slack - 1), left.eq(tokens)]
        with m.Elif((left == 0) | (tokens == 0)):
            m.d.sync += running.eq(0)
        with m.Elif(self.used):
            m.d.sync += left.eq(left - 1)
