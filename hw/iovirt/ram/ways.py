"""Memories of a set-associative table."""

from amaranth import *
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["WayTable"]


class WayTable(wiring.Component):
    """Hold an entry for each way of each set, one memory a way.

    All ways of a set are read together, 1 cycle after ``read_set``; any ways of a set are written
    together. One read and one write per cycle.

    What is read from a set in the cycle in which it is written is undefined, as in most memories;
    ``collided`` tells of it. Memory contents survive a reset; the owner writes each set before it
    believes what it reads.

    Parameters
    ----------
    shape : :class:`ShapeLike`
        Shape of an entry.
    sets : :class:`int`
        Number of sets, a power of two of at least 2.
    ways : :class:`int`
        Number of ways, at least 1.

    Members
    -------
    read_set : ``In(range(sets))``
        Set to read.
    entries : ``Out(shape).array(ways)``
        Its entries, 1 cycle later.
    collided : ``Out(1)``
        With ``entries``: the set was being written, in some way, so the entries are undefined.
    write_set : ``In(range(sets))``
        Set to write.
    write_ways : ``In(ways)``
        Ways of it to write; zero for no write.
    write_data : ``In(shape).array(ways)``
        New entries.

    Raises
    ------
    ValueError
        If ``sets`` or ``ways`` is out of range.
    """

    #: Up to this many sets, look-up table RAM is asked for: its short clock-to-output leaves the
    #: time for a comparison in the cycle that follows.
    DISTRIBUTED_SETS = 64

    def __init__(self, shape, *, sets, ways):
        if not isinstance(sets, int) or sets < 2 or sets & (sets - 1):
            raise ValueError(f"Number of sets must be a power of two of at least 2, not {sets!r}")
        if not isinstance(ways, int) or ways < 1:
            raise ValueError(f"Number of ways must be an integer of at least 1, not {ways!r}")
        self.shape = shape
        self.sets = sets
        self.ways = ways
        super().__init__({
            "read_set":   In(range(sets)),
            "entries":    Out(shape).array(ways),
            "collided":   Out(1),
            "write_set":  In(range(sets)),
            "write_ways": In(ways),
            "write_data": In(shape).array(ways),
        })

    def elaborate(self, platform):
        m = Module()
        # Without the second attribute, Yosys adds logic for reads that collide with writes.
        attrs = {"no_rw_check": 1}
        if self.sets <= self.DISTRIBUTED_SETS:
            attrs["ram_style"] = "distributed"
        for way in range(self.ways):
            m.submodules[f"way_{way}"] = table = memory.Memory(
                shape=Shape.cast(self.shape), depth=self.sets, init=[], attrs=attrs)
            write, read = table.write_port(), table.read_port()
            m.d.comb += [
                read.addr.eq(self.read_set),
                Value.cast(self.entries[way]).eq(read.data),
                write.addr.eq(self.write_set),
                write.en.eq(self.write_ways[way]),
                write.data.eq(self.write_data[way]),
            ]
        m.d.sync += self.collided.eq(self.write_ways.any() & (self.read_set == self.write_set))
        return m
