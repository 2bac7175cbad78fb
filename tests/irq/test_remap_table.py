import random

import pytest

from iovirt.irq.layouts import MESSAGES, IrtEntry
from iovirt.irq.operations import Operation, OperationKind
from iovirt.irq.remap_table import RemapTable
from iovirt.irq.source_memory import SourceMemory
from iovirt_sim.harness import simulate

from .entries import entry_word, random_entry


@pytest.mark.parametrize("make", [
    lambda entries: RemapTable(entries=entries),
    lambda entries: SourceMemory(4, entries=entries),
])
@pytest.mark.parametrize("entries", [8, 24, 16384, "16"])
def test_wrong_parameters(make, entries):
    with pytest.raises(ValueError, match=r"^Number of entries must be a power of two in 16\.\.8192"
                                         rf", not {entries!r}$"):
        make(entries)


async def write(ctx, dut, source, word):
    ctx.set(dut.write.p.source, source)
    ctx.set(dut.write.p.entry, IrtEntry.from_bits(word))
    ctx.set(dut.write.valid, 1)
    await ctx.tick().until(dut.write.ready)
    ctx.set(dut.write.valid, 0)


async def start(ctx, dut, index):
    operation = Operation.const({"kind": OperationKind.READ, "index": index})
    ctx.set(dut.i.p, operation)
    ctx.set(dut.i.valid, 1)
    await ctx.tick().until(dut.i.ready)
    ctx.set(dut.i.valid, 0)


async def read(ctx, dut, index):
    """Return (bits of the entry, fatal), and whether an error was told of."""
    await start(ctx, dut, index)
    for _ in range(3):
        assert not ctx.get(dut.o_valid)
        await ctx.tick()
    assert ctx.get(dut.o_valid) and ctx.get(dut.o.operation.index) == index
    return (ctx.get(dut.o.entry.as_value()), ctx.get(dut.o.fatal),
            (ctx.get(dut.corrected), ctx.get(dut.uncorrectable)))


def test_all_entries_are_invalid_after_reset():
    dut = RemapTable(entries=16)

    async def testbench(ctx):
        for memory in dut.memory.words, dut.memory.messages:
            for row in range(16):
                ctx.set(memory.data[row], (1 << 100) - 1)
        for source in range(16 + MESSAGES):
            assert await read(ctx, dut, source) == (0, 0, (0, 0))

    simulate(dut, testbench)


def test_entries_come_one_per_clock_and_as_written():
    rng = random.Random(1)
    dut = RemapTable(entries=64)
    words = {}

    async def testbench(ctx):
        for source in range(64 + MESSAGES):
            words[source] = entry_word(**random_entry(rng))
            await write(ctx, dut, source, words[source])
        sources = [rng.randrange(64 + MESSAGES) for _ in range(200)]
        for number, source in enumerate(sources):
            assert ctx.get(dut.i.ready) or number == 0
            await start(ctx, dut, source)
            if number > 3:
                assert ctx.get(dut.o_valid) and not ctx.get(dut.corrected)
                assert ctx.get(dut.o.entry.as_value()) == words[sources[number - 3]]

    simulate(dut, testbench)


def test_writes_are_atomic_under_constant_lookups():
    rng = random.Random(2)
    dut = RemapTable(entries=16)
    done, seen = [], set()

    async def reader(ctx):
        ctx.set(dut.i.p.index, 5)
        ctx.set(dut.i.valid, 1)
        while len(done) < 40:
            await ctx.tick()
            if ctx.get(dut.o_valid):
                seen.add(ctx.get(dut.o.entry.as_value()))

    async def writer(ctx):
        for _ in range(40):
            value = rng.getrandbits(16)
            await write(ctx, dut, 5, entry_word(rid=value, rid_mask=value, data=value))
            await ctx.tick().repeat(rng.randrange(1, 12))
            done.append(value)

    simulate(dut, reader, writer)
    assert len(seen) > 20
    for word in seen:
        assert word >> 16 & 0xffff == word >> 32 & 0xffff == word >> 192 & 0xffff


@pytest.mark.parametrize("source, step", [(3, 1), (16 + 5, 9)])
def test_every_single_error_is_corrected_told_of_and_written_back(source, step):
    rng = random.Random(source)
    dut = RemapTable(entries=16)
    memory = dut.memory.words if source < 16 else dut.memory.messages

    async def testbench(ctx):
        word = entry_word(**random_entry(rng))
        await write(ctx, dut, source, word)
        await ctx.tick()
        row  = memory.data[source % 16]
        code = ctx.get(row)
        for bit in range(0, len(row), step):
            ctx.set(row, code ^ 1 << bit)
            assert await read(ctx, dut, source) == (word, 0, (1, 0)), bit
            await ctx.tick()
            assert ctx.get(row) == code
            assert await read(ctx, dut, source) == (word, 0, (0, 0)), bit

    simulate(dut, testbench)


def test_double_errors_of_a_half_are_fatal_and_left_alone():
    rng = random.Random(4)
    dut = RemapTable(entries=16)

    async def testbench(ctx):
        await write(ctx, dut, 9, entry_word(**random_entry(rng)))
        await ctx.tick()
        row  = dut.memory.words.data[9]
        code, low = ctx.get(row), dut._halves[0].code_width
        pairs = [(bit, bit + 1) for bit in range(0, len(row) - 1, 3)]
        pairs += [tuple(rng.sample(range(len(row)), 2)) for _ in range(60)]
        for first, second in pairs:
            bad = code ^ 1 << first ^ 1 << second
            ctx.set(row, bad)
            found = await read(ctx, dut, 9)
            await ctx.tick().repeat(2)
            if (first < low) == (second < low):
                assert found[1:] == (1, (0, 1)), (first, second)
                assert ctx.get(row) == bad
            else:
                assert found[1:] == (0, (1, 0))

    simulate(dut, testbench, deadline=20_000)


def test_a_new_entry_is_not_undone_by_a_correction():
    dut = RemapTable(entries=16)

    async def testbench(ctx):
        await write(ctx, dut, 2, entry_word(rid=1))
        await ctx.tick()
        row = dut.memory.words.data[2]
        for pause in range(8):
            ctx.set(row, ctx.get(row) ^ 1)
            await start(ctx, dut, 2)
            for _ in range(pause):
                await ctx.tick()
            await write(ctx, dut, 2, entry_word(rid=2 + pause))
            await ctx.tick().repeat(8)
            assert await read(ctx, dut, 2) == (entry_word(rid=2 + pause), 0, (0, 0))

    simulate(dut, testbench)
