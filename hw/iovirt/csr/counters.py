"""Counters in a memory."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In
from amaranth.utils import ceil_log2

from .port import RegisterPortSignature

__all__ = ["CounterFile"]

#: Clocks of one visit to a counter.
_VISIT = 4


class CounterFile(wiring.Component):
    """Count events in a memory with one counter per 8 bytes.

    Each counter has a small tally in flip-flops. One counter after the other is visited, every 4
    clocks, and its tally is added to the memory. An access is a visit out of turn, so a read is
    exact to the clock of the visit; a write, whatever its data and strobes, clears the counter.
    After an access one visit is in turn, so that a tally never overflows.

    After reset the memory is cleared, which takes a clock per counter, then accesses are
    served; events count from the first clock. A response is offered at most 12 clocks after its
    request. Addresses beyond the last counter read 0. Counters wrap.

    Parameters
    ----------
    counters : :class:`int`
        Number of counters, 1 to 512.
    width : :class:`int`
        Of a counter, 32 to 64 bits.
    data_width, address_width : :class:`int`
        As of :class:`RegisterPortSignature`.

    Members
    -------
    port : ``In(RegisterPortSignature(...))``
        Accesses to the page of the counters; bits 12 and up of the address are not looked at.
    increment : ``In(counters)``
        Which counters count this clock.
    """

    def __init__(self, *, counters, width, data_width, address_width):
        if not isinstance(counters, int) or not 1 <= counters <= 512:
            raise ValueError(f"Number of counters must be an integer in 1..512, not {counters!r}")
        if not isinstance(width, int) or not 32 <= width <= 64:
            raise ValueError(f"Width of counters must be an integer in 32..64, not {width!r}")
        port = RegisterPortSignature(data_width=data_width, address_width=address_width)
        self.counters   = counters
        self.width      = width
        self.data_width = data_width
        super().__init__({"port": In(port), "increment": In(counters)})

    def elaborate(self, platform):
        m = Module()
        request, response = self.port.request, self.port.response
        depth = max(2, 1 << ceil_log2(self.counters))
        m.submodules.memory = memory = Memory(shape=unsigned(self.width), depth=depth, init=[])
        read, write = memory.read_port(), memory.write_port()

        # Between two visits to a counter, each counter has one visit and one access.
        tallies = [Signal(range(2 * _VISIT * self.counters + depth + _VISIT), name=f"tally_{n}")
                   for n in range(self.counters)]
        turn, index = Signal(range(self.counters)), Signal(range(depth))
        asked, served, missing = Signal(), Signal(), Signal()
        base, amount, total = Signal(self.width), Signal.like(tallies[0]), Signal(self.width)
        taken = Signal(self.counters)

        # A tally that is taken starts again with the event of the same clock.
        for n, tally in enumerate(tallies):
            m.d.sync += tally.eq(Mux(taken[n], 0, tally) + self.increment[n])

        m.d.sync += taken.eq(0)
        m.d.comb += [read.addr.eq(index), read.en.eq(1), write.addr.eq(index)]
        with m.FSM(init="SCRUB"):
            with m.State("SCRUB"):
                m.d.comb += write.en.eq(1)
                m.d.sync += index.eq(index + 1)
                with m.If(index == depth - 1):
                    m.next = "READ"
            with m.State("READ"):
                m.d.sync += taken.eq(Cat(index == n for n in range(self.counters)))
                m.next = "TAKE"
            with m.State("TAKE"):
                m.d.sync += [base.eq(read.data), amount.eq(_select(taken, tallies))]
                m.next = "ADD"
            with m.State("ADD"):
                cleared = asked & request.p.write & ~missing
                m.d.sync += total.eq(Mux(cleared, 0, base + amount))
                m.next = "STORE"
            with m.State("STORE"):
                m.d.comb += [write.en.eq(1), write.data.eq(total), request.ready.eq(asked)]
                m.d.sync += asked.eq(0)
                with m.If(request.valid & ~asked & ~served):
                    m.d.sync += [asked.eq(1), index.eq(request.p.address[3:])]
                with m.Else():
                    m.d.sync += [
                        index.eq(turn),
                        turn.eq(Mux(turn == self.counters - 1, 0, turn + 1)),
                    ]
                m.next = "READ"

        wide = Cat(total, C(0, 64 - self.width))
        half = wide if self.data_width == 64 else Mux(request.p.address[2], wide[32:], wide[:32])
        m.d.comb += [
            missing.eq(request.p.address[3:12] >= depth),
            response.valid.eq(served),
        ]
        with m.If(request.ready):
            m.d.sync += [
                served.eq(1),
                response.p.data.eq(Mux(request.p.write | missing, 0, half)),
            ]
        with m.Elif(response.ready):
            m.d.sync += served.eq(0)
        return m


def _select(chosen, values):
    """Return the one of ``values`` whose bit of ``chosen`` is set, or 0."""
    selected = Const(0, len(values[0]))
    for bit, value in zip(chosen, values, strict=True):
        selected |= value & bit.replicate(len(value))
    return selected
