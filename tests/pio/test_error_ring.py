# amaranth: UnusedElaboratable=no

import random
from collections import Counter, deque

import pytest

from iovirt.config import PioConfig
from iovirt.pcie.layouts import ErrorCause
from iovirt.pio.error_ring import ErrorRing
from iovirt_sim.harness import simulate
from iovirt_sim.streams import receive, send

CAUSES = [cause for cause in ErrorCause if cause.name.startswith("PIO_")]


def error(rng, number):
    return {"cause": rng.choice(CAUSES), "core": rng.randrange(256), "guest": rng.randrange(65536),
            "rid": number, "tag": rng.randrange(1024), "address": rng.randrange(1 << 64)}


def make(ports=1, errors=4):
    return ErrorRing(pio=PioConfig(errors=errors), ports=ports)


def values(record):
    return {name: getattr(record, name) for name in ("cause", "core", "guest", "rid", "tag",
                                                     "address")}


async def sink(ctx, *streams):
    for port in streams:
        ctx.set(port.ready, 1)


async def look(ctx, dut, number):
    """Read the record of that number, as software does."""
    ctx.set(dut.select, number % dut.pio.errors)
    await ctx.tick().repeat(2)
    return values(ctx.get(dut.record))


def test_wrong_parameters():
    with pytest.raises(TypeError, match=r"^Configuration must be a PioConfig, not 4$"):
        ErrorRing(pio=4, ports=1)
    with pytest.raises(ValueError, match=r"^Number of ports must be at least 1, not 0$"):
        make(ports=0)


@pytest.mark.parametrize("ports, errors, gaps", [(1, 4, [0]), (3, 8, [0, 0, 5]), (5, 16, [0, 40])])
def test_each_record_is_kept_or_counted_and_what_is_kept_is_read_unchanged(ports, errors, gaps):
    rng  = random.Random(ports)
    sent = [[error(rng, 1000 * port + n) for n in range(60)] for port in range(ports)]
    dut  = make(ports, errors)
    mask = 1 << ErrorCause.PIO_UNSUPPORTED.value
    counts, read, logged, told = Counter(), [], [], []
    done   = []

    def source(port):
        async def testbench(ctx):
            ctx.set(dut.mask, mask)
            ctx.set(dut.segment, 9)
            await send(ctx, dut.i[port], sent[port], gap=lambda: rng.choice(gaps))
            done.append(port)
        return testbench

    async def software(ctx):
        head = 0
        while len(done) < ports or head != ctx.get(dut.tail):
            for _ in range(rng.choice([0, 30])):
                await ctx.tick()
            tail  = ctx.get(dut.tail)
            assert 0 <= tail - head <= errors
            amount = rng.randint(0, tail - head)
            read.extend([await look(ctx, dut, n) for n in range(head, head + amount)])
            head += amount
            ctx.set(dut.head_data, head)
            ctx.set(dut.head_write, 1)
            await ctx.tick()
            ctx.set(dut.head_write, 0)
            await ctx.tick()
            assert ctx.get(dut.head) == head
        await ctx.tick().repeat(20)

    async def counter(ctx):
        async for _, _, lost, masked in ctx.tick().sample(dut.lost, dut.masked):
            counts.update(lost=lost, masked=masked)

    async def log(ctx):
        while True:
            (record,), = await receive(ctx, dut.error, 1, gap=lambda: rng.choice([0, 0, 2]))
            logged.append((record.cause, record.segment, record.rid, record.address))

    async def notices(ctx):
        while True:
            (notice,), = await receive(ctx, dut.notice, 1, gap=lambda: rng.choice([0, 9]))
            told.append((notice.segment, notice.rid, notice.data.cause))

    simulate(dut, *map(source, range(ports)), software, background=[counter, log, notices])
    every   = [each for records in sent for each in records]
    by_rid  = {each["rid"]: each for each in every}
    masked  = sum(each["cause"] is ErrorCause.PIO_UNSUPPORTED for each in every)
    assert counts["masked"] == masked
    assert len(read) + counts["lost"] == len(every) - masked and read
    assert len({each["rid"] for each in read}) == len(read)
    assert all(each == by_rid[each["rid"]] for each in read)
    assert Counter(logged) == Counter((each["cause"], 9, each["rid"], each["address"])
                                      for each in every
                                      if each["cause"] is not ErrorCause.PIO_UNSUPPORTED)
    assert told and len(set(told)) == len(told)
    assert set(told) <= {(9, each["rid"], each["cause"]) for each in every}


