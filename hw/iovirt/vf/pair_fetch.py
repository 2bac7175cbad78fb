"""Which entries of a ring were fetched."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .pair_layouts import DIFFERENCE, PairClient, Placed, line
from .share_layouts import COUNT_WIDTH, INDEX_WIDTH, WINDOW, Weaken

__all__ = ["PairFetch"]


class PairFetch(wiring.Component):
    """Allow each entry to be read once between its grants, and whole.

    Bit n of the map is the entry n after the oldest one that was not fetched. A read sets the bits
    of the entries that it has whole, if they are granted. ``first`` moves to the next entry that
    was not fetched.

    A read that begins with granted entries gets nothing behind the granted tail, not even the
    oldest entries, if they come after it in the ring. The 65th entry of a read and those after it
    are never allowed.

    Latency is 5 clocks to ``allow``, and 7 to the rest; throughput is 1 operation per clock.

    Parameters
    ----------
    weak : :class:`bool`
        There is ``weaken``, whose bits ``once`` and ``window`` allow everything.

    Members
    -------
    i : ``In(Placed)``
        Operations. What comes out means nothing if there was none.
    allow : ``Out(WINDOW)``
        Bit n: the entry n of those that the read touches may be given. All ones if entries may be
        read again.
    first, fetched : ``Out``
        New state of the pair.
    moved : ``Out(1)``
        ``first`` has moved.
    """

    def __init__(self, *, weak=False):
        self.weak = weak
        super().__init__({
            "i":       In(Placed),
            "allow":   Out(WINDOW),
            "first":   Out(INDEX_WIDTH),
            "fetched": Out(WINDOW),
            "moved":   Out(1),
        } | ({"weaken": In(Weaken)} if weak else {}))

    def elaborate(self, platform):
        m = Module()
        i = line(m, self.i, 6)
        low, high, turn = self._range(m, i)

        # The granted part of the range.
        mask, fresh, fetched = Signal(WINDOW), Signal(WINDOW), Signal(WINDOW)
        m.d.comb += mask.eq(_below(high) & ~_below(low))
        m.d.sync += [
            fresh.eq(mask & ~i[2].state.fetched),
            fetched.eq(mask | i[2].state.fetched),
        ]

        # From distances to the order of the read: turn by 0 to 63, in two clocks.
        coarse, fine = Signal(WINDOW), Signal(WINDOW)
        turns = line(m, turn, 2)
        again = ~i[4].entry.once
        if self.weak:
            again |= self.weaken.once | self.weaken.window
        every = i[4].ok & ~i[4].write & again
        m.d.comb += fine.eq(_turned(coarse, turns[2][:3], 1))
        m.d.sync += [
            coarse.eq(_turned(fresh, turns[1][3:], 8)),
            self.allow.eq(fine | every.replicate(WINDOW)),
        ]
        self._advance(m, i, fetched)
        return m

    def _range(self, m, i):
        """Find the entries that are read whole and are granted, as distances, in 2 clocks."""
        counts, near, part = i[0].whole, Signal(), i[0].part
        read = ((i[0].client == PairClient.RING) & i[0].ok & ~i[0].write & ~i[0].empty)
        reads = line(m, read, 1)
        # The first entry is among those granted; or it is before them, or behind them.
        starts, ends = ([Signal(DIFFERENCE, name=f"{name}_{n}") for n in range(2)]
                        for name in ("start", "end"))
        m.d.sync += near.eq(i[0].place < i[0].unfetched)
        for n, place in enumerate((i[0].behind, i[0].place)):
            m.d.sync += [starts[n].eq(place + part), ends[n].eq(place + counts)]

        start, end = Mux(near, starts[1], starts[0]), Mux(near, ends[1], ends[0])
        low, high, turn = (Signal(range(WINDOW + 1), name="low"),
                           Signal(range(WINDOW + 1), name="high"), Signal(range(WINDOW)))
        m.d.sync += [
            low.eq(Mux(start < 0, 0, Mux(start >= WINDOW, WINDOW, start))),
            high.eq(Mux((end < 0) | ~reads[1], 0, Mux(end < i[1].unfetched, end, i[1].unfetched))),
            turn.eq(Mux(near, i[1].place, i[1].behind)),
        ]
        return low, high, turn

    def _advance(self, m, i, fetched):
        """Move over what was fetched: count the ones below the first zero, and shift."""
        groups = [fetched[n:n + 8] for n in range(0, WINDOW, 8)]
        full, ones = Signal(len(groups)), [Signal(3, name=f"ones_{n}") for n in range(len(groups))]
        count = Signal(range(WINDOW + 1))
        m.d.sync += full.eq(Cat(group.all() for group in groups))
        for group, low in zip(groups, ones, strict=True):
            m.d.sync += low.eq(_ones(group))
        with m.If(full.all()):
            m.d.sync += count.eq(WINDOW)
        with m.Else():
            which = Signal(3)
            m.d.comb += which.eq(_ones(full))
            m.d.sync += count.eq(Cat(Array(ones)[which], which))

        later = line(m, fetched, 2)[2]
        raw, part = Signal(COUNT_WIDTH), Signal(WINDOW)
        counts    = line(m, count, 1)
        m.d.sync += [
            raw.eq(i[5].state.first + count),
            part.eq(Mux(count[6], 0, later >> (count[3:6] << 3))),
            self.fetched.eq(part >> counts[1][:3]),
            self.first.eq(Mux(raw >= i[6].entry.depth, raw - i[6].entry.depth, raw)),
            self.moved.eq(counts[1] != 0),
        ]
        with m.If((i[6].client == PairClient.WINDOW) & i[6].write):
            m.d.sync += [self.fetched.eq(0), self.first.eq(0)]


def _below(count):
    """Return the numbers up to 63 that are below ``count``, made of decoders instead of adders."""
    low, high = count[:3], count[3:]
    equal = lambda number, value: ~(number ^ C(value, len(number))).any()
    units = [Cat(equal(low, n) for n in range(bit + 1, 8)).any() for bit in range(8)]
    tens  = [equal(high, group) for group in range(9)]
    return Cat(Cat(tens[group + 1:]).any() | (tens[group] & units[bit])
               for group in range(8) for bit in range(8))


def _turned(value, amount, unit):
    """Return ``value`` turned to the right by ``amount`` units."""
    result = value
    for bit in range(len(amount)):
        result = Mux(amount[bit], result.rotate_right(unit << bit), result)
    return result


def _ones(value):
    """Return the number of ones below the first zero of 8 bits, of which one is 0."""
    result = C(7, 3)
    for n in reversed(range(len(value) - 1)):
        result = Mux(value[n], result, C(n, 3))
    return result
