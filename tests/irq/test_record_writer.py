"""The writer of records against a memory that reorders and fails."""

import random

import pytest

from iovirt.irq.event_queue import EventQueues
from iovirt.irq.record_writer import RecordWriter
from iovirt_sim.harness import simulate
from iovirt_sim.table_memory import POISON, TableMemory

from .queue_bench import make


@pytest.mark.parametrize(("changes", "message"), [
    ({"queues": 6}, "Number of queues must be a power of two of at least 2, not 6"),
    ({"slots": 3}, "Number of slots must be a power of two of at least 2, not 3"),
    ({"table_width": 32}, "Data width must be 64, 128, 256 or 512, not 32"),
    ({"address_width": 57}, r"Address width must be an integer in 32\.\.56, not 57"),
    ({"tag_width": -1}, "Tag width must be an integer of at least 0, not -1"),
    ({"wires": 33}, r"Number of wires must be an integer in 1\.\.32, not 33"),
    ({"tick_log2": 17}, r"Tick must be the power of two of an integer in 0\.\.16, not 17"),
])
def test_parameter_errors(changes, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        make(**changes)


@pytest.mark.parametrize("queues", [8, 64, 128])
def test_tags_hold_queues_and_slots(queues):
    dut = make(queues=queues, slots=32)
    assert isinstance(dut, EventQueues)
    assert dut.write_tag_width == max(7, queues.bit_length() - 1)


@pytest.mark.parametrize("slots", [2, 16])
@pytest.mark.parametrize("width", [64, 128, 256])
def test_phase_is_written_after_all_else_was_answered_and_records_are_reported_in_order(
        width, slots):
    dut = RecordWriter(queue_width=3, address_width=40, data_width=width, slots=slots)
    rng = random.Random(width + slots)
    bad = [(32 * n + rng.choice((0, 16, 24)), 4, POISON) for n in range(0, 40, 5)]
    memory  = TableMemory(seed=width, latency=(1, 30), stall=0.2, bad=bad)
    records = [(rng.getrandbits(256), rng.getrandbits(3)) for _ in range(40)]
    answered, reported = set(), []
    per_record = {64: 3, 128: 2, 256: 1}[width]

    async def source(ctx):
        for n, (record, queue) in enumerate(records):
            ctx.set(dut.record.payload, {"queue": queue, "urgent": n & 1, "address": 32 * n,
                                         "record": record})
            ctx.set(dut.record.valid, 1)
            await ctx.tick().until(dut.record.ready)
            ctx.set(dut.record.valid, 0)
        while len(reported) < len(records):
            await ctx.tick()
        memory.stop()

    async def watch(ctx):
        request, response = dut.request, dut.response
        address_of = {}
        ctx.set(dut.done.ready, 1)
        async for _, _, asked, write, replied, answer, done, what in ctx.tick().sample(
                request.valid & request.ready, request.payload, response.valid & response.ready,
                response.payload, dut.done.valid, dut.done.payload):
            if asked:
                record = write.address & ~31
                if write.address + (1 << write.size_log2) == record + 32:
                    done_parts = {a for a in answered if record <= a < write.address}
                    assert len(done_parts) == per_record - 1, "phase before the rest"
                address_of[write.tag] = write.address
            if replied and answer.error.value == 0:
                answered.add(address_of[answer.tag])
            if done:
                n = len(reported)
                reported.append(what.failed)
                assert (what.queue, what.urgent) == (records[n][1], n & 1)
                assert what.failed == (n % 5 == 0)
                if not what.failed:
                    assert memory.load(32 * n, 32) == records[n][0]

    simulate(dut, source, memory.serve_writes(dut.request, dut.response), background=[watch],
             deadline=8000)
    tries = [address for address, _ in memory.writes]
    assert max(map(tries.count, tries)) == 2, "a failed write is repeated once"
