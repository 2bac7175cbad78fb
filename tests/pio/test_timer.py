# amaranth: UnusedElaboratable=no

import pytest

from iovirt.pio.timer import PERIOD_TICKS, PERIODS, SHORTEST_US, TimeoutClock
from iovirt_sim.harness import simulate

#: Ranges of Device Control 2 in microseconds (PCIe Base, 7.5.3.16).
RANGES = {0: (50, 50e3), 1: (50, 100), 2: (1e3, 10e3), 5: (16e3, 55e3), 6: (65e3, 210e3),
          9: (260e3, 900e3), 10: (1e6, 3.5e6), 13: (4e6, 13e6), 14: (17e6, 64e6)}


@pytest.mark.parametrize("clock", [0, 1.5, "125"])
def test_wrong_clock(clock):
    with pytest.raises(ValueError, match=f"^Clock frequency must be an integer of at least 1 MHz, "
                                         f"not {clock!r}$"):
        TimeoutClock(clock_mhz=clock)


def test_each_period_lies_in_its_range_a_tick_later_too():
    assert PERIODS.keys() == RANGES.keys()
    for code, (low, high) in RANGES.items():
        period = SHORTEST_US << PERIODS[code]
        assert low <= period and period * (PERIOD_TICKS + 1) / PERIOD_TICKS <= high


@pytest.mark.parametrize("code, ticks", [(1, 1), (2, 64), (0, 256), (3, 256), (15, 256)])
def test_time_advances_at_the_rate_of_the_range(code, ticks):
    dut = TimeoutClock(clock_mhz=1)  # a tick of the shortest period is 4 clocks

    async def testbench(ctx):
        ctx.set(dut.code, code)
        ctx.set(dut.unused, 1)
        await ctx.tick().repeat(8)
        changes, clock = [], 0
        previous = ctx.get(dut.now)
        while len(changes) < 3:
            await ctx.tick()
            clock += 1
            if ctx.get(dut.now) != previous:
                assert ctx.get(dut.now) == (previous + 1) % 256
                changes.append(clock)
                previous = ctx.get(dut.now)
        assert changes[2] - changes[1] == changes[1] - changes[0] == 4 * ticks

    simulate(dut, testbench)


def test_range_changes_under_hold_and_only_while_no_time_is_kept():
    dut = TimeoutClock(clock_mhz=1)

    async def testbench(ctx):
        ctx.set(dut.code, 1)
        for _ in range(40):
            await ctx.tick()
            assert not ctx.get(dut.hold) and ctx.get(dut.now) == 0
        ctx.set(dut.unused, 1)
        held = [0]
        previous = ctx.get(dut.now)
        for _ in range(20):
            await ctx.tick()
            held.append(ctx.get(dut.hold))
            if ctx.get(dut.now) != previous:
                break
        # `hold` fell when the new time was there.
        assert sum(held) == 3 and held[-1] == 0 and ctx.get(dut.now) > 1

    simulate(dut, testbench)
