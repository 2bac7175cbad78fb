"""Completions without data."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..stream import StreamArbiter, StreamQueue
from .layouts import CompletionRequest, tlp_beat
from .tlp import CompletionHeader, Fmt, Type

__all__ = ["Completer"]


class Completer(wiring.Component):
    """Turn requests for a completion without data into TLPs (PCIe Base, 2.2.9).

    Ports take turns. Latency is 1 clock, throughput one TLP per clock. ``o`` comes from registers;
    paths run from ``request[*].valid`` to ``request[*].ready``.

    Parameters
    ----------
    data_width : :class:`int`
        Of the TLP stream.
    ports : :class:`int`
        Number of inputs, at least 1.

    Members
    -------
    request : ``In(stream.Signature(CompletionRequest)).array(ports)``
    rid : ``In(16)``
        Completer ID: that of the root port.
    o : ``Out(stream.Signature(tlp_beat(data_width)))``
        One beat per completion.
    """

    def __init__(self, *, data_width, ports):
        if data_width not in (64, 128, 256, 512):
            raise ValueError(f"Data width must be 64, 128, 256 or 512, not {data_width!r}")
        self.data_width = data_width
        self.ports      = ports
        self._arbiter   = StreamArbiter(CompletionRequest, ports=ports)
        super().__init__({
            "request": In(stream.Signature(CompletionRequest)).array(ports),
            "rid":     In(16),
            "o":       Out(stream.Signature(tlp_beat(data_width))),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.arbiter = arbiter = self._arbiter
        m.submodules.queue   = queue   = StreamQueue(
            data.StructLayout({"request": CompletionRequest, "cid": 16}), depth=2)
        for outer, inner in zip(self.request, arbiter.i, strict=True):
            wiring.connect(m, wiring.flipped(outer), inner)
        m.d.comb += [
            queue.i.valid.eq(arbiter.o.valid),
            arbiter.o.ready.eq(queue.i.ready),
            queue.i.payload.request.eq(arbiter.o.payload),
            queue.i.payload.cid.eq(self.rid),
        ]

        request, header = queue.o.payload.request, Signal(CompletionHeader)
        m.d.comb += [
            header.dw0.fmt.eq(Fmt.DW3),
            header.dw0.type.eq(Type.COMPLETION),
            header.dw0.tc.eq(request.tc),
            header.dw0.attr_l.eq(request.attr[:2]),
            header.dw0.attr_h.eq(request.attr[2]),
            header.dw0.tag_8.eq(request.tag[8]),
            header.dw0.tag_9.eq(request.tag[9]),
            header.cid.eq(queue.o.payload.cid),
            header.status.eq(request.status),
            header.byte_count.eq(request.byte_count),
            header.rid.eq(request.rid),
            header.tag.eq(request.tag[:8]),
            header.lower_addr.eq(request.lower_addr),
            self.o.payload.hdr.eq(header),
            self.o.payload.first.eq(1),
            self.o.payload.last.eq(1),
            self.o.valid.eq(queue.o.valid),
            queue.o.ready.eq(self.o.ready),
        ]
        return m
