import random

import pytest

from iovirt.irq.layouts import MessageKind, VerdictKind

from .front_bench import ENTRIES, Bench


def test_an_interrupt_becomes_an_event_with_all_its_fields():
    bench = Bench(random.Random(1))

    async def testbench(ctx):
        await bench.write_entry(ctx, 5, rid=0x1234, segment=7, cookie=0xdead_beef, guest=0x77,
                                queue=2, priority=3, urgent=1)
        await bench.msi(ctx, 5, rid=0x1234, segment=7)
        await bench.settle(ctx)

    bench.run(testbench)
    (_, _, queue, event), = bench.records[5]
    assert queue == 2
    assert (event.index, event.type.name, event.cookie, event.rid, event.segment, event.guest,
            event.data, event.priority, event.urgent, event.merge_count, event.more,
            event.last_valid) == (5, "MSI", 0xdead_beef, 0x1234, 7, 0x77, 0, 3, 1, 1, 0, 0)
    assert not bench.errors


def test_latency_and_throughput_are_as_stated():
    bench = Bench(random.Random(1), events=32)
    bench.queues[0].drain = 1

    async def testbench(ctx):
        for index in range(16):
            await bench.write_entry(ctx, index)
        await bench.msi(ctx, 0)
        start = bench.clock
        while not ctx.get(bench.dut.event.valid):
            await ctx.tick()
        assert bench.clock - start + 1 == 11
        await bench.settle(ctx)
        asked, start = len(bench.asked), bench.clock
        for number in range(96):
            await bench.msi(ctx, number % 16)
        assert bench.clock - start <= 97
        await bench.settle(ctx)
        assert len(bench.asked) - asked == 96

    bench.run(testbench)


@pytest.mark.parametrize("seed, latency, stalls, data_width", [
    (1, (1, 1), 0, 64), (2, (1, 20), 0.3, 32), (3, (30, 30), 0.9, 64)])
def test_nothing_is_lost_and_nothing_comes_twice(seed, latency, stalls, data_width):
    rng   = random.Random(seed)
    bench = Bench(rng, latency=latency, stalls=stalls, data_width=data_width)

    async def testbench(ctx):
        for index in [*range(8), *(ENTRIES + kind for kind in range(4))]:
            await bench.write_entry(ctx, index, rid_mask=0xff, queue=rng.randrange(3),
                                    merge=rng.random() < 0.5)
        for _ in range(5):
            rate = rng.choice([0, 2, 8])
            for queue in bench.queues:
                queue.drain = rng.choice([0, 0.05, 0.5])
                queue.size  = rng.choice([4, 8])
            for number in range(3):
                bench.switch(number, on=rng.random() < 0.8)
            for _ in range(60):
                for _ in range(rng.randint(0, rate)):
                    await ctx.tick()
                if rng.random() < 0.2:
                    await bench.notice(ctx, MessageKind(rng.randrange(4)))
                else:
                    await bench.msi(ctx, rng.randrange(8), rid=0x100 + rng.randrange(2))
        for number, queue in enumerate(bench.queues):
            queue.drain = 0.3
            bench.switch(number, on=True)
        await bench.settle(ctx)
        await ctx.tick().repeat(100)

    bench.run(testbench)
    assert bench.given == bench.sent
    assert {VerdictKind.ACCEPTED, VerdictKind.FULL} <= set(bench.verdicts)
    assert not bench.errors
