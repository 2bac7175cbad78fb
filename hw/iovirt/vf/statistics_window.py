"""The pages with the statistics of guests."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from iovirt.csr.port import RegisterPortSignature

from .guest_layouts import check_guests, guest_lookup
from .share_layouts import GuestCounter

__all__ = ["StatisticsWindow"]

COUNTERS = len(GuestCounter)


class StatisticsWindow(wiring.Component):
    """Let software, and guests themselves, read statistics; a page of 4 KiB per guest.

    Counter k is at 8 k, in 64 bits; at 8 * 8 is {state 2:0, fatal 3} of the guest. Other offsets
    read 0. A write of a counter clears it, whatever is written; one of its upper half alone does
    nothing. Other writes answer an error. A guest that the table does not know has state 0.

    About 10 clocks per access.

    Parameters
    ----------
    guests : :class:`int`
        A power of two in 4..256.
    data_width, address_width : :class:`int`
        As of :class:`RegisterPortSignature`.

    Members
    -------
    port : ``In(RegisterPortSignature(...))``
        Accesses. The window is aligned to its size; address bits above that are not looked at.
    read : ``Out(stream.Signature(range(8 * guests)))``, clear : ``Out(1)``
        To the counters.
    done : ``In(1)``, ``count`` : ``In(32)``
        Pulse, with what was read.
    lookup : ``Out(guest_lookup())``
        The guest table.
    """

    def __init__(self, *, guests, data_width, address_width):
        check_guests(guests)
        port = RegisterPortSignature(data_width=data_width, address_width=address_width)
        if 1 << address_width < guests << 12:
            raise ValueError(f"Address width must cover {guests} pages, not be {address_width!r}")
        self.guests        = guests
        self.data_width    = data_width
        self.address_width = address_width
        super().__init__({
            "port":   In(port),
            "read":   Out(stream.Signature(range(COUNTERS * guests))),
            "clear":  Out(1),
            "done":   In(1),
            "count":  In(32),
            "lookup": Out(guest_lookup()),
        })

    def elaborate(self, platform):
        m = Module()
        request, response = self.port.request, self.port.response
        address, guest    = Signal(12), Signal(range(self.guests))
        word, upper, half = Signal(9), Signal(), Signal(32)
        write = Signal()
        m.d.comb += [
            word.eq(address[3:]),
            upper.eq(address[2] if self.data_width == 32 else 0),
            self.read.payload.eq(Cat(word[:3], guest)),
            self.clear.eq(write),
            self.lookup.request.payload.eq(guest),
            response.p.data.eq(half),
        ]
        answer = self.lookup.answer
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += request.ready.eq(1)
                m.d.sync += [
                    address.eq(request.p.address),
                    guest.eq(request.p.address[12:]),
                    half.eq(0),
                    write.eq(request.p.write),
                ]
                with m.If(request.valid):
                    m.next = "CHOOSE"
            with m.State("CHOOSE"):
                m.d.sync += response.p.error.eq(write & (word >= COUNTERS))
                m.next = "RESPOND"
                with m.If(~upper & (word < COUNTERS)):
                    m.next = "READ"
                with m.Elif(~upper & (word == COUNTERS) & ~write):
                    m.next = "ASK"
            with m.State("READ"):
                m.d.comb += self.read.valid.eq(1)
                with m.If(self.read.ready):
                    m.next = "COUNT"
            with m.State("COUNT"):
                m.d.sync += half.eq(Mux(write, 0, self.count))
                with m.If(self.done):
                    m.next = "RESPOND"
            with m.State("ASK"):
                m.d.comb += self.lookup.request.valid.eq(1)
                with m.If(self.lookup.request.ready):
                    m.next = "STATE"
            with m.State("STATE"):
                m.d.comb += answer.ready.eq(1)
                m.d.sync += half.eq(Mux(answer.p.ok, Cat(answer.p.state, answer.p.fatal), 0))
                with m.If(answer.valid):
                    m.next = "RESPOND"
            with m.State("RESPOND"):
                m.d.comb += response.valid.eq(1)
                with m.If(response.ready):
                    m.next = "IDLE"
        return m
