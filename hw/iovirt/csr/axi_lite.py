"""From AXI4-Lite to register accesses."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from iovirt.axi import AxiLiteSignature, Resp

from .port import RegisterPortSignature

__all__ = ["AxiLiteBridge"]


class AxiLiteBridge(wiring.Component):
    """Turn AXI4-Lite transactions into register accesses, one at a time.

    Address and data of a write come in either order. When a read and a write wait, they take
    turns. AxPROT is ignored: who may use which page is decided by who maps it.

    An access is offered on ``port`` 2 clocks after the edge that accepted the last of its channels;
    a response passes through combinationally. A transaction can be accepted while one of the other
    direction, but not of the same, is under way.

    Parameters
    ----------
    data_width : :class:`int`
        32 or 64.
    address_width : :class:`int`
        Of both ports, 12 to 64.

    Members
    -------
    bus : ``In(AxiLiteSignature(...))``
        Bus, of which this is the subordinate.
    port : ``Out(RegisterPortSignature(...))``
        Accesses. A response with ``error`` becomes SLVERR.

    Raises
    ------
    ValueError
        If a width is out of range.
    """

    def __init__(self, *, data_width, address_width):
        port = RegisterPortSignature(data_width=data_width, address_width=address_width)
        self.data_width    = data_width
        self.address_width = address_width
        super().__init__({
            "bus":  In(AxiLiteSignature(data_width=data_width, address_width=address_width)),
            "port": Out(port),
        })

    def elaborate(self, platform):
        m = Module()
        bus, request, response = self.bus, self.port.request, self.port.response

        # One register per channel. It is free again when its transaction is over.
        aw_held, w_held, ar_held = Signal(), Signal(), Signal()
        aw_addr, ar_addr = Signal.like(bus.awaddr), Signal.like(bus.araddr)
        w_data, w_strb = Signal.like(bus.wdata), Signal.like(bus.wstrb)
        m.d.comb += [bus.awready.eq(~aw_held), bus.wready.eq(~w_held), bus.arready.eq(~ar_held)]
        with m.If(bus.awvalid & ~aw_held):
            m.d.sync += [aw_held.eq(1), aw_addr.eq(bus.awaddr)]
        with m.If(bus.wvalid & ~w_held):
            m.d.sync += [w_held.eq(1), w_data.eq(bus.wdata), w_strb.eq(bus.wstrb)]
        with m.If(bus.arvalid & ~ar_held):
            m.d.sync += [ar_held.eq(1), ar_addr.eq(bus.araddr)]

        # `write` is decided anew only while nothing is under way. A side that has just been served
        # holds nothing in that clock, so that the other, if it waits, is next.
        write, offered, waiting = Signal(), Signal(), Signal()
        with m.If(~offered & ~waiting):
            m.d.sync += [
                offered.eq((aw_held & w_held) | ar_held),
                write.eq(aw_held & w_held),
            ]
        with m.If(request.valid & request.ready):
            m.d.sync += [offered.eq(0), waiting.eq(1)]

        lane = (self.data_width // 8 - 1).bit_length()
        m.d.comb += [
            request.valid.eq(offered),
            request.p.address.eq(Cat(C(0, lane), Mux(write, aw_addr, ar_addr)[lane:])),
            request.p.write.eq(write),
            request.p.data.eq(w_data),
            request.p.strobe.eq(Mux(write, w_strb, 0)),
        ]

        resp = Mux(response.p.error, Resp.SLVERR, Resp.OKAY)
        m.d.comb += [
            bus.bvalid.eq(waiting & write & response.valid),
            bus.rvalid.eq(waiting & ~write & response.valid),
            bus.bresp.eq(resp),
            bus.rresp.eq(resp),
            bus.rdata.eq(response.p.data),
            response.ready.eq(waiting & Mux(write, bus.bready, bus.rready)),
        ]
        with m.If(response.valid & response.ready):
            m.d.sync += waiting.eq(0)
            with m.If(write):
                m.d.sync += [aw_held.eq(0), w_held.eq(0)]
            with m.Else():
                m.d.sync += ar_held.eq(0)
        return m
