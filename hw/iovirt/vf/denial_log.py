"""Records and statistics of what was denied to guests of shared functions."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from iovirt.pcie.layouts import ErrorCause, ErrorRecord
from iovirt.stream import StreamArbiter, StreamQueue

from .share_layouts import Denial, DenialCause, GuestCount, GuestCounter

__all__ = ["DenialLog"]

#: Cause of the record, and the statistic of the guest, if there is one.
CAUSES = {
    DenialCause.KEY:      (ErrorCause.SHARE_KEY, GuestCounter.DENIED),
    DenialCause.ADDRESS:  (ErrorCause.SHARE_ADDRESS, GuestCounter.DENIED),
    DenialCause.ENTRY:    (ErrorCause.SHARE_ENTRY, GuestCounter.REPLACED),
    DenialCause.DOORBELL: (ErrorCause.SHARE_DOORBELL, GuestCounter.DROPPED),
    DenialCause.ODD:      (ErrorCause.SHARE_COMPLETION, None),
    DenialCause.TABLE:    (ErrorCause.SHARE_TABLE, GuestCounter.DENIED),
}


class DenialLog(wiring.Component):
    """Make an error record of each denial, and count it for its guest (rule S11).

    Sources take turns. Latency is 2 clocks; 1 denial per clock while both outputs take them.

    Parameters
    ----------
    ports : :class:`int`
        Number of sources, at least 1.

    Members
    -------
    i : ``In(stream.Signature(Denial)).array(ports)``
        What was denied. Cause NONE vanishes.
    error : ``Out(stream.Signature(ErrorRecord))``
        For the error log.
    count : ``Out(stream.Signature(GuestCount))``
        For the statistics of guests.
    """

    def __init__(self, *, ports):
        self._arbiter = StreamArbiter(Denial, ports=ports)
        super().__init__({
            "i":     In(stream.Signature(Denial)).array(ports),
            "error": Out(stream.Signature(ErrorRecord)),
            "count": Out(stream.Signature(GuestCount)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.arbiter = arbiter = self._arbiter
        m.submodules.denials = denials = StreamQueue(Denial, depth=2)
        m.submodules.errors = errors = StreamQueue(ErrorRecord, depth=2)
        m.submodules.counts = counts = StreamQueue(GuestCount, depth=2)
        for outer, inner in zip(self.i, arbiter.i, strict=True):
            wiring.connect(m, wiring.flipped(outer), inner)
        wiring.connect(m, arbiter.o, denials.i)
        wiring.connect(m, errors.o, wiring.flipped(self.error))
        wiring.connect(m, counts.o, wiring.flipped(self.count))

        denial, both, known, counted = denials.o.p, Signal(), Signal(), Signal()
        error, count = errors.i.p, counts.i.p
        m.d.comb += [
            both.eq(errors.i.ready & counts.i.ready),
            denials.o.ready.eq(both),
            errors.i.valid.eq(denials.o.valid & both & known),
            counts.i.valid.eq(denials.o.valid & both & counted),
            Cat(error.rid, error.segment).eq(denial.device_id),
            error.address.eq(denial.address),
            count.colour.eq(denial.colour),
            count.amount.eq(1),
        ]
        with m.Switch(denial.cause):
            for cause, (record, counter) in CAUSES.items():
                with m.Case(cause):
                    m.d.comb += [known.eq(1), error.cause.eq(record)]
                    if counter is not None:
                        m.d.comb += [counted.eq(1), count.counter.eq(counter)]
        return m
