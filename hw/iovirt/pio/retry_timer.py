"""Budget for configuration requests that are answered RRS."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .config_layouts import RetrySignature

__all__ = ["RetryTimer"]


class RetryTimer(wiring.Component):
    """Say when a request is to be issued again, and when no more.

    Parameters
    ----------
    clock_mhz : :class:`int`
        Clocks per us, at least 1.

    Members
    -------
    retry : ``In(RetrySignature())``
        The budget.
    start : ``In(1)``
        Pulse: an access begins.
    again : ``In(1)``
        Pulse: its request is issued again.
    pausing : ``In(1)``
        The pause goes on.
    spent : ``Out(1)``
        The budget is spent, as of 1 clock ago.
    paused : ``Out(1)``
        The pause is over; it lasts ``retry.pause`` us, or up to 1 us less.
    """

    def __init__(self, *, clock_mhz):
        if not isinstance(clock_mhz, int) or clock_mhz < 1:
            raise ValueError("Clocks per microsecond must be an integer of at least 1, not "
                             f"{clock_mhz!r}")
        self.clock_mhz = clock_mhz
        super().__init__({
            "retry":   In(RetrySignature()),
            "start":   In(1),
            "again":   In(1),
            "pausing": In(1),
            "spent":   Out(1),
            "paused":  Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        clocks, tick = Signal(range(self.clock_mhz)), Signal()
        m.d.sync += [tick.eq(clocks == 0), clocks.eq(clocks - 1)]
        with m.If(clocks == 0):
            m.d.sync += clocks.eq(self.clock_mhz - 1)

        # Neither count wraps: the time stops at the end of its highest unit.
        time, left = Signal(26), Signal(16)
        issued     = Signal(16)
        m.d.sync += self.spent.eq((issued >= self.retry.count) | (time[10:] >= self.retry.time))
        with m.If(self.start):
            m.d.sync += [time.eq(0), issued.eq(0), self.spent.eq(0)]
        with m.Else():
            with m.If(tick & ~time[10:].all()):
                m.d.sync += time.eq(time + 1)
            with m.If(self.again):
                m.d.sync += issued.eq(issued + 1)

        m.d.comb += self.paused.eq(left == 0)
        with m.If(~self.pausing):
            m.d.sync += left.eq(self.retry.pause)
        with m.Elif(tick & ~self.paused):
            m.d.sync += left.eq(left - 1)
        return m
