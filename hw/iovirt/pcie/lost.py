"""Error records of things that are only known by a pulse."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .layouts import ErrorCause, ErrorRecord

__all__ = ["PulseRecord"]


class PulseRecord(wiring.Component):
    """Offer one record of ``cause``, without requester, for pulses of ``event``.

    Pulses while a record waits are covered by it; count the pulses themselves where each matters.
    Latency is 1 clock.

    Parameters
    ----------
    cause : :class:`ErrorCause`
        What happened.

    Members
    -------
    event : ``In(1)``
    error : ``Out(stream.Signature(ErrorRecord))``
    """

    def __init__(self, *, cause):
        self.cause = ErrorCause(cause)
        super().__init__({
            "event": In(1),
            "error": Out(stream.Signature(ErrorRecord)),
        })

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.error.p.cause.eq(self.cause)
        with m.If(self.event):
            m.d.sync += self.error.valid.eq(1)
        with m.Elif(self.error.ready):
            m.d.sync += self.error.valid.eq(0)
        return m
