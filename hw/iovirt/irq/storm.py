"""Limit of the interrupts that one source delivers."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["StormLimit"]


class StormLimit(wiring.Component):
    """Bound the deliveries of each source in each interval of time.

    A source keeps the number of the interval of its last delivery, modulo 256, and its deliveries
    in it. What exceeds the limit stays pending until the next interval; a source that has slept for
    256 intervals may be told to wait for one in vain.

    ``ok`` and ``next_sent`` follow their inputs in the same clock, by about 5 levels of logic.

    Parameters
    ----------
    None.

    Members
    -------
    interval : ``In(24)``
        Length of an interval in clocks; 0 turns the limits off.
    now : ``Out(8)``
        Number of this interval.
    limit : ``In(16)``
        Of the source; 0 for none.
    stamp : ``In(8)``, ``sent`` : ``In(16)``
        Interval of its last delivery, and how many there were in it.
    ok : ``Out(1)``
        It may deliver.
    next_sent : ``Out(16)``
        ``sent`` if it does, with ``now`` as its stamp.
    """

    interval:  In(24)
    now:       Out(8)
    limit:     In(16)
    stamp:     In(8)
    sent:      In(16)
    ok:        Out(1)
    next_sent: Out(16)

    def elaborate(self, platform):
        m = Module()
        left = Signal.like(self.interval)
        with m.If(left == 0):
            m.d.sync += [left.eq(self.interval), self.now.eq(self.now + 1)]
        with m.Else():
            m.d.sync += left.eq(left - 1)

        off, fresh = Signal(), Signal()
        m.d.sync += off.eq(self.interval == 0)
        m.d.comb += [
            fresh.eq(self.stamp != self.now),
            self.ok.eq(off | (self.limit == 0) | fresh | (self.sent < self.limit)),
            self.next_sent.eq(Mux(fresh, 1, self.sent + ~self.sent.all())),
        ]
        return m
