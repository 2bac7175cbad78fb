"""Payload of writes on AXI."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from iovirt.stream import StreamQueue

from .align import DWORD
from .lanes import lane_read
from .layouts import write_job
from .pool import slot_put

__all__ = ["WriteData", "data_beat"]


def data_beat(data_width):
    """One beat on W."""
    return data.StructLayout({"data": data_width, "strb": data_width // 8, "last": 1})


class WriteData(wiring.Component):
    """Send stored payloads on W, with strobes made from the byte enables, and free their slots.

    With ``shared``, bytes 10 and 11 of each 16 bytes of memory may be replaced.

    Latency is 2 clocks; throughput is 1 beat per clock, also from one job to the next.

    Parameters
    ----------
    lanes, rows, slots : :class:`int`
        Shape of the payload memory.
    shared : :class:`bool`
        Functions may be shared.

    Members
    -------
    i : ``In(stream.Signature(write_job(...)))``
        What to send.
    payload : ``Out(lane_read(...))``
        Payload memory.
    put : ``Out(slot_put(slots))``
        Slots that are free again.
    o : ``Out(stream.Signature(data_beat(...)))``
        Beats.
    """

    def __init__(self, *, lanes, rows, slots, shared=False):
        self.lanes  = lanes
        self.rows   = rows
        self.shared = shared
        job = write_job(slots=slots, lanes=lanes, rows=rows, shared=shared)
        super().__init__({
            "i":       In(stream.Signature(job)),
            "payload": Out(lane_read(lanes=lanes, slots=slots, rows=rows)),
            "put":     Out(slot_put(slots)),
            "o":       Out(stream.Signature(data_beat(lanes * 32))),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.queue = queue = StreamQueue(self.o.payload.shape(), depth=2)
        wiring.connect(m, queue.o, wiring.flipped(self.o))

        # One row per clock goes into the memory's read register, unless that one is stuck.
        job, row = self.i.payload, Signal(range(self.rows + 1))
        valid, advance, last = Signal(), Signal(), Signal()
        m.d.comb += [
            advance.eq(~valid | queue.i.ready),
            last.eq(job.empty | (row == job.last_row)),
            self.payload.en.eq(advance),
            self.payload.slot.eq(job.slot),
            self.payload.row.eq(row),  # row 0 follows the last one: see LaneMemory
            self.i.ready.eq(advance & last),
            self.put.en.eq(self.i.valid & self.i.ready),
            self.put.slot.eq(job.slot),
        ]
        with m.If(advance):
            m.d.sync += valid.eq(self.i.valid & ~job.empty)
            with m.If(self.i.valid):
                m.d.sync += row.eq(Mux(last, 0, row + 1))

        beat = queue.i.payload
        strb, final = Signal.like(beat.strb), Signal()
        with m.If(advance):
            m.d.sync += [strb.eq(self._strobes(job, row)), final.eq(last)]
        m.d.comb += [
            queue.i.valid.eq(valid),
            beat.data.eq(self.payload.data),
            beat.strb.eq(strb),
            beat.last.eq(final),
        ]
        if self.shared:
            self._elaborate_id(m, job, advance, row, beat)
        return m

    def _elaborate_id(self, m, job, advance, row, beat):
        # Dword 2 of 4. Rows of two Dwords have it only if they are the second half of 16 bytes.
        patch, id = Signal(), Signal.like(job.id)
        here = row[0] ^ job.odd if self.lanes == 2 else C(1)
        with m.If(advance):
            m.d.sync += [patch.eq(job.patch_id & here), id.eq(job.id)]
        with m.If(patch):
            for lane in range(2 % self.lanes, self.lanes, 4):
                m.d.comb += beat.data[lane * DWORD + 16:][:16].eq(id)

    def _strobes(self, job, row):
        # Only the first and the last Dword of a payload can have bytes disabled.
        at_first, at_last = row == 0, row == job.last_row
        strobes = []
        for lane in range(self.lanes):
            outside = (at_first & (job.first_lane > lane)) | (at_last & (job.last_lane < lane))
            first = at_first & (job.first_lane == lane)
            final = at_last & (job.last_lane == lane)
            strobes.append(Mux(outside, 0, Mux(first, job.first_be,
                                               Mux(final, job.last_be, 0xF))))
        return Cat(strobes)
