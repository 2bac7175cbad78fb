"""What the registers of the event queues hold, and what they show."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .queue_layouts import access, slot_state, tail_state
from .queue_registers import GuestWord, Status, Word

__all__ = ["QueueView", "WordMemory"]


class WordMemory(wiring.Component):
    """Keep what software has written to the registers of each queue.

    All are set to 0 after reset, one per clock. A read takes 1 clock; what is read in the clock in
    which it is written is undefined.

    Parameters
    ----------
    queues, queue_width : :class:`int`
        Number of queues, a power of two, and width of their numbers.

    Members
    -------
    queue : ``In(queue_width)``
        Queue to read and to write.
    read_word, read_data : ``In(4)``, ``Out(32)``
        Register to read, and what it holds 1 clock later.
    write_enable, write_word, write_data : ``In(1)``, ``In(4)``, ``In(32)``
        Write; not before ``ready``.
    ready : ``Out(1)``
        All registers are 0, or have been written since then.
    """

    def __init__(self, *, queues, queue_width):
        self.queues      = queues
        self.queue_width = queue_width
        super().__init__({
            "queue":        In(queue_width),
            "read_word":    In(4),
            "read_data":    Out(32),
            "write_enable": In(1),
            "write_word":   In(4),
            "write_data":   In(32),
            "ready":        Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.words = words = Memory(shape=unsigned(32), depth=16 * self.queues, init=[],
                                            attrs={"no_rw_check": 1})
        write, read = words.write_port(), words.read_port()
        scrub = Signal(range(16 * self.queues))
        m.d.comb += [
            read.addr.eq(Cat(self.read_word, self.queue)),
            self.read_data.eq(read.data),
            write.en.eq(self.write_enable | ~self.ready),
            write.addr.eq(Mux(self.ready, Cat(self.write_word, self.queue), scrub)),
            write.data.eq(Mux(self.ready, self.write_data, 0)),
        ]
        with m.If(~self.ready):
            m.d.sync += [scrub.eq(scrub + 1), self.ready.eq(scrub.all())]
        return m


class QueueView(wiring.Component):
    """Show the state of a queue as its registers.

    Combinational, apart from ``head`` and ``drained``, which follow 1 clock later.

    Parameters
    ----------
    queue_width, address_width : :class:`int`
        Width of queue numbers and of physical addresses.

    Members
    -------
    now : ``In(access(...))``
        Register to show.
    stored : ``In(32)``
        What software has written to it.
    slots, tails : ``In(slot_state(...))``, ``In(tail_state)``
        State of the queue.
    head : ``Out(32)``
        Records that the reader is done with.
    drained : ``Out(1)``
        No record and no notification is on its way.
    flying : ``Out(1)``
        A record is on its way.
    value : ``Out(32)``
        What the register shows.
    """

    def __init__(self, *, queue_width, address_width):
        self.queue_width   = queue_width
        self.address_width = address_width
        super().__init__({
            "now":     In(access(queue_width)),
            "stored":  In(32),
            "slots":   In(slot_state(address_width)),
            "tails":   In(tail_state),
            "head":    Out(32),
            "drained": Out(1),
            "flying":  Out(1),
            "value":   Out(32),
        })

    def elaborate(self, platform):
        m = Module()
        slots, tails, stored = self.slots, self.tails, self.stored
        m.d.sync += [
            self.head.eq(tails.tail - tails.unread),
            self.flying.eq(slots.issued != tails.done),
            self.drained.eq((slots.issued == tails.done) & ~tails.notifying),
        ]

        status = Signal(Status)
        m.d.comb += [
            status.run.eq(slots.run),
            status.busy.eq(~self.drained),
            status.error.eq(tails.error),
            status.notifying.eq(tails.notifying),
            status.waiting.eq(slots.waiting),
        ]
        value, arm = self.value, tails.tail + ~tails.beyond
        # Numbers of the two sets of registers side by side: bit 4 tells the guest's.
        with m.Switch(Cat(self.now.word, self.now.guest)):
            with m.Case(16 + GuestWord.HEAD.value, Word.HEAD):
                m.d.comb += value.eq(self.head)
            with m.Case(16 + GuestWord.ARM.value, Word.ARM):
                m.d.comb += value.eq(arm[:32])
            with m.Case(16 + GuestWord.TAIL.value, Word.TAIL):
                m.d.comb += value.eq(tails.tail)
            with m.Case(16 + GuestWord.STATUS.value, Word.STATUS):
                m.d.comb += value.eq(status)
            with m.Case(16 + GuestWord.MASK.value):
                m.d.comb += value.eq(tails.mask)
            with m.Case(16 + GuestWord.SIZE.value):
                m.d.comb += value.eq(slots.size_log2)
            with m.Case(Word.CONTROL):
                m.d.comb += value.eq(Cat(slots.run, stored[1:3], C(0, 5), stored[8:13]))
            with m.Case(Word.ACCEPTED):
                m.d.comb += value.eq(slots.reserved)
            with m.Case(Word.DROPPED):
                m.d.comb += value.eq(slots.dropped)
            with m.Case(Word.LOST):
                m.d.comb += value.eq(tails.lost)
            with m.Case(Word.BASE_LOW, Word.BASE_HIGH, Word.MODERATION, Word.NOTIFY_LOW,
                        Word.NOTIFY_HIGH, Word.NOTIFY_DATA, Word.NOTIFY_KIND, Word.FORGED):
                m.d.comb += value.eq(stored)
        return m
