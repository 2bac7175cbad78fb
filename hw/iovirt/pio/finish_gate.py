"""Ends of requests, on their way to the clients."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from iovirt.stream import StreamQueue

from ..pcie.layouts import STAMP_WIDTH
from .layouts import finish
from .request_layouts import CLIENTS, tag_result

__all__ = ["FinishGate"]


class FinishGate(wiring.Component):
    """Give ends to their clients, when what was posted before them is observable (rule S4).

    Stamps are looked at in the order in which the completions came, which is that of the stamps,
    and without regard to the clients. So a client that does not take its ends holds up neither
    the other one nor the looking, and a stamp is never so old that it looks new.

    Latency is 1 clock if nothing waits; throughput is 1 per clock. There is room for every
    request, so ``i`` is never stopped.

    Parameters
    ----------
    depth, config_depth : :class:`int`
        Most requests of client 0, and of client 1.
    owner_width : :class:`int`
        Shapes ``finish``.
    tag_values : :class:`int`
        Number of values of a tag.

    Members
    -------
    i : ``In(stream.Signature(tag_result(...), always_ready=True))``
        Ends.
    done : ``In(STAMP_WIDTH)``
        Groups of posted requests that are observable, counted modulo.
    finish : ``Out(stream.Signature(finish(...))).array(CLIENTS)``
    release : ``Out(stream.Signature(...))``
        Tags of client 1: it returns each by taking its end.
    idle : ``Out(1)``
        Nothing waits.
    """

    def __init__(self, *, depth, config_depth, owner_width, tag_values):
        self.depths = (depth, config_depth)
        self._result = tag_result(owner_width=owner_width)
        self._finish = finish(owner_width=owner_width)
        tag = data.StructLayout({"tag": range(tag_values)})
        super().__init__({
            "i":       In(stream.Signature(self._result, always_ready=True)),
            "done":    In(STAMP_WIDTH),
            "finish":  Out(stream.Signature(self._finish)).array(CLIENTS),
            "release": Out(stream.Signature(tag)),
            "idle":    Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        ticket = data.StructLayout({"client": range(CLIENTS), "stamp": STAMP_WIDTH, "passed": 1})
        m.submodules.stamps = stamps = StreamQueue(ticket, depth=sum(self.depths))
        m.submodules.head   = head   = StreamQueue(ticket, depth=2)
        m.submodules.release = release = StreamQueue(self.release.p.shape(),
                                                            depth=self.depths[1])
        wiring.connect(m, stamps.o, head.i)
        wiring.connect(m, release.o, wiring.flipped(self.release))

        # One that need not wait passes at once, if none before it waits.
        waiting, distance = Signal(range(sum(self.depths) + 1)), Signal(STAMP_WIDTH)
        direct, passes = Signal(), Signal()
        m.d.comb += [
            direct.eq(self.i.valid & self.i.p.passed & (waiting == 0)),
            stamps.i.valid.eq(self.i.valid & ~direct),
            stamps.i.p.client.eq(self.i.p.client),
            stamps.i.p.stamp.eq(self.i.p.stamp),
            stamps.i.p.passed.eq(self.i.p.passed),
            distance.eq(self.done - head.o.p.stamp),
            head.o.ready.eq(head.o.p.passed | ~distance[-1]),
            passes.eq(head.o.valid & head.o.ready),
        ]
        m.d.sync += waiting.eq(waiting + stamps.i.valid - passes)

        empty = Signal(CLIENTS)
        for client, depth in enumerate(self.depths):
            m.submodules[f"queue_{client}"] = queue = _FinishQueue(self._finish, depth=depth)
            free, port = Signal(range(depth + 1)), self.finish[client]
            given, opened = Signal(), Signal()
            m.d.comb += [
                queue.i.valid.eq(self.i.valid & (self.i.p.client == client)),
                queue.i.p.eq(self.i.p.finish),
                opened.eq((direct & (self.i.p.client == client))
                          | (passes & (head.o.p.client == client))),
                port.valid.eq(queue.o.valid & (free != 0)),
                port.p.eq(queue.o.p),
                given.eq(port.valid & port.ready),
                queue.o.ready.eq(port.ready & (free != 0)),
                empty[client].eq(~queue.o.valid),
            ]
            m.d.sync += free.eq(free + opened - given)

        # There is a place in `release` for all tags of the client.
        last = self.finish[CLIENTS - 1]
        m.d.comb += [
            release.i.valid.eq(last.valid & last.ready),
            release.i.p.tag.eq(last.p.tag),
            self.idle.eq(empty.all() & (waiting == 0) & ~release.o.valid),
        ]
        return m


class _FinishQueue(wiring.Component):
    """A queue in RAM that is passed by while it is empty, so that latency is 1 clock."""

    def __init__(self, shape, *, depth):
        self.shape = shape
        self.depth = depth
        super().__init__({
            "i": In(stream.Signature(shape)),
            "o": Out(stream.Signature(shape)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.kept = kept = StreamQueue(self.shape, depth=self.depth)
        m.submodules.out  = out  = StreamQueue(self.shape, depth=2)
        wiring.connect(m, out.o, wiring.flipped(self.o))
        empty, past = Signal(), Signal()
        m.d.comb += [
            empty.eq(kept.level == 0),
            past.eq(empty & out.i.ready),
            kept.i.valid.eq(self.i.valid & ~past),
            kept.i.p.eq(self.i.p),
            kept.o.ready.eq(out.i.ready),
            out.i.valid.eq(kept.o.valid | (self.i.valid & empty)),
            out.i.p.eq(Mux(empty, self.i.p, kept.o.p)),
            self.i.ready.eq(past | kept.i.ready),
        ]
        return m
