"""The event queues against a plain-Python reader, at random."""

import pytest

from iovirt_sim.harness import simulate

from .queue_bench import (
    ACCEPTED,
    COUNT,
    FULL,
    G_ARM,
    QueueBench,
    an_event,
    make,
)


@pytest.mark.parametrize(("width", "bus_width", "stall", "latency", "once"), [
    (64, 64, 0.3, (1, 30), 0), (128, 32, 0.1, (3, 12), 1), (256, 64, 0.0, (1, 1), 1),
    (512, 32, 0.3, (1, 60), 0)])
def test_every_event_is_read_once_and_in_order_by_a_reader_that_only_wakes_when_notified(
        width, bus_width, stall, latency, once):
    dut   = make(table_width=width, bus_width=bus_width)
    bench = QueueBench(dut, seed=width, stall=stall, latency=latency)
    rng, total = bench.rng, 150
    queues = [0, 1, 2, 5, 7]

    async def source(ctx):
        for n, queue in enumerate(queues):
            await bench.start(ctx, queue, 1 + n, once=once, preset=COUNT - rng.randint(0, 20),
                              holdoff=rng.choice((0, 3)), threshold=rng.choice((0, 2)))
            await bench.guest_put(ctx, queue, G_ARM, bench.head[queue])
        fresh = 0
        while sum(bench.read.values()) < total:
            if bench.retry:
                await bench.send(ctx, bench.retry.pop(0))
            elif fresh < total and rng.random() < 0.7:
                await bench.send(ctx, an_event(rng, rng.choice(queues), fresh % 256,
                                               urgent=rng.random() < 0.1))
                fresh += 1
            else:
                await ctx.tick()
        assert all(kind in (ACCEPTED, FULL) for kind, _ in bench.verdicts)

    async def reader(ctx):
        await bench.serve(ctx, lambda: sum(bench.read.values()) == total, pause=20)
        bench.stop()

    simulate(dut, source, reader, background=bench.background(), deadline=30_000)
    assert all(not queued for queued in bench.queued.values())
