# amaranth: UnusedElaboratable=no

import random

import pytest

from iovirt.dma.write_data import WriteData
from iovirt.dma.write_issue import WriteIssue
from iovirt_sim.harness import simulate
from iovirt_sim.streams import receive, send


def issue(**change):
    return WriteIssue(**{"lanes": 4, "rows": 8, "slots": 4, "classes": 2, "number_width": 8,
                         "outstanding": 16, "address_width": 40, "id_width": 3,
                         "fabric_ordered": True} | change)


def write(**fields):
    entry  = {"address": 0x1234_5678_9ABC, "length_dw": 6, "first_be": 0xE, "last_be": 3,
              "rid": 0x77, "segment": 2, "turn": 1}
    answer = {"go": 1, "ppn": 0xABCDEF0, "epoch": 1, "order": 1, "number": 9}
    return {"slot": 3, "entry": {**entry, **{k: v for k, v in fields.items() if k in entry
                                             or k == "relaxed"}},
            "answer": {**answer, **{k: v for k, v in fields.items() if k in answer
                                               or k == "peer"}}}


def test_burst_covers_the_rows_of_the_payload():
    dut = issue()

    async def testbench(ctx):
        await send(ctx, dut.i, [write()])
        ctx.set(dut.address.ready, 1)
        burst, = await ctx.tick().sample(dut.address.payload).until(dut.address.valid)
        assert (burst.id, burst.address, burst.last_row) == (1, 0xABCDEF0_AB0, 2)
        (job,), = await receive(ctx, dut.job, 1)
        assert (job.slot, job.first_lane, job.last_lane, job.last_row) == (3, 3, 0, 2)
        assert (job.first_be, job.last_be, job.empty) == (0xE, 3, 0)

    async def watch(ctx):
        port = dut.open
        async for _, _, en, order, number, data in ctx.tick().sample(port.en, port.order,
                                                                     port.number, port.data):
            if en:
                assert (order, number, data.epoch, data.turn, data.rid, data.segment,
                        data.address) == (1, 9, 1, 1, 0x77, 2, 0x1234_5678_9ABC)

    simulate(dut, testbench, background=[watch])


def test_denied_write_only_frees_its_slot():
    dut = issue()

    async def testbench(ctx):
        ctx.set(dut.ask.distance, 100)
        await send(ctx, dut.i, [write(go=0)])
        (job,), = await receive(ctx, dut.job, 1)
        assert job.empty and job.slot == 3
        (end,), = await receive(ctx, dut.dropped, 1)
        assert (end.epoch, end.turn) == (1, 1)
        assert not ctx.get(dut.address.valid) and not ctx.get(dut.error.valid)

    simulate(dut, testbench)


def test_write_into_the_aperture_is_recorded():
    dut = issue()

    async def testbench(ctx):
        await send(ctx, dut.i, [write(go=0, peer=1)])
        (record,), = await receive(ctx, dut.error, 1)
        assert (record.cause.name, record.segment, record.rid, record.address) == (
            "PEER_DENIED", 2, 0x77, 0x1234_5678_9ABC)

    simulate(dut, testbench)


@pytest.mark.parametrize("ordered, relaxed, limit", [(True, 0, 15), (False, 0, 0),
                                                     (False, 1, 15)])
def test_write_waits_for_as_many_responses_as_it_must(ordered, relaxed, limit):
    dut = issue(fabric_ordered=ordered)

    async def testbench(ctx):
        ctx.set(dut.ask.distance, limit + 1)
        await send(ctx, dut.i, [write(relaxed=relaxed)])
        await ctx.tick().repeat(6)
        assert not ctx.get(dut.address.valid)
        ctx.set(dut.ask.distance, limit)
        await receive(ctx, dut.address, 1)

    simulate(dut, testbench, deadline=100)


@pytest.mark.parametrize("gaps", [[0], [0, 0, 2]])
def test_strobes_follow_the_byte_enables(gaps):
    rng  = random.Random(len(gaps))
    dut  = WriteData(lanes=4, rows=8, slots=4)
    jobs, expected = [], []
    for n in range(40):
        length, first = rng.choice([1, 2, 4, 29, 32, rng.randrange(1, 33)]), rng.randrange(4)
        span = first + length - 1
        first_be, last_be, slot = rng.randrange(1, 16), rng.randrange(1, 16), rng.randrange(4)
        empty = n % 7 == 3
        jobs.append({"slot": slot, "first_lane": first, "last_lane": span % 4,
                     "last_row": span // 4, "first_be": first_be, "last_be": last_be,
                     "empty": int(empty)})
        enables = [0] * first + [first_be, *[0xF] * (length - 2), last_be][:length]
        enables += [0] * (-len(enables) % 4)
        rows = [sum(be << 4 * lane for lane, be in enumerate(enables[at:at + 4]))
                for at in range(0, len(enables), 4)]
        expected += [] if empty else [(slot, row % 8, strb, int(row == span // 4))
                                      for row, strb in enumerate(rows)]
    freed, got = [], []

    async def producer(ctx):
        await send(ctx, dut.i, jobs, gap=lambda: rng.choice(gaps))

    async def memory(ctx):
        port = dut.payload
        async for _, _, en, slot, row in ctx.tick().sample(port.en, port.slot, port.row):
            if en:
                ctx.set(port.data, slot << 8 | row)

    async def watch(ctx):
        async for _, _, en, slot in ctx.tick().sample(dut.put.en, dut.put.slot):
            if en:
                freed.append(slot)

    async def consumer(ctx):
        for beat, in await receive(ctx, dut.o, len(expected), gap=lambda: rng.choice(gaps)):
            got.append((beat.data >> 8, beat.data & 0xFF, beat.strb, beat.last))

    simulate(dut, producer, consumer, background=[memory, watch])
    assert got == expected
    assert freed == [job["slot"] for job in jobs]
