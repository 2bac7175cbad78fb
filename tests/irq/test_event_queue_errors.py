"""Errors of memory around the event queues: what stops, what is told, what is repeated."""

from iovirt_sim.table_memory import ACCESS

from .queue_bench import ACCEPTED, CONTROL, OFF, STATUS, QueueBench, an_event, make, ring_base
from .test_event_queue_rules import burst, kinds, run, settle


def test_new_settings_never_start_a_queue_that_an_error_stops_meanwhile():
    async def body(ctx, bench):
        bench.memory.bad = [(ring_base(1), 32, ACCESS)]
        found = []
        for wait in range(9, 41, 4):
            await bench.start(ctx, 1, 3)
            bench.queued[1].clear()
            await bench.send(ctx, an_event(bench.rng, 1, 0))
            await ctx.tick().repeat(wait)
            await bench.put(ctx, 1, CONTROL, 1 | 3 << 8)
            await settle(ctx, bench, 1)
            # Either it has stopped, or it was started afresh after that.
            status = await bench.get(ctx, 1, STATUS) & 0b101
            found.append(status)
            assert status in (0b001, 0b100), wait
            kinds(bench)
            await burst(ctx, bench, 1, 1)
            assert kinds(bench) == [OFF if status == 0b100 else ACCEPTED]
            await bench.put(ctx, 1, CONTROL, 0)
            await settle(ctx, bench, 1)
        assert found == sorted(found, reverse=True) and len(set(found)) == 2

    run(body, bench=QueueBench(make(queues=2), latency=(4, 4)))
