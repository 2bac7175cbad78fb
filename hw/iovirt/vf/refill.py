"""Time of token buckets."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import Out

from .guest_layouts import check_guests
from .scheduler_layouts import AccountOp, account_op

__all__ = ["Refill"]


class Refill(wiring.Component):
    """Refill the buckets of each guest once per unit of time.

    A sweep that is not done at the end of a unit makes the next one begin later, but no sweep is
    left out unless it is late by a whole unit.

    Parameters
    ----------
    guests : :class:`int`
        A power of two in 4..256.
    tick_log2 : :class:`int`
        log2 of clocks per unit of time, with at least 2 clocks per guest.

    Members
    -------
    op : ``Out(stream.Signature(account_op(guests)))``
        REFILL of one guest after the other.
    """

    def __init__(self, *, guests, tick_log2):
        check_guests(guests)
        least = guests.bit_length()
        if type(tick_log2) is not int or not least <= tick_log2 <= 24:
            raise ValueError(f"Log2 of clocks per unit of time must be an integer in {least}..24 "
                             f"with {guests} guests, not {tick_log2!r}")
        self.guests    = guests
        self.tick_log2 = tick_log2
        super().__init__({"op": Out(stream.Signature(account_op(guests)))})

    def elaborate(self, platform):
        m = Module()
        clock, due = Signal(self.tick_log2), Signal()
        guest = Signal(range(self.guests))
        last  = self.op.valid & self.op.ready & guest.all()
        m.d.sync += clock.eq(clock + 1)
        m.d.comb += [self.op.p.op.eq(AccountOp.REFILL), self.op.p.guest.eq(guest)]
        with m.If(self.op.valid & self.op.ready):
            m.d.sync += guest.eq(guest + 1)
        with m.If(~self.op.valid | last):
            m.d.sync += [self.op.valid.eq(due), due.eq(0)]
        with m.If(clock.all()):
            m.d.sync += due.eq(1)
        return m
