"""The table port: one AXI4 manager shared by readers and writers of tables and queues."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from .signatures import Axi4Signature
from .table_reader import TableReader
from .table_writer import TableWriter

__all__ = ["TablePort"]


def _bits(name, value, width):
    if type(value) is not int or not 0 <= value < 1 << width:
        raise ValueError(f"{name} must be an integer in 0..{(1 << width) - 1}, not {value!r}")


class TablePort(wiring.Component):
    """A :class:`TableReader` and a :class:`TableWriter` on one AXI4 manager port.

    Contracts, latencies and throughput are those of the two. Reads and writes are independent: a
    read that has to see a write is asked for after the response of the write.

    Parameters
    ----------
    readers, writers : :class:`int`
        Number of clients that read, and that write.
    data_width, address_width : :class:`int`
        Of the bus, in bits.
    read_tag_width : :class:`int`
        Width of the tags of each reader.
    write_tag_width : :class:`int` or sequence of :class:`int`
        Width of the tags of all writers, or of each.
    cache, prot, qos : :class:`int`
        AxCACHE, AxPROT and AxQOS of every access.

    Members
    -------
    read_request : ``In(stream.Signature(table_read_request)).array(readers)``
        Reads to do.
    read_beats : ``Out(stream.Signature(table_read_beat)).array(readers)``
        Data read.
    write_request_0, ... : ``In(stream.Signature(table_write_request))``
        Writes to do, of each writer; ``write_request`` is the list of them.
    write_response_0, ... : ``Out(stream.Signature(table_write_response))``
        Writes done, of each writer; ``write_response`` is the list of them.
    bus : ``Out(Axi4Signature)``
        The port; ``id_width`` is the wider of {client, tag} of both directions.
    """

    def __init__(self, *, readers, writers, data_width, address_width, read_tag_width,
                 write_tag_width, cache=0b1110, prot=0b010, qos=0):
        _bits("AxCACHE", cache, 4)
        _bits("AxPROT", prot, 3)
        _bits("AxQOS", qos, 4)
        self.cache, self.prot, self.qos = cache, prot, qos
        common = {"data_width": data_width, "address_width": address_width}
        self._reader = TableReader(clients=readers, tag_width=read_tag_width, **common)
        self._writer = TableWriter(clients=writers, tag_width=write_tag_width, **common)
        self.readers, self.writers = readers, writers
        self.data_width, self.address_width = data_width, address_width
        self.read_tag_width, self.write_tag_width = read_tag_width, write_tag_width
        self.id_width = max(self._reader.id_width, self._writer.id_width)
        reader, writer = self._reader.signature.members, self._writer.signature.members
        super().__init__({
            "read_request":   reader["request"],
            "read_beats":     reader["beats"],
            **{f"write_{name}": member for name, member in writer.items()
               if name.startswith(("request_", "response_"))},
            "bus":            Out(Axi4Signature(id_width=self.id_width, **common)),
        })
        self.write_request  = [getattr(self, f"write_request_{n}") for n in range(writers)]
        self.write_response = [getattr(self, f"write_response_{n}") for n in range(writers)]

    def elaborate(self, platform):
        m = Module()
        m.submodules.reader = reader = self._reader
        m.submodules.writer = writer = self._writer
        for n in range(self.readers):
            wiring.connect(m, wiring.flipped(self.read_request[n]), reader.request[n])
            wiring.connect(m, reader.beats[n], wiring.flipped(self.read_beats[n]))
        for n in range(self.writers):
            wiring.connect(m, wiring.flipped(self.write_request[n]), writer.request[n])
            wiring.connect(m, writer.response[n], wiring.flipped(self.write_response[n]))

        bus = self.bus
        self._connect_address(m, "ar", reader.address)
        self._connect_address(m, "aw", writer.address)
        m.d.comb += [
            bus.wvalid.eq(writer.beats.valid),
            writer.beats.ready.eq(bus.wready),
            bus.wdata.eq(writer.beats.p.data),
            bus.wstrb.eq(writer.beats.p.strb),
            bus.wlast.eq(writer.beats.p.last),
            writer.acknowledge.valid.eq(bus.bvalid),
            bus.bready.eq(writer.acknowledge.ready),
            writer.acknowledge.p.id.eq(bus.bid),
            writer.acknowledge.p.resp.eq(bus.bresp),
            reader.response.valid.eq(bus.rvalid),
            bus.rready.eq(reader.response.ready),
            reader.response.p.id.eq(bus.rid),
            reader.response.p.data.eq(bus.rdata),
            reader.response.p.resp.eq(bus.rresp),
            reader.response.p.last.eq(bus.rlast),
        ]
        return m

    def _connect_address(self, m, prefix, channel):
        def signal(name):
            return getattr(self.bus, prefix + name)

        m.d.comb += [
            signal("valid").eq(channel.valid),
            channel.ready.eq(signal("ready")),
            signal("id").eq(channel.p.id),
            signal("addr").eq(channel.p.addr),
            signal("len").eq(channel.p.len),
            signal("size").eq(channel.p.size),
            signal("burst").eq(1),
            signal("cache").eq(self.cache),
            signal("prot").eq(self.prot),
            signal("qos").eq(self.qos),
        ]
