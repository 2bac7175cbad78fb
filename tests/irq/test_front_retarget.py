"""Entries that are rewritten while something made from the old ones is under way."""

import random
from collections import deque

import pytest

from iovirt.irq.layouts import VerdictKind

from .front_bench import Bench


class SlowMemory(Bench):
    """The table port takes a write with probability ``rate``; it answers late, in order."""

    rate, delay = 1, 1

    async def memory(self, ctx):
        dut, due, taken = self.dut, deque(), 0
        async for _, _, valid, what in ctx.tick().sample(dut.request.valid, dut.request.p):
            if valid and taken:
                due.append((self.clock + self.delay, what))
            answer = due and due[0][0] <= self.clock
            if answer:
                self.forwards.append((self.clock, due.popleft()[1].address))
            ctx.set(dut.response.valid, bool(answer))
            taken = self.rng.random() < self.rate
            ctx.set(dut.request.ready, taken)


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


@pytest.mark.parametrize("fields", [{"valid": 0}, {"delivery": 2, "address": 0x200 >> 2}])
@pytest.mark.parametrize("delay, rate", [(1, 0), (100, 1)])
def test_no_forwarded_interrupt_leaves_for_the_old_address_after_the_entry_was_rewritten(
        fields, delay, rate):
    bench = SlowMemory(random.Random(1))
    bench.rate, bench.delay = rate, delay

    async def memory_comes_back(ctx):
        await ctx.tick().repeat(200)
        bench.rate = 1

    async def testbench(ctx):
        await bench.write_entry(ctx, 3, delivery=2, address=0x100 >> 2)
        for _ in range(10):
            await bench.msi(ctx, 3, counts=False)
        await ctx.tick().repeat(20)
        await bench.write_entry(ctx, 3, **fields)
        answered = bench.clock
        assert len(bench.forwards) >= 4
        await ctx.tick().repeat(150)
        assert all(clock <= answered for clock, address in bench.forwards if address == 0x100)

    bench.run(testbench, memory_comes_back)


@pytest.mark.parametrize("seed", [1, 2])
def test_rewriting_waits_for_what_was_forwarded_before_and_for_nothing_that_comes_later(seed):
    rng   = random.Random(seed)
    bench = SlowMemory(rng)
    done  = []

    async def device(ctx):
        await ctx.tick().repeat(100)
        while not done:
            await bench.msi(ctx, rng.choice([1, 1, 2, 3]), counts=False)
            await ctx.tick().repeat(rng.choice([1, 1, 4, 40]))

    async def testbench(ctx):
        await bench.write_entry(ctx, 1, delivery=2, address=0x1_0000 >> 2)
        await bench.write_entry(ctx, 2, delivery=2, address=1 << 50)    # too wide: never tried
        for number in range(1, 16):
            bench.rate, bench.delay = rng.choice([0.1, 0.5, 1]), rng.choice([1, 5, 40])
            start = bench.clock
            await bench.write_entry(ctx, 3, delivery=2, address=number)
            limit = 60 + 16 * 10 / bench.rate + 2 * 40
            assert bench.clock - start < limit, "something that never ends"
            answered, before = bench.clock, len(bench.forwards)
            await ctx.tick().repeat(rng.randrange(1, 80))
            late = {address for clock, address in bench.forwards[before:] if clock > answered}
            assert late <= {0x1_0000, 4 * number}
        done.append(True)

    bench.run(testbench, device)
    assert len(bench.forwards) > 50
    assert bench.errors
