"""What an operation does to the counts of a pair."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .pair_layouts import Counted, PairClient, Placed, line
from .share_layouts import COUNT_WIDTH, WINDOW, Weaken

__all__ = ["PairCounts"]

#: Most completions that one write can have, of 16 bytes each; of 8 bytes, the others are odd.
MOST = 256


class PairCounts(wiring.Component):
    """Check tails and heads, grant commands, and count completions.

    A tail may move from where it is up to before the oldest entry that was not fetched, a head over
    what was completed. One that stays where it is is accepted, and nobody hears of it: NVM Express
    devices report a doorbell that gets the value that it has as an error. Never is more granted
    than requested, than ``WINDOW`` entries that were not fetched, or than completions have room
    for. A new entry gives back what was in flight, unless that cannot be known.

    Latency is 7 clocks; throughput is 1 operation per clock.

    Parameters
    ----------
    weak : :class:`bool`
        There is ``weaken``, whose bits ``tail`` and ``head`` switch checks off.

    Members
    -------
    i_valid : ``In(1)``, ``i`` : ``In(Placed)``
        Operations.
    o_valid : ``Out(1)``, ``o`` : ``Out(Counted)``
        The operations of 7 clocks ago. ``first`` and ``fetched`` of the state are as they were.
    """

    def __init__(self, *, weak=False):
        self.weak = weak
        super().__init__({
            "i_valid": In(1),
            "i":       In(Placed),
            "o_valid": Out(1),
            "o":       Out(Counted),
        } | ({"weaken": In(Weaken)} if weak else {}))

    def elaborate(self, platform):
        m = Module()
        i = line(m, self.i, 7)
        m.d.comb += self.o_valid.eq(line(m, self.i_valid, 7)[7])
        tail, head, unread, moves = self._guest(m, i)
        count, more, granted = self._grant(m, i)
        done, following, odd = self._complete(m, i)

        # What is left, from what was known 6 clocks after `i`.
        o, now, state = self.o, i[6], i[6].state
        reset = (now.client == PairClient.WINDOW) & now.write & ~now.missing
        m.d.comb += [getattr(o, name).eq(getattr(i[7], name)) for name in
                     ("client", "pair", "side", "colour", "offset")]
        m.d.comb += [getattr(o, name).eq(getattr(i[7].entry, name)) for name in
                     ("owner", "tail", "function", "paired")]
        m.d.sync += [
            o.write.eq(now.ok | reset),
            o.bad.eq(now.bad & (now.client != PairClient.WINDOW)),
            o.odd.eq(odd),
            o.completed.eq(Mux(reset, Mux(now.entry.paired & ~now.bad, state.in_flight, 0), done)),
            o.granted.eq(count),
            o.more.eq(more),
            o.wake.eq(moves | (done != 0)),
            o.ring.eq(head & moves),
            o.ok.eq(now.ok & ((now.client != PairClient.DOORBELL) | ~now.write | tail | head)),
            o.value.eq(Mux(~now.ok, 0, Mux(now.write, now.value,
                                           Mux(now.side, state.head, state.requested)))),
        ]
        m.d.sync += o.state.eq(state)
        with m.If(reset):
            m.d.sync += o.state.eq(0)
        with m.Else():
            m.d.sync += [
                o.state.requested.eq(Mux(tail, now.value, state.requested)),
                o.state.granted.eq(granted),
                o.state.head.eq(Mux(head, now.value, state.head)),
                o.state.next.eq(following),
                o.state.unread.eq(Mux(head, unread, state.unread + done)),
                o.state.in_flight.eq(state.in_flight + Mux(now.entry.paired, count, 0) - done),
            ]
        return m

    def _guest(self, m, i):
        """Return whether a tail or a head is accepted, how many completions are unread then, and
        whether it moves.
        """
        rises, falls, left, moves = Signal(), Signal(), Signal(COUNT_WIDTH), Signal()
        any_tail = self.weaken.tail if self.weak else 0
        any_head = self.weaken.head if self.weak else 0
        accepted, free = Signal(3), Signal(COUNT_WIDTH)
        m.d.sync += [
            rises.eq((i[0].place >= i[0].asked) | any_tail),
            falls.eq(i[0].place <= i[0].state.unread),
            left.eq(i[0].state.unread - i[0].place),
            moves.eq(i[0].place != Mux(i[0].side, 0, i[0].asked)),
            free.eq(Mux(falls, left, 0)),
        ]
        write = i[1].ok & (i[1].client == PairClient.DOORBELL) & i[1].write
        allowed = Mux(i[1].side, falls | any_head, rises)
        m.d.sync += accepted.eq(Cat(write & allowed & ~i[1].side, write & allowed & i[1].side,
                                    write & allowed & moves))
        last = line(m, accepted, 4)[4]
        return last[0], last[1], line(m, free, 4)[4], last[2]

    def _grant(self, m, i):
        """Return how many commands are granted, whether there is room for more, and the tail."""
        # At most WINDOW, so that few bits are compared.
        width = range(WINDOW + 1)
        window, room, least = Signal(width), Signal(width), Signal(width)
        rooms = line(m, room, 1)
        all_room, count, more = Signal(width), Signal(width), Signal()
        m.d.sync += [
            window.eq(WINDOW - i[0].unfetched),
            room.eq(Mux(i[0].room < 0, 0, Mux(i[0].room > WINDOW, WINDOW, i[0].room))),
            least.eq(Mux(i[1].asked < window, i[1].asked, window)),
            all_room.eq(Mux(i[2].ok & (i[2].client == PairClient.GRANT),
                            Mux(least < rooms[1], least, rooms[1]), 0)),
            count.eq(Mux(all_room < i[3].batch, all_room, i[3].batch)),
            more.eq(all_room > i[3].batch),
        ]
        tail, granted = Signal(COUNT_WIDTH + 1), Signal(COUNT_WIDTH)
        depth = i[5].entry.depth
        m.d.sync += [
            tail.eq(i[4].state.granted + count),
            granted.eq(Mux(tail >= depth, tail - depth, tail)),
        ]
        return line(m, count, 2)[2], line(m, more, 2)[2], granted

    def _complete(self, m, i):
        """Return how many commands complete, the slot after them, and whether others do."""
        written, done = Signal(range(MOST + 1)), Signal(range(MOST + 1))
        odd, following, slot = Signal(), Signal(COUNT_WIDTH), Signal(COUNT_WIDTH)
        counted = line(m, i[0].ok & (i[0].client == PairClient.RING) & i[0].write & i[0].side
                       & ~i[0].empty, 2)
        new, depth = i[0].written, i[3].entry.cq_depth
        m.d.sync += [
            written.eq(Mux(counted[0] & i[0].ahead & (new > 0), Mux(new > MOST, MOST, new), 0)),
            done.eq(Mux(written < i[1].state.in_flight, written, i[1].state.in_flight)),
            odd.eq(counted[2] & i[2].ends & (i[2].skipped | (i[2].written != done))),
            following.eq(i[2].state.next + done),
            slot.eq(Mux(following >= depth, following - depth, following)),
        ]
        return line(m, done, 4)[4], line(m, slot, 2)[2], line(m, odd, 3)[3]
