import random

import pytest
from amaranth import ClockDomain, Module
from amaranth.lib import wiring

from iovirt.vf.mailbox import Mailbox
from iovirt.vf.share_layouts import GuestCounter
from iovirt_sim.harness import simulate

ONES = 0xFFFFFFFF


def make_call(guest, owner, *, write=0, offset=0x14, data=0, be=0xF, core=0):
    return {"guest": guest, "owner": owner, "write": write, "be": be, "data": data, "legal": 1,
            "core": core, "address": guest << 13 | offset}


class Bench:
    """A mailbox whose ends are taken, and kept with their clocks."""

    def __init__(self, dut, *, timeout=0, gap=lambda: 0):
        self.dut, self.timeout, self.gap = dut, timeout, gap
        self.ends, self.events, self.clock = [], [], 0

    def run(self, *testbenches, deadline=20_000):
        simulate(self.dut, *testbenches, deadline=deadline,
                 background=[self._setup, self._end, self._watch])

    async def _setup(self, ctx):
        ctx.set(self.dut.mask, 0x1FFF)
        ctx.set(self.dut.timeout, self.timeout)

    async def _end(self, ctx):
        end = self.dut.end
        while True:
            for _ in range(self.gap()):
                await ctx.tick()
            ctx.set(end.ready, 1)
            payload, = await ctx.tick().sample(end.payload).until(end.valid)
            ctx.set(end.ready, 0)
            self.ends.append(payload)

    async def _watch(self, ctx):
        event = self.dut.event
        async for _, _, valid, colour in ctx.tick().sample(event.valid, event.colour):
            self.clock += 1
            if valid:
                self.events.append(colour)

    async def send(self, ctx, **call):
        ctx.set(self.dut.i.payload, make_call(**call))
        ctx.set(self.dut.i.valid, 1)
        await ctx.tick().until(self.dut.i.ready)
        ctx.set(self.dut.i.valid, 0)

    async def oldest(self, ctx):
        """Wait for an access and return it."""
        while True:
            found = ctx.get(self.dut.oldest)
            if found.valid:
                return found
            await ctx.tick()

    async def answer(self, ctx, data=0, ok=1):
        ctx.set(self.dut.answer.data, data)
        ctx.set(self.dut.answer.ok, ok)
        ctx.set(self.dut.answer.en, 1)
        await ctx.tick()
        ctx.set(self.dut.answer.en, 0)

    async def ended(self, ctx, count):
        """Wait for ``count`` ends."""
        while len(self.ends) < count:
            await ctx.tick()

    def outcomes(self):
        """Return (owner, ok, data, counted) of each end."""
        return [(end.owner, end.ok, end.data, end.counted) for end in self.ends]


@pytest.mark.parametrize("parameters, match", [
    ({"guests": 6}, r"Number of guests must be a power of two in 4\.\.256, not 6"),
    ({"guests": 8, "tick_log2": 0}, r"Tick must be an integer in 1\.\.20, not 0")])
def test_parameters_are_checked(parameters, match):
    with pytest.raises(ValueError, match=match):
        Mailbox(**parameters)


def test_manager_sees_the_access_and_its_answer_ends_it():
    bench = Bench(Mailbox(guests=8))

    async def testbench(ctx):
        await bench.send(ctx, guest=5, owner=0x123, write=1, offset=0x34, data=0xDEAD, be=3, core=2)
        seen = await bench.oldest(ctx)
        assert (seen.guest, seen.write, seen.offset, seen.data, seen.be, seen.expired) == (
            5, 1, 0x34, 0xDEAD, 3, 0)
        assert ctx.get(bench.dut.pending) == 1
        await bench.answer(ctx, 0x77)
        await bench.ended(ctx, 1)
        await ctx.tick().repeat(3)
        assert ctx.get(bench.dut.pending) == 0 and not ctx.get(bench.dut.oldest.valid)

    bench.run(testbench)
    assert bench.outcomes() == [(0x123, 1, 0x77, 1)] and bench.events == [5]
    end, = bench.ends
    assert (end.write, end.guest, end.core, end.counter, end.address) == (
        1, 5, 2, GuestCounter.MAILBOX, 5 << 13 | 0x34)


def test_second_access_of_a_guest_fails_at_once_and_others_have_their_own_place():
    bench = Bench(Mailbox(guests=4))

    async def testbench(ctx):
        for owner, guest in enumerate((1, 1, 2, 3, 2)):
            await bench.send(ctx, guest=guest, owner=owner)
        await bench.ended(ctx, 2)
        assert bench.outcomes() == [(1, 0, ONES, 0), (4, 0, ONES, 0)]
        for guest in (1, 2, 3):
            assert (await bench.oldest(ctx)).guest == guest
            await bench.answer(ctx, guest)
        await bench.ended(ctx, 5)
        await bench.send(ctx, guest=1, owner=9)
        await bench.oldest(ctx)
        await bench.answer(ctx, 5)
        await bench.ended(ctx, 6)

    bench.run(testbench)
    assert bench.outcomes()[2:] == [(0, 1, 1, 1), (2, 1, 2, 1), (3, 1, 3, 1), (9, 1, 5, 1)]
    assert bench.events == [1, 2, 3, 1]


