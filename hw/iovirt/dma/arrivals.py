"""Arrival of read data."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from iovirt.axi import Resp
from iovirt.stream import StreamQueue

from .lanes import lane_write
from .layouts import piece_status, slot_write
from .share_layouts import FETCH_ROWS, patch_job, piece_way

__all__ = ["ReadArrivals", "read_beat"]


def read_beat(*, data_width, id_width):
    """One beat on R."""
    return data.StructLayout({"id": id_width, "data": data_width, "resp": Resp, "last": 1})


class ReadArrivals(wiring.Component):
    """Store read data in the completion buffers, and tell which are complete.

    Always takes a beat per clock, from buffers in any order. The memory of row counts survives a
    reset, so it is cleared in the first ``pieces`` clocks after one.

    A complete buffer is told of 4 clocks after its last beat.

    With ``patches``, what has to be patched goes into the patch buffers, and is told of apart.
    While ``hold``, nothing is stored and no beat is taken. A piece of a shared function that failed
    with DECERR is to be sent as zeros; one that has to be patched is to be replaced.

    Parameters
    ----------
    lanes, rows : :class:`int`
        Dwords in a row, rows in a buffer.
    pieces : :class:`int`
        Number of completion buffers, a power of two.
    id_width : :class:`int`
        Of the bus.
    patches : :class:`int`
        Number of patch buffers. 0: no function is shared.

    Members
    -------
    i : ``In(stream.Signature(read_beat(...)))``
        Beats; ``ready`` is constant 1, with patches ``~hold``.
    payload : ``Out(lane_write(...))``
        Data to memory.
    o : ``Out(stream.Signature(piece_status(...)))``
        Complete buffers, and whether reading them failed.
    enable : ``Out(1)``
        Reads may be issued.
    way : ``In(slot_write(...))``
        Which way pieces take, by completion buffer. This and the rest only with patches.
    hold : ``In(1)``
        The payload memory is in use.
    patch : ``Out(lane_write(...))``
        Data to the patch buffers.
    job : ``Out(stream.Signature(patch_job(...)))``
        Complete patch buffers.
    """

    def __init__(self, *, lanes, rows, pieces, id_width, patches=0):
        self.rows    = rows
        self.pieces  = pieces
        self.patches = patches
        super().__init__({
            "i":       In(stream.Signature(read_beat(data_width=lanes * 32, id_width=id_width))),
            "payload": Out(lane_write(lanes=lanes, slots=pieces, rows=rows)),
            "o":       Out(stream.Signature(piece_status(pieces=pieces, shared=patches > 0))),
            "enable":  Out(1),
            **({"way":   In(slot_write(piece_way(patches=patches), pieces)),
                "hold":  In(1),
                "patch": Out(lane_write(lanes=lanes, slots=patches, rows=FETCH_ROWS * rows)),
                "job":   Out(stream.Signature(patch_job(patches=patches)))} if patches else {}),
        })

    def elaborate(self, platform):
        m = Module()
        rows = FETCH_ROWS * self.rows if self.patches else self.rows
        progress = data.StructLayout({"row": range(rows), "poison": 1, "abort": 1})
        m.submodules.memory = memory = Memory(shape=progress, depth=self.pieces, init=[])
        m.submodules.queue = queue = StreamQueue(self.o.payload.shape(), depth=self.pieces)
        wiring.connect(m, queue.o, wiring.flipped(self.o))
        write = memory.write_port()
        # Two beats of one buffer may be a clock apart: the second sees what the first writes.
        read = memory.read_port(transparent_for=(write,))

        # Take the beat; read its buffer's progress; store.
        taken, found = Signal(), Signal()
        beat, late   = Signal.like(self.i.payload), Signal.like(self.i.payload)
        moves = ~self.hold if self.patches else C(1)
        m.d.comb += [self.i.ready.eq(moves), read.addr.eq(beat.id)]
        with m.If(moves):
            m.d.sync += [
                taken.eq(self.i.valid),
                beat.eq(self.i.payload),
                found.eq(taken),
                late.eq(beat),
            ]
        poison, abort, stores = Signal(), Signal(), Signal()
        m.d.comb += [
            poison.eq(read.data.poison | (late.resp == Resp.SLVERR)),
            abort.eq(read.data.abort | (late.resp == Resp.DECERR)),
            stores.eq(found & moves),
            self.payload.en.eq(stores),
            self.payload.slot.eq(late.id),
            self.payload.row.eq(read.data.row),
            self.payload.data.eq(late.data),
            queue.i.valid.eq(stores & late.last),
            queue.i.payload.piece.eq(late.id),
            queue.i.payload.poison.eq(poison),
            queue.i.payload.abort.eq(abort),
        ]
        if self.patches:
            m.d.comb += read.en.eq(moves)
            self._elaborate_ways(m, queue, beat, late, stores, read.data.row, poison, abort)

        sweep = Signal(range(self.pieces))
        m.d.comb += [write.en.eq(stores | ~self.enable), write.addr.eq(sweep)]
        with m.If(self.enable):
            m.d.comb += write.addr.eq(late.id)
            with m.If(~late.last):
                m.d.comb += [
                    write.data.row.eq(read.data.row + 1),
                    write.data.poison.eq(poison),
                    write.data.abort.eq(abort),
                ]
        with m.Else():
            m.d.sync += [sweep.eq(sweep + 1), self.enable.eq(sweep == self.pieces - 1)]
        return m

    def _elaborate_ways(self, m, queue, beat, late, stores, row, poison, abort):
        m.submodules.ways = ways = Memory(shape=self.way.data.shape(), depth=self.pieces, init=[],
                                          attrs={"no_rw_check": 1})
        m.submodules.jobs = jobs = StreamQueue(self.job.payload.shape(), depth=self.patches)
        wiring.connect(m, jobs.o, wiring.flipped(self.job))
        write, read = ways.write_port(), ways.read_port()
        way = read.data
        m.d.comb += [
            write.en.eq(self.way.en),
            write.addr.eq(self.way.slot),
            write.data.eq(self.way.data),
            read.en.eq(~self.hold),
            read.addr.eq(beat.id),
            self.payload.en.eq(stores & ~way.patch),
            self.patch.en.eq(stores & way.patch),
            self.patch.slot.eq(way.buffer),
            self.patch.row.eq(row),
            self.patch.data.eq(late.data),
            queue.i.valid.eq(stores & late.last & ~way.patch),
            queue.i.payload.hide.eq(way.shared & abort),
            queue.i.payload.zero.eq(way.shared & abort),
            jobs.i.valid.eq(stores & late.last & way.patch),
            jobs.i.payload.buffer.eq(way.buffer),
            jobs.i.payload.synth.eq(poison | abort),
            jobs.i.payload.poison.eq(poison),
            jobs.i.payload.abort.eq(abort),
        ]
