"""Time of the requester, in units of its time-out period."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .request_layouts import TIME_WIDTH

__all__ = ["PERIODS", "PERIOD_TICKS", "SHORTEST_US", "TimeoutClock"]

#: Ticks in a period. A request is too old when it has seen one tick more begin.
PERIOD_TICKS = 16

#: Shortest period, in microseconds.
SHORTEST_US = 56

#: Base-2 logarithm of the period, in units of the shortest, by the code of Device Control 2: each
#: lies in the range that the code stands for (PCIe Base, 7.5.3.16). Other codes count as 0.
PERIODS = {0: 8, 1: 0, 2: 6, 5: 9, 6: 11, 9: 13, 10: 15, 13: 17, 14: 19}


class TimeoutClock(wiring.Component):
    """Count time in ticks of a 16th of the period that is in force.

    ====  ===============  ========
    code  range            period
    ====  ===============  ========
    0     50 us to 50 ms   14.3 ms
    1     50 us to 100 us  56 us
    2     1 to 10 ms       3.58 ms
    5     16 to 55 ms      28.7 ms
    6     65 to 210 ms     115 ms
    9     260 to 900 ms    459 ms
    10    1 to 3.5 s       1.84 s
    13    4 to 13 s        7.34 s
    14    17 to 64 s       29.4 s
    ====  ===============  ========

    All periods are powers of two of the shortest, so one counter serves all of them.

    Parameters
    ----------
    clock_mhz : :class:`int`
        Frequency of the clock, at least 1.

    Members
    -------
    code : ``In(4)``
        See above. A change makes times before and after it unrelated, so it takes effect only
        while the user keeps no time.
    unused : ``In(1)``
        The user keeps no time; falls at most 1 clock after he has begun to.
    hold : ``Out(1)``
        The user must not begin to keep a time, for a few clocks around a change.
    now : ``Out(TIME_WIDTH)``
        The time, modulo.

    Raises
    ------
    ValueError
        If ``clock_mhz`` is not such a number.
    """

    def __init__(self, *, clock_mhz):
        if type(clock_mhz) is not int or clock_mhz < 1:
            raise ValueError(f"Clock frequency must be an integer of at least 1 MHz, "
                             f"not {clock_mhz!r}")
        self.clock_mhz = clock_mhz
        super().__init__({
            "code":   In(4),
            "unused": In(1),
            "hold":   Out(1),
            "now":    Out(TIME_WIDTH),
        })

    def elaborate(self, platform):
        m = Module()
        clocks = -(-self.clock_mhz * SHORTEST_US // PERIOD_TICKS)
        divider, ticks = Signal(range(clocks)), Signal(TIME_WIDTH + max(PERIODS.values()))
        carry = Signal()
        # The increment waits in `carry`, so that the two counters are not one path.
        m.d.sync += [
            carry.eq(divider == clocks - 1),
            divider.eq(Mux(divider == clocks - 1, 0, divider + 1)),
            ticks.eq(ticks + carry),
        ]
        code = Signal(4)
        with m.FSM():
            with m.State("KEEP"):
                with m.If(self.unused & (code != self.code)):
                    m.next = "HOLD"
            with m.State("HOLD"):
                m.d.comb += self.hold.eq(1)
                m.next = "CHANGE"
            with m.State("CHANGE"):
                m.d.comb += self.hold.eq(1)
                m.next = "KEEP"
                with m.If(self.unused):
                    m.d.sync += code.eq(self.code)
                    m.next = "SETTLE"
            with m.State("SETTLE"):
                m.d.comb += self.hold.eq(1)
                m.next = "KEEP"
        with m.Switch(code):
            for value, shift in PERIODS.items():
                if value:
                    with m.Case(value):
                        m.d.sync += self.now.eq(ticks[shift:])
            with m.Default():
                m.d.sync += self.now.eq(ticks[PERIODS[0]:])
        return m
