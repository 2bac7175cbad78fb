"""State per queue in a memory, changed by one operation per clock."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

__all__ = ["QueueState"]


class QueueState(wiring.Component):
    """Read, modify and write the state of one queue after another, one per clock.

    An operation sees the state that the one before it has left, also if both are of one queue: what
    is on its way to the memory is forwarded. After reset the state of all queues is set to 0,
    one per clock; until then no operation is taken.

    Latency is 2 clocks from ``i`` to ``now``; throughput is 1 operation per clock. Combinational
    paths run from ``hold`` to ``i.ready``, and from ``now`` through the user to ``update``.

    Parameters
    ----------
    state : :class:`ShapeLike`
        Shape of what is kept for each queue.
    op : :class:`ShapeLike`
        Shape of operations.
    queues : :class:`int`
        Number of queues, a power of two of at least 2.

    Members
    -------
    i : ``In(stream.Signature(...))``
        Operations: ``queue`` and ``op``.
    now : ``Out(...)``
        The operation to be executed in this clock (``valid``, ``queue``, ``op``) and the ``state``
        that it meets. It is executed unless ``hold``.
    update : ``In(state)``
        State that it leaves.
    hold : ``In(1)``
        The pipeline stops.
    """

    def __init__(self, state, op, *, queues):
        if type(queues) is not int or queues < 2 or queues & (queues - 1):
            raise ValueError("Number of queues must be a power of two of at least 2, not "
                             f"{queues!r}")
        self.state  = state
        self.op     = op
        self.queues = queues
        super().__init__({
            "i":      In(stream.Signature(data.StructLayout({"queue": range(queues), "op": op}))),
            "now":    Out(wiring.Signature({
                "valid": Out(1),
                "queue": Out(range(queues)),
                "op":    Out(op),
                "state": Out(state),
            })),
            "update": In(state),
            "hold":   In(1),
        })

    def elaborate(self, platform):
        m = Module()
        width = Shape.cast(self.state).width
        # What the memory returns on a collision is never used.
        m.submodules.memory = memory = Memory(shape=width, depth=self.queues, init=[],
                                              attrs={"no_rw_check": 1})
        write, read = memory.write_port(), memory.read_port()

        advance, scrubbed, scrub = Signal(), Signal(), Signal(range(self.queues))
        m.d.comb += [
            advance.eq(~self.hold),
            self.i.ready.eq(advance & scrubbed),
            read.en.eq(advance),
            read.addr.eq(self.i.p.queue),
        ]

        # Stages: read, now, and what `now` wrote last, which a read of the same clock missed.
        arriving = Signal()
        m.d.comb += arriving.eq(self.i.valid & scrubbed)
        valid, queue, op = Signal(), Signal(range(self.queues)), Signal(self.op)
        near, far = Signal(), Signal()
        written = Signal(width)
        now, update = self.now, Value.cast(self.update)
        with m.If(advance):
            m.d.sync += [
                valid.eq(arriving),
                queue.eq(self.i.p.queue),
                op.eq(self.i.p.op),
                near.eq(valid & (queue == self.i.p.queue)),
                far.eq(now.valid & (now.queue == self.i.p.queue)),
                now.valid.eq(valid),
                now.queue.eq(queue),
                now.op.eq(op),
                written.eq(update),
                Value.cast(now.state).eq(Mux(near, update, Mux(far, written, read.data))),
            ]

        with m.If(scrubbed):
            m.d.comb += [
                write.en.eq(advance & now.valid),
                write.addr.eq(now.queue),
                write.data.eq(update),
            ]
        with m.Else():
            m.d.comb += [write.en.eq(1), write.addr.eq(scrub)]
            m.d.sync += [scrub.eq(scrub + 1), scrubbed.eq(scrub == self.queues - 1)]
        return m
