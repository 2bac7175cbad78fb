"""Handles beyond the tables, whose memory words are those of other sources."""

import random

import pytest

from iovirt.irq.layouts import MessageKind

from .front_bench import Bench


def aliases(entries):
    """Return handles beyond the tables that share a word with INTA or with entry 0."""
    return [2 * entries - 16, 2 * entries, 3 * entries, 4 * entries - 16, 4 * entries]


@pytest.mark.parametrize("entries", [32, 128])
def test_a_handle_beyond_the_tables_destroys_nothing_that_is_pending(entries):
    bench = Bench(random.Random(1), entries=entries)
    inta  = entries + MessageKind.INTA.value
    stray = []

    async def testbench(ctx):
        await bench.write_entry(ctx, 0, suspend=1)
        await bench.write_entry(ctx, inta, suspend=1)
        for handle in aliases(entries):
            for pause in range(1, 6):
                for send in (bench.notice(ctx, MessageKind.INTA), bench.msi(ctx, 0)):
                    await send
                    await ctx.tick().repeat(pause)
                    await bench.msi(ctx, handle, rid=0xbad, counts=False)
                    stray.append(("MSI_DENIED", 0, 0xbad, 8 * handle))
                    await ctx.tick().repeat(6)
        await bench.write_entry(ctx, 0)
        await bench.write_entry(ctx, inta)
        await bench.settle(ctx)

    bench.run(testbench)
    assert [count for count, *_ in bench.records[inta]] == [bench.sent[inta]]
    assert [count for count, *_ in bench.records[0]] == [bench.sent[0]]
    assert bench.errors == stray


@pytest.mark.parametrize("handle", [48, 112, 8160 + 16])
def test_handles_beyond_the_tables_leave_messages_alone_however_often_they_come(handle):
    bench = Bench(random.Random(handle), latency=(3, 8), entries=32)
    done  = []

    async def stray(ctx):
        await ctx.tick().repeat(100)
        while not done:
            await ctx.tick().repeat(bench.rng.randint(1, 3))
            await bench.msi(ctx, handle, rid=0xbad, counts=False)

    async def testbench(ctx):
        await bench.write_entry(ctx, 32, rid_mask=0xffff)
        bench.queues[0].drain = 0.2
        for _ in range(120):
            await ctx.tick().repeat(bench.rng.randint(1, 12))
            await bench.notice(ctx, MessageKind.INTA)
        bench.queues[0].drain = 1
        await bench.settle(ctx)
        done.append(True)

    bench.run(testbench, stray)


def test_a_handle_beyond_the_tables_is_denied_for_that_alone():
    bench = Bench(random.Random(1), entries=32)

    async def testbench(ctx):
        await bench.write_entry(ctx, 0)
        await bench.write_entry(ctx, 32)
        memory = bench.dut._table.memory
        for row in (memory.words.data[0], memory.messages.data[0]):
            ctx.set(row, ctx.get(row) ^ 0b11)
        await ctx.tick()
        for handle in (32, 48, 64, 112, 8160, 0):
            await bench.msi(ctx, handle, counts=False)
        await bench.notice(ctx, MessageKind.INTA, counts=False)
        await ctx.tick().repeat(30)

    bench.run(testbench)
    assert [(cause, address // 8) for cause, _, _, address in bench.errors] == [
        ("MSI_DENIED", 32), ("MSI_DENIED", 48), ("MSI_DENIED", 64), ("MSI_DENIED", 112),
        ("MSI_DENIED", 8160), ("MSI_ECC", 0), ("MSI_ECC", 32)]
