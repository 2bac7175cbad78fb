import pytest
from amaranth import *
from amaranth.hdl import Assert, Assume

from iovirt.vf.pair_counts import PairCounts
from iovirt.vf.pair_fetch import PairFetch
from iovirt.vf.pair_layouts import Looked, PairClient
from iovirt.vf.pair_place import PairPlace
from iovirt_sim.harness import check_bounded


def distance(one, other, depth):
    """Return how far ``one`` is ahead of ``other`` in a ring of few entries."""
    return Mux(one >= other, one - other, one + depth - other)[:3]


class OwnerSpec(Elaboratable):
    """Nothing may be done to a pair of another guest, or that is broken."""

    def __init__(self):
        self.looked = Signal(Looked)
        self.free   = [self.looked.as_value()]

    def elaborate(self, platform):
        m = Module()
        m.submodules.place = place = PairPlace()
        m.d.comb += [place.i_valid.eq(1), place.i.eq(self.looked)]
        o, entry = place.o, place.o.entry
        foreign = (o.colour != entry.owner) & (o.client != PairClient.GRANT)
        with m.If(place.o_valid & (foreign | o.bad | o.missing | ~entry.valid)):
            m.d.comb += Assert(~o.ok)
        return m


class FetchSpec(Elaboratable):
    """A read, in any state that keeps the rules, leaves a state that keeps them.

    Nothing is given twice, or before it is granted. A new pair keeps the rules, so it always does.
    """

    def __init__(self, *, depth):
        self.depth = depth
        self.first, self.granted, self.start, self.count = (
            Signal(3, name=name) for name in ("first", "granted", "start", "count"))
        self.fetched, self.ok, self.part = Signal(depth), Signal(), Signal()
        self.free = [self.first, self.granted, self.start, self.count, self.fetched, self.ok,
                     self.part]

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = PairFetch()
        clock, kept = Signal(4), []
        m.d.sync += clock.eq(clock + 1)
        for free in self.free:
            kept.append(Signal.like(free))
            with m.If(clock == 0):
                m.d.sync += kept[-1].eq(free)
        first, granted, start, count, fetched, ok, part = kept
        window = distance(granted, first, self.depth)
        m.d.comb += [
            Assume((clock == 0) | ((first < self.depth) & (granted < self.depth) & ~fetched[0]
                                   & ((fetched >> window) == 0))),
            Assume((clock == 0) | (start + count <= self.depth) & (start < self.depth)),
            dut.i.client.eq(PairClient.RING),
            dut.i.ok.eq(ok),
            dut.i.entry.once.eq(1),
            dut.i.entry.depth.eq(self.depth),
            dut.i.state.first.eq(first),
            dut.i.state.fetched.eq(fetched),
            dut.i.unfetched.eq(window),
            dut.i.place.eq(distance(start, first, self.depth)),
            dut.i.behind.eq(start - first),
            dut.i.whole.eq(count),
            dut.i.part.eq(part),
        ]
        allow = [dut.allow, Signal.like(dut.allow), Signal.like(dut.allow)]
        m.d.sync += [allow[1].eq(allow[0]), allow[2].eq(allow[1])]
        with m.If(clock == 8):
            left = distance(granted, dut.first, self.depth)
            m.d.comb += [
                Assert(dut.first < self.depth),
                Assert(left <= window),
                Assert(~dut.fetched[0] & ((dut.fetched >> left) == 0)),
                Assert(ok | (allow[2] == 0)),
                Assert(~(part & allow[2][0])),
                Assert((allow[2] >> count) == 0),
            ]
            for n in range(self.depth):
                before = distance((start + n)[:3], first, self.depth)
                after  = distance((start + n)[:3], dut.first, self.depth)
                with m.If(allow[2][n]):
                    m.d.comb += [
                        Assert((before < window) & ~fetched.bit_select(before, 1)),
                        Assert((after >= left) | dut.fetched.bit_select(after, 1)),
                    ]
        return m


