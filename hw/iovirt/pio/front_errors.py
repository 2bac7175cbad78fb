"""Records of accesses that went nowhere."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from iovirt.stream import StreamArbiter, StreamQueue

from .layouts import PioError

__all__ = ["FrontErrors"]


class FrontErrors(wiring.Component):
    """Merge records that cannot wait; those that find their queue full are lost, and counted.

    Latency is 2 clocks.

    Parameters
    ----------
    ports : :class:`int`
        Number of sources.

    Members
    -------
    i : ``In(stream.Signature(PioError, always_ready=True)).array(ports)``
    o : ``Out(stream.Signature(PioError))``
    lost : ``Out(1)``
        Pulse: a record was lost. Two in one clock count as one.
    """

    def __init__(self, *, ports):
        self.ports = ports
        super().__init__({
            "i":    In(stream.Signature(PioError, always_ready=True)).array(ports),
            "o":    Out(stream.Signature(PioError)),
            "lost": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.arbiter = arbiter = StreamArbiter(PioError, ports=self.ports)
        wiring.connect(m, arbiter.o, wiring.flipped(self.o))
        lost = []
        for n, i in enumerate(self.i):
            m.submodules[f"queue_{n}"] = queue = StreamQueue(PioError, depth=4)
            wiring.connect(m, queue.o, arbiter.i[n])
            m.d.comb += [queue.i.valid.eq(i.valid), queue.i.payload.eq(i.payload)]
            lost.append(i.valid & ~queue.i.ready)
        m.d.sync += self.lost.eq(Cat(lost).any())
        return m
