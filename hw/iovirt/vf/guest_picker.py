"""Which guest is visited next."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from iovirt.stream.picker import lowest_of

from .guest_layouts import check_guests
from .scheduler_layouts import guest_pulse

__all__ = ["GuestPicker"]


class GuestPicker(wiring.Component):
    """Keep a bit for each guest that wants to be visited, and choose among them in turn.

    A wake is never lost: it sets the bit of its guest, which falls when the guest is chosen; a wake
    in that clock or later has it chosen once more. A guest is chosen after at most ``guests - 1``
    others. Guests whose bit is not set cost no time.

    Guests are in rows, of about the square root of their number; the choice walks along a row and
    then goes to the next one that has a bit set. Latency is 3 to 6 clocks; throughput is a choice
    per 2 clocks in a row, and per 4 from row to row.

    Parameters
    ----------
    guests : :class:`int`
        A power of two in 4..256.
    wakers : :class:`int`
        Number of those who wake, at least 1.
    weak : :class:`bool`
        There is ``unfair``.

    Members
    -------
    wake : ``In(guest_pulse(guests)).array(wakers)``
        The guest wants to be visited.
    o : ``Out(stream.Signature(range(guests)))``
        The guest chosen.
    unfair : ``In(1)``
        Always choose the lowest guest.
    """

    def __init__(self, *, guests, wakers, weak=False):
        check_guests(guests)
        if not isinstance(wakers, int) or wakers < 1:
            raise ValueError(f"Number of wakers must be an integer of at least 1, not {wakers!r}")
        self.guests = guests
        self.wakers = wakers
        self.weak   = weak
        super().__init__({
            "wake": In(guest_pulse(guests)).array(wakers),
            "o":    Out(stream.Signature(range(guests))),
            **({"unfair": In(1)} if weak else {}),
        })

    def elaborate(self, platform):
        m = Module()
        columns = 1 << (self.guests.bit_length() - 1) // 2
        rows    = self.guests // columns
        wants   = [Signal(columns, name=f"wants_{row}") for row in range(rows)]
        unfair  = self.unfair if self.weak else C(0)

        row, column = Signal(range(rows)), Signal(range(columns))
        above, line = Signal(columns, init=-1), Signal(columns)
        chosen = Signal()

        # The walk. `above` are the columns of this row that have not had their turn.
        filled, later, after = Signal(rows), Signal(rows), Signal(rows)
        place = Signal(range(columns))
        m.d.comb += [
            filled.eq(Cat(bits.any() for bits in wants)),
            after.eq(Cat(row < n for n in range(rows))),
            later.eq(filled & after & ~unfair.replicate(rows)),
            place.eq(lowest_of(line)),
        ]
        with m.FSM():
            with m.State("LINE"):
                m.d.sync += line.eq(Array(wants)[row] & above)
                m.next = "CHOOSE"
            with m.State("CHOOSE"):
                with m.If(~line.any()):
                    m.next = "ROW"
                with m.Elif(~self.o.valid | self.o.ready):
                    m.d.comb += chosen.eq(1)
                    m.d.sync += above.eq(Cat(place < n for n in range(columns)))
                    m.next = "ROW" if self.weak else "LINE"
                    if self.weak:
                        with m.If(~unfair):
                            m.next = "LINE"
            with m.State("ROW"):
                m.d.sync += [
                    row.eq(Mux(later.any(), lowest_of(later), lowest_of(filled))),
                    above.eq(-1),
                ]
                with m.If(filled.any()):
                    m.next = "LINE"

        m.d.comb += column.eq(place)
        with m.If(chosen):
            m.d.sync += [self.o.valid.eq(1), self.o.payload.eq(Cat(column, row))]
        with m.Elif(self.o.ready):
            m.d.sync += self.o.valid.eq(0)

        # Wakes are registered once, and win against the choice.
        woken = []
        for n, wake in enumerate(self.wake):
            late = Signal.like(wake.guest, name=f"guest_{n}")
            lively = Signal(name=f"lively_{n}")
            m.d.sync += [lively.eq(wake.valid), late.eq(wake.guest)]
            woken.append((lively, late))
        for n, bits in enumerate(wants):
            for k in range(columns):
                number = n * columns + k
                asked = Cat(valid & (guest == number) for valid, guest in woken).any()
                taken = chosen & (row == n) & (place == k)
                m.d.sync += bits[k].eq(asked | (bits[k] & ~taken))
        return m
