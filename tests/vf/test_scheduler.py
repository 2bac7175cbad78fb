# amaranth: UnusedElaboratable=no

from collections import Counter

import pytest

from iovirt_sim.harness import simulate

from .scheduler_bench import DRAIN, FREEZE, OFF, QUARANTINE, RUN, SchedulerBench, make, run_long

COMMANDS, BYTES, COMPLETED = range(3)


@pytest.mark.parametrize("change, message", [
    ({"guests": 3}, "Number of guests must be a power of two in 4..256, not 3"),
    ({"guests": 512}, "Number of guests must be a power of two in 4..256, not 512"),
    ({"tick_log2": 3}, "Log2 of clocks per unit of time must be an integer in 4..24 with 8 "
                       "guests, not 3"),
    ({"data_width": 16}, "Data width must be 32 or 64, not 16"),
    ({"address_width": 4}, "Address width must be an integer in 12..64, not 4"),
])
def test_wrong_parameters(change, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        make(**change)


def test_commands_are_granted_and_doorbells_and_statistics_tell_them():
    bench = SchedulerBench(make(), pairs={1: 2, 3: 1})

    async def testbench(ctx):
        await bench.budget(ctx, 1)
        await bench.budget(ctx, 3)
        bench.submit(1, 5)
        bench.submit(1, 11, pair=1)
        bench.submit(3, 2)
        await ctx.tick().repeat(900)
        assert bench.granted == bench.done == {1: 16, 3: 2}
        assert bench.counted == {(1, COMMANDS): 16, (1, COMPLETED): 16,
                                 (3, COMMANDS): 2, (3, COMPLETED): 2}
        expected = [(guest % 4, pair, 7) for _, guest, pair, _ in bench.log]
        assert bench.rung == expected and ctx.get(bench.dut.in_flight) == 0

    simulate(bench.dut, testbench, background=bench.background())


def test_pairs_of_a_guest_take_turns():
    bench = SchedulerBench(make(), pairs={1: 3}, settings={"burst": 2, "most": 4000},
                           service=lambda guest: 1000)

    async def testbench(ctx):
        await bench.budget(ctx, 1, weight=10)
        for pair in range(3):
            bench.backlog[pair] = 100
        bench.submit(1, 0)
        await ctx.tick().repeat(400)
        pairs = [pair for _, _, pair, count in bench.log if count == 2]
        assert len(pairs) > 12 and pairs == [n % 3 for n in range(pairs[0], pairs[0] + len(pairs))]

    run_long(bench, testbench)


def test_only_running_guests_are_granted_commands_and_a_kick_brings_them_back():
    bench = SchedulerBench(make(), pairs={1: 1, 2: 1}, service=lambda guest: 5)

    async def testbench(ctx):
        await bench.budget(ctx, 1)
        await bench.budget(ctx, 2)
        bench.submit(1, 1000)
        bench.submit(2, 1000)
        await ctx.tick().repeat(200)
        for state in (OFF, FREEZE, DRAIN, QUARANTINE):
            bench.set_state(1, state)
            await ctx.tick().repeat(50)
            before = Counter(bench.granted)
            await ctx.tick().repeat(150)
            assert bench.granted[1] == before[1] and bench.granted[2] > before[2] + 10
            bench.set_state(1, RUN)
            await ctx.tick().repeat(200)
            assert bench.granted[1] >= before[1] + 8

    run_long(bench, testbench)


def test_unknown_guests_and_foreign_colours_are_ignored():
    bench = SchedulerBench(make(guests=4), pairs={1: 1})

    async def testbench(ctx):
        await bench.budget(ctx, 1)
        await bench.budget(ctx, 2)
        bench.pulses["wake"].extend([0, 2, 3, 5, 255])
        bench.pulses["kick"].extend([5, 2])
        for name, payload in (("charge", {"colour": 5, "bytes": 1 << 20}),
                              ("completed", {"colour": 9, "count": 3})):
            port = getattr(bench.dut, name)
            ctx.set(port.payload, payload)
            ctx.set(port.valid, 1)
            await ctx.tick().until(port.ready)
            ctx.set(port.valid, 0)
        await ctx.tick().repeat(200)
        assert not any(bench.granted.values()) and not bench.counted
        bench.submit(1, 3)
        await ctx.tick().repeat(200)
        assert bench.granted == {1: 3}

    run_long(bench, testbench)


def test_guest_at_its_limit_goes_on_when_commands_complete():
    bench = SchedulerBench(make(), pairs={1: 1, 2: 1}, service=lambda guest: 15)
    bench.hung = {1}

    async def testbench(ctx):
        await bench.budget(ctx, 1, limit=5)
        await bench.budget(ctx, 2, limit=3)
        bench.submit(1, 12)
        bench.submit(2, 20)
        await ctx.tick().repeat(300)
        assert bench.granted[1] == bench.flying[1] == 5
        assert bench.done[2] > 10 and bench.total_seen <= 8
        bench.hung = set()
        await ctx.tick().repeat(600)
        assert bench.done == {1: 12, 2: 20}

    run_long(bench, testbench)


def test_weight_zero_is_never_served_until_it_changes():
    bench = SchedulerBench(make(), pairs={1: 1, 2: 1}, service=lambda guest: 5)

    async def testbench(ctx):
        await bench.budget(ctx, 2)
        bench.submit(1, 10)
        bench.submit(2, 10)
        await ctx.tick().repeat(400)
        assert bench.done == {2: 10}
        await bench.access(ctx, 1, 0, 1, strobe=1)
        await ctx.tick().repeat(400)
        assert bench.done == {1: 10, 2: 10}

    run_long(bench, testbench)


def test_commands_in_flight_of_all_guests_are_limited_and_a_hung_guest_can_be_cleared():
    bench = SchedulerBench(make(), pairs={1: 1, 2: 1, 3: 1}, settings={"most": 9},
                           service=lambda guest: 10)
    bench.hung = {1}

    async def testbench(ctx):
        for guest in (1, 2, 3):
            await bench.budget(ctx, guest)
        bench.submit(1, 100)
        await ctx.tick().repeat(200)
        assert +bench.flying == {1: 9}
        bench.submit(2, 10)
        bench.submit(3, 10)
        await ctx.tick().repeat(200)
        assert +bench.granted == {1: 9}
        bench.state[1] = FREEZE
        assert await bench.access(ctx, 1, 2) == (9, 0)
        assert await bench.access(ctx, 1, 2, 0) == (0, 0)
        bench.flying[1] = 0
        await ctx.tick().repeat(600)
        assert bench.done[2] == bench.done[3] == 10 and bench.granted[1] == 9
        assert await bench.access(ctx, 1, 2) == (1 << 15, 0)
        assert bench.total_seen == 9

    run_long(bench, testbench)


def test_nothing_is_granted_while_nobody_takes_doorbells_and_registers_still_answer():
    bench = SchedulerBench(make(), pairs={1: 1}, settings={"burst": 1, "most": 100})
    bench.hung = {1}

    async def testbench(ctx):
        await bench.budget(ctx, 1, weight=20)
        bench.submit(1, 100)
        await ctx.tick().repeat(400)
        assert bench.granted == {1: 4}
        assert await bench.access(ctx, 1, 2) == (4, 0)
        assert await bench.access(ctx, 2, 2, 0) == (0, 0)

    simulate(bench.dut, testbench, background=[
        bench.table, bench.engine, bench.judge, bench.statistics, bench.wakes, bench.time])


def test_commands_without_completions_are_paid_but_in_flight_for_nobody():
    bench = SchedulerBench(make(), pairs={1: 2, 2: 1}, service=lambda guest: 3, silent={1},
                           settings={"most": 8, "burst": 5})

    async def testbench(ctx):
        await bench.budget(ctx, 1, weight=2, limit=4)
        await bench.budget(ctx, 2)
        bench.submit(1, 10)
        bench.submit(1, 20, pair=1)
        bench.submit(2, 10)
        await ctx.tick().repeat(500)
        assert bench.granted == bench.done == {1: 30, 2: 10}
        assert bench.counted == {(1, COMMANDS): 30, (2, COMMANDS): 10, (2, COMPLETED): 10}
        assert await bench.access(ctx, 1, 2) == (1 << 15, 0)
        assert ctx.get(bench.dut.in_flight) == 0 and bench.total_seen <= 8

        # Nor do they come back to the bucket of commands.
        await bench.budget(ctx, 1, weight=2, commands=(9, 6))
        await ctx.tick().repeat(512)
        bench.submit(1, 60)
        await ctx.tick().repeat(500)
        assert 36 <= bench.granted[1] <= 45

    run_long(bench, testbench)


@pytest.mark.parametrize("data_width", [32, 64])
def test_budgets_are_written_by_bytes_and_read_back(data_width):
    bench = SchedulerBench(make(guests=4, data_width=data_width, address_width=12), pairs={1: 1})

    async def access(ctx, address, value=None):
        guest, word = divmod(address, 32)
        if data_width == 64:
            return await bench.access(ctx, guest, word // 8, value)
        halves = [await bench.access_at(ctx, address + 4 * half, None if value is None else
                                        value >> 32 * half & 0xffffffff, 15) for half in range(2)]
        return halves[0][0] | halves[1][0] << 32, halves[0][1] | halves[1][1]

    async def testbench(ctx):
        await access(ctx, 0x20, (1 << 64) - 1)
        await access(ctx, 0x28, 0x0123_4567_89ab_cdef)
        await access(ctx, 0x38, (1 << 64) - 1)
        assert await access(ctx, 0x20) == (0x1fff_00ff, 0)
        assert await access(ctx, 0x28) == (0x0123_4567_89ab_cdef, 0)
        assert await access(ctx, 0x30) == (0x8000, 0) and await access(ctx, 0x38) == (0, 0)
        assert await access(ctx, 0x40) == (0, 0) and await access(ctx, 0x00) == (0, 0)
        await bench.access_at(ctx, 0x28, 0xaa00, 2)
        assert await access(ctx, 0x28) == (0x0123_4567_89ab_aaef, 0)
        await bench.access_at(ctx, 0x28, 0xff, 0)
        assert await access(ctx, 0x28) == (0x0123_4567_89ab_aaef, 0)
        assert await access(ctx, 0x80) == (0, 1) and await access(ctx, 0x80, 5) == (0, 1)

    run_long(bench, testbench)
