"""Doorbells of guests."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from iovirt.stream import CreditQueue, StreamQueue

from .page_layouts import PageEnd, RoutedCall, page_end
from .scheduler_layouts import device_doorbell
from .settling import progress
from .share_layouts import GuestCounter, PairDoorbell, PairDoorbellVerdict

__all__ = ["PageDoorbells"]


class PageDoorbells(wiring.Component):
    """Have doorbells of guests checked, and pass on the completion heads that are right.

    A doorbell is a posted write: the guest is not told whether it was accepted. Reads show the last
    value that was, or all ones if there is no such pair. There is a place for each verdict, so that
    those who give it never wait, however long the device takes no doorbell (PCIe Base, 2.4.1:
    what devices write must not wait for that).

    Latency is 0 clocks to ``doorbell``, and from ``verdict`` 1 clock to ``end`` and 2 to ``head``;
    throughput is 1 doorbell per clock, with 16 under way.

    Parameters
    ----------
    functions : :class:`int`
        Number of shared functions, 1 to 4.

    Members
    -------
    i : ``In(stream.Signature(RoutedCall))``
    doorbell : ``Out(stream.Signature(PairDoorbell))``, \
            ``verdict`` : ``In(stream.Signature(PairDoorbellVerdict))``
        To the pairs and back, in order.
    head_delta : ``In(8).array(functions)``
        From a tail doorbell to that of the completion head, in Dwords.
    head : ``Out(stream.Signature(device_doorbell))``
        Completion heads for devices.
    end : ``Out(stream.Signature(PageEnd))``
    progress : ``Out(progress()).array(2)``
        Of doorbells, and of heads that are accepted.
    """

    #: Doorbells without end, at most.
    DEPTH = 16

    def __init__(self, *, functions):
        if type(functions) is not int or not 1 <= functions <= 4:
            raise ValueError(f"Number of functions must be an integer in 1..4, not {functions!r}")
        self.functions = functions
        super().__init__({
            "i":          In(stream.Signature(RoutedCall)),
            "doorbell":   Out(stream.Signature(PairDoorbell)),
            "verdict":    In(stream.Signature(PairDoorbellVerdict)),
            "head_delta": In(8).array(functions),
            "head":       Out(stream.Signature(device_doorbell)),
            "end":        Out(stream.Signature(PageEnd)),
            "progress":   Out(progress()).array(2),
        })

    def elaborate(self, platform):
        m = Module()
        kept = data.StructLayout({"owner": 16, "write": 1, "core": 8, "guest": 8, "address": 28})
        m.submodules.calls    = calls    = StreamQueue(kept, depth=self.DEPTH)
        m.submodules.verdicts = verdicts = CreditQueue(PairDoorbellVerdict, depth=self.DEPTH)
        m.submodules.heads    = heads    = StreamQueue(device_doorbell, depth=2)
        connect(m, heads.o, flipped(self.head))

        i, call, doorbell = self.i, self.i.payload.call, self.doorbell
        free = verdicts.free & calls.i.ready
        m.d.comb += [
            doorbell.valid.eq(i.valid & free),
            i.ready.eq(doorbell.ready & free),
            doorbell.payload.read.eq(~call.write),
            doorbell.payload.pair.eq(i.payload.pair),
            doorbell.payload.colour.eq(call.guest),
            doorbell.payload.side.eq(call.side),
            doorbell.payload.value.eq(call.data),
            verdicts.reserve.eq(doorbell.valid & doorbell.ready),
            calls.i.valid.eq(verdicts.reserve),
            *(calls.i.payload[name].eq(call[name]) for name in kept.members),
            verdicts.i.valid.eq(self.verdict.valid),
            verdicts.i.payload.eq(self.verdict.payload),
            self.verdict.ready.eq(1),
        ]

        doorbells, told = self.progress
        m.d.comb += [
            doorbells.idle.eq(calls.level == 0),
            doorbells.leaves.eq(calls.o.valid & calls.o.ready),
            told.idle.eq(heads.level == 0),
            told.leaves.eq(heads.o.valid & heads.o.ready),
        ]

        now, verdict, delta = calls.o.payload, verdicts.o.payload, Signal(8)
        with m.Switch(verdict.function):
            for n in range(self.functions):
                with m.Case(n):
                    m.d.comb += delta.eq(self.head_delta[n])
        rings, ends = Signal(), Signal()
        m.d.comb += [
            rings.eq(verdict.ok & verdict.ring),
            self.end.valid.eq(calls.o.valid & verdicts.o.valid & (~rings | heads.i.ready)),
            ends.eq(self.end.valid & self.end.ready),
            calls.o.ready.eq(ends),
            verdicts.o.ready.eq(ends),
            heads.i.valid.eq(ends & rings),
            heads.i.payload.function.eq(verdict.function),
            heads.i.payload.tail.eq(verdict.tail + delta),
            heads.i.payload.value.eq(verdict.value),
            *page_end(self.end.payload, now, ok=1,
                      data=Mux(verdict.ok, verdict.value, 0xFFFFFFFF),
                      denied=now.write & ~verdict.ok, counted=now.write & verdict.ok,
                      counter=GuestCounter.DOORBELLS),
        ]
        return m
