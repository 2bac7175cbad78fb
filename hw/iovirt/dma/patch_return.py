"""Way of patched data to the completion buffers."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from iovirt.stream import StreamQueue

from .lanes import lane_write
from .layouts import piece_status, slot_write
from .share_layouts import CARRY_WIDTH, FETCH_ROWS, patched_beat, patched_piece

__all__ = ["PatchReturn"]

#: Pieces that wait to be put in order.
QUEUE_DEPTH = 4


class PatchReturn(wiring.Component):
    """Store patched rows in the completion buffers, and tell which pieces are complete.

    The rows that are sent are stored. Those before are dropped, and so are those behind, but for
    the start of the first one: this is the rest of an entry that a cut has divided, if it has.

    Stored rows go first; fetched data is held for that clock. A row is stored 1 clock after it is
    taken; its piece is told of 3 clocks after its last row. 1 row per clock, unless pieces are too
    many to be put in order.

    Parameters
    ----------
    lanes, rows : :class:`int`
        Dwords in a row, rows in a completion buffer.
    pieces : :class:`int`
        Number of completion buffers.

    Members
    -------
    i : ``In(stream.Signature(patched_beat(...)))``
        Patched rows.
    piece : ``In(stream.Signature(patched_piece(...)))``
        The pieces that they belong to.
    fetched : ``In(lane_write(...))``
        Data that is not patched.
    hold : ``Out(1)``
        It must wait in this clock.
    payload : ``Out(lane_write(...))``
        Payload memory.
    carry : ``Out(slot_write(CARRY_WIDTH, pieces))``
        What belongs to the start of the next piece of the read.
    o : ``Out(stream.Signature(piece_status(...)))``
        Complete pieces.
    """

    def __init__(self, *, lanes, rows, pieces):
        self.rows = rows
        payload = lane_write(lanes=lanes, slots=pieces, rows=rows)
        super().__init__({
            "i":       In(stream.Signature(patched_beat(lanes * 32))),
            "piece":   In(stream.Signature(patched_piece(pieces=pieces, lanes=lanes,
                                                          rows=rows))),
            "fetched": In(payload),
            "hold":    Out(1),
            "payload": Out(payload),
            "carry":   Out(slot_write(CARRY_WIDTH, pieces)),
            "o":       Out(stream.Signature(piece_status(pieces=pieces, shared=True))),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.queue = queue = StreamQueue(self.o.payload.shape(), depth=QUEUE_DEPTH)
        wiring.connect(m, queue.o, wiring.flipped(self.o))

        # `row` counts from the first row that is sent, and wraps: rows before are huge.
        piece, taken = self.piece.payload, Signal()
        count = Signal(range(FETCH_ROWS * self.rows))
        row   = Signal(len(count) + 1)
        m.d.comb += [
            self.i.ready.eq(self.piece.valid & (queue.level < QUEUE_DEPTH - 1)),
            taken.eq(self.i.valid & self.i.ready),
            self.piece.ready.eq(taken & self.i.payload.last),
            row.eq(count - piece.skip),
        ]
        with m.If(taken):
            m.d.sync += count.eq(Mux(self.i.payload.last, 0, count + 1))

        stored, place = Signal(), Signal.like(self.payload.row)
        words, done   = Signal.like(self.payload.data), Signal()
        status        = Signal.like(queue.i.payload)
        m.d.sync += [
            stored.eq(taken & (row <= piece.sent)),
            place.eq(row),
            words.eq(self.i.payload.data),
            done.eq(taken & self.i.payload.last),
            self.carry.en.eq(taken & (row == piece.sent + 1)),
            status.piece.eq(piece.piece),
            status.poison.eq(piece.poison),
            status.abort.eq(piece.abort),
            status.hide.eq(1),
        ]
        m.d.comb += [
            queue.i.valid.eq(done),
            queue.i.payload.eq(status),
            self.carry.slot.eq(status.piece),
            self.carry.data.eq(words),
            self.hold.eq(stored),
            self.payload.en.eq(self.fetched.en | stored),
            self.payload.bump.eq(0),
        ]
        with m.If(stored):
            m.d.comb += [
                self.payload.slot.eq(status.piece),
                self.payload.row.eq(place),
                self.payload.data.eq(words),
            ]
        with m.Else():
            m.d.comb += [
                self.payload.slot.eq(self.fetched.slot),
                self.payload.row.eq(self.fetched.row),
                self.payload.data.eq(self.fetched.data),
            ]
        return m
