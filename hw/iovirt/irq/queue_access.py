"""Accesses to the registers of the event queues."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .queue_layouts import (
    MAX_SIZE_LOG2,
    SlotOp,
    SlotOpKind,
    TailOp,
    TailOpKind,
    access,
    slot_state,
    tail_state,
)
from .queue_registers import Control, GuestWord, ModerationSetting, Status, Word

__all__ = ["QueueAccess"]


class QueueAccess(wiring.Component):
    """Execute accesses to the registers of queues, one after the other.

    A new HEAD is accepted iff new - HEAD <= TAIL - HEAD (modulo 2**32), else it is counted in
    FORGED. RUN can be set only while the queue is drained (STATUS.busy is 0) and SIZE is legal;
    it reads back what the queue does. An access takes up to 30 clocks.

    Parameters
    ----------
    queues, queue_width : :class:`int`
        Number of queues, and width of their numbers.
    address_width : :class:`int`
        Width of a physical address.

    Members
    -------
    access : ``In(stream.Signature(access(...)))``
        Accesses.
    answer : ``Out(stream.Signature(32))``
        What was read, for each of them.
    slots, tails : ``Out(stream.Signature(...))``
        Operations on slots and tails.
    slots_answer, tails_answer, slots_answered, tails_answered : ``In(...)``
        Their answers.
    setting : ``Out(...)``
        Registers of the notifier.
    forged : ``Out(1)``
        Pulse: a HEAD was refused.
    """

    def __init__(self, *, queues, queue_width, address_width):
        self.queues        = queues
        self.queue_width   = queue_width
        self.address_width = address_width
        def of(op):
            return stream.Signature(data.StructLayout({"queue": queue_width, "op": op}))
        super().__init__({
            "access":         In(stream.Signature(access(queue_width))),
            "answer":         Out(stream.Signature(32)),
            "slots":          Out(of(SlotOp)),
            "tails":          Out(of(TailOp)),
            "slots_answer":   In(slot_state(address_width)),
            "tails_answer":   In(tail_state),
            "slots_answered": In(1),
            "tails_answered": In(1),
            "setting":        Out(wiring.Signature({
                "en":    Out(1),
                "queue": Out(queue_width),
                "word":  Out(2),
                "data":  Out(32),
            })),
            "forged":         Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        # What software has written, as it reads back.
        m.submodules.words = words = Memory(shape=unsigned(32), depth=16 * self.queues, init=[],
                                            attrs={"no_rw_check": 1})
        self._write, self._read = words.write_port(), words.read_port()
        self._now = now = Signal.like(self.access.p)
        self._scrubbed = scrubbed = Signal()
        scrub = Signal(range(16 * self.queues))
        index, own = Signal(4), Signal(4)
        m.d.comb += [
            # A guest can change but the count of refusals.
            own.eq(Mux(now.guest, Word.FORGED, now.word)),
            self._read.en.eq(1),
            self._read.addr.eq(Cat(index, now.queue)),
            self._write.addr.eq(Mux(scrubbed, Cat(own, now.queue), scrub)),
            self.setting.queue.eq(now.queue),
            self.setting.word.eq(now.word[:2]),
            self.setting.data.eq(now.data),
            self.slots.p.queue.eq(now.queue),
            self.tails.p.queue.eq(now.queue),
        ]
        with m.If(~scrubbed):
            m.d.comb += self._write.en.eq(1)
            m.d.sync += [scrub.eq(scrub + 1), scrubbed.eq(scrub.all())]

        step, stored = Signal(2), Signal(32)
        slots, tails = self.slots_answer, self.tails_answer
        waiting = Signal(2)
        m.d.sync += waiting.eq(waiting & ~Cat(self.slots_answered, self.tails_answered))
        with m.If(self.slots.valid & self.slots.ready):
            m.d.sync += self.slots.valid.eq(0)
        with m.If(self.tails.valid & self.tails.ready):
            m.d.sync += self.tails.valid.eq(0)
        head, moved = Signal(32), Signal(32)
        self._drained = drained = Signal()
        m.d.sync += [
            head.eq(tails.tail - tails.unread),
            moved.eq(now.data - head),
            drained.eq((slots.issued == tails.done) & ~tails.notifying),
        ]

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.access.ready.eq(scrubbed)
                m.d.sync += [now.eq(self.access.p), step.eq(0)]
                with m.If(self.access.valid & scrubbed):
                    m.next = "READ"
            with m.State("READ"):
                self._ask(m, waiting, slots=SlotOpKind.READ, tails=TailOpKind.READ)
                m.d.comb += index.eq(own)
                m.next = "WAIT"
            with m.State("WAIT"):
                with m.If(step == 0):
                    m.d.sync += stored.eq(self._read.data)
                    m.d.comb += index.eq(own)
                with m.If(waiting == 0):
                    m.d.sync += step.eq(step + 1)
                    with m.Switch(step):
                        with m.Case(0):
                            m.next = "SETTLE"
                        with m.Case(1, 2):
                            m.next = "SWEEP"
                        with m.Case(3):
                            m.next = "ANSWER"
            # Two clocks for `head` and `moved`, in which the settings are read, too.
            with m.State("SETTLE"):
                m.d.comb += index.eq(Word.BASE_LOW)
                m.next = "LOAD"
            with m.State("LOAD"):
                m.d.comb += index.eq(Word.BASE_HIGH)
                m.d.sync += self.slots.p.op.base[:32].eq(self._read.data)
                m.next = "LOAD_MORE"
            with m.State("LOAD_MORE"):
                m.d.comb += index.eq(Word.MODERATION)
                m.d.sync += self.slots.p.op.base[32:].eq(self._read.data)
                m.next = "ACT"
            with m.State("ACT"):
                m.next = "ANSWER"
                self._take(m, self._read.data, slots, tails)
                with m.If(now.write):
                    with m.If(now.guest):
                        self._write_guest(m, waiting, moved, tails, stored)
                    with m.Else():
                        self._write_control(m, waiting, slots)
                with m.Else():
                    self._read_word(m, head, stored, slots, tails)
            # What changes the arm rule is followed by two sweeps of the queue.
            with m.State("SWEEP"):
                self._ask(m, waiting, tails=TailOpKind.SWEEP)
                m.next = "WAIT"
            with m.State("ANSWER"):
                m.d.comb += self.answer.valid.eq(1)
                with m.If(self.answer.ready):
                    m.next = "IDLE"
        return m

    def _ask(self, m, waiting, *, slots=None, tails=None):
        """Start operations; WAIT awaits their answers."""
        m.d.sync += waiting.eq(Cat(C(slots is not None, 1), C(tails is not None, 1)))
        if slots is not None:
            m.d.sync += [self.slots.valid.eq(1), self.slots.p.op.kind.eq(slots)]
        if tails is not None:
            m.d.sync += [self.tails.valid.eq(1), self.tails.p.op.kind.eq(tails)]
            m.d.sync += self.tails.p.op.flag.eq(tails == TailOpKind.SWEEP)

    def _take(self, m, moderation, slots, tails):
        """Fill in what operations take with them."""
        now          = self._now
        moderation   = data.View(ModerationSetting, moderation[:24])
        control      = data.View(Control, now.data[:13])
        m.d.sync += [
            self.slots.p.op.error.eq(0),
            self.slots.p.op.drop_new.eq(control.drop_new),
            self.slots.p.op.size_log2.eq(control.size_log2),
            self.slots.p.op.reserved.eq(tails.tail),
            self.slots.p.op.amount.eq(tails.unread),
            self.tails.p.op.urgent.eq(0),
            self.tails.p.op.value.eq(now.data),
            self.tails.p.op.size_log2.eq(control.size_log2),
            self.tails.p.op.once.eq(control.once),
            self.tails.p.op.threshold.eq(moderation.threshold),
            self.tails.p.op.holdoff.eq(moderation.holdoff),
        ]

    def _write_guest(self, m, waiting, moved, tails, stored):
        with m.Switch(self._now.word):
            with m.Case(GuestWord.HEAD):
                with m.If(moved > tails.unread):
                    m.d.comb += [
                        self.forged.eq(1),
                        self._write.en.eq(1),
                        self._write.data.eq(stored + 1),
                    ]
                with m.Else():
                    self._ask(m, waiting, slots=SlotOpKind.FREE, tails=TailOpKind.HEAD)
                    m.d.sync += [
                        self.slots.p.op.amount.eq(moved),
                        self.tails.p.op.value.eq(moved),
                    ]
                    m.next = "WAIT"
            with m.Case(GuestWord.ARM):
                self._ask(m, waiting, tails=TailOpKind.ARM)
                m.next = "WAIT"
            with m.Case(GuestWord.MASK):
                self._ask(m, waiting, tails=TailOpKind.MASK)
                m.d.sync += self.tails.p.op.flag.eq(self._now.data[0])
                m.next = "WAIT"

    def _write_control(self, m, waiting, slots):
        now = self._now
        control = data.View(Control, now.data[:13])
        legal = (control.size_log2 != 0) & (control.size_log2 <= MAX_SIZE_LOG2)
        m.d.comb += self._write.data.eq(now.data)
        with m.Switch(now.word):
            with m.Case(Word.BASE_LOW, Word.BASE_HIGH, Word.MODERATION):
                m.d.comb += self._write.en.eq(1)
            with m.Case(Word.NOTIFY_LOW, Word.NOTIFY_HIGH, Word.NOTIFY_DATA, Word.NOTIFY_KIND):
                m.d.comb += [self._write.en.eq(1), self.setting.en.eq(1)]
            with m.Case(Word.FORGED):
                m.d.comb += [self._write.en.eq(1), self._write.data.eq(0)]
            with m.Case(Word.TAIL):
                with m.If(~slots.run & self._drained):
                    self._ask(m, waiting, tails=TailOpKind.PRESET)
                    m.next = "WAIT"
            with m.Case(Word.CONTROL):
                m.d.comb += self._write.en.eq(1)
                with m.If(~control.run):
                    self._ask(m, waiting, slots=SlotOpKind.STOP, tails=TailOpKind.STOP)
                    m.next = "WAIT"
                with m.Elif(slots.run):
                    self._ask(m, waiting, slots=SlotOpKind.START, tails=TailOpKind.SETTINGS)
                    m.next = "WAIT"
                with m.Elif(self._drained & legal):
                    self._ask(m, waiting, slots=SlotOpKind.START, tails=TailOpKind.START)
                    m.next = "WAIT"

    def _read_word(self, m, head, stored, slots, tails):
        status = Signal(Status)
        m.d.comb += [
            status.run.eq(slots.run),
            status.busy.eq(~self._drained),
            status.error.eq(tails.error),
            status.notifying.eq(tails.notifying),
            status.waiting.eq(slots.waiting),
        ]
        arm, value = tails.tail + ~tails.beyond, self.answer.payload
        # Numbers of the two sets of registers side by side: bit 4 tells the guest's.
        with m.Switch(Cat(self._now.word, self._now.guest)):
            with m.Case(16 + GuestWord.HEAD.value, Word.HEAD):
                m.d.sync += value.eq(head)
            with m.Case(16 + GuestWord.ARM.value, Word.ARM):
                m.d.sync += value.eq(arm[:32])
            with m.Case(16 + GuestWord.TAIL.value, Word.TAIL):
                m.d.sync += value.eq(tails.tail)
            with m.Case(16 + GuestWord.STATUS.value, Word.STATUS):
                m.d.sync += value.eq(status)
            with m.Case(16 + GuestWord.MASK.value):
                m.d.sync += value.eq(tails.mask)
            with m.Case(16 + GuestWord.SIZE.value):
                m.d.sync += value.eq(slots.size_log2)
            with m.Case(Word.CONTROL):
                m.d.sync += value.eq(Cat(slots.run, stored[1:3], C(0, 5), stored[8:13]))
            with m.Case(Word.ACCEPTED):
                m.d.sync += value.eq(slots.reserved)
            with m.Case(Word.DROPPED):
                m.d.sync += value.eq(slots.dropped)
            with m.Case(Word.LOST):
                m.d.sync += value.eq(tails.lost)
            with m.Case(Word.BASE_LOW, Word.BASE_HIGH, Word.MODERATION, Word.NOTIFY_LOW,
                        Word.NOTIFY_HIGH, Word.NOTIFY_DATA, Word.NOTIFY_KIND, Word.FORGED):
                m.d.sync += value.eq(stored)
            with m.Default():
                m.d.sync += value.eq(0)