def test_refused_access_is_answered_with_ones():
    bench = Bench(Mailbox(guests=4))

    async def testbench(ctx):
        await bench.send(ctx, guest=1, owner=7)
        await bench.oldest(ctx)
        await bench.answer(ctx, 0x1234, ok=0)
        await bench.ended(ctx, 1)

    bench.run(testbench)
    assert bench.outcomes() == [(7, 0, ONES, 1)]


def test_access_fails_when_its_time_is_over_and_the_manager_answers_it_in_vain():
    bench = Bench(Mailbox(guests=4, tick_log2=3), timeout=4)

    async def testbench(ctx):
        await bench.send(ctx, guest=1, owner=7, offset=0x10)
        start = bench.clock
        await bench.ended(ctx, 1)
        assert 32 <= bench.clock - start <= 48
        assert bench.outcomes() == [(7, 0, ONES, 1)]
        # What is answered now is not the access that came later.
        await bench.send(ctx, guest=2, owner=8, offset=0x20)
        await bench.send(ctx, guest=1, owner=9, offset=0x30)
        await ctx.tick().repeat(6)
        seen = await bench.oldest(ctx)
        assert (seen.guest, seen.offset, seen.expired) == (1, 0x10, 1)
        await bench.answer(ctx, 0xBAD)
        seen = await bench.oldest(ctx)
        assert (seen.guest, seen.offset, seen.expired) == (2, 0x20, 0)
        await bench.answer(ctx, 0x600D)
        await bench.ended(ctx, 3)

    bench.run(testbench)
    assert bench.outcomes()[1:] == [(9, 0, ONES, 0), (8, 1, 0x600D, 1)]


def test_without_a_limit_accesses_wait_for_ever():
    bench = Bench(Mailbox(guests=4, tick_log2=1), timeout=0)

    async def testbench(ctx):
        await bench.send(ctx, guest=1, owner=7)
        await ctx.tick().repeat(3000)
        assert not bench.ends
        await bench.answer(ctx, 1)
        await bench.ended(ctx, 1)

    bench.run(testbench)


@pytest.mark.parametrize("seed, guests, timeout, gap", [(1, 4, 0, 0), (2, 8, 3, 0), (3, 4, 5, 6),
                                                        (4, 32, 2, 2)])
def test_each_access_ends_once_with_its_own_answer(seed, guests, timeout, gap):
    rng = random.Random(seed)
    bench = Bench(Mailbox(guests=guests, tick_log2=3), timeout=timeout,
                  gap=lambda: rng.randint(0, gap))
    calls = [(rng.randrange(guests), rng.randrange(0, 0x2000, 4)) for _ in range(150)]
    told, late = {}, set()

    async def cores(ctx):
        for owner, (guest, offset) in enumerate(calls):
            await ctx.tick().repeat(rng.choice([0, 0, 1, 5, 20]) + 1)
            await bench.send(ctx, guest=guest, owner=owner, offset=offset, data=owner)
        await bench.ended(ctx, len(calls))
        await ctx.tick().repeat(200)

    async def manager(ctx):
        while len(bench.ends) < len(calls):
            seen = ctx.get(bench.dut.oldest)
            if not seen.valid:
                await ctx.tick()
                continue
            await ctx.tick().repeat(rng.choice([1, 3, 10, 60]))
            again = ctx.get(bench.dut.oldest)
            names = ("valid", "guest", "offset", "data", "write", "be")
            assert all(seen[name] == again[name] for name in names)
            if again.expired:
                late.add(seen.data)
            else:
                told[seen.data] = rng.getrandbits(32)
            assert calls[seen.data] == (seen.guest, seen.offset)
            await bench.answer(ctx, told.get(seen.data, 0xBAD))
            await ctx.tick().repeat(2)

    bench.run(cores, manager)
    assert sorted(end.owner for end in bench.ends) == list(range(len(calls)))
    for owner, ok, data, counted in bench.outcomes():
        assert calls[owner][0] == next(end.guest for end in bench.ends if end.owner == owner)
        if ok:
            assert data == told[owner] and counted
        else:
            assert data == ONES and (not counted or timeout)
    assert not late & {end.owner for end in bench.ends if end.ok}
    assert bool(late) == bool(timeout)
    waiting = {end.owner for end in bench.ends if end.counted}
    assert sorted(bench.events) == sorted(calls[owner][0] for owner in waiting)


class Resettable(wiring.Component):
    """A mailbox whose reset can be pulled."""

    def __init__(self, mailbox):
        self.mailbox, self.domain = mailbox, ClockDomain("sync")
        super().__init__(dict(mailbox.signature.members))

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = self.domain
        m.submodules.mailbox = self.mailbox
        wiring.connect(m, wiring.flipped(self), self.mailbox)
        return m


def test_reset_frees_all_places():
    dut = Resettable(Mailbox(guests=8))

    async def testbench(ctx):
        async def fill(first):
            ctx.set(dut.end.ready, 1)
            for guest in range(8):
                ctx.set(dut.i.payload, make_call(guest, first + guest))
                ctx.set(dut.i.valid, 1)
                await ctx.tick().until(dut.i.ready)
            ctx.set(dut.i.valid, 0)
            await ctx.tick().repeat(5)
            assert ctx.get(dut.pending) == 8 and not ctx.get(dut.end.valid)

        await fill(0)
        ctx.set(dut.domain.rst, 1)
        await ctx.tick()
        ctx.set(dut.domain.rst, 0)
        assert not ctx.get(dut.ready)
        await fill(8)

    simulate(dut, testbench)
