"""Queue behind a pipeline that cannot stop."""

from amaranth import *
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["CreditQueue"]


class CreditQueue(wiring.Component):
    """Queue the results of a pipeline that reserves a place for each before it starts it.

    Since every result has its place, the pipeline needs no enable that runs through all its stages.
    For full rate ``depth`` must be the latency of the pipeline from ``reserve`` to ``o``, plus 1.

    Latency is 1 cycle from ``i`` to ``o``; throughput is 1 transfer per cycle. The queue is a
    synchronous memory whose read register drives ``o``. No combinational path runs from ``o.ready``
    to other outputs.

    Parameters
    ----------
    shape : :class:`ShapeLike`
        Shape of the payload.
    depth : :class:`int`
        Number of places, at least 1.

    Members
    -------
    free : ``Out(1)``
        A place can be reserved.
    reserve : ``In(1)``
        Reserve a place. Only while ``free``.
    i : ``In(stream.Signature(shape, always_ready=True))``
        Results; never more than there are places reserved.
    o : ``Out(stream.Signature(shape))``
        The same results, in order.
    level : ``Out(range(depth + 1))``
        Number of places reserved whose result has not left.

    Raises
    ------
    ValueError
        If ``depth`` is not an integer of at least 1.
    """

    def __init__(self, shape, *, depth):
        if not isinstance(depth, int) or depth < 1:
            raise ValueError(f"Depth of queue must be an integer of at least 1, not {depth!r}")
        self.shape = shape
        self.depth = depth
        super().__init__({
            "free":    Out(1),
            "reserve": In(1),
            "i":       In(stream.Signature(shape, always_ready=True)),
            "o":       Out(stream.Signature(shape)),
            "level":   Out(range(depth + 1)),
        })

    def elaborate(self, platform):
        m = Module()

        m.submodules.results = results = memory.Memory(
            shape=Shape.cast(self.shape), depth=self.depth, init=[],
            attrs={"ram_style": "distributed"})
        write = results.write_port()
        read = results.read_port(transparent_for=(write,))

        head, tail = Signal(range(self.depth)), Signal(range(self.depth))
        held = Signal.like(self.level)
        following = lambda place: Mux(place == self.depth - 1, 0, place + 1)
        pop = Signal()
        m.d.comb += [
            pop.eq(self.o.valid & self.o.ready),
            self.free.eq(self.level != self.depth),
            self.o.valid.eq(held != 0),
            Value.cast(self.o.payload).eq(read.data),
            write.addr.eq(tail),
            write.data.eq(self.i.payload),
            write.en.eq(self.i.valid),
            # The head is read again in each cycle; a result that becomes the head as it arrives
            # is passed on by the transparent port.
            read.addr.eq(Mux(pop, following(head), head)),
        ]
        m.d.sync += [
            head.eq(read.addr),
            held.eq(held + self.i.valid - pop),
            self.level.eq(self.level + self.reserve - pop),
        ]
        with m.If(self.i.valid):
            m.d.sync += tail.eq(following(tail))

        return m
