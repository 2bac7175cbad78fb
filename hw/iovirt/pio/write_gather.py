"""Gathering of writes into TLPs."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from iovirt.stream import StreamQueue

from .target import goes_to_page
from .windows import PAGE_LOG2
from .write_layouts import QUAD_LOG2, write_job, write_unit

__all__ = ["WriteGather"]


class WriteGather(wiring.Component):
    """Gather the units of each burst into as few TLPs as byte enables and payload sizes allow.

    Units are joined while their bytes follow each other without a hole and no multiple of the
    largest payload is between them. A unit with holes is a TLP of its own: within 1 Dword, or 2
    that are aligned, any enables are legal (PCIe Base, 2.2.5).

    A job is offered when its rows are there. Latency is 4 clocks; throughput is 1 unit per clock,
    and a job per unit.

    Parameters
    ----------
    data_width, max_payload_bytes, id_width : :class:`int`
        Of the TLP streams, largest payload that there is room for, and of the AXI port.
    pages : :class:`bool`
        The doorbell aperture is served.

    Members
    -------
    i : ``In(stream.Signature(write_unit(...)))``
    max_payload : ``In(3)``
        ``128 << max_payload`` bytes.
    job : ``Out(stream.Signature(write_job(...)))``
    row : ``Out(stream.Signature(data_width))``
        Payloads of the jobs that are TLPs: as many rows as each needs, Dword 0 at the bottom.
    """

    def __init__(self, *, data_width, max_payload_bytes, id_width, pages=False):
        self.pages             = pages
        self.data_width        = data_width
        self.max_payload_bytes = max_payload_bytes
        self.id_width          = id_width
        super().__init__({
            "i":           In(stream.Signature(write_unit(id_width=id_width, pages=pages))),
            "max_payload": In(3),
            "job":         Out(stream.Signature(write_job(id_width=id_width, pages=pages))),
            "row":         Out(stream.Signature(self.data_width)),
        })

    def elaborate(self, platform):
        m = Module()
        # The unit at hand, and the one after it, which knows whether it continues its predecessor.
        now, valid, ahead, there = (Signal.like(self.i.payload), Signal(),
                                    Signal.like(self.i.payload), Signal())
        continues, joins, goes = Signal(), Signal(), Signal()
        takes, advance = Signal(), Signal()
        m.d.comb += [
            joins.eq(~now.ends & continues),
            goes.eq(valid & (now.ends | there)),
            takes.eq(~valid | (goes & advance)),
            self.i.ready.eq(~there | takes),
        ]
        with m.If(takes):
            m.d.sync += [valid.eq(there), now.eq(ahead)]
        with m.If(self.i.ready):
            m.d.sync += [there.eq(self.i.valid), ahead.eq(self.i.payload)]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += continues.eq(self._follows(m, self.i.payload))
        self._elaborate_run(m, now, ahead, joins, goes, advance)
        return m

    def _follows(self, m, i):
        limit = Signal(PAGE_LOG2 - QUAD_LOG2)
        with m.Switch(self.max_payload):
            for code in range(exact_log2(self.max_payload_bytes) - 7):
                with m.Case(code):
                    m.d.sync += limit.eq((16 << code) - 1)
            with m.Default():
                m.d.sync += limit.eq(self.max_payload_bytes // 8 - 1)
        # Bytes to the top of the unit before, bytes from the bottom of this one.
        up, down, quad = Signal(), Signal(), Signal.like(i.quad)
        m.d.comb += down.eq(Cat(i.be == (0xFF >> n) for n in range(8)).any())
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                up.eq(Cat(i.be == (0xFF << n & 0xFF) for n in range(8)).any()),
                quad.eq(i.quad + 1),
            ]
        return up & down & (i.quad == quad) & (i.quad & limit).any()

    def _elaborate_run(self, m, now, i, joins, goes, advance):
        lanes = self.data_width // 64
        rows  = max(4, 2 * self.max_payload_bytes * 8 // self.data_width)
        m.submodules.jobs = jobs = StreamQueue(self.job.payload.shape(), depth=16)
        m.submodules.rows = payload = StreamQueue(self.data_width, depth=rows)
        wiring.connect(m, jobs.o, wiring.flipped(self.job))
        wiring.connect(m, payload.o, wiring.flipped(self.row))

        # State of the run: a run that begins at the upper Dword is shifted down by one.
        inside, was_shifted, lane = Signal(), Signal(), Signal(range(max(2, lanes)))
        length, first_be, word = Signal(11), Signal(4), Signal(PAGE_LOG2 - 2)
        low, high = now.be[:4], now.be[4:]
        has_low, has_high, shifted = low.any(), high.any(), Signal()
        fills, full, moves = Signal(), Signal(), Signal()
        memory = now.source.target.memory
        job = jobs.i.payload
        m.d.comb += [
            shifted.eq(Mux(inside, was_shifted, ~has_low)),
            fills.eq(memory & Mux(shifted, has_high, now.be.any())),
            full.eq(fills & (~joins | (lane == lanes - 1))),
            job.source.eq(now.source),
            job.tlp.eq(memory & now.be.any()),
            job.config.eq(now.source.target.config & now.be.any()),
            job.ends.eq(now.ends),
            job.register.eq(now.register),
            job.word.eq(Mux(inside, word, Cat(~has_low, now.quad))),
            job.length_dw.eq(Mux(inside, length, 0) + has_low + has_high),
            job.first_be.eq(Mux(inside, first_be, Mux(has_low, low, high))),
            job.last_be.eq(Mux(~inside & ~(has_low & has_high), 0, Mux(has_high, high, low))),
            job.data.eq(Mux(has_low, now.data[:32], now.data[32:])),
        ]

        if self.pages:
            m.d.comb += job.page.eq(goes_to_page(now.source.target) & now.be.any())

        # A row is passed on with its last unit. A shifted run whose last unit has only the low
        # Dword has passed that with the unit before.
        row, held = Signal(self.data_width), Signal(self.data_width)
        unit, ends_early, pending = Signal(64), Signal(), Signal()
        m.d.comb += unit.eq(Mux(shifted, Cat(now.data[32:], i.data[:32]), now.data))
        for n in range(lanes):
            part = slice(64 * n, 64 * n + 64)
            m.d.comb += row[part].eq(Mux(lane == n, unit, held[part]))
        m.d.comb += [
            pending.eq(lane != 0),
            ends_early.eq(memory & ~joins & ~fills & inside & pending),
            payload.i.payload.eq(Mux(ends_early, held, row)),
            payload.i.valid.eq(goes & jobs.i.ready & (full | ends_early)),
            jobs.i.valid.eq(goes & ~joins & payload.i.ready),
            advance.eq(payload.i.ready & jobs.i.ready),
            moves.eq(goes & advance),
        ]
        with m.If(moves):
            m.d.sync += [
                inside.eq(joins),
                was_shifted.eq(shifted),
                length.eq(job.length_dw),
                first_be.eq(job.first_be),
                word.eq(job.word),
                lane.eq(Mux(joins & ~full, lane + fills, 0)),
                held.eq(row),
            ]
