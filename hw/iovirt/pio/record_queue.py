"""Error records of who cannot wait."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from iovirt.stream import StreamQueue

from .layouts import PioError

__all__ = ["RecordQueue"]


class RecordQueue(wiring.Component):
    """Queue a few records, and drop one that finds no place.

    Latency is 2 clocks; throughput is 1 record per clock.

    Members
    -------
    i : ``In(stream.Signature(PioError, always_ready=True))``
    o : ``Out(stream.Signature(PioError))``
    lost : ``Out(1)``
        For one clock: a record was dropped.
    """

    DEPTH = 8

    i:    In(stream.Signature(PioError, always_ready=True))
    o:    Out(stream.Signature(PioError))
    lost: Out(1)

    def elaborate(self, platform):
        m = Module()
        m.submodules.queue = queue = StreamQueue(PioError, depth=self.DEPTH)
        wiring.connect(m, queue.o, wiring.flipped(self.o))
        m.d.comb += [queue.i.valid.eq(self.i.valid), queue.i.p.eq(self.i.p)]
        m.d.sync += self.lost.eq(self.i.valid & ~queue.i.ready)
        return m
