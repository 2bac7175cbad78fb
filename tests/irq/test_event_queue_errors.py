"""Errors of memory around the event queues: what stops, what is told, what is repeated."""

import pytest

from iovirt.irq.queue_errors import QueueErrorRecorder
from iovirt.pcie.layouts import ErrorCause
from iovirt_sim.harness import simulate
from iovirt_sim.table_memory import ACCESS

from .queue_bench import (
    ACCEPTED,
    CONTROL,
    G_MASK,
    NOTIFY_HIGH,
    OFF,
    STATUS,
    QueueBench,
    an_event,
    make,
    notice_address,
    ring_base,
)
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


@pytest.mark.parametrize("wide", [False, True])
def test_a_notification_that_fails_is_told_once_and_repeated_until_it_does_not(wide):
    bench, told = QueueBench(make(queues=2), latency=(2, 9)), []

    async def watch(ctx):
        dut = bench.dut
        async for _, _, told_of, queue in ctx.tick().sample(dut.unnotified, dut.unnotified_queue):
            if told_of:
                told.append(queue)

    async def break_it(ctx, broken):
        if wide:
            await bench.put(ctx, 1, NOTIFY_HIGH, (notice_address(1) >> 32) | broken << 8)
        else:
            bench.notices.bad = [(notice_address(1), 4, ACCESS)] * broken

    async def main(ctx):
        await bench.start(ctx, 0, 3)
        await bench.start(ctx, 1, 3)
        for count in (1, 2):
            await break_it(ctx, True)
            bench.notified()
            await burst(ctx, bench, 1, 2)
            await burst(ctx, bench, 0, 1)
            await ctx.tick().repeat(200)
            tries = bench.notified()
            assert told == [1] * count and 0 in tries
            assert 1 not in tries if wide else tries.count(1) > 2
            await break_it(ctx, False)
            bench.notified()
            await ctx.tick().repeat(60)
            assert bench.notified() in ([1], [1, 1])
            await bench.service(ctx, 0)
            await bench.service(ctx, 1)
        # Nothing is repeated that has become needless.
        await break_it(ctx, True)
        await burst(ctx, bench, 1, 1)
        await bench.guest_put(ctx, 1, G_MASK, 1)
        await ctx.tick().repeat(60)
        bench.notified()
        await ctx.tick().repeat(100)
        assert bench.notified() == []
        bench.stop()

    simulate(bench.dut, main, background=[*bench.background(), watch], deadline=9000)


def test_a_ring_beyond_the_physical_addresses_does_not_run():
    async def body(ctx, bench):
        for bit in (40, 63):
            await bench.start(ctx, 1, 3, base=ring_base(1) | 1 << bit)
            assert not await bench.get(ctx, 1, CONTROL) & 1
        await burst(ctx, bench, 1, 1)
        assert kinds(bench) == [OFF]
        await bench.start(ctx, 1, 3)
        assert await bench.get(ctx, 1, CONTROL) & 1

    run(body, bench=QueueBench(make(queues=2)))


@pytest.mark.parametrize("cause, address", [("QUEUE_STOPPED", 5), ("MSI_WRITE_ERROR", 11)])
def test_records_of_queues_have_addresses_that_no_interrupt_has(cause, address):
    dut, records = QueueErrorRecorder(queue_width=3, cause=ErrorCause[cause]), []

    async def testbench(ctx):
        ctx.set(dut.queue, 5)
        ctx.set(dut.failed, 1)
        for n in range(6):
            assert ctx.get(dut.lost) == (n >= 4)
            await ctx.tick()
        ctx.set(dut.failed, 0)
        ctx.set(dut.error.ready, 1)
        for _ in range(10):
            if ctx.get(dut.error.valid):
                record = ctx.get(dut.error.p)
                records.append((record.cause.name, record.address, record.rid, record.segment))
            await ctx.tick()

    simulate(dut, testbench)
    assert records == [(cause, address, 0, 0)] * 4
