"""First-in first-out queues of stream transfers."""


from amaranth import *
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["StreamQueue"]


class StreamQueue(wiring.Component):
    """Queue up to ``depth`` transfers.

    Latency is 1 cycle for ``depth`` 1 and 2, else 2 cycles; throughput is 1 transfer per cycle
    (1 per 2 cycles for ``depth`` 1). No combinational path runs between ``i`` and ``o``. Queues
    deeper than 2 keep their payload in a synchronous memory.

    Parameters
    ----------
    shape : :class:`ShapeLike`
        Shape of the payload.
    depth : :class:`int`
        Number of transfers held, at least 1.

    Members
    -------
    i : ``In(stream.Signature(shape))``
        Transfers to queue.
    o : ``Out(stream.Signature(shape))``
        The same transfers, in order.
    level : ``Out(range(depth + 1))``
        Number of transfers held.

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
            "i":     In(stream.Signature(shape)),
            "o":     Out(stream.Signature(shape)),
            "level": Out(range(depth + 1)),
        })

    def elaborate(self, platform):
        m = Module()
        if self.depth <= 2:
            self._elaborate_registers(m)
        else:
            width = Shape.cast(self.shape).width
            m.submodules.fifo = q = fifo.SyncFIFOBuffered(width=width, depth=self.depth)
            m.d.comb += [
                q.w_data.eq(self.i.payload),
                q.w_en.eq(self.i.valid),
                self.i.ready.eq(q.w_rdy),
                Value.cast(self.o.payload).eq(q.r_data),
                self.o.valid.eq(q.r_rdy),
                q.r_en.eq(self.o.ready),
                self.level.eq(q.level),
            ]
        return m

    def _elaborate_registers(self, m):
        # The first slot drives the output. A free slot copies the input in every clock, so that
        # `level` alone depends on `i.valid`, and the enables of a wide payload do not.
        slots = [Signal.like(Value.cast(self.i.payload), name=f"slot_{n}")
                 for n in range(self.depth)]
        push, pop = Signal(), Signal()
        m.d.comb += [
            self.i.ready.eq(self.level != self.depth),
            self.o.valid.eq(self.level != 0),
            Value.cast(self.o.payload).eq(slots[0]),
            push.eq(self.i.valid & self.i.ready),
            pop.eq(self.o.valid & self.o.ready),
        ]
        m.d.sync += self.level.eq(self.level + push - pop)
        with m.If(self.i.ready):
            m.d.sync += slots[-1].eq(self.i.payload)
        if self.depth == 2:
            with m.If((self.level == 0) | self.o.ready):
                m.d.sync += slots[0].eq(Mux(self.level == 2, slots[1], self.i.payload))
