"""Accesses to the registers of the event queues."""

from amaranth import *
from amaranth.lib import data, stream, wiring
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
from .queue_registers import Control, GuestWord, ModerationSetting, Word
from .queue_words import QueueView, WordMemory

__all__ = ["QueueAccess"]


class QueueAccess(wiring.Component):
    """Execute accesses to the registers of queues, one after the other.

    A new HEAD is accepted iff new - HEAD <= TAIL - HEAD (modulo 2**32), else it is counted in
    FORGED. But a reader may see a record, by its phase, before the tail has moved, as tails move in
    the order of records of all queues: a HEAD within the records on their way waits until they are
    written. RUN can be set only while the queue is drained (STATUS.busy is 0), SIZE is legal and
    BASE is a physical address; it reads back what the queue does. An access takes up to 30 clocks,
    apart from that.

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
        self._words = WordMemory(queues=queues, queue_width=queue_width)
        self._view  = QueueView(queue_width=queue_width, address_width=address_width)

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
        m.submodules.words = self._words
        m.submodules.view  = self._view
        self._now = now = Signal.like(self.access.p)
        self._moved, self._step = Signal(32), Signal(2)
        self._waiting, self._stored = Signal(2), Signal(32)
        self._own = Signal(4)
        self._connect(m)
        waiting, step = self._waiting, self._step
        m.d.sync += waiting.eq(waiting & ~Cat(self.slots_answered, self.tails_answered))
        with m.If(self.slots.valid & self.slots.ready):
            m.d.sync += self.slots.valid.eq(0)
        with m.If(self.tails.valid & self.tails.ready):
            m.d.sync += self.tails.valid.eq(0)

        index, loaded = self._words.read_word, self._words.read_data
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.access.ready.eq(self._words.ready)
                m.d.sync += now.eq(self.access.p)
                with m.If(self.access.valid & self._words.ready):
                    m.next = "READ"
            with m.State("READ"):
                self._ask(m, slots=SlotOpKind.READ, tails=TailOpKind.READ)
                m.d.sync += step.eq(0)
                m.d.comb += index.eq(self._own)
                m.next = "WAIT"
            with m.State("WAIT"):
                with m.If(step == 0):
                    m.d.sync += self._stored.eq(loaded)
                    m.d.comb += index.eq(self._own)
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
                m.d.sync += self.slots.p.op.base[:32].eq(loaded)
                m.next = "LOAD_MORE"
            with m.State("LOAD_MORE"):
                m.d.comb += index.eq(Word.MODERATION)
                m.d.sync += self.slots.p.op.base[32:].eq(loaded)
                m.next = "ACT"
            with m.State("ACT"):
                m.next = "ANSWER"
                self._take(m)
                with m.If(~now.write):
                    m.d.sync += self.answer.payload.eq(self._view.value)
                with m.Elif(now.guest):
                    self._write_guest(m)
                with m.Else():
                    self._write_control(m)
            # What changes the arm rule is followed by two sweeps of the queue.
            with m.State("SWEEP"):
                self._ask(m, tails=TailOpKind.SWEEP)
                m.next = "WAIT"
            with m.State("ANSWER"):
                m.d.comb += self.answer.valid.eq(1)
                with m.If(self.answer.ready):
                    m.next = "IDLE"
        return m

    def _connect(self, m):
        now, words, view = self._now, self._words, self._view
        m.d.comb += [
            # A guest can change but the count of refusals.
            self._own.eq(Mux(now.guest, Word.FORGED, now.word)),
            words.queue.eq(now.queue),
            words.write_word.eq(self._own),
            view.now.eq(now),
            view.stored.eq(self._stored),
            view.slots.eq(self.slots_answer),
            view.tails.eq(self.tails_answer),
            self.setting.queue.eq(now.queue),
            self.setting.word.eq(now.word[:2]),
            self.setting.data.eq(now.data),
            self.slots.p.queue.eq(now.queue),
            self.tails.p.queue.eq(now.queue),
        ]
        m.d.sync += self._moved.eq(now.data - view.head)

    def _ask(self, m, *, slots=None, tails=None):
        """Start operations; WAIT awaits their answers."""
        m.d.sync += self._waiting.eq(Cat(C(slots is not None, 1), C(tails is not None, 1)))
        if slots is not None:
            m.d.sync += [self.slots.valid.eq(1), self.slots.p.op.kind.eq(slots)]
        if tails is not None:
            m.d.sync += [self.tails.valid.eq(1), self.tails.p.op.kind.eq(tails)]
            m.d.sync += self.tails.p.op.flag.eq(tails == TailOpKind.SWEEP)

    def _take(self, m):
        """Fill in what operations take with them."""
        now, tails = self._now, self.tails_answer
        moderation = data.View(ModerationSetting, self._words.read_data[:24])
        control    = data.View(Control, now.data[:13])
        m.d.sync += [
            self.slots.p.op.error.eq(0),
            # Must not start what an error stops meanwhile: its tail would stay stopped.
            self.slots.p.op.settings.eq(self.slots_answer.run),
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

    def _write_guest(self, m):
        moved, words = self._moved, self._words
        with m.Switch(self._now.word):
            with m.Case(GuestWord.HEAD):
                with m.If((moved > self.tails_answer.unread) & self._view.flying
                          & (moved <= self.slots_answer.used)):
                    # The reader may have seen a record before its tail has moved: look again.
                    m.next = "READ"
                with m.Elif(moved > self.tails_answer.unread):
                    m.d.comb += [
                        self.forged.eq(1),
                        words.write_enable.eq(1),
                        words.write_data.eq(self._stored + 1),
                    ]
                with m.Else():
                    self._ask(m, slots=SlotOpKind.FREE, tails=TailOpKind.HEAD)
                    m.d.sync += [
                        self.slots.p.op.amount.eq(moved),
                        self.tails.p.op.value.eq(moved),
                    ]
                    m.next = "WAIT"
            with m.Case(GuestWord.ARM):
                self._ask(m, tails=TailOpKind.ARM)
                m.next = "WAIT"
            with m.Case(GuestWord.MASK):
                self._ask(m, tails=TailOpKind.MASK)
                m.d.sync += self.tails.p.op.flag.eq(self._now.data[0])
                m.next = "WAIT"

    def _write_control(self, m):
        now, slots, words = self._now, self.slots_answer, self._words
        drained = self._view.drained
        control = data.View(Control, now.data[:13])
        legal = (control.size_log2 != 0) & (control.size_log2 <= MAX_SIZE_LOG2) \
            & ~self.slots.p.op.base[self.address_width:].any()
        m.d.comb += words.write_data.eq(now.data)
        with m.Switch(now.word):
            with m.Case(Word.BASE_LOW, Word.BASE_HIGH, Word.MODERATION):
                m.d.comb += words.write_enable.eq(1)
            with m.Case(Word.NOTIFY_LOW, Word.NOTIFY_HIGH, Word.NOTIFY_DATA, Word.NOTIFY_KIND):
                m.d.comb += [words.write_enable.eq(1), self.setting.en.eq(1)]
            with m.Case(Word.FORGED):
                m.d.comb += [words.write_enable.eq(1), words.write_data.eq(0)]
            with m.Case(Word.TAIL):
                with m.If(~slots.run & drained):
                    self._ask(m, tails=TailOpKind.PRESET)
                    m.next = "WAIT"
            with m.Case(Word.CONTROL):
                m.d.comb += words.write_enable.eq(1)
                with m.If(~control.run):
                    self._ask(m, slots=SlotOpKind.STOP, tails=TailOpKind.STOP)
                    m.next = "WAIT"
                with m.Elif(slots.run):
                    self._ask(m, slots=SlotOpKind.START, tails=TailOpKind.SETTINGS)
                    m.next = "WAIT"
                with m.Elif(drained & legal):
                    self._ask(m, slots=SlotOpKind.START, tails=TailOpKind.START)
                    m.next = "WAIT"
