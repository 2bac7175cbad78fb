"""Answers go to who asked."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .debug import debug_result
from .layouts import remap_result
from .misses import miss_result

__all__ = ["ResultSplit"]


class ResultSplit(wiring.Component):
    """Send the answers to debug requests to the debug unit and all others out.

    Latency 0 clocks, throughput 1 per clock; all paths are combinational.

    Parameters
    ----------
    id_width, address_width : :class:`int`
        Widths of the layouts.

    Members
    -------
    i : ``In(stream.Signature(miss_result(id_width, address_width)))``
        All answers.
    result : ``Out(stream.Signature(remap_result(id_width, address_width)))``
        Answers to requests from outside.
    debug : ``Out(stream.Signature(debug_result(address_width)))``
        Answers to debug requests.
    """

    def __init__(self, *, id_width, address_width):
        super().__init__({
            "i":      In(stream.Signature(miss_result(id_width, address_width))),
            "result": Out(stream.Signature(remap_result(id_width, address_width))),
            "debug":  Out(stream.Signature(debug_result(address_width))),
        })

    def elaborate(self, platform):
        m = Module()
        m.d.comb += [
            self.result.valid.eq(self.i.valid & ~self.i.p.debug),
            self.debug.valid.eq(self.i.valid & self.i.p.debug),
            self.i.ready.eq(Mux(self.i.p.debug, self.debug.ready, self.result.ready)),
            self.debug.p.ok.eq(self.i.p.ok),
            self.debug.p.ppn.eq(self.i.p.ppn),
            *(self.result.p[name].eq(self.i.p[name])
              for name in ("ok", "ca", "ppn", "cause", "id", "epoch")),
        ]
        return m