class CountSpec(Elaboratable):
    """A doorbell, grant or completion, in any state that keeps the rules, leaves one that does.

    Granted never passes requested, and commands in flight and unread completions fit their ring. A
    new pair keeps the rules, so it always does.
    """

    def __init__(self, *, depth, cq_depth):
        self.depth, self.cq_depth = depth, cq_depth
        names = ("requested", "granted", "first", "head", "next", "in_flight", "unread", "value",
                 "batch", "limit", "client", "side", "write", "ok", "empty", "ends")
        flags = ("side", "write", "ok", "empty", "ends")
        self.parts = {name: Signal(1 if name in flags else 2 if name == "client" else 3, name=name)
                      for name in names}
        self.free  = list(self.parts.values())

    def _keeps(self, state):
        granted   = distance(state.granted[:3], state.first[:3], self.depth)
        requested = distance(state.requested[:3], state.first[:3], self.depth)
        used      = (state.in_flight + state.unread)[:4]
        return (Cat(index < self.depth for index in
                    (state.requested, state.granted, state.first)).all()
                & (state.head < self.cq_depth) & (state.next < self.cq_depth)
                & (granted <= requested) & (state.in_flight < self.depth) & (used < self.cq_depth)
                & (distance(state.next[:3], state.head[:3], self.cq_depth) == state.unread))

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = PairCounts()
        clock, kept = Signal(4), {}
        m.d.sync += clock.eq(clock + 1)
        for name, free in self.parts.items():
            kept[name] = Signal.like(free, name=f"kept_{name}")
            with m.If(clock == 0):
                m.d.sync += kept[name].eq(free)
        i, state, client = dut.i, dut.i.state, kept["client"]
        m.d.comb += [getattr(state, name).eq(kept[name]) for name in
                     ("requested", "granted", "first", "head", "next", "in_flight", "unread")]
        m.d.comb += [getattr(i, name).eq(kept[name]) for name in
                     ("value", "batch", "side", "write", "ok", "empty", "ends")]
        value, size = kept["value"], Mux(kept["side"], self.cq_depth, self.depth)
        base   = Mux(kept["side"], kept["head"], kept["first"])
        spaces = [depth - 1 - kept["in_flight"] - unread for depth, unread in
                  ((self.depth, 0), (self.cq_depth, kept["unread"]))]
        m.d.comb += [
            dut.i_valid.eq(clock == 1),
            i.client.eq(client),
            i.entry.valid.eq(1),
            i.entry.paired.eq(1),
            i.entry.depth.eq(self.depth),
            i.entry.cq_depth.eq(self.cq_depth),
            i.place.eq(distance(value, base, size)),
            i.asked.eq(distance(kept["requested"],
                                Mux(client == PairClient.GRANT.value, kept["granted"],
                                    kept["first"]), self.depth)),
            i.unfetched.eq(distance(kept["granted"], kept["first"], self.depth)),
            i.room.eq(Mux(spaces[0] < spaces[1], spaces[0], spaces[1])),
            # Completions `value` up to `limit` end.
            i.ahead.eq(kept["next"] >= value),
            i.skipped.eq(kept["next"] != value),
            i.written.eq(kept["limit"] - kept["next"]),
            Assume((clock == 0) | self._keeps(state)),
            Assume((clock == 0) | ~kept["ok"] | (value < size)),
            Assume((clock == 0) | (kept["limit"] <= self.cq_depth)),
        ]
        o, ready = dut.o, clock == 8
        with m.If(ready):
            m.d.comb += [Assert(o.write | ~kept["ok"]), Assert(self._keeps(o.state))]
        with m.If(ready & ~kept["ok"] & (client != PairClient.WINDOW.value)):
            m.d.comb += Assert(~(o.write | o.ok | o.wake | o.ring | o.odd | o.more)
                               & (o.granted == 0) & (o.completed == 0) & (o.value == 0))
        return m


@pytest.mark.formal
def test_nothing_is_permitted_to_others():
    spec = OwnerSpec()
    check_bounded(spec, free=spec.free, depth=5)


@pytest.mark.formal
def test_an_entry_is_given_once_between_its_grants():
    spec = FetchSpec(depth=3)
    check_bounded(spec, free=spec.free, depth=9)


@pytest.mark.formal
@pytest.mark.parametrize("depth, cq_depth", [(5, 4), (4, 6)])
def test_counts_keep_the_rules(depth, cq_depth):
    spec = CountSpec(depth=depth, cq_depth=cq_depth)
    check_bounded(spec, free=spec.free, depth=9)
