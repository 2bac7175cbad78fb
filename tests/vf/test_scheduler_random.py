# amaranth: UnusedElaboratable=no

import random

import pytest

from iovirt_sim.harness import simulate
from iovirt_sim.streams import send

from .scheduler_bench import FREEZE, RUN, SchedulerBench, make


@pytest.mark.parametrize("guests, seed", [(4, 1), (8, 2), (16, 3)])
def test_random_guests_get_all_they_ask_for_within_their_limits_under_back_pressure(guests, seed):
    rng = random.Random(seed)
    users = sorted(rng.sample(range(1, guests), 3))
    pairs = {guest: rng.choice([1, 2, 5]) for guest in users}
    bench = SchedulerBench(make(guests), pairs=pairs, seed=seed, stalls=0.4, depth=6, lag=2,
                           service=lambda guest: rng.choice([1, 3, 12]),
                           size=lambda guest: rng.choice([0, 300, 4096, 70_000]),
                           settings={"most": 11, "burst": rng.choice([0, 3]), "byte_shift": 12,
                                     "quantum": 30})
    asked = dict.fromkeys(users, 0)

    async def testbench(ctx):
        for guest in users:
            await bench.budget(ctx, guest, weight=rng.randint(1, 9), limit=rng.choice([0, 2, 5]),
                               commands=rng.choice([(0, 0), (30, 50)]),
                               size=rng.choice([(0, 0), (3000, 4000)]))
        for _ in range(25):
            guest = rng.choice(users)
            count = rng.randint(1, 4)
            bench.submit(guest, count, pair=rng.randrange(pairs[guest]))
            asked[guest] += count
            if rng.random() < 0.2:
                bench.set_state(guest, FREEZE)
                await ctx.tick().repeat(rng.randint(1, 20))
                bench.set_state(guest, RUN)
            await ctx.tick().repeat(rng.choice([1, 5, 30]))
        while bench.done != asked or ctx.get(bench.dut.in_flight):
            await ctx.tick()
        await ctx.tick().repeat(40)
        for guest in users:
            assert await bench.access(ctx, guest, 2) == (1 << 15, 0)
        await ctx.tick().repeat(40)
        assert bench.counted == {(guest, counter): amount for guest in users for counter, amount in
                                 enumerate((asked[guest], bench.moved[guest] // 512, asked[guest]))
                                 if amount}
        assert bench.rung == [(guest % 4, pair, 7) for _, guest, pair, _ in bench.log]

    simulate(bench.dut, testbench, background=bench.background(), deadline=15_000)


def test_charges_and_completions_are_taken_in_bounded_time():
    bench = SchedulerBench(make(), pairs={1: 1})
    longest = 0

    def drive(name, payload):
        async def testbench(ctx):
            nonlocal longest
            port, rng = getattr(bench.dut, name), random.Random(name)
            for _ in range(60):
                start = bench.clock
                await send(ctx, port, [payload(rng.randrange(4))])
                longest = max(longest, bench.clock - start)
        return testbench

    simulate(bench.dut, drive("charge", lambda colour: {"colour": colour, "bytes": 4096}),
             drive("completed", lambda colour: {"colour": colour, "count": 0}),
             background=bench.background())
    assert longest <= 40


@pytest.mark.parametrize("defence", ["fair", "buckets", "freeze", "state"])
def test_each_defence_can_be_switched_off(defence):
    for switched_off in (0, 1):
        bench = SchedulerBench(make(weak=True), pairs={1: 1, 2: 1}, service=lambda guest: 3)
        granted = {}

        async def testbench(ctx, off=switched_off, bench=bench, granted=granted):
            ctx.set(bench.dut.weaken, {defence: off})
            await bench.budget(ctx, 1, commands=(1, 1) if defence == "buckets" else (0, 0))
            await bench.budget(ctx, 2)
            bench.state[1] = {"freeze": 2, "state": 4}.get(defence, 1)
            bench.submit(1, 500)
            bench.submit(2, 500)
            await ctx.tick().repeat(250)
            granted.update(bench.granted)

        simulate(bench.dut, testbench, background=bench.background())
        served = granted.get(2 if defence == "fair" else 1, 0) > 10
        assert served == (switched_off if defence != "fair" else not switched_off)
