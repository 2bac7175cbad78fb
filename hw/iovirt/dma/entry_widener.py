"""Widening of pieces to whole entries."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from .cutter import read_cut

__all__ = ["EntryWidener", "read_fetch"]


def read_fetch(*, address_width, slots, lanes):
    """A piece of a read, and the rows of its page that have to be fetched for it."""
    rows = 10 - exact_log2(lanes)
    return data.StructLayout({
        "cut":       read_cut(address_width=address_width, slots=slots, shared=True),
        "first_row": rows,
        "last_row":  rows,
    })


class EntryWidener(wiring.Component):
    """Have whole entries fetched for each piece of a list or ring, within its page.

    Entries of 8, 16, 32 or 64 bytes lie at multiples of their size. With ``phase``, they have 16
    bytes and lie at 8 mod 16; those at the ends of a page count as far as they lie in it. No other
    entry crosses a cut, so it is fetched for one piece only.

    Latency is 1 clock; throughput is 1 piece per clock, with a combinational path from ``o.ready``
    to ``i.ready``.

    Parameters
    ----------
    address_width : :class:`int`
        Width of physical addresses.
    slots : :class:`int`
        Number of slots for reads.
    lanes : :class:`int`
        Dwords in a row.

    Members
    -------
    i : ``In(stream.Signature(read_cut(...)))``
        Pieces and denied reads.
    o : ``Out(stream.Signature(read_fetch(...)))``
        The same, with rows. What is not patched is fetched as it is sent.
    """

    def __init__(self, *, address_width, slots, lanes):
        self.lanes = lanes
        sizes = {"address_width": address_width, "slots": slots}
        super().__init__({
            "i": In(stream.Signature(read_cut(shared=True, **sizes))),
            "o": Out(stream.Signature(read_fetch(lanes=lanes, **sizes))),
        })

    def elaborate(self, platform):
        m = Module()
        cut   = self.i.payload
        share = cut.read.share

        # Dwords of a page that hold the entries of the piece. Those at 8 mod 16 begin at the third
        # of four Dwords: an access in the first two Dwords has its entry begin in the four before.
        first, last, inner = Signal(10), Signal(10), Signal(10)
        with m.Switch(share.size_log2):
            for code in range(3):
                with m.Case(code):
                    m.d.comb += inner.eq((2 << code) - 1)
            with m.Default():
                m.d.comb += inner.eq(15)
        with m.If(~share.patch):
            m.d.comb += [first.eq(cut.first), last.eq(cut.last)]
        with m.Elif(share.phase):
            m.d.comb += [
                first.eq(Cat(C(0b10, 2), cut.first[2:] - ~cut.first[1])),
                last.eq(Cat(C(0b01, 2), cut.last[2:] + cut.last[1])),
            ]
            with m.If(cut.first[1:] == 0):
                m.d.comb += first.eq(0)
            with m.If(cut.last[1:].all()):
                m.d.comb += last.eq(1023)
        with m.Else():
            m.d.comb += [first.eq(cut.first & ~inner), last.eq(cut.last | inner)]

        bits = exact_log2(self.lanes)
        m.d.comb += self.i.ready.eq(~self.o.valid | self.o.ready)
        with m.If(self.i.ready):
            m.d.sync += [
                self.o.valid.eq(self.i.valid),
                self.o.payload.cut.eq(cut),
                self.o.payload.first_row.eq(first[bits:]),
                self.o.payload.last_row.eq(last[bits:]),
            ]
        return m
