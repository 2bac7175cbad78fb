"""Cutting of reads into pieces."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .layouts import read_answer, read_entry
from .share_layouts import read_share
from .transactions import transaction

__all__ = ["ReadCutter", "read_cut", "translated_read"]


def translated_read(*, address_width, slots, shared=False):
    """A read, with all that is known of it."""
    answer = read_answer(address_width=address_width, shared=shared)
    return transaction(read_entry(), answer, slots=slots, share=read_share() if shared else None)


def read_cut(*, address_width, slots, shared=False):
    """A piece of a read, Dwords ``first`` to ``last`` of its page; or a denied read as a whole."""
    return data.StructLayout({
        "read":  translated_read(address_width=address_width, slots=slots, shared=shared),
        "first": 10,
        "last":  10,
        "end":   10,  # last Dword of the read
        "index": 5,
        "start": 1,   # first piece
        "final": 1,   # last piece
    })


class ReadCutter(wiring.Component):
    """Cut reads at multiples of the largest payload of a completion, one read at a time.

    The cuts are multiples of either read completion boundary too, and a read that crosses none of
    them gets one completion, so the pieces are legal whatever the boundary is.

    Latency is 2 clocks; throughput is 1 piece per clock.

    Parameters
    ----------
    address_width : :class:`int`
        Width of physical addresses.
    slots : :class:`int`
        Number of slots for reads.
    largest_payload : :class:`int`
        Encoding of the largest ``max_payload`` that buffers are built for, 0 to 5.
    shared : :class:`bool`
        Functions may be shared. Denied reads that are contained are cut as well.

    Members
    -------
    i : ``In(stream.Signature(transaction(...)))``
        Reads that may be issued, and denied ones.
    max_payload : ``In(3)``
        Largest payload of a completion, ``128 << max_payload`` bytes; larger values count as
        ``largest_payload``.
    o : ``Out(stream.Signature(read_cut(...)))``
        Pieces, in address order.
    """

    def __init__(self, *, address_width, slots, largest_payload, shared=False):
        if not isinstance(largest_payload, int) or not 0 <= largest_payload <= 5:
            raise ValueError(f"Largest payload must be an encoding in 0..5, not "
                             f"{largest_payload!r}")
        self.largest_payload = largest_payload
        self.shared = shared
        sizes = {"address_width": address_width, "slots": slots, "shared": shared}
        super().__init__({
            "i":           In(stream.Signature(translated_read(**sizes))),
            "max_payload": In(3),
            "o":           Out(stream.Signature(read_cut(**sizes))),
        })

    def elaborate(self, platform):
        m = Module()
        # `mask` selects the Dwords within the largest payload: 31, 63, ... 1023.
        mask = Signal(10)
        with m.Switch(self.max_payload):
            for code in range(self.largest_payload):
                with m.Case(code):
                    m.d.sync += mask.eq((32 << code) - 1)
            with m.Default():
                m.d.sync += mask.eq((32 << self.largest_payload) - 1)

        # The read that is being cut. `size` is held, so that all cuts of a read fit together.
        busy  = Signal()
        cut   = Signal.like(self.o.payload)
        size  = Signal(10)
        edge  = Signal(10)
        final = Signal()
        moves = Signal()
        whole = ~cut.read.answer.ok
        if self.shared:
            whole &= ~cut.read.answer.contain
        m.d.comb += [
            edge.eq(cut.first | size),
            final.eq((edge >= cut.end) | whole),
            moves.eq(~self.o.valid | self.o.ready),
            self.i.ready.eq(~busy | (moves & final)),
        ]
        with m.If(moves):
            m.d.sync += [
                self.o.valid.eq(busy),
                self.o.payload.eq(cut),
                self.o.payload.last.eq(Mux(edge >= cut.end, cut.end, edge)),
                self.o.payload.final.eq(final),
                cut.first.eq(edge + 1),
                cut.index.eq(cut.index + 1),
                cut.start.eq(0),
            ]
        with m.If(self.i.ready):
            first = self.i.payload.entry.address[2:12]
            m.d.sync += [
                busy.eq(self.i.valid),
                cut.read.eq(self.i.payload),
                cut.first.eq(first),
                cut.end.eq(first + self.i.payload.entry.length_dw - 1),
                cut.index.eq(0),
                cut.start.eq(1),
                size.eq(mask),
            ]
        return m
