"""Flow-control credits towards the link partner."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["CreditGate"]

HEADER_BITS = 8   # width of the header credit counts of a core
DATA_BITS   = 12  # of the data credit counts, in units of 16 bytes


class CreditGate(wiring.Component):
    """Know how many credits of one class are left, although the core's counts lag behind.

    What has been granted is deducted from the core's counts until ``lag`` clocks after the transfer
    of the first beat; by then the counts must include it (sooner does no harm, only caution). A
    count of all ones means infinite, and never falls.

    ``header_room`` and ``data_room`` lack the grant of the last clock, and ``plenty`` those of the
    last two: it says that there is room for three of the largest TLPs, so that it does not matter.

    Parameters
    ----------
    max_units : :class:`int`
        Data units of the largest TLP, 0 to 256.
    lag : :class:`int`
        At least 1.

    Members
    -------
    header_credits, data_credits : ``In``
        The core's counts.
    grant, grant_units : ``In``
        A TLP of so many data units has been committed to in this clock.
    sent, sent_units : ``In``
        The first beat of a granted TLP has been transferred in this clock.
    header_room, data_room : ``Out``
        Credits left; 0 if overdrawn.
    plenty : ``Out(1)``
    """

    def __init__(self, *, max_units, lag):
        if not isinstance(max_units, int) or not 0 <= max_units <= 256:
            raise ValueError(f"Data units must be an integer in 0..256, not {max_units!r}")
        if not isinstance(lag, int) or not 1 <= lag <= 64:
            raise ValueError(f"Lag of credit counts must be an integer in 1..64, not {lag!r}")
        self.max_units = max_units
        self.lag       = lag
        super().__init__({
            "header_credits": In(HEADER_BITS),
            "data_credits":   In(DATA_BITS),
            "grant":          In(1),
            "grant_units":    In(range(max_units + 1)),
            "sent":           In(1),
            "sent_units":     In(range(max_units + 1)),
            "header_room":    Out(HEADER_BITS),
            "data_room":      Out(DATA_BITS),
            "plenty":         Out(1),
        })

    def elaborate(self, platform):
        m = Module()

        # What was sent leaves the deduction `lag` clocks later; its register is the last of them.
        counted, counted_units = self.sent, self.sent_units
        for n in range(self.lag - 1):
            stage, units = Signal(name=f"sent_{n}"), Signal.like(self.sent_units, name=f"units_{n}")
            m.d.sync += [stage.eq(counted), units.eq(counted_units)]
            counted, counted_units = stage, units

        # At most one TLP per clock enters and leaves, and few are between grant and transfer.
        headers = Signal(range(self.lag + 8))
        units   = Signal(range((self.lag + 8) * max(1, self.max_units)))
        m.d.sync += [
            headers.eq(headers + self.grant - counted),
            units.eq(units + Mux(self.grant, self.grant_units, 0)
                     - Mux(counted, counted_units, 0)),
        ]

        def left(credits, deducted, room):
            rest = Signal(signed(len(credits) + 2), name=f"{room.name}_now")
            m.d.comb += rest.eq(Mux(credits.all(), credits, credits - deducted))
            m.d.sync += room.eq(Mux(rest < 0, 0, rest))

        left(self.header_credits, headers, self.header_room)
        left(self.data_credits, units, self.data_room)
        m.d.sync += self.plenty.eq((self.header_room >= 3)
                                   & (self.data_room >= 3 * self.max_units))
        return m
