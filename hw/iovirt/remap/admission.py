"""Who enters the lookup next."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .layouts import Access, lookup_request, remap_request

__all__ = ["Admission"]


class Admission(wiring.Component):
    """Choose among replays, debug requests, new requests and probes for the lookup.

    The order is that of the list: a replay holds a slot of the miss file, so nothing can make it
    wait for ever, and debug requests are one at a time. A new or debug request enters only while
    the miss file has a place for its outcome. A probe takes what is left. The choice is kept while
    the lookup does not take it; only its epoch follows ``epoch``, so that it is that of the clock
    of acceptance.

    Latency is 0 clocks and throughput 1 request per clock. Combinational paths run from the inputs
    and ``room`` to ``o``, and from ``o.ready`` to the inputs.

    Parameters
    ----------
    id_width, slot_width : :class:`int`
        Widths of the layouts.

    Members
    -------
    request : ``In(stream.Signature(remap_request(id_width)))``
        Requests from outside.
    debug : ``In(stream.Signature(Access))``
        Requests of the debug registers.
    replay, probe : ``In(stream.Signature(lookup_request(...)))``
        Parked requests to look up again, and candidates of the prefetcher.
    room : ``In(1)``
        A new or debug request may enter.
    epoch : ``In(1)``
        Epoch of a request that is accepted now.
    o : ``Out(stream.Signature(lookup_request(...)))``
        To the lookup.
    entered : ``Out(1)``
        A new or debug request enters in this clock.
    accepted : ``Out(1)``
        A new request enters in this clock: it belongs to the epoch.
    """

    def __init__(self, *, id_width, slot_width):
        for name, value in ("Width of id", id_width), ("Width of slot", slot_width):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be an integer of at least 1, not {value!r}")
        self.id_width   = id_width
        self.slot_width = slot_width
        lookup = lookup_request(id_width, slot_width)
        super().__init__({
            "request":  In(stream.Signature(remap_request(id_width))),
            "debug":    In(stream.Signature(Access)),
            "replay":   In(stream.Signature(lookup)),
            "probe":    In(stream.Signature(lookup)),
            "room":     In(1),
            "epoch":    In(1),
            "o":        Out(stream.Signature(lookup)),
            "entered":  Out(1),
            "accepted": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        replay, debug, new, probe = range(4)
        streams = [self.replay, self.debug, self.request, self.probe]

        # One-hot choice; an offer that the lookup has not taken is not withdrawn.
        offered = Cat(self.replay.valid, self.debug.valid & self.room,
                      self.request.valid & self.room, self.probe.valid)
        choice, kept, stalled = Signal(4), Signal(4), Signal()
        m.d.comb += choice.eq(Mux(stalled, kept, offered & (~offered + 1)))
        m.d.sync += [stalled.eq(self.o.valid & ~self.o.ready), kept.eq(choice)]

        fresh = Signal.like(self.o.p)
        m.d.comb += [
            fresh.access.eq(Mux(choice[debug], self.debug.p, self.request.p.access)),
            fresh.source.eq(Mux(choice[debug], 0, self.request.p.source)),
            fresh.id.eq(Mux(choice[debug], 0, self.request.p.id)),
            fresh.bypass.eq(choice[new] & self.request.p.bypass),
            fresh.epoch.eq(self.epoch),
            fresh.debug.eq(choice[debug]),
            self.o.valid.eq(choice.any()),
            self.o.p.eq(fresh),
            self.entered.eq(self.o.ready & (choice[debug] | choice[new])),
            self.accepted.eq(self.o.ready & choice[new]),
        ]
        with m.If(choice[replay]):
            m.d.comb += self.o.p.eq(self.replay.p)
        with m.Elif(choice[probe]):
            m.d.comb += self.o.p.eq(self.probe.p)
        m.d.comb += [source.ready.eq(self.o.ready & choice[n]) for n, source in enumerate(streams)]
        return m
