"""Adding up of amounts that come for one guest."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .guest_layouts import check_guests
from .share_layouts import COLOUR_WIDTH

__all__ = ["AmountMerger"]


class AmountMerger(wiring.Component):
    """Take an amount per clock while they are for one guest, and pass on their sums.

    Nothing is lost: an amount that belongs to another guest, or that would make the sum too large,
    waits until the sum has gone. While nobody waits, sums of one guest are ``PAUSE`` clocks apart,
    because an account cannot be changed more often. Amounts for guests that do not exist vanish.

    Latency is 2 clocks, and up to ``PAUSE`` more. Throughput is 1 amount per clock, but 1 change of
    guest per transfer of ``o``.

    Parameters
    ----------
    width : :class:`int`
        Of amounts, and of sums.
    guests : :class:`int`
        A power of two in 4..256.

    Members
    -------
    i : ``In(stream.Signature(...))``
        ``colour`` and ``amount``.
    o : ``Out(stream.Signature(...))``
        ``guest`` and ``amount``.
    """

    PAUSE = 12

    def __init__(self, *, width, guests):
        check_guests(guests)
        if not isinstance(width, int) or width < 2:
            raise ValueError(f"Width must be an integer of at least 2, not {width!r}")
        self.width  = width
        self.guests = guests
        super().__init__({
            "i": In(stream.Signature(data.StructLayout({
                "colour": COLOUR_WIDTH, "amount": width}))),
            "o": Out(stream.Signature(data.StructLayout({
                "guest": range(guests), "amount": width}))),
        })

    def elaborate(self, platform):
        m = Module()
        full, held = Signal(), Signal.like(self.o.payload)
        known, same, moves = Signal(), Signal(), Signal()
        pause = Signal(range(self.PAUSE + 1))
        soon  = (pause != 0) & (self.o.p.guest == held.guest)
        m.d.comb += [
            known.eq(self.i.p.colour < self.guests),
            # Only halves are added, so that no sum overflows.
            same.eq((held.guest == self.i.p.colour) & ~held.amount[-1] & ~self.i.p.amount[-1]),
            # Nobody else waits for the end of the pause.
            moves.eq(full & (~self.o.valid | self.o.ready) & (~soon | (self.i.valid & ~same))),
            self.i.ready.eq(~full | ~known | same | moves),
        ]
        with m.If(pause != 0):
            m.d.sync += pause.eq(pause - 1)
        with m.If(moves):
            m.d.sync += pause.eq(self.PAUSE)
            m.d.sync += [self.o.valid.eq(1), self.o.payload.eq(held), full.eq(0)]
        with m.Elif(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.i.valid & self.i.ready & known):
            m.d.sync += [
                full.eq(1),
                held.guest.eq(self.i.p.colour),
                held.amount.eq(self.i.p.amount + Mux(full & ~moves, held.amount, 0)),
            ]
        return m
