"""Accesses to a header that the PCIe core keeps."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .config_layouts import CfgMgmtSignature, HeaderPortSignature

__all__ = ["CfgMgmtPort"]


class CfgMgmtPort(wiring.Component):
    """Pass accesses to the port's own header on to the configuration port of the PCIe core.

    One access at a time. Latency is 1 clock to ``cfg_mgmt``, and 1 clock from ``done``.

    Members
    -------
    port : ``In(HeaderPortSignature())``
    cfg_mgmt : ``Out(CfgMgmtSignature())``
    """

    def __init__(self):
        super().__init__({
            "port":     In(HeaderPortSignature()),
            "cfg_mgmt": Out(CfgMgmtSignature()),
        })

    def elaborate(self, platform):
        m = Module()
        now = Signal.like(self.port.request.p)
        m.d.comb += [
            self.cfg_mgmt.write.eq(now.write),
            self.cfg_mgmt.address.eq(Cat(C(0, 2), now.register)),
            self.cfg_mgmt.be.eq(now.be),
            self.cfg_mgmt.data.eq(now.data),
        ]

        with m.If(self.cfg_mgmt.done):
            m.d.sync += self.port.response.p.eq(self.cfg_mgmt.read_data)
        with m.FSM():
            with m.State("TAKE"):
                m.d.comb += self.port.request.ready.eq(1)
                m.d.sync += now.eq(self.port.request.p)
                with m.If(self.port.request.valid):
                    m.next = "ASK"
            with m.State("ASK"):
                m.d.comb += self.cfg_mgmt.valid.eq(1)
                with m.If(self.cfg_mgmt.ready):
                    m.next = "WAIT"
                    with m.If(self.cfg_mgmt.done):
                        m.next = "ANSWER"
            with m.State("WAIT"):
                with m.If(self.cfg_mgmt.done):
                    m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += self.port.response.valid.eq(1)
                with m.If(self.port.response.ready):
                    m.next = "TAKE"
        return m
