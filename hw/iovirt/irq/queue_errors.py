"""Error records of event queues."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from iovirt.pcie.layouts import ErrorCause, ErrorRecord
from iovirt.stream import StreamQueue

__all__ = ["QueueErrorRecorder"]

_DEPTH = 4


class QueueErrorRecorder(wiring.Component):
    """Make error records of event queues.

    The address of a record is the number of the queue. If the cause is MSI_WRITE_ERROR, which
    forwarded interrupts have, too, it is 2 * queue + 1: no interrupt has an odd address.

    Latency is 2 clocks; one record per clock.

    Parameters
    ----------
    queue_width : :class:`int`
        Width of queue numbers.
    cause : :class:`ErrorCause`
        What is recorded.

    Members
    -------
    failed : ``In(1)``, ``queue`` : ``In(queue_width)``
        Pulse: record this queue.
    error : ``Out(stream.Signature(ErrorRecord))``
    lost : ``Out(1)``
        For one clock: a record found the way to ``error`` full.
    """

    def __init__(self, *, queue_width, cause):
        self.queue_width = queue_width
        self.cause       = ErrorCause(cause)
        super().__init__({
            "failed": In(1),
            "queue":  In(queue_width),
            "error":  Out(stream.Signature(ErrorRecord)),
            "lost":   Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.queue = queue = StreamQueue(self.queue_width, depth=_DEPTH)
        address = queue.o.payload
        if self.cause == ErrorCause.MSI_WRITE_ERROR:
            address = Cat(C(1, 1), address)
        m.d.comb += [
            queue.i.valid.eq(self.failed),
            queue.i.payload.eq(self.queue),
            self.lost.eq(self.failed & ~queue.i.ready),
            self.error.valid.eq(queue.o.valid),
            self.error.p.cause.eq(self.cause),
            self.error.p.address.eq(address),
            queue.o.ready.eq(self.error.ready),
        ]
        return m
