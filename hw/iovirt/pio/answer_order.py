"""Order of the answers to accesses with equal AXI IDs."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from iovirt.stream import StreamQueue

__all__ = ["CLASS_WIDTH", "AnswerOrder", "class_of", "token", "token_width"]

#: IDs are told apart by so many bits; the rest is folded onto them.
CLASS_WIDTH = 8


def class_of(id):
    """Return the class of an AXI ID: IDs of one class are answered in order."""
    folded = id[:CLASS_WIDTH]
    for start in range(CLASS_WIDTH, len(id), CLASS_WIDTH):
        folded = folded ^ id[start:start + CLASS_WIDTH]
    return folded


def token(*, slots):
    """An access in flight. It is `head` if none of its class was before it."""
    return data.StructLayout({"slot": ceil_log2(slots), "turn": 1, "head": 1})


def token_width(slots):
    """Width of :func:`token`."""
    return ceil_log2(slots) + 2


class AnswerOrder(wiring.Component):
    """Give slots to accesses; let finished ones go, those of one class in the order they came.

    Classes do not wait for each other, and none of this is a search: each slot knows the next one
    of its class. A slot goes when two things have happened: it is finished, and its turn has come
    because the one before has gone. Either is written to a memory of its own and looks whether the
    other is in its memory already; in the clock where both come, the end prevails. A bit of the
    token that changes with every use of a memory saves clearing it.

    A finished head goes 1 clock after ``finish``; the next of its class, if finished, 2 clocks
    after it. Throughput is 1 slot per clock, 1 per 2 clocks within a class. ``finish`` waits only
    while turns go, at most for as many clocks as there are slots. After reset it takes
    ``max(slots, 2 ** class_width)`` clocks until slots are given.

    Parameters
    ----------
    class_width : :class:`int`
        Width of a class.
    slots : :class:`int`
        Number of slots, a power of two of at least 2.

    Members
    -------
    look : ``In(class_width)``
        Class of the access that is taken in the next clock, if one is.
    head : ``Out(1)``
        In the clock after ``look``: no access of its class is in flight.
    free : ``Out(stream.Signature(token))``
        Free slots. `head` means nothing here.
    take : ``In(...)``
        Pulse ``en``: an access of the class of the last clock's ``look`` has ``token``, which
        has come from ``free``, and whose `head` is that of this clock.
    finish : ``In(stream.Signature(token))``
        Ends of accesses.
    o : ``Out(stream.Signature(token, always_ready=True))``
        Accesses whose turn has come.
    put : ``In(...)``
        Pulse ``en``: ``token``, which has gone, is free again. One that has gone earlier than in
        this clock.
    """

    def __init__(self, *, class_width, slots):
        if not isinstance(class_width, int) or class_width < 1:
            raise ValueError(f"Width of class must be an integer of at least 1, "
                             f"not {class_width!r}")
        if not isinstance(slots, int) or slots < 2 or slots & (slots - 1):
            raise ValueError(f"Number of slots must be a power of two of at least 2, "
                             f"not {slots!r}")
        self.class_width = class_width
        self.slots       = slots
        self.shape       = token(slots=slots)
        pulse = wiring.Signature({"en": Out(1), "token": Out(self.shape)})
        super().__init__({
            "look":   In(class_width),
            "head":   Out(1),
            "free":   Out(stream.Signature(self.shape)),
            "take":   In(pulse),
            "finish": In(stream.Signature(self.shape)),
            "o":      Out(stream.Signature(self.shape, always_ready=True)),
            "put":    In(pulse),
        })

    def elaborate(self, platform):
        m = Module()
        # An access of a class has a number; the last that was taken and the last that has gone
        # tell whether any is in flight.
        bits = ceil_log2(self.slots)
        self._number = unsigned(bits + 1)
        self._link = data.StructLayout({"slot": bits, "turn": 1})
        self._goes = data.StructLayout({
            "token": self.shape, "number": self._number, "class": self.class_width})

        self._elaborate_scrub(m)
        self._elaborate_take(m)
        finished, fires = self._elaborate_finish(m)
        turned = self._elaborate_turn(m)

        # Turns go first, so their stages never stop.
        goes = Signal(self._goes)
        m.d.comb += [
            goes.eq(Mux(turned, self._turning, finished)),
            self.o.valid.eq(turned | fires),
            self.o.payload.eq(goes.token),
            self._held.eq(turned & fires),
        ]
        self._elaborate_going(m, goes)
        return m

    def _memory(self, m, name, shape, depth, *, transparent=True, ports=1):
        m.submodules[name] = memory = Memory(shape=shape, depth=depth, init=[])
        write = memory.write_port()
        through = (write,) if transparent else ()
        return write, *(memory.read_port(transparent_for=through) for _ in range(ports))

    def _elaborate_scrub(self, m):
        # Memories keep their contents over a reset, and slots must be there again.
        classes = 1 << self.class_width
        last = max(self.slots, classes) - 1
        count, busy = Signal(range(last + 1)), Signal(init=1)
        with m.If(busy):
            m.d.sync += count.eq(count + 1)
            with m.If(count == last):
                m.d.sync += busy.eq(0)
        self._busy, self._count = busy, count

        m.submodules.free = free = StreamQueue(self._link, depth=self.slots)
        put = self.put.token
        m.d.comb += [
            free.i.valid.eq(Mux(busy, count < self.slots, self.put.en)),
            free.i.payload.slot.eq(Mux(busy, count, put.slot)),
            free.i.payload.turn.eq(Mux(busy, 1, put.turn ^ ~put.head)),
            self.free.valid.eq(free.o.valid & ~busy),
            self.free.payload.slot.eq(free.o.payload.slot),
            self.free.payload.turn.eq(free.o.payload.turn),
            free.o.ready.eq(self.free.ready & ~busy),
        ]

    def _scrubbed(self, m, write, *, en, addr, data):
        """Drive a write port, which writes zeros after reset."""
        m.d.comb += [
            write.en.eq(en | self._busy),
            write.addr.eq(Mux(self._busy, self._count, addr)),
            Value.cast(write.data).eq(Mux(self._busy, 0, data)),
        ]

    def _elaborate_take(self, m):
        classes, taken = 1 << self.class_width, self.take.token
        tail = data.StructLayout({"number": self._number, "slot": ceil_log2(self.slots)})
        tails, self._tail, self._tail_again = self._memory(m, "tails", tail, classes, ports=2)
        self._gone_write, gone = self._memory(m, "gone", self._number, classes)
        links, self._next = self._memory(m, "links", self._link, self.slots)
        infos, self._info = self._memory(m, "infos", data.StructLayout(
            {"number": self._number, "class": self.class_width}), self.slots)

        looked, number = Signal(self.class_width), Signal(self._number)
        m.d.sync += looked.eq(self.look)
        m.d.comb += [
            self._tail.addr.eq(self.look),
            gone.addr.eq(self.look),
            self.head.eq(self._tail.data.number == gone.data),
            number.eq(self._tail.data.number + 1),
            links.en.eq(self.take.en & ~taken.head),
            links.addr.eq(self._tail.data.slot),
            links.data.slot.eq(taken.slot),
            links.data.turn.eq(taken.turn),
            infos.en.eq(self.take.en),
            infos.addr.eq(taken.slot),
            infos.data.number.eq(number),
            infos.data["class"].eq(looked),
        ]
        self._scrubbed(m, tails, en=self.take.en, addr=looked, data=Cat(number, taken.slot))

    def _elaborate_finish(self, m):
        ends, self._ended = self._memory(m, "ends", 1, self.slots, transparent=False)
        self._turns, turn = self._memory(m, "turns", 1, self.slots)
        valid, fires, advance = Signal(), Signal(), Signal()
        self._held = Signal()
        finished = Signal(self._goes)
        i = self.finish.payload
        m.d.comb += [
            advance.eq(~self._held),
            self.finish.ready.eq(advance),
            turn.en.eq(advance),
            turn.addr.eq(i.slot),
            self._info.en.eq(advance),
            self._info.addr.eq(i.slot),
            finished.number.eq(self._info.data.number),
            finished["class"].eq(self._info.data["class"]),
            fires.eq(valid & (finished.token.head | (turn.data == finished.token.turn))),
        ]
        end = self.finish.valid & advance & ~i.head
        self._scrubbed(m, ends, en=end, addr=i.slot, data=i.turn)
        told = Signal(self.shape)
        with m.If(advance):
            m.d.sync += [valid.eq(self.finish.valid), told.eq(i)]
        m.d.comb += finished.token.eq(told)
        return finished, fires

    def _elaborate_turn(self, m):
        # `_turning` is the slot whose turn came in the last clock.
        self._turning, self._turns_to = Signal(self._goes), Signal(self._goes)
        self._comes = Signal()
        valid = Signal()
        m.d.sync += [valid.eq(self._comes), self._turning.eq(self._turns_to)]
        m.d.comb += self._ended.addr.eq(self._turns_to.token.slot)
        to = self._turns_to.token
        self._scrubbed(m, self._turns, en=self._comes, addr=to.slot, data=to.turn)
        return valid & (self._ended.data == self._turning.token.turn)

    def _elaborate_going(self, m, goes):
        # Whoever is taken in the clock in which its predecessor goes is its successor: `gone` is
        # seen by the next clock's look only, and `tails` and `links` are read transparently.
        valid, went = Signal(), Signal(self._goes)
        m.d.sync += [valid.eq(self.o.valid), went.eq(goes)]
        self._scrubbed(m, self._gone_write, en=self.o.valid, addr=goes["class"], data=goes.number)
        m.d.comb += [
            self._tail_again.addr.eq(goes["class"]),
            self._next.addr.eq(goes.token.slot),
            self._comes.eq(valid & (self._tail_again.data.number != went.number)),
            self._turns_to.token.slot.eq(self._next.data.slot),
            self._turns_to.token.turn.eq(self._next.data.turn),
            self._turns_to.number.eq(went.number + 1),
            self._turns_to["class"].eq(went["class"]),
        ]
