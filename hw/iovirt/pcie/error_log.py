"""Log of what was dropped or refused outside translation."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..stream import StreamArbiter
from .layouts import ErrorCause, ErrorRecord

__all__ = ["ErrorLog"]


class ErrorLog(wiring.Component):
    """Count records by cause, and keep the first one.

    Each record is accepted within ``ports`` clocks, whatever the others do, and counted once.

    Parameters
    ----------
    ports : :class:`int`
        Number of sources, at least 1.

    Members
    -------
    record : ``In(stream.Signature(ErrorRecord)).array(ports)``
    count_valid : ``Out(1)``
        A record of cause ``count`` came in, 1 clock ago. One per clock.
    count : ``Out(ErrorCause)``
    first : ``Out(ErrorRecord)``
        First record since ``clear``; cause NONE until there is one.
    more : ``Out(1)``
        Others came after ``first``.
    clear : ``In(1)``
        Forget ``first`` and ``more``; a record of the same clock becomes the new first one.
    """

    def __init__(self, *, ports):
        self.ports    = ports
        self._arbiter = StreamArbiter(ErrorRecord, ports=ports)
        super().__init__({
            "record":      In(stream.Signature(ErrorRecord)).array(ports),
            "count_valid": Out(1),
            "count":       Out(ErrorCause),
            "first":       Out(ErrorRecord),
            "more":        Out(1),
            "clear":       In(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.arbiter = arbiter = self._arbiter
        for outer, inner in zip(self.record, arbiter.i, strict=True):
            wiring.connect(m, wiring.flipped(outer), inner)

        # A register between the sources and the rest, so that nothing waits on the log.
        latest = Signal(ErrorRecord)
        m.d.comb += [arbiter.o.ready.eq(1), self.count.eq(latest.cause)]
        m.d.sync += [latest.eq(arbiter.o.payload), self.count_valid.eq(arbiter.o.valid)]

        with m.If(self.clear):
            m.d.sync += [Value.cast(self.first).eq(0), self.more.eq(0)]
        with m.If(self.count_valid):
            with m.If(self.clear | (self.first.cause == ErrorCause.NONE)):
                m.d.sync += self.first.eq(latest)
            with m.Else():
                m.d.sync += self.more.eq(1)
        return m
