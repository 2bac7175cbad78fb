"""The registers that show the queue pairs."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from iovirt.csr.port import RegisterPortSignature

from .pair_layouts import Looked, PairClient, PairOp, check_pairs
from .share_layouts import COUNT_WIDTH, PairEntry

__all__ = ["PairWindow"]

#: log2 of the bytes of a pair, and of its entry.
_PAIR, _ENTRY = 6, 4


class PairWindow(wiring.Component):
    """Let software read and write the entries of pairs, and read their state.

    Pair n is at 64 n: 16 bytes of entry; then, read-only, the counts {requested, granted, first,
    head} and {in_flight, unread, next} of 16 bits each, and the map of fetched entries; then zeros.
    Writes of an entry are staged; the write of its last byte puts the entry in place, all at once,
    and clears the state. Words that have not been written since then, or since the first write to
    this pair, are 0: so the last word alone makes the entry invalid. So do a depth outside of 2 to
    4096, entries of more than 64 bytes, and the same of a completion ring.

    Reads show what is in the table, never what is staged, and answer an error if the pair has
    errors that cannot be corrected. Accesses beyond the table answer one, too. What is asked of the
    pair after the response to the last byte finds the new entry.

    Parameters
    ----------
    pairs : :class:`int`
        Pairs of the table, a power of two in 4..1024.
    data_width, address_width : :class:`int`
        As of :class:`RegisterPortSignature`.

    Members
    -------
    port : ``In(RegisterPortSignature(...))``
        Accesses. The window begins at 0 of the address.
    op : ``Out(stream.Signature(PairOp))``
        Operations WINDOW.
    entry : ``Out(PairEntry)``
        New entry, until ``done``.
    done : ``In(1)``, ``looked`` : ``In(Looked)``
        The operation has found this.
    """

    def __init__(self, *, pairs, data_width, address_width):
        check_pairs(pairs)
        port = RegisterPortSignature(data_width=data_width, address_width=address_width)
        if 1 << address_width < pairs << _PAIR:
            raise ValueError(f"Address width must cover {pairs << _PAIR} bytes, because there are "
                             f"{pairs} pairs, not be {address_width!r}")
        self.pairs      = pairs
        self.data_width = data_width
        super().__init__({
            "port":   In(port),
            "op":     Out(stream.Signature(PairOp)),
            "entry":  Out(PairEntry),
            "done":   In(1),
            "looked": In(Looked),
        })

    def elaborate(self, platform):
        m = Module()
        request, response = self.port.request, self.port.response
        lane   = (self.data_width // 8).bit_length() - 1
        access = Signal.like(request.p)
        word   = access.address[lane:_PAIR]
        pair   = access.address[_PAIR:]
        beyond = pair >= self.pairs
        static = access.address[_ENTRY:_PAIR] == 0
        last   = access.address[lane:_ENTRY].all() & access.strobe[-1]

        # What is staged is for one pair.
        staged, staged_pair = Signal(128), Signal(range(self.pairs))
        with m.FSM() as fsm:
            with m.State("IDLE"):
                m.d.comb += request.ready.eq(1)
                m.d.sync += access.eq(request.p)
                with m.If(request.valid):
                    m.next = "CHOOSE"
            with m.State("CHOOSE"):
                m.d.sync += [response.p.error.eq(beyond), response.p.data.eq(0)]
                with m.If(beyond | (access.write & ~static)):
                    m.next = "RESPOND"
                with m.Elif(access.write):
                    with m.If(pair != staged_pair):
                        m.d.sync += staged.eq(0)
                    m.d.sync += staged_pair.eq(pair)
                    m.next = "STAGE"
                with m.Else():
                    m.next = "ASK"
            with m.State("STAGE"):
                for n in range(16):
                    here, byte = divmod(n, self.data_width // 8)
                    with m.If((word[:_ENTRY - lane] == here) & access.strobe[byte]):
                        m.d.sync += staged.word_select(n, 8).eq(access.data.word_select(byte, 8))
                with m.If(last):
                    m.next = "ASK"
                with m.Else():
                    m.next = "RESPOND"
            with m.State("ASK"):
                with m.If(self.op.ready):
                    m.next = "WAIT"
            with m.State("WAIT"):
                with m.If(self.done):
                    bad = self.looked.bad & ~access.write
                    shown = self._shown().word_select(word, self.data_width)
                    m.d.sync += [
                        response.p.error.eq(bad),
                        response.p.data.eq(Mux(bad | access.write, 0, shown)),
                    ]
                    with m.If(access.write):
                        m.d.sync += staged.eq(0)
                    m.next = "RESPOND"
            with m.State("RESPOND"):
                with m.If(response.ready):
                    m.next = "IDLE"
            m.d.comb += [
                self.op.valid.eq(fsm.ongoing("ASK")),
                response.valid.eq(fsm.ongoing("RESPOND")),
            ]

        m.d.comb += [
            self.op.p.client.eq(PairClient.WINDOW),
            self.op.p.write.eq(access.write),
            self.op.p.pair.eq(pair),
            self.entry.eq(staged),
            self.entry.valid.eq(staged[0] & self._sound(m, PairEntry(staged))),
        ]
        return m

    def _sound(self, m, entry):
        """Return whether the geometry of ``entry`` is possible, as it was a clock ago."""
        depth = lambda count: (count >= 2) & (count <= 1 << COUNT_WIDTH - 1)
        sound = Signal()
        m.d.sync += sound.eq(
            depth(entry.depth) & ~entry.size_log2[2]
            & (~entry.paired | (depth(entry.cq_depth) & ~entry.cq_size_log2[2])))
        return sound

    def _shown(self):
        """Return the 64 bytes of a pair."""
        entry, state = self.looked.entry, self.looked.state
        wide = lambda *counts: Cat(Cat(count, C(0, 16))[:16] for count in counts)
        return Cat(entry, wide(state.requested, state.granted, state.first, state.head),
                   wide(state.in_flight, state.unread, state.next, C(0, 16)),
                   state.fetched, C(0, 192))
