"""Device contexts on their way to the context cache."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..stream.credits import CreditQueue
from .layouts import context_fill

__all__ = ["WalkContexts"]


class WalkContexts(wiring.Component):
    """Queue the device contexts that walks have read. If the queue is full, they are dropped.

    The context cache can do without any of them, while walks cannot wait for it.

    Latency is 1 clock and throughput is 1 transfer per clock.

    Parameters
    ----------
    depth : :class:`int`
        Contexts that can wait, at least 1.

    Members
    -------
    i : ``In(stream.Signature(context_fill(), always_ready=True))``
        Contexts.
    o : ``Out(stream.Signature(context_fill()))``
        Those that were not dropped, in order.
    level, left : ``Out(range(depth + 1))``, ``Out(1)``
        How many wait; one leaves.
    """

    def __init__(self, *, depth=4):
        if type(depth) is not int or depth < 1:
            raise ValueError(f"Depth must be an integer of at least 1, not {depth!r}")
        self.depth = depth
        super().__init__({
            "i":     In(stream.Signature(context_fill(), always_ready=True)),
            "o":     Out(stream.Signature(context_fill())),
            "level": Out(range(depth + 1)),
            "left":  Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.queue = queue = CreditQueue(context_fill(), depth=self.depth)
        wiring.connect(m, queue.o, wiring.flipped(self.o))
        m.d.comb += [
            queue.i.valid.eq(self.i.valid & queue.free),
            queue.i.p.eq(self.i.p),
            queue.reserve.eq(queue.i.valid),
            self.level.eq(queue.level),
            self.left.eq(self.o.valid & self.o.ready),
        ]
        return m
