"""Start of operations."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from iovirt.stream import StreamArbiter, StreamQueue

from .layouts import MsiWrite, Notice
from .operations import Operation, OperationKind
from .source_memory import check_entries, source_width

__all__ = ["Arrivals", "Dispatcher"]

#: Clocks between two operations of one source, at least.
DISTANCE = 4

#: Arrivals that may go before a replay that waits.
PATIENCE = 7


class Arrivals(wiring.Component):
    """Turn MSI writes and notices into operations.

    offset[15:3] of an MSI write is its handle. If offset[2] is set, DATA[4:0] is added, and the
    entry has to permit that.

    Latency is 1 clock, throughput 1 operation per clock; notices and writes take turns. No
    combinational path runs between ``o`` and the inputs.

    Parameters
    ----------
    entries : :class:`int`
        Entries of the remap table.

    Members
    -------
    msi : ``In(stream.Signature(MsiWrite))``
    notice : ``In(stream.Signature(Notice))``
    o : ``Out(stream.Signature(Operation))``
    """

    def __init__(self, *, entries):
        check_entries(entries)
        self.entries = entries
        super().__init__({
            "msi":    In(stream.Signature(MsiWrite)),
            "notice": In(stream.Signature(Notice)),
            "o":      Out(stream.Signature(Operation)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.arbiter = arbiter = StreamArbiter(Operation, ports=2)
        written, noticed = arbiter.i[0].p, arbiter.i[1].p
        for port, source in (arbiter.i[0], self.msi), (arbiter.i[1], self.notice):
            m.d.comb += [
                port.valid.eq(source.valid),
                source.ready.eq(port.ready),
                port.p.kind.eq(OperationKind.ARRIVE),
                port.p.what.count.eq(1),
                port.p.what.segment.eq(source.p.segment),
                port.p.what.rid.eq(source.p.rid),
                port.p.what.data.eq(source.p.data),
            ]
        offset = self.msi.p.offset
        m.d.comb += [
            written.multi.eq(offset[2]),
            written.index.eq(offset[3:] + (self.msi.p.data[:5] & offset[2].replicate(5))),
            written.reach.eq(written.index < self.entries),
            noticed.message.eq(1),
            noticed.index.eq(self.entries + self.notice.p.kind.as_value()),
            noticed.reach.eq(1),
        ]

        m.submodules.queue = queue = StreamQueue(Operation, depth=2)
        wiring.connect(m, arbiter.o, queue.i)
        wiring.connect(m, queue.o, wiring.flipped(self.o))
        return m


class Dispatcher(wiring.Component):
    """Start one operation per clock, those of one source at least 4 clocks apart.

    Events that come back and accesses of software go first; both are few. Arrivals go before
    replays, but at most 7 in turn: so neither stops the other.

    Latency is 1 clock. There are combinational paths from the inputs' ``valid`` and ``index``, and
    from ``o.ready``, to the inputs' ``ready``.

    Parameters
    ----------
    entries : :class:`int`
        Entries of the remap table.

    Members
    -------
    spill, access, arrival, replay : ``In(stream.Signature(Operation))``
    o : ``Out(stream.Signature(Operation))``
    """

    def __init__(self, *, entries):
        check_entries(entries)
        self.entries = entries
        port = stream.Signature(Operation)
        super().__init__({"spill": In(port), "access": In(port), "arrival": In(port),
                          "replay": In(port), "o": Out(port)})

    def elaborate(self, platform):
        m = Module()
        width = source_width(self.entries)

        # Sources of the operations that started less than 4 clocks ago.
        recent = [(self.o.valid, self.o.p.index[:width])]
        with_next = self.o.valid & self.o.ready
        for n in range(DISTANCE - 2):
            valid, source = Signal(name=f"valid_{n}"), Signal(width, name=f"source_{n}")
            m.d.sync += [valid.eq(with_next), source.eq(recent[-1][1])]
            recent.append((valid, source))
            with_next = valid

        advance = ~self.o.valid | self.o.ready
        ports, may = (self.spill, self.access, self.arrival, self.replay), []
        for port in ports:
            clash = Cat(valid & (source == port.p.index[:width]) for valid, source in recent)
            may.append(port.valid & ~clash.any())
        spill, access, arrival, replay = may
        patience = Signal(range(PATIENCE + 1))
        turn     = replay & (patience == PATIENCE)
        grants = [spill, access & ~spill, arrival & ~spill & ~access & ~turn,
                  replay & ~spill & ~access & (~arrival | turn)]
        for port, grant in zip(ports, grants, strict=True):
            m.d.comb += port.ready.eq(grant & advance)
        with m.If(self.replay.ready | ~self.replay.valid):
            m.d.sync += patience.eq(0)
        with m.Elif(self.arrival.ready & (patience != PATIENCE)):
            m.d.sync += patience.eq(patience + 1)

        chosen = C(0, len(self.o.p.as_value()))
        for port, grant in zip(ports, grants, strict=True):
            chosen |= Mux(grant, port.p.as_value(), 0)
        with m.If(advance):
            m.d.sync += [self.o.valid.eq(Cat(may).any()), self.o.p.as_value().eq(chosen)]
        return m
