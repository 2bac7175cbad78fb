"""Records of interrupts that were refused."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from iovirt.pcie.layouts import ErrorCause, ErrorRecord
from iovirt.stream import StreamQueue

from .operations import Denial

__all__ = ["DenialRecorder"]

_DEPTH = 4


class DenialRecorder(wiring.Component):
    """Make error records of interrupts that were refused.

    A message without a valid entry is unhandled. A notice of this design itself, a fault or PIO
    error, is recorded elsewhere, so that nothing is recorded of it here. The address of a record is
    the index of the entry times 8: the offset of the write in its window, if there is one.

    Latency is 3 clocks; one record per clock.

    Parameters
    ----------
    None.

    Members
    -------
    valid : ``In(1)``, ``i`` : ``In(Denial)``
        Refused interrupts.
    error : ``Out(stream.Signature(ErrorRecord))``
    lost : ``Out(1)``
        For one clock: an error found the queue to ``error`` full.
    """

    valid: In(1)
    i:     In(Denial)
    error: Out(stream.Signature(ErrorRecord))
    lost:  Out(1)

    def elaborate(self, platform):
        m = Module()
        m.submodules.queue = queue = StreamQueue(ErrorRecord, depth=_DEPTH)
        wiring.connect(m, queue.o, wiring.flipped(self.error))

        record, own = queue.i.payload, self.i.message & self.i.index[3]
        m.d.sync += [
            queue.i.valid.eq(self.valid & ~own),
            record.cause.eq(Mux(self.i.fatal, ErrorCause.MSI_ECC,
                                Mux(self.i.message, ErrorCause.UNHANDLED_MESSAGE,
                                    ErrorCause.MSI_DENIED))),
            record.segment.eq(self.i.segment),
            record.rid.eq(self.i.rid),
            record.address.eq(Cat(C(0, 3), self.i.index)),
        ]
        m.d.comb += self.lost.eq(queue.i.valid & ~queue.i.ready)
        return m
