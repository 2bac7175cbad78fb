"""Queues that cost no clock while they are empty."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .queue import StreamQueue

__all__ = ["PassingQueue"]


class PassingQueue(wiring.Component):
    """Queue up to ``depth + 1`` transfers; one that finds the queue empty passes by.

    Latency is 0 clocks while nothing waits, else that of :class:`StreamQueue`; throughput is 1
    transfer per clock. Combinational paths run from ``i`` to ``o``, none back to ``i.ready``.

    Parameters
    ----------
    shape : :class:`ShapeLike`
        Shape of the payload.
    depth : :class:`int`
        Number of transfers that wait behind the first, at least 1.

    Members
    -------
    i : ``In(stream.Signature(shape))``
        Transfers to queue.
    o : ``Out(stream.Signature(shape))``
        The same transfers, in order.
    """

    def __init__(self, shape, *, depth):
        self.shape = shape
        self.depth = depth
        self._queue = StreamQueue(shape, depth=depth)
        super().__init__({
            "i": In(stream.Signature(shape)),
            "o": Out(stream.Signature(shape)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.queue = queue = self._queue
        i, o = self.i, self.o

        # One that passes by and is not taken is held in front of the queue.
        held, holds, passes = Signal.like(Value.cast(i.payload)), Signal(), Signal()
        m.d.comb += [
            passes.eq(~holds & (queue.level == 0)),
            i.ready.eq(passes | queue.i.ready),
            queue.i.valid.eq(i.valid & ~passes),
            queue.i.payload.eq(i.payload),
            queue.o.ready.eq(~holds & o.ready),
            o.valid.eq(holds | queue.o.valid | (passes & i.valid)),
            Value.cast(o.payload).eq(
                Mux(holds, held, Mux(queue.o.valid, Value.cast(queue.o.payload),
                                     Value.cast(i.payload)))),
        ]
        with m.If(passes):
            m.d.sync += held.eq(i.payload)
        m.d.sync += holds.eq(~o.ready & (holds | (passes & i.valid)))
        return m
