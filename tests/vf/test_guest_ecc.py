import random

from iovirt.vf.guest_table import GuestTable
from iovirt_sim.harness import simulate
from iovirt_sim.streams import send

from .guest_bench import FREEZE, RUN, Registers, fast, lookup, random_guest, until_ready


def table(**more):
    return GuestTable(**{"guests": 4, "freezers": 1, "data_width": 64, "address_width": 12, **more})


def errors_of(dut, counts):
    """Return a testbench that counts (corrected, uncorrectable)."""
    async def testbench(ctx):
        ticks = ctx.tick().sample(dut.corrected, dut.uncorrectable)
        async for _, _, corrected, uncorrectable in ticks:
            counts[0] += corrected
            counts[1] += uncorrectable
    return testbench


def test_every_single_error_of_an_entry_is_corrected_told_of_and_written_back():
    dut, entry, counts = table(), random_guest(random.Random(1)), [0, 0]

    async def testbench(ctx):
        await until_ready(ctx, dut)
        await Registers(dut).set_entry(ctx, 3, entry)
        row = dut.memory.entries.data[3]
        code = ctx.get(row)
        for bit in range(len(row)):
            ctx.set(row, code ^ 1 << bit)
            found = await fast(ctx, dut, 3)
            assert (found[0], found[4]) == (entry.words(), 0)
            await ctx.tick().repeat(2)
            assert ctx.get(row) == code
        assert counts == [len(row), 0]
        assert (await fast(ctx, dut, 3))[0] == entry.words()
        await ctx.tick().repeat(2)
        assert counts == [len(row), 0]

    simulate(dut, testbench, background=[errors_of(dut, counts)])


def test_a_guest_with_a_double_error_is_denied_everything_until_it_gets_a_new_entry():
    dut, rng, counts = table(), random.Random(2), [0, 0]
    software, entry = Registers(dut), random_guest(random.Random(2))

    async def testbench(ctx):
        await until_ready(ctx, dut)
        await software.set_entry(ctx, 2, entry)
        await software.set_state(ctx, 2, RUN)
        row = dut.memory.entries.data[2]
        code = ctx.get(row)
        for number in range(1, 60):
            first, second = rng.sample(range(len(row)), 2)
            ctx.set(row, bad := code ^ 1 << first ^ 1 << second)
            assert (await fast(ctx, dut, 2))[4] == 1
            await ctx.tick().repeat(2)
            assert (ctx.get(row), counts) == (bad, [0, number])
        assert not (await lookup(ctx, dut.lookup[0], 2)).ok
        assert (await software.entry(ctx, 2)) == ((0, 0), 1)
        assert (await software.state(ctx, 2)) == ((RUN, 0), 0)
        await software.set_entry(ctx, 2, entry)
        assert await fast(ctx, dut, 2) == (entry.words(), RUN, 0, 1, 0)

    simulate(dut, testbench, background=[errors_of(dut, counts)])


def test_a_guest_with_an_error_in_its_state_is_denied_everything_until_it_is_set_again():
    dut, counts = table(), [0, 0]
    software = Registers(dut)

    async def testbench(ctx):
        await until_ready(ctx, dut)
        await software.set_state(ctx, 1, RUN)
        places = [(memory.data[1], bit) for memory in (dut.memory.states, dut.memory.fatals)
                  for bit in range(len(memory.data[1]))]
        for number, (row, bit) in enumerate(places, 1):
            ctx.set(row, ctx.get(row) ^ 1 << bit)
            assert (await fast(ctx, dut, 1))[4] == 1
            assert not (await lookup(ctx, dut.lookup[1], 1)).ok
            assert (await software.state(ctx, 1)) == ((0, 0), 1)
            assert counts == [0, 3 * number]
            await software.set_state(ctx, 1, RUN)
            assert (await software.state(ctx, 1)) == ((RUN, 0), 0)

    simulate(dut, testbench, background=[errors_of(dut, counts)])


def test_to_freeze_a_guest_repairs_the_mark_of_it():
    dut = table()

    async def testbench(ctx):
        await until_ready(ctx, dut)
        await Registers(dut).set_state(ctx, 1, RUN)
        ctx.set(dut.memory.fatals.data[1], 1)
        await send(ctx, dut.freeze[0], [1])
        await ctx.tick().repeat(3)
        assert await Registers(dut).state(ctx, 1) == ((FREEZE, 1), 0)

    simulate(dut, testbench)


def test_a_new_entry_is_not_undone_by_a_correction():
    dut, done = table(), []
    software, rng = Registers(dut), random.Random(4)
    row = dut.memory.entries.data[2]

    async def writer(ctx):
        await until_ready(ctx, dut)
        for _ in range(40):
            entry = random_guest(rng)
            await software.set_entry(ctx, 2, entry)
            await ctx.tick().repeat(rng.randrange(8, 12))
            assert await software.entry(ctx, 2) == (entry.words(), 0)
        done.append(1)

    async def reader(ctx):
        await until_ready(ctx, dut)
        while not done:
            ctx.set(row, ctx.get(row) ^ 1)
            await lookup(ctx, dut.lookup[rng.randrange(2)], 2)

    simulate(dut, writer, reader)


def test_errors_that_are_ignored_deny_nothing():
    dut = table(weak=True)

    async def testbench(ctx):
        await until_ready(ctx, dut)
        await Registers(dut).set_state(ctx, 1, RUN)
        ctx.set(dut.memory.entries.data[1], 3)
        ctx.set(dut.memory.states.data[1], 1)
        assert (await fast(ctx, dut, 1))[4] == 1
        ctx.set(dut.weaken.ecc, 1)
        assert (await fast(ctx, dut, 1))[1:] == (RUN, 0, 1, 0)

    simulate(dut, testbench)
