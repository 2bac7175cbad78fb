"""Measured throughput and isolation of the event queues."""

import pytest

from iovirt_sim.harness import simulate

from .queue_bench import ACCEPTED, QueueBench, an_event, make


def measure(queues, *, width, number=60, latency=(20, 20), slots=32):
    """Return clocks per record in steady state."""
    dut   = make(table_width=width, slots=slots)
    bench = QueueBench(dut, latency=latency)
    clocks = []

    async def main(ctx):
        for queue in queues:
            await bench.start(ctx, queue, 8, holdoff=30000)
        for n in range(number):
            await bench.send(ctx, an_event(bench.rng, queues[n % len(queues)], n % 256))
        while sum(map(len, bench.queued.values())) < number:
            await ctx.tick()
        assert [kind for kind, _ in bench.verdicts] == [ACCEPTED] * number
        for queue in queues:
            while await bench.get(ctx, queue, 8) & 2:
                await ctx.tick()
            await bench.service(ctx, queue)
        bench.stop()

    async def watch(ctx):
        request, clock = dut.record_request, 0
        async for _, _, valid, ready in ctx.tick().sample(request.valid, request.ready):
            clock += 1
            if valid and ready:
                clocks.append(clock)

    simulate(dut, main, background=[*bench.background(), watch], deadline=6000)
    writes = len(clocks) // number
    # Leave out how the pipeline fills and drains.
    middle = clocks[len(clocks) // 4:-len(clocks) // 4]
    return (middle[-1] - middle[0]) / (len(middle) - 1) * writes


@pytest.mark.parametrize("queues", [[3], [0, 1, 2, 3, 4, 5, 6, 7]])
@pytest.mark.parametrize(("width", "clocks"), [(64, 3), (128, 2), (256, 1)])
def test_records_leave_at_the_stated_rate(width, clocks, queues):
    measured = measure(queues, width=width)
    assert measured <= clocks * 1.05
