"""Streams on the pins of an AXI4 manager."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from iovirt.axi import Axi4Signature

from .arrivals import read_beat
from .responses import write_response
from .write_data import data_beat
from .write_issue import address_request

__all__ = ["AxiPort"]


class AxiPort(wiring.Component):
    """Drive an AXI4 bus from one stream per channel: INCR bursts of full width, no locks.

    Combinational.

    Parameters
    ----------
    data_width, address_width, id_width : :class:`int`
        Of the bus.
    cache, prot, qos : :class:`int`
        AxCACHE, AxPROT and AxQOS.

    Members
    -------
    aw, ar : ``In(stream.Signature(address_request(...)))``
        Bursts.
    w : ``In(stream.Signature(data_beat(...)))``
        Write data.
    b : ``Out(stream.Signature(write_response(...)))``
        Write responses.
    r : ``Out(stream.Signature(read_beat(...)))``
        Read data.
    bus : ``Out(Axi4Signature(...))``
        The bus.
    """

    def __init__(self, *, data_width, address_width, id_width, cache, prot, qos):
        self.data_width = data_width
        self.fixed = {"size": exact_log2(data_width // 8), "burst": 1, "lock": 0, "cache": cache,
                      "prot": prot, "qos": qos}
        burst = address_request(address_width=address_width, id_width=id_width)
        super().__init__({
            "aw":  In(stream.Signature(burst)),
            "w":   In(stream.Signature(data_beat(data_width))),
            "b":   Out(stream.Signature(write_response(id_width))),
            "ar":  In(stream.Signature(burst)),
            "r":   Out(stream.Signature(read_beat(data_width=data_width, id_width=id_width))),
            "bus": Out(Axi4Signature(data_width=data_width, address_width=address_width,
                                     id_width=id_width)),
        })

    def elaborate(self, platform):
        m = Module()
        bus = self.bus
        for name, port in (("aw", self.aw), ("ar", self.ar)):
            m.d.comb += [
                getattr(bus, name + "id").eq(port.payload.id),
                getattr(bus, name + "addr").eq(port.payload.address),
                getattr(bus, name + "len").eq(port.payload.last_row),
                getattr(bus, name + "valid").eq(port.valid),
                port.ready.eq(getattr(bus, name + "ready")),
                *(getattr(bus, name + key).eq(value) for key, value in self.fixed.items()),
            ]
        m.d.comb += [
            bus.wdata.eq(self.w.payload.data),
            bus.wstrb.eq(self.w.payload.strb),
            bus.wlast.eq(self.w.payload.last),
            bus.wvalid.eq(self.w.valid),
            self.w.ready.eq(bus.wready),
            self.b.payload.id.eq(bus.bid),
            self.b.payload.resp.eq(bus.bresp),
            self.b.valid.eq(bus.bvalid),
            bus.bready.eq(self.b.ready),
            self.r.payload.id.eq(bus.rid),
            self.r.payload.data.eq(bus.rdata),
            self.r.payload.resp.eq(bus.rresp),
            self.r.payload.last.eq(bus.rlast),
            self.r.valid.eq(bus.rvalid),
            bus.rready.eq(self.r.ready),
        ]
        return m
