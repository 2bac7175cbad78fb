"""Entries that are rewritten while something made from the old ones is under way."""

import random

import pytest

from iovirt.irq.layouts import VerdictKind

from .front_bench import Bench


@pytest.mark.parametrize("pause", [1, 30])
def test_an_event_that_finds_its_record_unread_in_the_old_queue_goes_to_the_new_one(pause):
    bench = Bench(random.Random(1), latency=(60, 60))
    bench.queues[0].drain = bench.queues[1].drain = 0

    async def testbench(ctx):
        await bench.write_entry(ctx, 3, merge=1, queue=0)
        await bench.msi(ctx, 3)
        await ctx.tick().repeat(100)
        await bench.msi(ctx, 3)
        await ctx.tick().repeat(pause)
        await bench.write_entry(ctx, 3, merge=1, queue=1)
        assert bench.verdicts[VerdictKind.UNREAD] == 1
        # Nobody ever reads the old queue. The new one is empty, so there is no need to.
        await bench.settle(ctx, 200)
        await bench.msi(ctx, 3)
        await ctx.tick().repeat(200)
        assert bench.given[3] == 2
        bench.queues[1].drain = 1
        await bench.settle(ctx, 400)

    bench.run(testbench)
    assert [(count, queue) for count, _, queue, _ in bench.records[3]] == [(1, 0), (1, 1), (1, 1)]
