# amaranth: UnusedElaboratable=no

import random
from collections import Counter

import pytest

from iovirt.pcie.error_log import ErrorLog
from iovirt.pcie.layouts import ErrorCause
from iovirt_sim.harness import simulate
from iovirt_sim.streams import send

CAUSES = [cause for cause in ErrorCause if cause is not ErrorCause.NONE]


def record(cause, rid=0):
    return {"cause": cause, "segment": 3, "rid": rid, "address": 0x1000 + rid}


def test_wrong_ports():
    with pytest.raises(ValueError, match=r"^Number of ports must be at least 1, not 0$"):
        ErrorLog(ports=0)


@pytest.mark.parametrize("ports", [1, 2, 3, 5])
def test_every_record_is_counted_once_under_its_cause(ports):
    rng  = random.Random(ports)
    sent = [[record(rng.choice(CAUSES), n) for n in range(30)] for _ in range(ports)]
    dut  = ErrorLog(ports=ports)
    seen = Counter()

    def source(port):
        gap = (lambda: 0) if port == 0 else lambda: rng.choice([0, 0, 2])

        async def testbench(ctx):
            await send(ctx, dut.record[port], sent[port], gap=gap)
            await ctx.tick().repeat(3)
        return testbench

    async def counter(ctx):
        async for _, _, valid, cause in ctx.tick().sample(dut.count_valid, dut.count):
            seen[cause] += valid

    simulate(dut, *map(source, range(ports)), background=[counter], deadline=500)
    seen.pop(ErrorCause.NONE, None)
    assert +seen == Counter(each["cause"] for records in sent for each in records)


def test_two_records_of_the_same_clock_both_count():
    dut, seen = ErrorLog(ports=2), []

    def source(port):
        async def testbench(ctx):
            await send(ctx, dut.record[port], [record(CAUSES[port])])
        return testbench

    async def counter(ctx):
        for _ in range(5):
            _, _, valid, cause = await ctx.tick().sample(dut.count_valid, dut.count)
            seen.extend([cause] * valid)

    simulate(dut, source(0), source(1), counter)
    assert seen == CAUSES[:2]


def test_first_record_is_held_until_cleared():
    dut = ErrorLog(ports=1)

    async def testbench(ctx):
        await send(ctx, dut.record[0], [record(ErrorCause.MALFORMED, n) for n in (7, 8)])
        await ctx.tick().repeat(3)
        assert (ctx.get(dut.first.rid), ctx.get(dut.more)) == (7, 1)
        ctx.set(dut.clear, 1)
        await ctx.tick()
        ctx.set(dut.clear, 0)
        assert (ctx.get(dut.first.cause), ctx.get(dut.more)) == (ErrorCause.NONE, 0)
        await send(ctx, dut.record[0], [record(ErrorCause.NULLIFIED, 9)])
        await ctx.tick().repeat(3)
        assert (ctx.get(dut.first.rid), ctx.get(dut.more)) == (9, 0)

    simulate(dut, testbench)


def test_record_that_meets_the_clearing_is_kept():
    dut = ErrorLog(ports=1)

    async def testbench(ctx):
        await send(ctx, dut.record[0], [record(ErrorCause.MALFORMED, n) for n in (1, 2)])
        ctx.set(dut.clear, 1)
        await ctx.tick()
        ctx.set(dut.clear, 0)
        assert (ctx.get(dut.first.rid), ctx.get(dut.more)) == (2, 0)

    simulate(dut, testbench)
