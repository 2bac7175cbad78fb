"""Data of lists and rings, from the bus to the patcher and on to the completion buffers."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from iovirt.stream import StreamArbiter, StreamQueue

from .lanes import LaneMemory, lane_write
from .layouts import piece_status, slot_write
from .patch_feeder import PatchFeeder
from .patch_return import PatchReturn
from .pool import SlotPool
from .share_layouts import (
    CARRY_WIDTH,
    FETCH_ROWS,
    patch_beat,
    patch_job,
    patch_record,
    patched_beat,
    patched_piece,
)

__all__ = ["PatchPath"]


class PatchPath(wiring.Component):
    """Collect pieces in patch buffers, have them patched, and store what is to be sent of them.

    ```
    write, job --> buffers --> PatchFeeder --> unpatched    patched --> PatchReturn --> payload, o
    synth ----------------------^     '---------- pieces -------------------^    ^-- fetched
    ```

    A buffer is free again when its last row has gone to the patcher. The patcher is never made to
    wait for the bus or for completions to be sent, so it always comes to its end.

    Members are those of the parts; ``record`` is what is kept of a buffer, ``synth`` are buffers
    that get no data. Parameter: the :class:`DmaShape` of the data path.
    """

    def __init__(self, *, shape):
        self.shape = s = shape
        memory  = {"lanes": s.lanes, "rows": s.rows}
        payload = lane_write(slots=s.pieces, **memory)
        buffers = lane_write(lanes=s.lanes, slots=s.patches, rows=FETCH_ROWS * s.rows)
        record  = patch_record(reads=s.reads, pieces=s.pieces, **memory)
        beat    = patch_beat(data_width=s.data_width, reads=s.reads)
        super().__init__({
            "buffer":    Out(stream.Signature(range(s.patches))),
            "record":    In(slot_write(record, s.patches)),
            "synth":     In(stream.Signature(range(s.patches))),
            "write":     In(buffers),
            "job":       In(stream.Signature(patch_job(patches=s.patches))),
            "unpatched": Out(stream.Signature(beat)),
            "patched":   In(stream.Signature(patched_beat(s.data_width))),
            "fetched":   In(payload),
            "hold":      Out(1),
            "payload":   Out(payload),
            "carry":     Out(slot_write(CARRY_WIDTH, s.pieces)),
            "o":         Out(stream.Signature(piece_status(pieces=s.pieces, shared=True))),
            "used":      Out(range(s.patches + 1)),
        })

    def elaborate(self, platform):
        m, s = Module(), self.shape
        memory = {"lanes": s.lanes, "rows": s.rows}
        m.submodules.pool = pool = SlotPool(slots=s.patches)
        m.submodules.buffers = buffers = LaneMemory(lanes=s.lanes, slots=s.patches,
                                                    rows=FETCH_ROWS * s.rows)
        m.submodules.jobs = jobs = StreamArbiter(self.job.payload.shape(), ports=2)
        m.submodules.feeder = feeder = PatchFeeder(reads=s.reads, pieces=s.pieces,
                                                   patches=s.patches, **memory)
        m.submodules.pieces = pieces = StreamQueue(patched_piece(pieces=s.pieces, **memory),
                                                   depth=s.patches)
        m.submodules.back = back = PatchReturn(pieces=s.pieces, **memory)

        wiring.connect(m, pool.o, wiring.flipped(self.buffer))
        wiring.connect(m, wiring.flipped(self.record), feeder.record)
        wiring.connect(m, wiring.flipped(self.write), buffers.write)
        wiring.connect(m, wiring.flipped(self.job), jobs.i[0])
        wiring.connect(m, jobs.o, feeder.i)
        wiring.connect(m, feeder.rows, buffers.read)
        wiring.connect(m, feeder.put, pool.put)
        wiring.connect(m, feeder.piece, pieces.i)
        wiring.connect(m, feeder.o, wiring.flipped(self.unpatched))
        wiring.connect(m, wiring.flipped(self.patched), back.i)
        wiring.connect(m, pieces.o, back.piece)
        wiring.connect(m, wiring.flipped(self.fetched), back.fetched)
        wiring.connect(m, back.payload, wiring.flipped(self.payload))
        wiring.connect(m, back.carry, wiring.flipped(self.carry))
        wiring.connect(m, back.o, wiring.flipped(self.o))
        m.d.comb += [
            jobs.i[1].valid.eq(self.synth.valid),
            jobs.i[1].payload.buffer.eq(self.synth.payload),
            jobs.i[1].payload.synth.eq(1),
            self.synth.ready.eq(jobs.i[1].ready),
            self.hold.eq(back.hold),
            self.used.eq(pool.used),
        ]
        return m
