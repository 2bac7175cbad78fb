"""Data of reads, in the byte lanes of their addresses."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from .request_layouts import store_beat

__all__ = ["ReadData", "fetch_port"]


def fetch_port(*, depth, data_width, max_read_bytes):
    """Read a row of the buffer of a tag; it comes 1 clock later and is held. Seen from the reader.

    A row is ``data_width`` bits; rows count from an address that is a multiple of
    ``max_read_bytes``, and bytes have the lanes of their addresses.
    """
    return wiring.Signature({
        "en":   Out(1),
        "tag":  Out(range(depth)),
        "row":  Out(exact_log2(max(1, max_read_bytes * 8 // data_width))),
        "data": In(data_width),
    })


class ReadData(wiring.Component):
    """Keep the data of all tags, one memory per Dword lane.

    A payload starts at Dword 0 of its beats, so it is rotated to its lanes; those that wrap around
    belong to the next row. Only the Dwords of the payload are written.

    1 beat is written and 1 row read per clock. A beat is in memory 2 clocks after ``store``.

    Parameters
    ----------
    depth : :class:`int`
        Number of tags.
    data_width, max_read_bytes : :class:`int`
        Width of a beat, and bytes per tag; powers of two.

    Members
    -------
    store : ``In(store_beat(...))``
        Beats to write.
    fetch : ``In(fetch_port(...))``
        Rows to read.
    """

    def __init__(self, *, depth, data_width, max_read_bytes):
        self.depth      = depth
        self.data_width = data_width
        self.rows       = max(1, max_read_bytes * 8 // data_width)
        shape = {"depth": depth, "data_width": data_width, "max_read_bytes": max_read_bytes}
        super().__init__({
            "store": In(store_beat(**shape)),
            "fetch": In(fetch_port(**shape)),
        })

    def elaborate(self, platform):
        m = Module()
        lanes, store, fetch = self.data_width // 32, self.store, self.fetch
        beat, strb = Value.cast(store.data), Value.cast(store.strb)
        for bit in range(exact_log2(lanes)):
            beat = Mux(store.lane[bit], beat.rotate_left(32 << bit), beat)
            strb = Mux(store.lane[bit], strb.rotate_left(1 << bit), strb)
        following = (store.row + 1)[:exact_log2(self.rows)]

        moved = Signal(self.data_width)
        m.d.sync += moved.eq(beat)
        for lane in range(lanes):
            memory = Memory(shape=32, depth=self.depth * self.rows, init=[],
                            attrs={"no_rw_check": 1})
            m.submodules[f"lane_{lane}"] = memory
            write, read = memory.write_port(), memory.read_port()
            m.d.sync += [
                write.en.eq(store.en & strb[lane]),
                write.addr.eq(Cat(Mux(store.lane > lane, following, store.row), store.tag)),
            ]
            m.d.comb += [
                write.data.eq(moved.word_select(lane, 32)),
                read.en.eq(fetch.en),
                read.addr.eq(Cat(fetch.row, fetch.tag)),
                fetch.data.word_select(lane, 32).eq(read.data),
            ]
        return m
