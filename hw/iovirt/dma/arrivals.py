"""Arrival of read data."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from iovirt.axi import Resp
from iovirt.stream import StreamQueue

from .lanes import lane_write
from .layouts import piece_status

__all__ = ["ReadArrivals", "read_beat"]


def read_beat(*, data_width, id_width):
    """One beat on R."""
    return data.StructLayout({"id": id_width, "data": data_width, "resp": Resp, "last": 1})


class ReadArrivals(wiring.Component):
    """Store read data in the completion buffers, and tell which are complete.

    Always takes a beat per clock, from buffers in any order. The memory of row counts survives a
    reset, so it is cleared in the first ``pieces`` clocks after one.

    A complete buffer is told of 4 clocks after its last beat.

    Parameters
    ----------
    lanes, rows : :class:`int`
        Dwords in a row, rows in a buffer.
    pieces : :class:`int`
        Number of completion buffers, a power of two.
    id_width : :class:`int`
        Of the bus.

    Members
    -------
    i : ``In(stream.Signature(read_beat(...)))``
        Beats; ``ready`` is constant 1.
    payload : ``Out(lane_write(...))``
        Data to memory.
    o : ``Out(stream.Signature(piece_status(...)))``
        Complete buffers, and whether reading them failed.
    enable : ``Out(1)``
        Reads may be issued.
    """

    def __init__(self, *, lanes, rows, pieces, id_width):
        self.rows   = rows
        self.pieces = pieces
        super().__init__({
            "i":       In(stream.Signature(read_beat(data_width=lanes * 32, id_width=id_width))),
            "payload": Out(lane_write(lanes=lanes, slots=pieces, rows=rows)),
            "o":       Out(stream.Signature(piece_status(pieces=pieces))),
            "enable":  Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        progress = data.StructLayout({"row": range(self.rows), "poison": 1, "abort": 1})
        m.submodules.memory = memory = Memory(shape=progress, depth=self.pieces, init=[])
        m.submodules.queue = queue = StreamQueue(self.o.payload.shape(), depth=self.pieces)
        wiring.connect(m, queue.o, wiring.flipped(self.o))
        write = memory.write_port()
        # Two beats of one buffer may be a clock apart: the second sees what the first writes.
        read = memory.read_port(transparent_for=(write,))

        # Take the beat; read its buffer's progress; store.
        taken, found = Signal(), Signal()
        beat, late   = Signal.like(self.i.payload), Signal.like(self.i.payload)
        m.d.comb += [self.i.ready.eq(1), read.addr.eq(beat.id)]
        m.d.sync += [
            taken.eq(self.i.valid),
            beat.eq(self.i.payload),
            found.eq(taken),
            late.eq(beat),
        ]
        poison, abort = Signal(), Signal()
        m.d.comb += [
            poison.eq(read.data.poison | (late.resp == Resp.SLVERR)),
            abort.eq(read.data.abort | (late.resp == Resp.DECERR)),
            self.payload.en.eq(found),
            self.payload.slot.eq(late.id),
            self.payload.row.eq(read.data.row),
            self.payload.data.eq(late.data),
            queue.i.valid.eq(found & late.last),
            queue.i.payload.piece.eq(late.id),
            queue.i.payload.poison.eq(poison),
            queue.i.payload.abort.eq(abort),
        ]

        sweep = Signal(range(self.pieces))
        m.d.comb += [write.en.eq(found | ~self.enable), write.addr.eq(sweep)]
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
