# amaranth: UnusedElaboratable=no

from collections import Counter

import pytest

from .scheduler_bench import SchedulerBench, make, run_long

BLOCK = 4096


def shares(bench, since):
    """Return what guests were granted since a clock, in whole rounds, which guest 1 begins."""
    turns = []
    for clock, guest, _, count in bench.log:
        if clock >= since and count:
            if not turns or turns[-1][0] != guest:
                turns.append([guest, 0])
            turns[-1][1] += count
    starts = [n for n, (guest, _) in enumerate(turns) if n and guest == 1]
    assert len(starts) > 2
    total = Counter()
    for guest, count in turns[starts[0]:starts[-1]]:
        total[guest] += count
    return total


def jain(values):
    return sum(values) ** 2 / (len(values) * sum(value * value for value in values))


def backlogged(bench, weights, clocks, **budget):
    async def testbench(ctx):
        for guest, weight in weights.items():
            await bench.budget(ctx, guest, weight=weight, **budget)
        for guest in weights:
            bench.submit(guest, 100_000)
        await ctx.tick().repeat(clocks)

    run_long(bench, testbench)


@pytest.mark.parametrize("most, burst", [(6, 8), (64, 8), (512, 3)])
def test_weights_are_honoured_within_2_percent(most, burst):
    weights = {1: 1, 2: 2, 3: 4, 6: 5}
    bench = SchedulerBench(make(), pairs=dict.fromkeys(weights, 1), service=lambda guest: 3,
                           settings={"most": most, "burst": burst, "quantum": 4})
    backlogged(bench, weights, 1700)
    got = shares(bench, 300)
    for guest, weight in weights.items():
        assert abs(got[guest] * 12 / (sum(got.values()) * weight) - 1) < 0.02


def test_guests_of_equal_weight_have_equal_shares():
    guests = range(1, 8)
    bench = SchedulerBench(make(), pairs=dict.fromkeys(guests, 1), service=lambda guest: 3,
                           settings={"quantum": 3})
    backlogged(bench, dict.fromkeys(guests, 2), 1700)
    got = shares(bench, 500)
    assert len(got) == 7 and jain(list(got.values())) > 0.999


def test_bytes_are_shared_by_weight_also_with_commands_of_unequal_size():
    weights, sizes = {1: 1, 2: 1, 4: 3}, {1: 16, 2: 1, 4: 4}
    bench = SchedulerBench(make(), pairs=dict.fromkeys(weights, 1),
                           service=lambda guest: 1 + sizes[guest],
                           size=lambda guest: BLOCK * sizes[guest],
                           settings={"quantum": 16, "most": 8, "byte_shift": 12})
    backlogged(bench, weights, 2200)
    # Nobody is further ahead than by a turn and what all have in flight, however long it takes.
    got = [bench.granted[guest] * (1 + sizes[guest]) / weight for guest, weight in weights.items()]
    assert min(got) > 100 and max(got) - min(got) < 16 + 8 * 17


def test_guest_in_debt_loses_turns_and_others_do_not():
    sizes = {1: 0, 2: 256 * BLOCK}
    bench = SchedulerBench(make(), pairs={1: 1, 2: 1}, service=lambda guest: 2,
                           size=lambda guest: sizes[guest],
                           settings={"quantum": 8, "most": 32, "byte_shift": 12})
    backlogged(bench, {1: 1, 2: 1}, 1200)
    # 8 commands of the first turn cost 8 * 257; guest 1 has turns all the time.
    assert bench.granted[2] == 8 and bench.granted[1] > 160


@pytest.mark.parametrize("pairs", [1, 30])
def test_guest_with_nothing_to_do_takes_no_share(pairs):
    bench = SchedulerBench(make(), pairs={1: 1, 2: pairs, 3: 1}, service=lambda guest: 6)

    async def testbench(ctx):
        for guest in (1, 2, 3):
            await bench.budget(ctx, guest)
        bench.submit(1, 10_000)
        bench.submit(3, 10_000)
        await ctx.tick().repeat(300)
        before, since = sum(bench.granted.values()), bench.clock
        # Wakes without anything to grant.
        while bench.clock < since + 900:
            bench.submit(2, 0)
            await ctx.tick().repeat(300)
        assert sum(bench.granted.values()) - before > 900 / 7 * 0.97
        assert abs(bench.granted[1] - bench.granted[3]) <= 16

    run_long(bench, testbench)


def test_command_rate_is_kept_and_its_burst():
    bench = SchedulerBench(make(), pairs={1: 1, 2: 1}, service=lambda guest: 2)

    async def testbench(ctx):
        await bench.budget(ctx, 1, commands=(5, 12))
        await bench.budget(ctx, 2)
        await ctx.tick().repeat(3 * 512)
        bench.submit(1, 1000)
        bench.submit(2, 100)
        start = bench.granted[1]
        await ctx.tick().repeat(400)
        first = bench.granted[1] - start
        await ctx.tick().repeat(2 * 512)
        assert 12 <= first <= 17 and bench.granted[1] - start - first == 10
        assert bench.done[2] == 100

    run_long(bench, testbench)


def test_guest_that_owes_bytes_waits_until_it_has_paid():
    bench = SchedulerBench(make(), pairs={1: 1}, service=lambda guest: 2,
                           size=lambda guest: 8 * 512, settings={"most": 4})

    async def testbench(ctx):
        await bench.budget(ctx, 1, size=(20, 40))
        bench.submit(1, 1000)
        await ctx.tick().repeat(1024)
        before = bench.moved[1]
        await ctx.tick().repeat(4 * 512)
        # What is in flight when the account is exhausted is paid later: 4 commands at most.
        assert abs((bench.moved[1] - before) / 512 - 4 * 20) <= 4 * 8 + 20
        assert bench.counted[1, 1] == bench.moved[1] / 512

    run_long(bench, testbench)


def test_bytes_that_make_no_unit_are_kept_for_the_next_one():
    bench = SchedulerBench(make(), pairs={1: 1}, service=lambda guest: 2, size=lambda guest: 300)

    async def testbench(ctx):
        await bench.budget(ctx, 1)
        bench.submit(1, 50)
        await ctx.tick().repeat(900)
        assert bench.done[1] == 50 and bench.counted[1, 1] == 50 * 300 // 512

    run_long(bench, testbench)
