"""Sharing of the AXI4 write channels of the table port."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..stream import StreamArbiter, StreamQueue
from .signatures import Resp
from .table import MAX_WRITE_BITS, TableError, table_write_request, table_write_response

__all__ = ["TableWriter"]

_WIDTHS = (64, 128, 256, 512)


def _tag_widths(widths, clients):
    """Return the width of the tags of each client."""
    if isinstance(widths, list | tuple):
        if len(widths) != clients:
            raise ValueError(f"Tag widths must be {clients}, one for each client, not {widths!r}")
    else:
        widths = (widths,) * clients
    for width in widths:
        if type(width) is not int or width < 0:
            raise ValueError(f"Tag width must be an integer of at least 0, not {width!r}")
    return tuple(widths)


class TableWriter(wiring.Component):
    """Turn the requests of several clients into AXI4 writes, and hand the responses back.

    A request for ``4 << (size_log2 - 2)`` bytes is one INCR burst of beats as wide as the port,
    or one narrow beat on the lanes that its address selects. Its address must be a multiple of its
    size, so it never crosses 4 KiB, and below ``2 ** address_width``: who can compute a wider one
    checks first, and calls it an access fault.

    **A response means that the write is observable by every observer**, other ports included, or
    that it failed (DECERR: ``ACCESS``, SLVERR: ``POISON``). The memory must answer that way;
    nothing here could make it so. A client may therefore publish (an index, an interrupt) as soon
    as the response is there.

    BID is ``{client, tag}``, tags being as wide as the widest: writes with equal tags of one client
    are done and answered in order, others in any order. Clients are served in turn; each must be
    able to take all responses it asked for without waiting for anything but itself.

    Latency is 2 clocks from request to AW and W and 1 from B to response; throughput is 1 beat
    per clock. AW and W do not wait for each other, but none is more than 3 writes ahead. All
    outputs are registers, apart from the choice of the client of a response.

    Parameters
    ----------
    clients : :class:`int`
        Number of clients, at least 1.
    data_width : :class:`int`
        64, 128, 256 or 512 bits.
    address_width : :class:`int`
        Width of addresses, 13 to 64 bits.
    tag_width : :class:`int` or sequence of :class:`int`
        Width of the tags of all clients, or of each.

    Members
    -------
    request_0, ... : ``In(stream.Signature(table_write_request))``
        Writes to do, of each client; ``request`` is the list of them.
    response_0, ... : ``Out(stream.Signature(table_write_response))``
        Writes done, of each client; ``response`` is the list of them.
    address : ``Out(stream.Signature(address_layout))``
        Payload of the AW channel: ``id``, ``addr``, ``len``, ``size``.
    beats : ``Out(stream.Signature(beat_layout))``
        Payload of the W channel: ``data``, ``strb``, ``last``.
    acknowledge : ``In(stream.Signature(acknowledge_layout))``
        Payload of the B channel: ``id``, ``resp``.
    """

    def __init__(self, *, clients, data_width, address_width, tag_width):
        if type(clients) is not int or clients < 1:
            raise ValueError(f"Number of clients must be an integer of at least 1, not {clients!r}")
        if data_width not in _WIDTHS:
            raise ValueError(f"Data width must be 64, 128, 256 or 512, not {data_width!r}")
        if type(address_width) is not int or not 13 <= address_width <= 64:
            raise ValueError(f"Address width must be an integer in 13..64, not {address_width!r}")
        self.tag_widths    = _tag_widths(tag_width, clients)
        self.clients       = clients
        self.data_width    = data_width
        self.address_width = address_width
        self.tag_width     = max(self.tag_widths)
        self.id_width      = ceil_log2(clients) + self.tag_width
        self.address_layout = data.StructLayout({
            "id": self.id_width, "addr": address_width, "len": 8, "size": 3})
        self.beat_layout = data.StructLayout({
            "data": data_width, "strb": data_width // 8, "last": 1})
        self.acknowledge_layout = data.StructLayout({"id": self.id_width, "resp": Resp})
        super().__init__({
            **{f"request_{n}": In(stream.Signature(table_write_request(
                address_width=address_width, tag_width=width)))
               for n, width in enumerate(self.tag_widths)},
            **{f"response_{n}": Out(stream.Signature(table_write_response(tag_width=width)))
               for n, width in enumerate(self.tag_widths)},
            "address":     Out(stream.Signature(self.address_layout)),
            "beats":       Out(stream.Signature(self.beat_layout)),
            "acknowledge": In(stream.Signature(self.acknowledge_layout)),
        })
        self.request  = [getattr(self, f"request_{n}") for n in range(clients)]
        self.response = [getattr(self, f"response_{n}") for n in range(clients)]

    def elaborate(self, platform):
        m = Module()
        m.submodules.arbiter = arbiter = StreamArbiter(
            table_write_request(address_width=self.address_width, tag_width=self.tag_width),
            ports=self.clients)
        for source, sink in zip(self.request, arbiter.i, strict=True):
            m.d.comb += [
                sink.valid.eq(source.valid),
                source.ready.eq(sink.ready),
                *(sink.p[name].eq(source.p[name]) for name, _ in sink.p.shape()),
            ]
        self._elaborate_request(m, arbiter)
        self._elaborate_response(m)
        return m

    def _elaborate_request(self, m, arbiter):
        m.submodules.addresses = addresses = StreamQueue(self.address_layout, depth=2)
        m.submodules.outgoing  = outgoing  = StreamQueue(self.beat_layout, depth=2)
        wiring.connect(m, addresses.o, wiring.flipped(self.address))
        wiring.connect(m, outgoing.o, wiring.flipped(self.beats))

        # One write at a time is held here while its address and its beats leave independently. The
        # next one may come in the clock in which the last of them leaves.
        write  = Signal.like(arbiter.o.p)
        client = Signal.like(arbiter.grant)
        beat   = Signal(range(MAX_WRITE_BITS // self.data_width + 1))
        named, sent = Signal(init=1), Signal(init=1)
        last,  free = Signal(), Signal()
        m.d.comb += [
            last.eq(outgoing.i.valid & outgoing.i.ready & outgoing.i.p.last),
            free.eq((named | addresses.i.ready) & (sent | last)),
            arbiter.o.ready.eq(free),
            addresses.i.valid.eq(~named),
            outgoing.i.valid.eq(~sent),
        ]
        with m.If(addresses.i.ready):
            m.d.sync += named.eq(1)
        with m.If(outgoing.i.ready):
            m.d.sync += beat.eq(beat + 1)
        with m.If(last):
            m.d.sync += sent.eq(1)
        with m.If(free):
            m.d.sync += [write.eq(arbiter.o.p), client.eq(arbiter.grant), beat.eq(0)]
            with m.If(arbiter.o.valid):
                m.d.sync += [named.eq(0), sent.eq(0)]
        m.d.comb += [
            addresses.i.p.id.eq(Cat(write.tag, client)),
            addresses.i.p.addr.eq(write.address),
        ]
        self._elaborate_lanes(m, write, beat, addresses.i.p, outgoing.i.p)

    def _elaborate_lanes(self, m, write, beat, address, out):
        # The data of a narrow write is repeated on all lanes, and the strobes select.
        port_log2 = ceil_log2(self.data_width // 8)
        with m.Switch(write.size_log2):
            for size_log2 in range(2, 6):
                bits = 8 << size_log2
                with m.Case(size_log2):
                    if size_log2 < port_log2:
                        lane = write.address[size_log2:port_log2]
                        m.d.comb += [
                            address.size.eq(size_log2),
                            out.data.eq(write.data[:bits].replicate(self.data_width // bits)),
                            out.strb.eq(((1 << (1 << size_log2)) - 1) << (lane << size_log2)),
                            out.last.eq(1),
                        ]
                    else:
                        beats = bits // self.data_width
                        m.d.comb += [
                            address.size.eq(port_log2),
                            address.len.eq(beats - 1),
                            out.data.eq(write.data[:bits].word_select(beat, self.data_width)),
                            out.strb.eq(~0),
                            out.last.eq(beat == beats - 1),
                        ]

    def _elaborate_response(self, m):
        m.submodules.acknowledges = acknowledges = StreamQueue(self.acknowledge_layout, depth=2)
        wiring.connect(m, wiring.flipped(self.acknowledge), acknowledges.i)

        acknowledge = acknowledges.o.p
        client = acknowledge.id[self.tag_width:]
        for index, response in enumerate(self.response):
            chosen = (client == index) if self.clients > 1 else C(1)
            m.d.comb += [
                response.valid.eq(acknowledges.o.valid & chosen),
                response.p.tag.eq(acknowledge.id[:self.tag_width]),
                response.p.error.eq(TableError.NONE),
            ]
            with m.If(acknowledge.resp == Resp.DECERR):
                m.d.comb += response.p.error.eq(TableError.ACCESS)
            with m.Elif(acknowledge.resp == Resp.SLVERR):
                m.d.comb += response.p.error.eq(TableError.POISON)
            with m.If(chosen):
                m.d.comb += acknowledges.o.ready.eq(response.ready)
