"""Translation on demand of software (RISC-V IOMMU 1.0, debug interface)."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .layouts import Access

__all__ = ["DebugUnit", "debug_result"]


def debug_result(address_width):
    """Return the layout of the answer to a debug request."""
    return data.StructLayout({"ok": 1, "ppn": address_width - 12})


class DebugUnit(wiring.Component):
    """Ask the engine for one translation, described by tr_req_iova and tr_req_ctl.

    Setting Go samples both registers and raises ``busy`` on the next clock; Go is ignored while
    busy. The request is an untranslated read (NW), read for execute (NW and Exe), or write; PID
    and Priv count only with PV. Faults are recorded as for any request. The answer is in
    tr_response from the clock on which ``busy`` falls until the next Go.

    A translation is always said to be one of a page of 4 KiB (S = 0), of memory type PMA.

    Parameters
    ----------
    address_width : :class:`int`
        Width of a physical address (capabilities.PAS), 32 to 56.

    Members
    -------
    vpn : ``In(52)``
        tr_req_iova[12:64].
    go : ``In(1)``
        Pulse: software set tr_req_ctl.Go. The fields below hold what it wrote.
    priv, exe, nw, pv : ``In(1)``
        Fields of tr_req_ctl.
    pid, device_id : ``In(20)``, ``In(24)``
        Fields of tr_req_ctl.
    busy : ``Out(1)``
        tr_req_ctl.Go/Busy as read.
    fault : ``Out(1)``
        tr_response.fault.
    ppn : ``Out(44)``
        tr_response.PPN; 0 after a fault.
    request : ``Out(stream.Signature(Access))``
        The access to translate.
    response : ``In(stream.Signature(debug_result(address_width)))``
        Its answer. Always accepted.
    """

    def __init__(self, *, address_width):
        if type(address_width) is not int or not 32 <= address_width <= 56:
            raise ValueError(f"Address width must be an integer in 32..56, not {address_width!r}")
        self.address_width = address_width
        super().__init__({
            "vpn":       In(52),
            "go":        In(1),
            "priv":      In(1),
            "exe":       In(1),
            "nw":        In(1),
            "pid":       In(20),
            "pv":        In(1),
            "device_id": In(24),
            "busy":      Out(1),
            "fault":     Out(1),
            "ppn":       Out(44),
            "request":   Out(stream.Signature(Access)),
            "response":  In(stream.Signature(debug_result(address_width))),
        })

    def elaborate(self, platform):
        m = Module()
        with m.If(self.go & ~self.busy):
            m.d.sync += [
                self.busy.eq(1),
                self.request.valid.eq(1),
                self.request.p.eq(Cat(
                    self.device_id, self.pv, Mux(self.pv, self.pid, 0), self.pv & self.priv,
                    self.exe & self.nw, ~self.nw, C(0, 2), C(0, 12), self.vpn)),
            ]
        with m.If(self.request.valid & self.request.ready):
            m.d.sync += self.request.valid.eq(0)

        m.d.comb += self.response.ready.eq(1)
        with m.If(self.response.valid):
            m.d.sync += [
                self.busy.eq(0),
                self.fault.eq(~self.response.p.ok),
                self.ppn.eq(Mux(self.response.p.ok, self.response.p.ppn, 0)),
            ]
        return m
