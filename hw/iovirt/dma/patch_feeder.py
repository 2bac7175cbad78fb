"""Way of fetched data to the patcher."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from iovirt.stream import StreamQueue
from iovirt.stream.slot_memory import SlotMemory

from .lanes import lane_read
from .layouts import slot_write
from .pool import slot_put
from .share_layouts import FETCH_ROWS, patch_beat, patch_job, patch_record, patched_piece

__all__ = ["PatchFeeder"]


class PatchFeeder(wiring.Component):
    """Send the rows of each patch buffer to the patcher, and free the buffer.

    Latency is 4 clocks; throughput is 1 row per clock, also from one buffer to the next.

    Parameters
    ----------
    lanes, rows : :class:`int`
        Dwords in a row, rows in a completion buffer.
    reads, pieces, patches : :class:`int`
        Number of slots for reads, of completion buffers, and of patch buffers.

    Members
    -------
    i : ``In(stream.Signature(patch_job(...)))``
        Buffers that are complete, or get no data.
    record : ``In(slot_write(...))``
        What they hold.
    rows : ``Out(lane_read(...))``
        Their memory.
    o : ``Out(stream.Signature(patch_beat(...)))``
        Rows.
    piece : ``Out(stream.Signature(patched_piece(...)))``
        Pieces in the same order, each before its first row.
    put : ``Out(slot_put(patches))``
        Buffers that are free again.
    """

    def __init__(self, *, lanes, rows, reads, pieces, patches):
        self.lanes   = lanes
        self.patches = patches
        self.record_shape = patch_record(reads=reads, pieces=pieces, lanes=lanes, rows=rows)
        self.row_shape    = range(FETCH_ROWS * rows)
        super().__init__({
            "i":      In(stream.Signature(patch_job(patches=patches))),
            "record": In(slot_write(self.record_shape, patches)),
            "rows":   Out(lane_read(lanes=lanes, slots=patches, rows=FETCH_ROWS * rows)),
            "o":      Out(stream.Signature(patch_beat(data_width=lanes * 32, reads=reads))),
            "piece":  Out(stream.Signature(patched_piece(pieces=pieces, lanes=lanes,
                                                         rows=rows))),
            "put":    Out(slot_put(patches)),
        })

    def elaborate(self, platform):
        m = Module()
        job = self.i.payload.shape()
        m.submodules.records = records = SlotMemory(self.record_shape, slots=self.patches)
        m.submodules.jobs = jobs = StreamQueue(
            data.StructLayout({"job": job, "record": self.record_shape}), depth=2)
        m.submodules.queue = queue = StreamQueue(self.o.payload.shape(), depth=2)
        wiring.connect(m, queue.o, wiring.flipped(self.o))
        wiring.connect(m, records.write, wiring.flipped(self.record))
        told = Signal(job)
        m.d.comb += [
            records.i.payload.eq(self.i.payload.buffer),
            records.i.valid.eq(self.i.valid),
            self.i.ready.eq(records.i.ready),
            jobs.i.valid.eq(records.o.valid),
            records.o.ready.eq(jobs.i.ready),
            jobs.i.payload.job.eq(told),
            jobs.i.payload.record.eq(records.o.payload.data),
        ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += told.eq(self.i.payload)
        self._elaborate_rows(m, jobs.o, queue.i)
        return m

    def _elaborate_rows(self, m, jobs, beats):
        # One row per clock goes into the memory's read register, unless that one is stuck. The
        # first row waits until the piece has been told of.
        job, record = jobs.payload.job, jobs.payload.record
        row, first, last = Signal(self.row_shape), Signal(), Signal()
        held, advance, sends = Signal(), Signal(), Signal()
        beat = Signal.like(beats.payload)
        m.d.comb += [
            first.eq(row == 0),
            last.eq(row == record.last_row),
            advance.eq(~held | beats.ready),
            sends.eq(jobs.valid & (~first | self.piece.ready)),
            jobs.ready.eq(sends & advance & last),
            self.rows.en.eq(advance),
            self.rows.slot.eq(job.buffer),
            self.rows.row.eq(row),
            self.put.en.eq(jobs.ready),
            self.put.slot.eq(job.buffer),
            self.piece.valid.eq(jobs.valid & first & advance),
            *(self.piece.payload[name].eq(record[name]) for name in ("piece", "skip", "sent")),
            *(self.piece.payload[name].eq(job[name]) for name in ("poison", "abort")),
            beats.valid.eq(held),
            beats.payload.eq(beat),
            beats.payload.data.eq(self.rows.data),
        ]
        with m.If(advance):
            m.d.sync += [
                held.eq(sends),
                beat.slot.eq(record.slot),
                beat.base.eq((record.base + row) * self.lanes),
                beat.synth.eq(job.synth),
                beat.first.eq(first),
                beat.last.eq(last),
            ]
            with m.If(sends):
                m.d.sync += row.eq(Mux(last, 0, row + 1))
