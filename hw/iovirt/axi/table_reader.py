"""Sharing of the AXI4 read channels of the table port."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from ..stream import StreamArbiter, StreamQueue
from .signatures import Resp
from .table import TableError, table_read_beat, table_read_request

__all__ = ["TableReader"]

_WIDTHS = (64, 128, 256, 512)


class TableReader(wiring.Component):
    """Turn the requests of several clients into AXI4 reads, and hand the beats back.

    A request for ``8 << (size_log2 - 3)`` bytes is one INCR burst of beats as wide as the port, or
    one narrow beat. Its address must be a multiple of its size, so it never crosses 4 KiB, and
    below ``2 ** address_width``: who can compute a wider one checks first, and calls it an access
    fault. RID is ``{client, tag}``: requests with equal tags of one client are answered in
    order, others in any order, and their beats may be interleaved. DECERR is reported as
    ``ACCESS`` and SLVERR as ``POISON``, for each beat.

    Clients are served in turn. A beat waits behind those that came before it, so **each client
    must be able to take all beats it asked for** without waiting for anything but itself.

    Latency is 1 clock from request to AR and 1 from R to beat; throughput is 1 request and 1 beat
    per clock. No combinational path runs between the clients and the bus.

    Parameters
    ----------
    clients : :class:`int`
        Number of clients, at least 1.
    data_width : :class:`int`
        64, 128, 256 or 512 bits.
    address_width : :class:`int`
        Width of addresses, 13 to 64 bits.
    tag_width : :class:`int`
        Width of the tags of a client.

    Members
    -------
    request : ``In(stream.Signature(table_read_request)).array(clients)``
        Reads to do.
    beats : ``Out(stream.Signature(table_read_beat)).array(clients)``
        Data read.
    address : ``Out(stream.Signature(address_layout))``
        Payload of the AR channel: ``id``, ``addr``, ``len``, ``size``.
    response : ``In(stream.Signature(response_layout))``
        Payload of the R channel: ``id``, ``data``, ``resp``, ``last``.
    """

    def __init__(self, *, clients, data_width, address_width, tag_width):
        if type(clients) is not int or clients < 1:
            raise ValueError(f"Number of clients must be an integer of at least 1, not {clients!r}")
        if data_width not in _WIDTHS:
            raise ValueError(f"Data width must be 64, 128, 256 or 512, not {data_width!r}")
        if type(address_width) is not int or not 13 <= address_width <= 64:
            raise ValueError(f"Address width must be an integer in 13..64, not {address_width!r}")
        if type(tag_width) is not int or tag_width < 0:
            raise ValueError(f"Tag width must be an integer of at least 0, not {tag_width!r}")
        self.clients       = clients
        self.data_width    = data_width
        self.address_width = address_width
        self.tag_width     = tag_width
        self.id_width      = ceil_log2(clients) + tag_width
        self.address_layout = data.StructLayout({
            "id": self.id_width, "addr": address_width, "len": 8, "size": 3})
        self.response_layout = data.StructLayout({
            "id": self.id_width, "data": data_width, "resp": Resp, "last": 1})
        request = table_read_request(address_width=address_width, tag_width=tag_width)
        beat = table_read_beat(data_width=data_width, tag_width=tag_width)
        super().__init__({
            "request":  In(stream.Signature(request)).array(clients),
            "beats":    Out(stream.Signature(beat)).array(clients),
            "address":  Out(stream.Signature(self.address_layout)),
            "response": In(stream.Signature(self.response_layout)),
        })

    def elaborate(self, platform):
        m = Module()
        self._elaborate_address(m)
        self._elaborate_response(m)
        return m

    def _elaborate_address(self, m):
        m.submodules.arbiter = arbiter = StreamArbiter(
            self.request[0].payload.shape(), ports=self.clients)
        m.submodules.addresses = addresses = StreamQueue(self.address_layout, depth=2)
        for source, sink in zip(self.request, arbiter.i, strict=True):
            wiring.connect(m, wiring.flipped(source), sink)
        wiring.connect(m, addresses.o, wiring.flipped(self.address))

        port_log2 = ceil_log2(self.data_width // 8)
        request, address = arbiter.o.p, addresses.i.p
        m.d.comb += [
            addresses.i.valid.eq(arbiter.o.valid),
            arbiter.o.ready.eq(addresses.i.ready),
            address.id.eq(Cat(request.tag, arbiter.grant)),
            address.addr.eq(request.address),
            address.size.eq(port_log2),
        ]
        with m.Switch(request.size_log2):
            for size_log2 in range(3, 7):
                with m.Case(size_log2):
                    m.d.comb += [
                        address.size.eq(min(size_log2, port_log2)),
                        address.len.eq((1 << max(0, size_log2 - port_log2)) - 1),
                    ]

    def _elaborate_response(self, m):
        m.submodules.responses = responses = StreamQueue(self.response_layout, depth=2)
        wiring.connect(m, wiring.flipped(self.response), responses.i)

        response = responses.o.p
        client = response.id[self.tag_width:]
        for index, beats in enumerate(self.beats):
            chosen = (client == index) if self.clients > 1 else C(1)
            m.d.comb += [
                beats.valid.eq(responses.o.valid & chosen),
                beats.p.data.eq(response.data),
                beats.p.last.eq(response.last),
                beats.p.tag.eq(response.id[:self.tag_width]),
                beats.p.error.eq(TableError.NONE),
            ]
            with m.If(response.resp == Resp.DECERR):
                m.d.comb += beats.p.error.eq(TableError.ACCESS)
            with m.Elif(response.resp == Resp.SLVERR):
                m.d.comb += beats.p.error.eq(TableError.POISON)
            with m.If(chosen):
                m.d.comb += responses.o.ready.eq(beats.ready)
