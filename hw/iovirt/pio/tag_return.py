"""The way back of a tag."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from iovirt.stream import StreamArbiter, StreamQueue

from .request_layouts import CLIENTS, free_tag

__all__ = ["TagReturn", "ended_tag", "expired_tag", "returned_ask"]


def ended_tag(depth):
    """Pulse ``en``: the request of a tag ended. Seen from the giver."""
    return wiring.Signature({
        "en":          Out(1),
        "tag":         Out(range(depth)),
        "lap":         Out(1),
        "quarantined": Out(1),  # it timed out, so late completions may come
    })


def expired_tag(depth):
    """Pulse ``en``, only while ``room``: the quarantine is over. Seen from the giver."""
    return wiring.Signature({
        "en":   Out(1),
        "tag":  Out(range(depth)),
        "lap":  Out(1),   # that ends
        "room": In(1),
    })


def returned_ask(depth):
    """Ask for the lap in which a tag was last returned; it comes 1 clock later."""
    return wiring.Signature({"tag": Out(range(depth)), "lap": In(1)})


class TagReturn(wiring.Component):
    """Free a tag when its client has returned it, and its quarantine is over if it had one.

    A tag that did not time out is free when its client returns it. One that did is free when the
    scoreboard says so (``expired``), which it does only when ``returned`` tells that the client has
    returned it, too. So each is freed exactly once (rule S6).

    Latency is 2 clocks from ``release`` to ``put``; throughput is 1 tag per clock.

    Parameters
    ----------
    depth : :class:`int`
        Number of values of a tag.

    Members
    -------
    ended : ``In(ended_tag(depth))``
        Requests that ended; each before its tag is returned.
    release : ``In(stream.Signature(...)).array(CLIENTS)``
        ``tag`` that the client is done with.
    expired : ``In(expired_tag(depth))``
        Tags whose quarantine is over.
    returned : ``In(returned_ask(depth))``
    put : ``Out(stream.Signature(free_tag(depth), always_ready=True))``
        Tags that are free, with the lap that comes next.
    clear : ``In(1)``, ``clear_tag`` : ``In(range(depth))``
        See :class:`TagAllocator`.
    """

    def __init__(self, *, depth):
        self.depth = depth
        tag = data.StructLayout({"tag": range(depth)})
        super().__init__({
            "ended":     In(ended_tag(depth)),
            "release":   In(stream.Signature(tag)).array(CLIENTS),
            "expired":   In(expired_tag(depth)),
            "returned":  In(returned_ask(depth)),
            "put":       Out(stream.Signature(free_tag(depth), always_ready=True)),
            "clear":     In(1),
            "clear_tag": In(range(depth)),
        })

    def elaborate(self, platform):
        m = Module()
        shape = data.StructLayout({"tag": range(self.depth), "lap": 1, "expired": 1})
        m.submodules.arbiter = arbiter = StreamArbiter(shape, ports=CLIENTS + 1)
        for outer, inner in zip(self.release, arbiter.i[:CLIENTS], strict=True):
            m.d.comb += [
                inner.valid.eq(outer.valid),
                inner.p.tag.eq(outer.p.tag),
                outer.ready.eq(inner.ready),
            ]
        m.submodules.expired = expired = StreamQueue(free_tag(self.depth), depth=2)
        m.d.comb += [
            expired.i.valid.eq(self.expired.en),
            expired.i.p.tag.eq(self.expired.tag),
            expired.i.p.lap.eq(self.expired.lap),
            self.expired.room.eq(expired.i.ready),
            arbiter.i[CLIENTS].valid.eq(expired.o.valid),
            arbiter.i[CLIENTS].p.tag.eq(expired.o.p.tag),
            arbiter.i[CLIENTS].p.lap.eq(expired.o.p.lap),
            arbiter.i[CLIENTS].p.expired.eq(1),
            expired.o.ready.eq(arbiter.i[CLIENTS].ready),
            arbiter.o.ready.eq(1),
        ]

        # How each request ended: its lap, and whether its tag went into quarantine.
        end = data.StructLayout({"lap": 1, "quarantined": 1})
        m.submodules.ends = ends = Memory(shape=end, depth=self.depth, init=[],
                                          attrs={"ram_style": "distributed"})
        write, read = ends.write_port(), ends.read_port()
        m.d.comb += [
            write.en.eq(self.ended.en),
            write.addr.eq(self.ended.tag),
            write.data.lap.eq(self.ended.lap),
            write.data.quarantined.eq(self.ended.quarantined),
            read.addr.eq(arbiter.o.p.tag),
        ]
        valid, back = Signal(), Signal(shape)
        lap = Mux(back.expired, back.lap, read.data.lap)
        m.d.sync += [valid.eq(arbiter.o.valid), back.eq(arbiter.o.p)]
        m.d.sync += [
            self.put.valid.eq(valid & (back.expired | ~read.data.quarantined)),
            self.put.p.tag.eq(back.tag),
            self.put.p.lap.eq(~lap),
        ]

        # The lap of the last return. It differs from that of the present user until he returns the
        # tag, because it is written by every return.
        m.submodules.laps = laps = Memory(shape=1, depth=self.depth, init=[],
                                          attrs={"ram_style": "distributed"})
        note, look = laps.write_port(), laps.read_port()
        m.d.comb += [
            note.en.eq(self.clear | (valid & ~back.expired)),
            note.addr.eq(Mux(self.clear, self.clear_tag, back.tag)),
            note.data.eq(~self.clear & read.data.lap),
            look.addr.eq(self.returned.tag),
            self.returned.lap.eq(look.data),
        ]
        return m
