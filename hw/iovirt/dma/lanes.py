"""Payload memory whose Dword lanes may lie in two neighbouring rows."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from .align import DWORD

__all__ = ["LaneMemory", "lane_read", "lane_write"]


def lane_read(*, lanes, slots, rows):
    """Read port of a :class:`LaneMemory`, seen from the reader; data comes 1 clock later."""
    return wiring.Signature({
        "en":   Out(1),
        "slot": Out(range(slots)),
        "row":  Out(range(rows)),
        "bump": Out(lanes),          # lanes to take from the next row
        "data": In(lanes * DWORD),   # held until the next read
    })


def lane_write(*, lanes, slots, rows):
    """Write port of a :class:`LaneMemory`, seen from the writer."""
    return wiring.Signature({
        "en":   Out(1),
        "slot": Out(range(slots)),
        "row":  Out(range(rows)),
        "bump": Out(lanes),
        "data": Out(lanes * DWORD),
    })


class LaneMemory(wiring.Component):
    """Keep payloads, one memory per Dword lane, so that an unaligned beat is one access.

    A beat that is rotated to its byte lanes belongs to two rows: lanes in ``bump`` to the row after
    ``row``, which is row 0 after the last one. Because a payload is no longer than a slot, the two
    ends of an unaligned one share a row without overlap.

    One write and one read per clock; read data comes 1 clock later. A row must not be read in the
    clock in which it is written.

    Parameters
    ----------
    lanes : :class:`int`
        Dwords in a row, a power of two of at least 2.
    slots : :class:`int`
        Number of payloads, a power of two.
    rows : :class:`int`
        Rows in a slot, a power of two of at least 2.

    Members
    -------
    write : ``In(lane_write(...))``
        Write port.
    read : ``In(lane_read(...))``
        Read port.

    Raises
    ------
    ValueError
        If a parameter is not such a power of two.
    """

    def __init__(self, *, lanes, slots, rows):
        for name, value, least in (("lanes", lanes, 2), ("slots", slots, 1), ("rows", rows, 2)):
            if not isinstance(value, int) or value < least or value & (value - 1):
                raise ValueError(f"Number of {name} must be a power of two of at least {least}, "
                                 f"not {value!r}")
        self.lanes = lanes
        self.slots = slots
        self.rows  = rows
        super().__init__({
            "write": In(lane_write(lanes=lanes, slots=slots, rows=rows)),
            "read":  In(lane_read(lanes=lanes, slots=slots, rows=rows)),
        })

    def elaborate(self, platform):
        m = Module()
        row_bits = exact_log2(self.rows)

        def address(port, lane):
            following = Signal(row_bits)
            m.d.comb += following.eq(port.row + 1)
            return Cat(Mux(port.bump[lane], following, port.row), port.slot)

        for lane in range(self.lanes):
            memory = Memory(shape=DWORD, depth=self.slots * self.rows, init=[],
                            attrs={"no_rw_check": 1})
            m.submodules[f"lane_{lane}"] = memory
            write, read = memory.write_port(), memory.read_port()
            m.d.comb += [
                write.en.eq(self.write.en),
                write.addr.eq(address(self.write, lane)),
                write.data.eq(self.write.data.word_select(lane, DWORD)),
                read.en.eq(self.read.en),
                read.addr.eq(address(self.read, lane)),
                self.read.data.word_select(lane, DWORD).eq(read.data),
            ]
        return m
