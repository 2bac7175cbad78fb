"""Writes, cut into aligned groups of 8 bytes."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from iovirt.stream import StreamQueue
from iovirt.stream.picker import lowest_of

from .bursts import burst
from .layouts import Policy
from .target import goes_to_page, target_of
from .windows import PAGE_LOG2, aperture, ecam_window, memory_window
from .write_layouts import QUAD_LOG2, write_source, write_unit

__all__ = ["WriteUnits", "write_beat"]

#: Strobes that a register of 1, 2 or 4 bytes may have.
REGISTERS = (0b0001, 0b0010, 0b0100, 0b1000, 0b0011, 0b1100, 0b1111)


def write_beat(data_width):
    """What counts of the W channel."""
    return data.StructLayout({"data": data_width, "strb": data_width // 8, "last": 1})


class WriteUnits(wiring.Component):
    """Pair bursts with their data and pass on each aligned group of 8 bytes that has a strobe.

    A burst without device memory behind it is only its last unit, without bytes; one to
    configuration space, or to the pages of guests, is one unit with its bytes if it is one beat.

    Latency is 3 clocks from W. Throughput is 1 unit per clock; a beat without units takes 1 clock.

    Parameters
    ----------
    bus_width, id_width, address_width, windows : :class:`int`
        Of the AXI port; windows onto device memory.
    pages : :class:`bool`
        The doorbell aperture is served.

    Members
    -------
    i : ``In(stream.Signature(burst(...)))``
    beats : ``In(stream.Signature(write_beat(bus_width)))``
    ecam, windows, doorbells, no_window : see :class:`PioFront`
        From registers.
    o : ``Out(stream.Signature(write_unit(...)))``
    """

    def __init__(self, *, bus_width, id_width, address_width, windows, pages=False):
        self.pages         = pages
        self.bus_width     = bus_width
        self.id_width      = id_width
        self.address_width = address_width
        bursts = burst(id_width=id_width, address_width=address_width, windows=windows)
        super().__init__({
            "i":         In(stream.Signature(bursts)),
            "beats":     In(stream.Signature(write_beat(bus_width))),
            "ecam":      In(ecam_window(address_width=address_width)),
            "windows":   In(memory_window(address_width=address_width)).array(windows),
            "doorbells": In(aperture(address_width=address_width)),
            "no_window": In(Policy),
            "o":         Out(stream.Signature(write_unit(id_width=id_width, pages=pages))),
        })

    def elaborate(self, platform):
        m = Module()
        # Bursts wait here with their targets.
        source = data.StructLayout({
            "source": write_source(id_width=self.id_width, pages=self.pages),
            "offset": PAGE_LOG2, "size": 3, "single": 1})
        m.submodules.sources = sources = StreamQueue(source, depth=2)
        m.submodules.data = beats = StreamQueue(self.beats.payload.shape(), depth=2)
        wiring.connect(m, wiring.flipped(self.beats), beats.i)
        i, into = self.i.payload, sources.i.payload
        m.d.comb += [
            sources.i.valid.eq(self.i.valid),
            self.i.ready.eq(sources.i.ready),
            into.source.id.eq(i.id),
            into.source.legal.eq(i.legal),
            into.source.target.eq(target_of(m, i, self, i.address, pages=self.pages)),
            into.offset.eq(i.address),
            into.size.eq(i.size),
            into.single.eq(i.len == 0),
        ]
        self._elaborate_units(m, sources, beats)
        return m

    def _elaborate_units(self, m, sources, beats):
        # This queue also ends the way of `ready` back from the gathering.
        m.submodules.units = units = StreamQueue(self.o.payload.shape(), depth=2)
        wiring.connect(m, units.o, wiring.flipped(self.o))
        now, beat = sources.o.payload, beats.o.payload
        where = now.source.target
        quads = self.bus_width // 64
        bus_log2 = exact_log2(self.bus_width // 8)

        # `done` are the units of this beat that have gone. Beats of less than 8 bytes are merged:
        # `merged` has the bytes of those before, of the same unit.
        done, want = Signal(quads), Signal(quads)
        pick, rest = Signal(range(quads)), Signal(quads)
        merged, merged_be = Signal(64), Signal(8)
        register = where.config | goes_to_page(where)
        useful = where.memory | (register & now.single)
        lane = Signal(range(quads))
        m.d.comb += [
            want.eq(Cat(beat.strb.word_select(n, 8).any() | (merged_be.any() & (lane == n))
                        for n in range(quads)) & ~done & useful.replicate(quads)),
            pick.eq(lowest_of(want)),
            rest.eq(want & ~(1 << pick)),
        ]

        started, position, offset = Signal(), Signal(PAGE_LOG2), Signal(PAGE_LOG2)
        out = Signal.like(self.o.payload)
        advance, last_unit, moves, keeps = Signal(), Signal(), Signal(), Signal()
        here, following = Signal(8), Signal(PAGE_LOG2)
        low, high = out.be[:4], out.be[4:]
        m.d.comb += [
            offset.eq(Mux(started, position, now.offset)),
            lane.eq(offset[QUAD_LOG2:bus_log2]),
            following.eq((offset | ((1 << now.size) - 1)[:7]) + 1),
            keeps.eq(~beat.last & (following[:QUAD_LOG2] != 0)),
            here.eq(Mux(want.any(), beat.strb.word_select(pick, 8), 0)),
            out.source.eq(now.source),
            out.quad.eq(Cat(pick[:bus_log2 - QUAD_LOG2], offset[bus_log2:])),
            *(out.data[8 * n:8 * n + 8].eq(Mux(here[n],
                                               beat.data.word_select(pick, 64)[8 * n:8 * n + 8],
                                               merged[8 * n:8 * n + 8])) for n in range(8)),
            # Several beats are no register, but whoever serves them is to tell so.
            out.be.eq(here | merged_be | (register & ~now.single)),
            last_unit.eq((rest == 0) | register),
            out.ends.eq(last_unit & beat.last),
            out.register.eq(now.single & (rest == 0) & (low.any() ^ high.any())
                            & Cat((low | high) == strb for strb in REGISTERS).any()),
            advance.eq(units.i.ready),
            units.i.valid.eq(sources.o.valid & beats.o.valid & ~keeps
                             & (want.any() | beat.last)),
            units.i.payload.eq(out),
            moves.eq(sources.o.valid & beats.o.valid & advance),
            beats.o.ready.eq(moves & last_unit),
            sources.o.ready.eq(moves & last_unit & beat.last),
        ]
        with m.If(moves):
            m.d.sync += done.eq(done | (1 << pick))
            with m.If(last_unit):
                m.d.sync += [
                    done.eq(0),
                    started.eq(~beat.last),
                    position.eq(following),
                    merged.eq(out.data),
                    merged_be.eq(Mux(keeps & where.memory, out.be, 0)),
                ]
