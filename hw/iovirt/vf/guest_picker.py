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

    The bit is set by a wake, and falls at the end of a visit, unless the guest wants another one or
    was woken since it was chosen: a wake is never lost. The next guest is chosen when the visit is
    over, so that all who want are known; a guest is chosen after at most ``guests - 1`` others.
    Guests whose bit is not set cost no time.

    Guests are in rows, of about the square root of their number; the choice walks along a row and
    then goes to the next one that has a bit set. From ``over`` to ``o`` 3 to 6 clocks, from a wake
    to ``o`` 5.

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
        The guest chosen. Its visit begins with the transfer.
    over, stays : ``In(1)``
        Pulse: the visit is over; and the guest wants another one.
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
            "over": In(1),
            "stays": In(1),
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

        # The walk. `above` are the columns of this row that have not had their turn.
        filled, later, after = Signal(rows), Signal(rows), Signal(rows)
        place = Signal(range(columns))
        m.d.comb += [
            filled.eq(Cat(bits.any() for bits in wants)),
            after.eq(Cat(row < n for n in range(rows))),
            later.eq(filled & after & ~unfair.replicate(rows)),
            place.eq(lowest_of(line)),
            self.o.payload.eq(Cat(column, row)),
        ]
        with m.FSM() as fsm:
            with m.State("LINE"):
                m.d.sync += line.eq(Array(wants)[row] & above)
                m.next = "CHOOSE"
            with m.State("CHOOSE"):
                m.d.sync += column.eq(place)
                m.next = "OFFER"
                with m.If(~line.any()):
                    m.next = "ROW"
            with m.State("OFFER"):
                m.d.sync += above.eq(Cat(column < n for n in range(columns)))
                with m.If(self.o.ready):
                    m.next = "VISIT"
            with m.State("VISIT"):
                with m.If(self.over):
                    m.next = "SETTLE"
            with m.State("SETTLE"):
                # The bit has its value in the next clock.
                m.next = "LINE"
                with m.If(unfair):
                    m.next = "ROW"
            with m.State("ROW"):
                m.d.sync += [
                    row.eq(Mux(later.any(), lowest_of(later), lowest_of(filled))),
                    above.eq(-1),
                ]
                with m.If(filled.any()):
                    m.next = "LINE"
            m.d.comb += self.o.valid.eq(fsm.ongoing("OFFER"))

        # Wakes of the guest since it was chosen.
        number, rewoken, leaves = Signal(range(self.guests)), Signal(), Signal()
        hit = Cat(wake.valid & (wake.guest == number) for wake in self.wake).any()
        m.d.comb += [
            number.eq(self.o.payload),
            leaves.eq(fsm.ongoing("VISIT") & self.over & ~self.stays & ~rewoken),
        ]
        m.d.sync += rewoken.eq((fsm.ongoing("OFFER") | fsm.ongoing("VISIT")) & (rewoken | hit))

        # Wakes are decoded and registered, and win against the end of a visit.
        woken, low = [], columns.bit_length() - 1
        for n, wake in enumerate(self.wake):
            line_of, column_of = Signal(rows, name=f"row_{n}"), Signal(columns, name=f"column_{n}")
            m.d.sync += [
                line_of.eq(Mux(wake.valid, 1 << wake.guest[low:], 0)),
                column_of.eq(1 << wake.guest[:low]),
            ]
            woken.append((line_of, column_of))
        taken_row, taken = Signal(rows), Signal(columns)
        m.d.comb += [taken_row.eq(Mux(leaves, 1 << row, 0)), taken.eq(1 << column)]
        for n, bits in enumerate(wants):
            for k in range(columns):
                asked = Cat(one[n] & other[k] for one, other in woken).any()
                m.d.sync += bits[k].eq(asked | (bits[k] & ~(taken_row[n] & taken[k])))
        return m
