"""Statistics of guests."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from iovirt.csr.port import RegisterPortSignature
from iovirt.stream import StreamArbiter, StreamQueue

from .guest_layouts import check_guests, guest_lookup
from .share_layouts import GuestCount, GuestCounter
from .statistics_window import StatisticsWindow

__all__ = ["GuestStatistics"]

COUNTERS = len(GuestCounter)


class GuestStatistics(wiring.Component):
    """Count, for each guest, what its counters say; serve a page of registers per guest.

    32-bit counters that wrap around. No event is lost; those of guests that do not exist are
    dropped. Sources take turns, so that each waits for at most 4 events of each other one.

    1 event per clock, 1 per 4 clocks of the same counter. After reset the counters are cleared, one
    per clock; until then events wait, and so do reads.

    Parameters
    ----------
    guests : :class:`int`
        A power of two in 4..256.
    sources : :class:`int`
        Number of those who count, at least 1.
    data_width, address_width : :class:`int`
        As of :class:`RegisterPortSignature`.

    Members
    -------
    i : ``In(stream.Signature(GuestCount)).array(sources)``
        Events; two of each source are queued.
    port : ``In(RegisterPortSignature(...))``
        See :class:`StatisticsWindow`.
    lookup : ``Out(guest_lookup())``
        The guest table, for the state that the pages show.
    """

    def __init__(self, *, guests, sources, data_width, address_width):
        check_guests(guests)
        if type(sources) is not int or sources < 1:
            raise ValueError("Number of sources must be an integer of at least 1, not "
                             f"{sources!r}")
        self.guests        = guests
        self.sources       = sources
        self.data_width    = data_width
        self.address_width = address_width
        self._window = StatisticsWindow(guests=guests, data_width=data_width,
                                        address_width=address_width)
        super().__init__({
            "i":      In(stream.Signature(GuestCount)).array(sources),
            "port":   In(RegisterPortSignature(data_width=data_width,
                                               address_width=address_width)),
            "lookup": Out(guest_lookup()),
        })

    def elaborate(self, platform):
        m = Module()
        index = range(self.guests * COUNTERS)
        event = data.StructLayout({"index": index, "amount": 12, "read": 1, "clear": 1})
        m.submodules.window  = window  = self._window
        m.submodules.arbiter = arbiter = StreamArbiter(event, ports=self.sources + 1)
        m.submodules.events  = events  = StreamQueue(event, depth=2)
        wiring.connect(m, wiring.flipped(self.port), window.port)
        wiring.connect(m, window.lookup, wiring.flipped(self.lookup))
        wiring.connect(m, arbiter.o, events.i)
        for n, source in enumerate(self.i):
            m.submodules[f"queue_{n}"] = queue = StreamQueue(GuestCount, depth=2)
            wiring.connect(m, wiring.flipped(source), queue.i)
            known, i = queue.o.p.colour < self.guests, arbiter.i[n]
            m.d.comb += [
                i.valid.eq(queue.o.valid & known),
                i.p.index.eq(Cat(queue.o.p.counter, queue.o.p.colour)),
                i.p.amount.eq(queue.o.p.amount),
                queue.o.ready.eq(i.ready | ~known),
            ]
        last = arbiter.i[-1]
        m.d.comb += [
            last.valid.eq(window.read.valid),
            last.p.index.eq(window.read.payload),
            last.p.read.eq(1),
            last.p.clear.eq(window.clear),
            window.read.ready.eq(last.ready),
        ]
        self._count(m, index, events.o, window)
        return m

    def _count(self, m, index, event, window):
        # What is read in the clock in which it is written is never used.
        m.submodules.memory = memory = Memory(shape=unsigned(32), depth=len(index), init=[],
                                              attrs={"no_rw_check": 1})
        write, read = memory.write_port(), memory.read_port()

        # Stages: read, add, write. An event waits for older ones of its counter.
        valid = Signal(3)
        at     = [Signal(index, name=f"index_{n}") for n in range(3)]
        amount = [Signal(12, name=f"amount_{n}") for n in range(2)]
        reads, clears = Signal(2), Signal(2)
        old, new, ready, scrub = Signal(32), Signal(32), Signal(), Signal(index)
        clash = Cat(valid[n] & (at[n] == event.p.index) for n in range(3)).any()
        go    = Signal()
        m.d.comb += [
            go.eq(event.valid & event.ready),
            event.ready.eq(ready & ~clash),
            read.addr.eq(event.p.index),
            write.en.eq(valid[2] | ~ready),
            write.addr.eq(Mux(ready, at[2], scrub)),
            write.data.eq(Mux(ready, new, 0)),
            window.done.eq(valid[1] & reads[1]),
            window.count.eq(old),
        ]
        m.d.sync += [
            valid.eq(Cat(go, valid)),
            reads.eq(Cat(event.p.read, reads)),
            clears.eq(Cat(event.p.clear, clears)),
            at[0].eq(event.p.index), at[1].eq(at[0]), at[2].eq(at[1]),
            amount[0].eq(Mux(event.p.read, 0, event.p.amount)), amount[1].eq(amount[0]),
            old.eq(read.data),
            new.eq(Mux(clears[1], 0, old + amount[1])),
        ]
        with m.If(~ready):
            m.d.sync += [scrub.eq(scrub + 1), ready.eq(scrub == len(index) - 1)]
