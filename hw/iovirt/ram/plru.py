"""Tree pseudo-LRU replacement state of a set-associative table."""

from amaranth import *
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Plru"]


class Plru(wiring.Component):
    """Keep which way of each set to replace next.

    Each set has a binary tree of ``ways - 1`` bits; a bit tells in which half the victim is. A
    touch turns the bits on the path of a way away from it, whatever they were, so that it needs no
    read: the bits of a set are written each on its own, and the memory has one read and one write
    port.

    A touch per cycle; ``victim`` belongs to the ``read_set`` of the cycle before and sees touches
    older than that cycle. A touch in that very cycle may or may not be seen. Any content is a legal
    state, so nothing needs to be initialised.

    Parameters
    ----------
    sets, ways : :class:`int`
        Geometry, powers of two of at least 2.

    Members
    -------
    touch_set : ``In(range(sets))``
        Set that ``touch_ways`` is in.
    touch_ways : ``In(ways)``
        Way used in this cycle, one-hot; zero for none.
    read_set : ``In(range(sets))``
        Set to replace in.
    victim : ``Out(ways)``
        Way to replace, one-hot, 1 cycle after ``read_set``.

    Raises
    ------
    ValueError
        If ``sets`` or ``ways`` is not a power of two of at least 2.
    """

    def __init__(self, *, sets, ways):
        for name, value in ("sets", sets), ("ways", ways):
            if not isinstance(value, int) or value < 2 or value & (value - 1):
                raise ValueError(f"Number of {name} must be a power of two of at least 2, not "
                                 f"{value!r}")
        self.sets = sets
        self.ways = ways
        super().__init__({
            "touch_set":  In(range(sets)),
            "touch_ways": In(ways),
            "read_set":   In(range(sets)),
            "victim":     Out(ways),
        })

    def elaborate(self, platform):
        m = Module()

        m.submodules.trees = trees = memory.Memory(
            shape=self.ways - 1, depth=self.sets, init=[], attrs={"ram_style": "distributed"})
        write, read = trees.write_port(granularity=1), trees.read_port()
        m.d.comb += [
            write.addr.eq(self.touch_set),
            read.addr.eq(self.read_set),
        ]

        # Node `n` has the children `2 n` and `2 n + 1`; below the last nodes hang the ways. A set
        # bit means that the victim is under the second child.
        def ways_under(node):
            while node < self.ways:
                yield from ways_under(2 * node)
                node = 2 * node + 1
            yield node - self.ways

        for node in range(1, self.ways):
            touched = lambda child: Cat(self.touch_ways[way] for way in ways_under(child)).any()
            m.d.comb += [
                write.en[node - 1].eq(touched(node)),
                write.data[node - 1].eq(touched(2 * node)),
            ]

        for way in range(self.ways):
            chosen, node = [], way + self.ways
            while node > 1:
                chosen.append(read.data[node // 2 - 1] == node % 2)
                node //= 2
            m.d.comb += self.victim[way].eq(Cat(chosen).all())

        return m
