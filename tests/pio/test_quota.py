# amaranth: UnusedElaboratable=no

import random
from collections import defaultdict

import pytest

from iovirt.pio.admission import Admission
from iovirt.pio.quota import Quota
from iovirt_sim.harness import simulate

from .requester_bench import read


@pytest.mark.parametrize("change, message", [
    ({"cores": 3}, "Number of cores must be a power of two of at least 2, not 3"),
    ({"guests": 1}, "Number of guests must be a power of two of at least 2, not 1"),
    ({"depth": 2}, "Depth must be an integer of at least 4, not 2"),
])
def test_wrong_parameters(change, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        Admission(**{"owner_width": 4, "max_read_bytes": 64, "cores": 2, "guests": 2, "tags": 32,
                     "depth": 8, **change})


@pytest.mark.parametrize("limit", [0, 1, 3, 40])
def test_room_is_never_granted_above_the_limit_and_always_comes(limit):
    rng = random.Random(limit)
    dut = Quota(entries=4, width=11)
    have, refused, granted = [0] * 4, 0, 0

    async def testbench(ctx):
        nonlocal refused, granted
        ctx.set(dut.limit, limit)
        while not ctx.get(dut.ready):
            await ctx.tick()
        ctx.set(dut.ask.en, 1)
        index, quiet = 0, 9
        for _ in range(1500):
            asked, index = index, rng.randrange(4)
            ctx.set(dut.ask.index, index)
            room = ctx.get(dut.room)
            assert not room or have[asked] < max(limit, 1)
            # Nothing was freed for a while, so nothing is unseen.
            assert room or quiet < 4 or have[asked] >= max(limit, 1)
            step = room and rng.random() < 0.8
            ctx.set(dut.ask.step, step)
            have[asked] += step
            granted, refused = granted + step, refused + (not room)
            holders = [n for n in range(4) if have[n] > (step and n == asked)]
            frees = bool(holders) and rng.random() < 0.3
            freed = rng.choice(holders) if frees else 0
            ctx.set(dut.freed_en, frees)
            ctx.set(dut.freed, freed)
            have[freed] -= frees
            quiet = 0 if frees else quiet + 1
            await ctx.tick()

    simulate(dut, testbench)
    assert granted > 100 and refused


@pytest.mark.parametrize("cores, guests", [(4, 4), (4, 256)])
def test_requests_of_a_core_to_a_guest_keep_their_order_under_pressure(cores, guests):
    rng = random.Random(4)
    dut = Admission(owner_width=8, max_read_bytes=64, cores=cores, guests=guests, tags=32, depth=8)
    out, order, count = [], defaultdict(list), 200
    some = [rng.randrange(guests) for _ in range(3)]
    pairs = [(rng.choice([some[0], *some]), rng.randrange(4)) for _ in range(count)]

    async def producer(ctx):
        ctx.set(dut.guest_limit, 2)
        ctx.set(dut.core_limit, 3)
        for n, (guest, core) in enumerate(pairs):
            ctx.set(dut.i.payload, read(4 * n, 4, owner=n, guest=guest, core=core))
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
            ctx.set(dut.i.valid, 0)
            await ctx.tick().repeat(rng.choice([1, 1, 2]))

    async def consumer(ctx):
        for _ in range(count):
            ctx.set(dut.o.ready, 1)
            payload, = await ctx.tick().sample(dut.o.payload).until(dut.o.valid)
            ctx.set(dut.o.ready, 0)
            out.append((payload.guest, payload.core))
            order[payload.guest, payload.core].append(payload.owner)
            for index, limit in ((0, 2), (1, 3)):
                values = [item[index] for item in out]
                assert all(values.count(value) <= limit for value in values)
            await ctx.tick().repeat(rng.choice([1, 3]))

    async def device(ctx):
        while True:
            frees = bool(out) and rng.random() < 0.3
            guest, core = out.pop(rng.randrange(len(out))) if frees else (0, 0)
            ctx.set(dut.freed_en, frees)
            ctx.set(dut.freed_guest, guest)
            ctx.set(dut.freed_core, core)
            await ctx.tick()

    simulate(dut, producer, consumer, background=[device])
    assert order == {pair: [n for n in range(count) if pairs[n] == pair] for pair in pairs}


def test_core_over_its_limit_does_not_hold_other_cores_of_its_guest():
    dut = Admission(owner_width=8, max_read_bytes=64, cores=4, guests=4, tags=32, depth=8)
    went = []

    async def producer(ctx):
        ctx.set(dut.guest_limit, 30)
        ctx.set(dut.core_limit, 2)
        ctx.set(dut.i.valid, 1)
        for n, core in enumerate((1, 1, 1, 1, 2, 3, 2)):
            ctx.set(dut.i.payload, read(4 * n, 4, owner=n, core=core))
            await ctx.tick().until(dut.i.ready)
        ctx.set(dut.i.valid, 0)
        await ctx.tick().repeat(20)
        assert went == [0, 1, 4, 5, 6]

    async def consumer(ctx):
        ctx.set(dut.o.ready, 1)
        async for _, _, valid, owner in ctx.tick().sample(dut.o.valid, dut.o.p.owner):
            if valid:
                went.append(owner)

    simulate(dut, producer, background=[consumer])


def test_guest_over_quota_halves_the_rate_of_others_at_most():
    dut = Admission(owner_width=8, max_read_bytes=64, cores=4, guests=4, tags=32, depth=8)
    times = []

    async def producer(ctx):
        ctx.set(dut.guest_limit, 20)
        ctx.set(dut.core_limit, 20)
        ctx.set(dut.i.valid, 1)
        for n in range(40):
            # Guest 0 spends its quota, and then three more of its requests wait.
            guest = 0 if n < 23 else 1
            ctx.set(dut.i.payload, read(4 * n, 4, owner=n, guest=guest, core=guest))
            await ctx.tick().until(dut.i.ready)
        ctx.set(dut.i.valid, 0)

    async def consumer(ctx):
        ctx.set(dut.o.ready, 1)
        for clock in range(120):
            _, _, valid, guest = await ctx.tick().sample(dut.o.valid, dut.o.p.guest)
            if valid and guest == 1:
                times.append(clock)

    simulate(dut, producer, consumer)
    assert len(times) == 17 and times[-1] - times[0] <= 2 * 16 + 1
