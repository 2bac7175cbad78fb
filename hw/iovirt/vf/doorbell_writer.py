"""Doorbells of devices."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from iovirt.pcie.layouts import tlp_beat
from iovirt.pcie.tlp import Fmt, RequestHeader, Type
from iovirt.stream import StreamArbiter, StreamQueue

from .scheduler_layouts import device_doorbell
from .settling import progress
from .share_layouts import Function

__all__ = ["DoorbellWriter"]


class DoorbellWriter(wiring.Component):
    """Write doorbells of devices, as posted memory writes of one Dword.

    The sources take turns; the order of each is kept. A doorbell of a function that is not valid is
    dropped. Latency is 4 clocks; throughput is 1 doorbell per clock.

    Parameters
    ----------
    data_width : :class:`int`
        Of TLPs: 64, 128, 256 or 512.
    functions : :class:`int`
        Number of shared functions, 1 to 4.
    sources : :class:`int`
        Number of inputs, at least 1.

    Members
    -------
    i : ``In(stream.Signature(device_doorbell)).array(sources)``
        Doorbells.
    functions : ``In(Function).array(functions)``
        Their BARs, aligned to Dwords. They are looked at 1 clock after the transfer.
    requester_id : ``In(16)``
        Of the root port.
    tx : ``Out(stream.Signature(tlp_beat(data_width)))``
        To the transmitter.
    progress : ``Out(progress())``
        Of doorbells that were taken. One that is dropped leaves up to 3 clocks early.
    """

    def __init__(self, *, data_width, functions, sources=2):
        if data_width not in (64, 128, 256, 512):
            raise ValueError(f"Data width must be 64, 128, 256 or 512, not {data_width!r}")
        if type(functions) is not int or not 1 <= functions <= 4:
            raise ValueError(f"Number of functions must be an integer in 1..4, not {functions!r}")
        if type(sources) is not int or sources < 1:
            raise ValueError("Number of sources must be an integer of at least 1, not "
                             f"{sources!r}")
        self.data_width = data_width
        self.sources    = sources
        super().__init__({
            "i":            In(stream.Signature(device_doorbell)).array(sources),
            "functions":    In(Function).array(functions),
            "requester_id": In(16),
            "tx":           Out(stream.Signature(tlp_beat(self.data_width))),
            "progress":     Out(progress()),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.arbiter = arbiter = StreamArbiter(device_doorbell, ports=self.sources)
        m.submodules.rings   = rings   = StreamQueue(device_doorbell, depth=2)
        for outer, inner in zip(self.i, arbiter.i, strict=True):
            wiring.connect(m, wiring.flipped(outer), inner)
        wiring.connect(m, arbiter.o, rings.i)

        # The function is chosen, its BAR is added, and the header is made of the sum.
        ring, known, bar = rings.o.p, Signal(), Signal(64)
        advance, valid = Signal(), Signal(2)
        tail, base, address = Signal(22), Signal(62), Signal(62)
        values = [Signal(16, name=f"value_{n}") for n in range(2)]
        with m.Switch(ring.function):
            for n in range(len(self.functions)):
                with m.Case(n):
                    m.d.comb += [known.eq(self.functions[n].valid), bar.eq(self.functions[n].bar)]
        m.d.comb += [
            advance.eq(~self.tx.valid | self.tx.ready),
            rings.o.ready.eq(advance),
            self.progress.idle.eq((rings.level == 0) & ~valid.any() & ~self.tx.valid),
            self.progress.leaves.eq((self.tx.valid & self.tx.ready)
                                    | (rings.o.valid & advance & ~known)),
        ]
        with m.If(advance):
            m.d.sync += [
                valid.eq(Cat(rings.o.valid & known, valid[0])),
                base.eq(bar[2:]), tail.eq(ring.tail), values[0].eq(ring.value),
                address.eq(base + tail), values[1].eq(values[0]),
                self.tx.valid.eq(valid[1]),
                self.tx.p.hdr.eq(self._header(m, Cat(C(0, 2), address))),
                self.tx.p.data.eq(values[1]),
            ]
        m.d.comb += [self.tx.p.strb.eq(1), self.tx.p.first.eq(1), self.tx.p.last.eq(1)]
        return m

    def _header(self, m, address):
        header = Signal(RequestHeader)
        wide   = address[32:] != 0
        m.d.comb += [
            header.dw0.fmt.eq(Mux(wide, Fmt.DW4_DATA, Fmt.DW3_DATA)),
            header.dw0.type.eq(Type.MEMORY),
            header.dw0.length.eq(1),
            header.rid.eq(self.requester_id),
            header.first_be.eq(0xf),
            header.dw2.eq(Mux(wide, address[32:], address[:32])),
            header.dw3.eq(Mux(wide, address[:32], 0)),
        ]
        return header