def test_first_error_is_held_until_cleared():
    dut, rng = make(), random.Random(0)
    records  = [error(rng, n) for n in range(5)]

    async def testbench(ctx):
        await sink(ctx, dut.error, dut.notice)
        await send(ctx, dut.i[0], records[:3])
        await ctx.tick().repeat(2)
        assert (values(ctx.get(dut.first)), ctx.get(dut.more)) == (records[0], 1)
        ctx.set(dut.clear, 1)
        await ctx.tick()
        ctx.set(dut.clear, 0)
        assert (ctx.get(dut.first.cause), ctx.get(dut.more)) == (ErrorCause.NONE, 0)
        await send(ctx, dut.i[0], records[3:4])
        # The record is in the register now; clearing meets it.
        ctx.set(dut.clear, 1)
        await ctx.tick()
        ctx.set(dut.clear, 0)
        assert (values(ctx.get(dut.first)), ctx.get(dut.more)) == (records[3], 0)

    simulate(dut, testbench)


def test_head_beyond_the_tail_is_ignored():
    dut, rng = make(), random.Random(0)

    async def testbench(ctx):
        await sink(ctx, dut.error, dut.notice)
        await send(ctx, dut.i[0], [error(rng, n) for n in range(3)])
        await ctx.tick().repeat(3)
        for new, head in ((4, 0), (0xffff, 0), (2, 2), (1, 2), (3, 3), (0, 3)):
            ctx.set(dut.head_data, new)
            ctx.set(dut.head_write, 1)
            await ctx.tick()
            ctx.set(dut.head_write, 0)
            await ctx.tick()
            assert (ctx.get(dut.head), ctx.get(dut.tail)) == (head, 3)

    simulate(dut, testbench)


def test_sources_do_not_wait_for_software_or_for_events():
    dut, rng = make(), random.Random(0)
    records  = [error(rng, n) for n in range(40)]
    lost     = deque()

    async def testbench(ctx):
        await sink(ctx, dut.error)
        await send(ctx, dut.i[0], records)
        await ctx.tick().repeat(4)
        assert sum(lost) == 36 and ctx.get(dut.tail) == 4
        notices = await receive(ctx, dut.notice, 4)
        assert [notice.rid for notice, in notices] == [0, 1, 2, 3]
        notice = notices[0][0].data
        assert (notice.cause, notice.tag, notice.guest) == tuple(
            records[0][name] for name in ("cause", "tag", "guest"))
        await send(ctx, dut.i[0], [error(rng, 77)])
        assert (await receive(ctx, dut.notice, 1))[0][0].rid == 77

    async def counter(ctx):
        async for _, _, each in ctx.tick().sample(dut.lost):
            lost.append(each)

    simulate(dut, testbench, background=[counter], deadline=120)


def test_counts_pass_their_end():
    dut, rng = make(), random.Random(0)

    async def testbench(ctx):
        await sink(ctx, dut.error, dut.notice)
        ctx.set(dut.tail, 0xfffe)
        ctx.set(dut.head, 0xfffe)
        records = [error(rng, n) for n in range(4)]
        await send(ctx, dut.i[0], records)
        await ctx.tick().repeat(4)
        assert ctx.get(dut.tail) == 2
        assert [await look(ctx, dut, n) for n in range(0xfffe, 0x10002)] == records

    simulate(dut, testbench)
