"""Overflow, storms and reset in mid-burst."""

from amaranth import Module, ResetInserter, Signal
from amaranth.sim import Simulator

from iovirt_sim.harness import CLOCK_PERIOD, simulate

from .queue_bench import ACCEPTED, OFF, STATUS, QueueBench, an_event, make, ring_base


def delays(*, storm, number=6):
    """Return clocks from event to notification of queue 1, with or without a storm into queue 5."""
    dut   = make(table_width=128)
    bench = QueueBench(dut, latency=(20, 20))
    found, clock = [], 0

    async def count(ctx):
        nonlocal clock
        async for _ in ctx.tick():
            clock += 1

    async def main(ctx):
        await bench.start(ctx, 1, 8)
        await bench.start(ctx, 5, 1, holdoff=30_000)
        for _ in range(number):
            for _ in range(10):
                if storm:  # sources that ask again at once, into a queue that nobody reads
                    await bench.send(ctx, an_event(bench.rng, 5, 0, priority=1))
                else:
                    await ctx.tick()
            begin = clock
            await bench.send(ctx, an_event(bench.rng, 1, 1, priority=1))
            while not bench.notified():
                await ctx.tick()
            found.append(clock - begin)
        bench.stop()

    simulate(dut, main, background=[*bench.background(), count], deadline=4000)
    return found


def test_storm_into_a_full_queue_delays_others_by_a_few_clocks():
    calm, storm = delays(storm=False), delays(storm=True)
    assert max(storm) <= max(calm) + 4


def test_nothing_is_lost_when_a_queue_overflows_for_long():
    dut   = make(table_width=256)
    bench = QueueBench(dut, latency=(1, 8))

    async def main(ctx):
        await bench.start(ctx, 4, 1)
        for n in range(24):
            await bench.send(ctx, an_event(bench.rng, 4, n))
        while bench.read[4] < 24:
            await bench.service(ctx, 4)
            while bench.retry:
                await bench.send(ctx, bench.retry.pop(0))
            await ctx.tick().repeat(10)
        assert not bench.waiting and not bench.retry
        bench.stop()

    simulate(dut, main, background=bench.background(), deadline=9000)
    assert [kind for kind, _ in bench.verdicts].count(ACCEPTED) == 24


def test_urgent_priority_overtakes_a_backlog():
    dut   = make(table_width=64)
    bench = QueueBench(dut, latency=(3, 3))

    async def main(ctx):
        for queue in (1, 2):
            await bench.start(ctx, queue, 8)
        for n in range(24):
            await bench.send(ctx, an_event(bench.rng, 1, n, priority=0))
        await bench.send(ctx, an_event(bench.rng, 2, 99, priority=3))
        for queue, number in ((1, 24), (2, 1)):
            while await bench.get(ctx, queue, STATUS) & 2:
                await ctx.tick()
            assert await bench.service(ctx, queue) == number
        bench.stop()

    simulate(dut, main, background=bench.background(), deadline=4000)
    assert bench.verdicts[-1][1]["tag"] == 99
    first = [address - ring_base(1) for address, _ in bench.memory.writes].index(1 << 21)
    later = {address for address, _ in bench.memory.writes[first:] if address % 32 == 0}
    assert len(later) >= 1 + 3, "records that waited in their lane were overtaken"


def test_reset_in_mid_burst_leaves_nothing_behind():
    reset, dut = Signal(), make()
    m = Module()
    m.submodules.dut = ResetInserter(reset)(dut)
    bench = QueueBench(dut, latency=(5, 5))

    async def main(ctx):
        await bench.start(ctx, 1, 4)
        for n in range(6):
            await bench.send(ctx, an_event(bench.rng, 1, n))
        ctx.set(reset, 1)
        await ctx.tick()
        ctx.set(reset, 0)
        # What was on its way to memory is answered to nobody, or to the reset queues.
        bench.sent.clear()
        bench.verdicts.clear()
        await ctx.tick().repeat(30)
        await bench.send(ctx, an_event(bench.rng, 1, 7))
        while not bench.verdicts:
            await ctx.tick()
        assert bench.verdicts[0][0] == OFF
        for word, wanted in ((STATUS, 0b10000), (2, 0), (0, 0), (10, 0)):
            assert await bench.get(ctx, 1, word) == wanted
        bench.queued[1].clear()
        bench.retry.clear()
        await bench.start(ctx, 1, 4)
        for n in range(3):
            await bench.send(ctx, an_event(bench.rng, 1, n))
        while await bench.get(ctx, 1, STATUS) & 2:
            await ctx.tick()
        await bench.service(ctx, 1)
        bench.stop()

    simulate_with(m, bench, main)


def simulate_with(m, bench, main):
    """Simulate ``m`` around the queues; the rules of streams do not hold across a reset."""
    sim = Simulator(m)
    sim.add_clock(CLOCK_PERIOD)
    sim.add_testbench(main)
    for testbench in bench.background():
        sim.add_testbench(testbench, background=True)
    sim.run()
