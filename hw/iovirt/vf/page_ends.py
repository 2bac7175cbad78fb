"""Ends of accesses to the pages of guests, from wherever they come."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from iovirt.stream import StreamArbiter, StreamQueue

from .page_layouts import PageEnd, PageError
from .share_layouts import Denial, DenialCause, GuestCount, PageAnswer

__all__ = ["PageEnds"]


class PageEnds(wiring.Component):
    """Answer accesses, count them for their guests, and record what was denied and what failed.

    Latency is 1 clock; throughput is 1 end per clock while all outputs take them, and 1 per 2
    clocks of those that were denied or have failed. No output may wait for software.

    Parameters
    ----------
    ports : :class:`int`
        Number of sources, at least 1. They take turns.

    Members
    -------
    i : ``In(stream.Signature(PageEnd)).array(ports)``
    answer : ``Out(stream.Signature(PageAnswer))``
    count : ``Out(stream.Signature(GuestCount))``
        Doorbells accepted, and accesses that the manager was asked about.
    denial : ``Out(stream.Signature(Denial))``
        Doorbells dropped, with offsets in the aperture as addresses.
    error : ``Out(stream.Signature(PageError))``
        Accesses that have failed.
    """

    def __init__(self, *, ports):
        self.ports = ports
        self._arbiter = StreamArbiter(PageEnd, ports=ports)
        super().__init__({
            "i":      In(stream.Signature(PageEnd)).array(ports),
            "answer": Out(stream.Signature(PageAnswer)),
            "count":  Out(stream.Signature(GuestCount)),
            "denial": Out(stream.Signature(Denial)),
            "error":  Out(stream.Signature(PageError)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.arbiter = arbiter = self._arbiter
        for outer, inner in zip(self.i, arbiter.i, strict=True):
            connect(m, flipped(outer), inner)

        # An end leaves when there is a place for all that it may lead to. What is dropped or fails
        # need not be fast.
        ends, outputs, moves = arbiter.o, {}, Signal()
        end = ends.payload
        for name, shape, depth, want in (
                ("answer", PageAnswer, 2, C(1)), ("count", GuestCount, 2, end.counted),
                ("denial", Denial, 1, end.denied), ("error", PageError, 1, ~end.ok)):
            m.submodules[f"{name}s"] = queue = StreamQueue(shape, depth=depth)
            connect(m, queue.o, flipped(getattr(self, name)))
            m.d.comb += queue.i.valid.eq(moves & want)
            outputs[name] = queue.i
        answer, count, denial, error = (output.payload for output in outputs.values())
        m.d.comb += [
            ends.ready.eq(Cat(output.ready for output in outputs.values()).all()),
            moves.eq(ends.valid & ends.ready),
            *(answer[name].eq(end[name]) for name in ("owner", "write", "ok", "data")),
            count.colour.eq(end.guest),
            count.counter.eq(end.counter),
            count.amount.eq(1),
            denial.cause.eq(DenialCause.DOORBELL),
            denial.colour.eq(end.guest),
            denial.address.eq(end.address),
            *(error[name].eq(end[name]) for name in ("core", "guest", "address")),
        ]
        return m
