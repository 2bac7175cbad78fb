"""Accesses of the bus to the registers of queues, one 32-bit register after the other."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..csr.port import RegisterPortSignature
from .queue_layouts import access

__all__ = ["WordPort"]


class WordPort(wiring.Component):
    """Split accesses into accesses to 32-bit registers of a queue.

    A queue has 16 registers, every ``stride`` bytes; addresses between them read 0. Writes must set
    all bytes of a register, else it stays as it is. Addresses beyond the last queue read 0 and
    ignore writes.

    Latency of an access is that of its registers and 2 clocks; one access at a time.

    Parameters
    ----------
    queues, queue_width : :class:`int`
        Number of queues, and width of their numbers.
    first_page : :class:`int`
        Number of the page of queue 0.
    stride : :class:`int`
        Bytes from one queue to the next, 64 or more, a power of two.
    guest : :class:`bool`
        These are the pages of guests.
    data_width, address_width : :class:`int`
        As of :class:`RegisterPortSignature`.

    Members
    -------
    port : ``In(RegisterPortSignature(...))``
        Accesses of the bus.
    access : ``Out(stream.Signature(access(...)))``
        Accesses to registers, one at a time.
    answer : ``In(stream.Signature(32))``
        What they read.
    """

    def __init__(self, *, queues, queue_width, first_page, stride, guest, data_width,
                 address_width):
        port = RegisterPortSignature(data_width=data_width, address_width=address_width)
        self.queues        = queues
        self.queue_width   = queue_width
        self.first_page    = first_page
        self.stride        = stride
        self.guest         = guest
        self.data_width    = data_width
        self.address_width = address_width
        super().__init__({
            "port":   In(port),
            "access": Out(stream.Signature(access(queue_width))),
            "answer": In(stream.Signature(32)),
        })

    def elaborate(self, platform):
        m = Module()
        request, response = self.port.request, self.port.response
        shift = (self.stride - 1).bit_length()
        place = Signal(self.address_width)
        half  = Signal()
        word  = Signal(shift - 2)
        strobe, data = request.p.strobe, request.p.data
        m.d.comb += word.eq(request.p.address[2:shift])
        if self.data_width == 64:
            m.d.comb += word[0].eq(half)
            strobe = strobe.word_select(half, 4)
            data   = data.word_select(half, 32)

        known, skip = Signal(), Signal()
        m.d.comb += [
            known.eq(((place >> shift) < self.queues) & (word < 16)),
            skip.eq(~known | (request.p.write & ~strobe.all())),
            self.access.p.queue.eq(place >> shift),
            self.access.p.guest.eq(self.guest),
            self.access.p.word.eq(word),
            self.access.p.write.eq(request.p.write),
            self.access.p.data.eq(data),
        ]
        into = response.p.data.word_select(half, 32)
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [
                    place.eq(request.p.address - (self.first_page << 12)),
                    response.p.data.eq(0),
                    half.eq(0),
                ]
                with m.If(request.valid):
                    m.next = "ASK"
            with m.State("ASK"):
                m.d.comb += self.access.valid.eq(~skip)
                with m.If(skip):
                    m.next = "NEXT"
                with m.Elif(self.access.ready):
                    m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += self.answer.ready.eq(1)
                with m.If(self.answer.valid):
                    m.d.sync += into.eq(Mux(request.p.write, 0, self.answer.payload))
                    m.next = "NEXT"
            with m.State("NEXT"):
                m.d.sync += half.eq(1)
                if self.data_width == 64:
                    m.next = "ASK"
                    with m.If(half):
                        m.next = "RESPOND"
                        m.d.comb += request.ready.eq(1)
                else:
                    m.next = "RESPOND"
                    m.d.comb += request.ready.eq(1)
            with m.State("RESPOND"):
                m.d.comb += response.valid.eq(1)
                with m.If(response.ready):
                    m.next = "IDLE"
        return m
