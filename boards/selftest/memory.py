"""Block RAM behind several AXI4 ports."""

from amaranth import *
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In
from amaranth.utils import exact_log2

from iovirt.axi import Resp
from iovirt.stream import StreamArbiter, StreamQueue

__all__ = ["BlockMemory"]


class BlockMemory(wiring.Component):
    """AXI4 subordinate: a block RAM with one write port and one read port, shared by all buses.

    Bursts (INCR, of full width, not across the end) are served whole, one of each direction at a
    time; buses take turns. A write response comes after the last beat is in the RAM, so what it
    promises holds on every bus. Outside the RAM everything answers DECERR. The contents survive a
    reset.

    A burst of reads delivers one beat per clock, after 3 clocks; one of writes takes one per clock.
    Outputs come from registers, but for ``ready`` of write data.

    Parameters
    ----------
    base : :class:`int`
        Address of the first byte, a multiple of the size.
    size : :class:`int`
        In bytes, a power of two.
    contents : :class:`dict`
        Words by address; others are 0.
    buses : list of :class:`~iovirt.axi.Axi4Signature`
        With the same data width and address width.

    Members
    -------
    bus : ``In(...)`` for each of ``buses``
        Named ``bus_0`` and so on.
    spoil : ``In(1)``
        While set, bit 0 of each word written to an odd multiple of 64 bytes is inverted: a fault
        for tests.

    Raises
    ------
    ValueError
        If the base is not a multiple of the size, or widths differ.
    """

    def __init__(self, *, base, size, contents, buses):
        if base % size:
            raise ValueError(f"Base must be a multiple of the size {size:#x}, not {base:#x}")
        widths = {(bus.data_width, bus.address_width) for bus in buses}
        if len(widths) != 1:
            raise ValueError(f"Widths of buses must be the same, not {sorted(widths)!r}")
        self.base, self.size = base, size
        (self.data_width, self.address_width), = widths
        self.id_width = max(bus.id_width for bus in buses)
        bytes_ = self.data_width // 8
        self.shift = exact_log2(bytes_)
        self.words = [contents.get(base + n * bytes_, 0) for n in range(size // bytes_)]
        self.burst = data.StructLayout({
            "bus": range(len(buses)), "id": self.id_width, "index": range(len(self.words)),
            "there": 1, "beats": 8,  # beats - 1
        })
        super().__init__({
            **{f"bus_{n}": In(bus) for n, bus in enumerate(buses)},
            "spoil": In(1),
        })
        self.buses = len(buses)

    def elaborate(self, platform):
        m = Module()
        m.submodules.ram = ram = memory.Memory(shape=self.data_width, depth=len(self.words),
                                               init=self.words)
        self._read(m, ram.read_port(), self._bursts(m, "ar"))
        self._write(m, ram.write_port(granularity=8), self._bursts(m, "aw"))
        return m

    def _bus(self, n):
        return getattr(self, f"bus_{n}")

    def _bursts(self, m, channel):
        """Return the stream of bursts of all buses."""
        merge = m.submodules[f"{channel}_merge"] = StreamArbiter(self.burst, ports=self.buses)
        queue = m.submodules[f"{channel}_queue"] = StreamQueue(self.burst, depth=2)
        wiring.connect(m, merge.o, queue.i)
        for n in range(self.buses):
            bus, burst = self._bus(n), merge.i[n].p
            address = getattr(bus, channel + "addr")
            m.d.comb += [
                merge.i[n].valid.eq(getattr(bus, channel + "valid")),
                getattr(bus, channel + "ready").eq(merge.i[n].ready),
                burst.bus.eq(n),
                burst.id.eq(getattr(bus, channel + "id")),
                burst.index.eq(address >> self.shift),
                burst.there.eq(address >> exact_log2(self.size) == self.base // self.size),
                burst.beats.eq(getattr(bus, channel + "len")),
            ]
        return queue.o

    def _read(self, m, port, bursts):
        beat = data.StructLayout({"bus": range(self.buses), "id": self.id_width, "data":
                                  self.data_width, "there": 1, "last": 1})
        m.submodules.beats = beats = StreamQueue(beat, depth=2)
        done, count = Signal(8), bursts.p.index

        # The word asked for in one clock is queued in the next, so one is asked for only if the
        # queue has room for it and for the one before.
        ask, asked = Signal(), Signal()
        last = done == bursts.p.beats
        meta = Signal(beat)
        m.d.comb += [
            ask.eq(bursts.valid & (beats.level + asked < 2)),
            port.en.eq(ask),
            port.addr.eq(count + done),
            bursts.ready.eq(ask & last),
            beats.i.valid.eq(asked),
            beats.i.payload.eq(meta),
            beats.i.p.data.eq(port.data),
        ]
        m.d.sync += asked.eq(ask)
        with m.If(ask):
            m.d.sync += [
                done.eq(Mux(last, 0, done + 1)),
                *(meta[name].eq(bursts.p[name]) for name in ("bus", "id", "there")),
                meta.last.eq(last),
            ]

        with m.Switch(beats.o.p.bus):
            for n in range(self.buses):
                with m.Case(n):
                    m.d.comb += [self._bus(n).rvalid.eq(beats.o.valid),
                                 beats.o.ready.eq(self._bus(n).rready)]
        for n in range(self.buses):
            m.d.comb += [
                self._bus(n).rid.eq(beats.o.p.id),
                self._bus(n).rdata.eq(beats.o.p.data),
                self._bus(n).rlast.eq(beats.o.p.last),
                self._bus(n).rresp.eq(Mux(beats.o.p.there, Resp.OKAY, Resp.DECERR)),
            ]

    def _write(self, m, port, bursts):
        index, answer = Signal(range(len(self.words))), Signal()
        fresh = Signal(init=1)  # the next beat is the first of its burst
        wvalid, strobe, word, last = (Signal(), Signal(self.data_width // 8),
                                      Signal(self.data_width), Signal())
        take, bready = Signal(), Signal()
        where = Mux(fresh, bursts.p.index, index)
        spoilt = self.spoil & where[6 - self.shift]
        m.d.comb += [
            take.eq(bursts.valid & wvalid & ~answer),
            port.en.eq(Mux(take & bursts.p.there, strobe, 0)),
            port.addr.eq(where),
            port.data.eq(word ^ spoilt),
            bursts.ready.eq(answer & bready),
        ]
        with m.If(take):
            m.d.sync += [index.eq(where + 1), fresh.eq(last), answer.eq(last)]
        with m.If(bursts.ready):
            m.d.sync += answer.eq(0)
        with m.Switch(bursts.p.bus):
            for n in range(self.buses):
                bus = self._bus(n)
                with m.Case(n):
                    m.d.comb += [
                        wvalid.eq(bus.wvalid), strobe.eq(bus.wstrb), word.eq(bus.wdata),
                        last.eq(bus.wlast), bus.wready.eq(bursts.valid & ~answer),
                        bus.bvalid.eq(answer), bready.eq(bus.bready),
                    ]
        for n in range(self.buses):
            m.d.comb += [
                self._bus(n).bid.eq(bursts.p.id),
                self._bus(n).bresp.eq(Mux(bursts.p.there, Resp.OKAY, Resp.DECERR)),
            ]
