"""Records of event queues that have stopped."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from iovirt.pcie.layouts import ErrorCause, ErrorRecord
from iovirt.stream import StreamQueue

__all__ = ["StopRecorder"]

_DEPTH = 4


class StopRecorder(wiring.Component):
    """Make an error record of each event queue that an error stops; its address is the queue.

    Latency is 2 clocks; one record per clock.

    Parameters
    ----------
    queue_width : :class:`int`
        Width of queue numbers.

    Members
    -------
    stopped : ``In(1)``, ``queue`` : ``In(queue_width)``
        Pulse: this queue has stopped.
    error : ``Out(stream.Signature(ErrorRecord))``
    lost : ``Out(1)``
        For one clock: a stop found the queue to ``error`` full.
    """

    def __init__(self, *, queue_width):
        self.queue_width = queue_width
        super().__init__({
            "stopped": In(1),
            "queue":   In(queue_width),
            "error":   Out(stream.Signature(ErrorRecord)),
            "lost":    Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.queue = queue = StreamQueue(self.queue_width, depth=_DEPTH)
        m.d.comb += [
            queue.i.valid.eq(self.stopped),
            queue.i.payload.eq(self.queue),
            self.lost.eq(self.stopped & ~queue.i.ready),
            self.error.valid.eq(queue.o.valid),
            self.error.p.cause.eq(ErrorCause.QUEUE_STOPPED),
            self.error.p.address.eq(queue.o.payload),
            queue.o.ready.eq(self.error.ready),
        ]
        return m
