"""Where in its rings an operation is."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .pair_layouts import DIFFERENCE, Looked, PairClient, Placed, line, modulo
from .share_layouts import COUNT_WIDTH, RING_LOG2, WINDOW, Weaken

__all__ = ["PairPlace"]

#: log2 of the bytes of the largest ring, 4096 entries of 64 bytes.
_BYTES_LOG2 = 18


class PairPlace(wiring.Component):
    """Find whether a pair belongs to who asks, and how far from the last place the new one is.

    An operation is not ``ok`` if there is no valid pair of this colour and function, if its tables
    have errors, if it is beyond the end of the ring, if it reads completions, or if it writes where
    the device may not write.

    Latency is 3 clocks; throughput is 1 operation per clock.

    Parameters
    ----------
    weak : :class:`bool`
        There is ``weaken``, whose bits ``owner``, ``depth``, ``tail``, ``head`` and ``cq_space``
        switch checks off; ``doorbell`` and ``page_count`` do so for the owner of a doorbell.

    Members
    -------
    i_valid : ``In(1)``, ``i`` : ``In(Looked)``
        Operations.
    o_valid : ``Out(1)``, ``o`` : ``Out(Placed)``
        The operations of 3 clocks ago.
    """

    def __init__(self, *, weak=False):
        self.weak = weak
        super().__init__({
            "i_valid": In(1),
            "i":       In(Looked),
            "o_valid": Out(1),
            "o":       Out(Placed),
        } | ({"weaken": In(Weaken)} if weak else {}))

    def elaborate(self, platform):
        m = Module()
        i = line(m, self.i, 3)
        o = self.o
        m.d.comb += [
            self.o_valid.eq(line(m, self.i_valid, 3)[3]),
            o.offset.eq(i[3].op.value),
            o.batch.eq(i[3].op.value),
            o.value.eq(i[3].op.value),
        ]
        m.d.comb += [getattr(o, name).eq(getattr(i[3].op, name)) for name in
                     ("client", "write", "pair", "side", "colour", "empty")]
        m.d.comb += [getattr(o, name).eq(getattr(i[3], name)) for name in
                     ("entry", "state", "bad", "missing")]
        first, last, rest = self._entries(m, i)
        depth = Signal(COUNT_WIDTH)
        m.d.sync += depth.eq(Mux(self.i.op.side, self.i.entry.cq_depth, self.i.entry.depth))
        self._admit(m, i, self._beyond(m, i, last, rest, depth))
        self._measure(m, i, first, depth)
        self._completions(m, i, first, last)
        self._room(m, i)
        return m

    def _admit(self, m, i, beyond):
        """Check what does not depend on the place in 2 clocks, and then the place too."""
        op, entry = i[0].op, i[0].entry
        known, own, way = Signal(), Signal(), Signal()
        m.d.comb += own.eq(entry.owner == op.colour)
        if self.weak:
            weaken = self.weaken
            with m.If(weaken.owner | ((op.client == PairClient.DOORBELL)
                                      & (weaken.doorbell | weaken.page_count))):
                m.d.comb += own.eq(1)
        with m.Switch(op.client):
            with m.Case(PairClient.RING):
                may_write = Mux(op.side, entry.paired, entry.device_writes)
                m.d.sync += way.eq(own & (entry.function == op.function)
                                   & Mux(op.write, may_write, ~op.side))
            with m.Case(PairClient.DOORBELL):
                m.d.sync += way.eq(own & (~op.side | entry.paired))
            with m.Default():
                m.d.sync += way.eq(op.client == PairClient.GRANT)
        m.d.sync += known.eq(entry.valid & ~i[0].bad & ~i[0].missing)
        knowns = line(m, known, 2)
        m.d.comb += self.o.known.eq(knowns[2])
        m.d.sync += self.o.ok.eq(knowns[1] & line(m, way, 1)[1] & ~beyond)

    def _entries(self, m, i):
        """Find the first entry touched, and the one in which the access ends, in 1 clock."""
        op, entry = i[0].op, i[0].entry
        size, end = Signal(2), Signal(_BYTES_LOG2 + 1)
        below     = Cat(C(7, 3), size > 0, size > 1, size > 2)
        first, last = Signal(_BYTES_LOG2 - 3), Signal(_BYTES_LOG2 - 2)
        part, rest  = Signal(), Signal()
        offset      = op.value[:_BYTES_LOG2]
        m.d.comb += [
            size.eq(Mux(op.side, entry.cq_size_log2, entry.size_log2)),
            end.eq(offset + op.length),
            self.o.part.eq(line(m, part, 2)[2]),
        ]
        m.d.sync += [
            first.eq(offset[3:] >> size),
            last.eq(end[3:] >> size),
            part.eq((offset & below).any()),
            rest.eq((end & below).any()),
        ]
        return first, last, rest

    def _beyond(self, m, i, last, rest, depth):
        """Tell after 2 clocks whether an access or a value is beyond the ring."""
        op, beyond = i[1].op, Signal()
        is_ring  = op.client == PairClient.RING
        is_value = (op.client == PairClient.DOORBELL) & op.write
        if self.weak:
            is_ring  &= ~self.weaken.depth
            is_value &= ~Mux(op.side, self.weaken.head, self.weaken.tail)
        far_off = op.value[_BYTES_LOG2:RING_LOG2].any() | (last + rest > depth)
        m.d.sync += beyond.eq(Mux(is_ring, far_off, is_value & (
            op.value[COUNT_WIDTH:].any() | (op.value[:COUNT_WIDTH] >= depth))))
        return beyond

    def _measure(self, m, i, first, depth):
        """Measure distances: find the operands, subtract, and then take the modulus."""
        state, depths = i[0].state, line(m, depth, 1)
        base, place   = Signal(COUNT_WIDTH), Signal(DIFFERENCE)
        asked, unfetched = Signal(DIFFERENCE), Signal(DIFFERENCE)
        is_value = i[1].op.client == PairClient.DOORBELL
        m.d.sync += [
            base.eq(Mux(i[0].op.side, state.head, state.first)),
            place.eq(Mux(is_value, i[1].op.value[:COUNT_WIDTH], first[:COUNT_WIDTH]) - base),
            self.o.place.eq(modulo(place, depths[1])),
            self.o.behind.eq(place),
            asked.eq(state.requested
                     - Mux(i[0].op.client == PairClient.GRANT, state.granted, state.first)),
            unfetched.eq(state.granted - state.first),
        ]
        m.d.comb += [
            self.o.asked.eq(line(m, modulo(asked, i[1].entry.depth), 2)[2]),
            self.o.unfetched.eq(line(m, modulo(unfetched, i[1].entry.depth), 2)[2]),
        ]

    def _completions(self, m, i, first, last):
        """Count the entries that end in this access, and how they lie to the next completion."""
        o = self.o
        # An access of 4096 bytes has up to 512 entries.
        count, ahead, written = Signal(10), Signal(DIFFERENCE), Signal(DIFFERENCE)
        m.d.sync += [
            count.eq(last - first),
            ahead.eq(i[1].state.next - first[:COUNT_WIDTH]),
            written.eq(last[:COUNT_WIDTH] - i[1].state.next),
            o.whole.eq(Mux(count[6:].any(), WINDOW, count)),
            o.ahead.eq(ahead >= 0),
            o.skipped.eq(ahead != 0),
            o.written.eq(written),
            o.ends.eq(count != 0),
        ]

    def _room(self, m, i):
        """Find how many commands more may be in flight; negative counts as none."""
        most, in_use = Signal(COUNT_WIDTH), Signal(COUNT_WIDTH + 1)
        by_limit, by_space = Signal(DIFFERENCE), Signal(DIFFERENCE)
        entry, state = i[0].entry, i[0].state
        m.d.sync += [
            most.eq(Mux((entry.limit == 0) | (entry.limit >= entry.depth), entry.depth - 1,
                        entry.limit)),
            in_use.eq(state.in_flight + state.unread),
        ]
        entry, state = i[1].entry, i[1].state
        m.d.sync += [
            by_limit.eq(most - state.in_flight),
            by_space.eq(entry.cq_depth - 1 - in_use),
        ]
        spaced = i[2].entry.paired
        if self.weak:
            spaced &= ~self.weaken.cq_space
        m.d.sync += self.o.room.eq(Mux(spaced & (by_space < by_limit), by_space, by_limit))
