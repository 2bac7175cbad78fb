"""A pipeline that nothing looks into."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

__all__ = ["DelayLine"]


class DelayLine(wiring.Component):
    """Give back what came in a fixed number of clocks ago.

    A small memory takes the place of the registers of a pipeline that never stops.

    Parameters
    ----------
    shape : :class:`ShapeLike`
        Shape of what is delayed.
    clocks : :class:`int`
        Delay, at least 2.

    Members
    -------
    i : ``In(shape)``
    o : ``Out(shape)``
        ``i`` of ``clocks`` clocks ago; undefined for as long after reset.

    Raises
    ------
    ValueError
        If ``clocks`` is not an integer of at least 2.
    """

    def __init__(self, shape, *, clocks):
        if not isinstance(clocks, int) or clocks < 2:
            raise ValueError(f"Delay must be an integer of at least 2 clocks, not {clocks!r}")
        self.shape  = shape
        self.clocks = clocks
        super().__init__({"i": In(shape), "o": Out(shape)})

    def elaborate(self, platform):
        m = Module()
        depth = 1 << ceil_log2(self.clocks)
        m.submodules.memory = memory = Memory(shape=Shape.cast(self.shape).width, depth=depth,
                                              init=[], attrs={"ram_style": "distributed"})
        write, read = memory.write_port(), memory.read_port()
        place = Signal(range(depth))
        m.d.sync += place.eq(place + 1)
        m.d.comb += [
            write.en.eq(1),
            write.addr.eq(place),
            write.data.eq(self.i),
            read.addr.eq(place - (self.clocks - 1)),
            Value.cast(self.o).eq(read.data),
        ]
        return m
