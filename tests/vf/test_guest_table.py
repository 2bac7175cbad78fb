import random

import pytest

from iovirt.vf.guest_layouts import GuestLookup
from iovirt.vf.guest_table import GuestTable
from iovirt_sim.harness import simulate
from iovirt_sim.streams import send

from .guest_bench import (
    DRAIN,
    FREEZE,
    OFF,
    QUARANTINE,
    RUN,
    Registers,
    fast,
    found_now,
    gaps,
    lookup,
    random_guest,
    until_ready,
)


def table(guests=8, data_width=64, **more):
    return GuestTable(**{"guests": guests, "freezers": 2, "data_width": data_width,
                         "address_width": 16, **more})


@pytest.mark.parametrize("parameters, message", [
    ({"guests": 2}, r"^Number of guests must be a power of two in 4\.\.256, not 2$"),
    ({"guests": 6}, r"^Number of guests must be a power of two in 4\.\.256, not 6$"),
    ({"lookups": 0}, r"^Number of slow readers must be an integer of at least 1, not 0$"),
    ({"freezers": 0}, r"^Number of ports must be at least 1, not 0$"),
    ({"data_width": 128}, r"^Data width must be 32 or 64, not 128$"),
    ({"guests": 256, "address_width": 13}, r"^Address width must cover 16384 bytes, because there "
                                           r"are 256 guests, not be 13$"),
])
def test_wrong_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        table(**parameters)


def test_all_guests_are_off_after_reset():
    dut = table()

    async def testbench(ctx):
        for memory in dut.memory.entries, dut.memory.states, dut.memory.fatals:
            for row in range(8):
                ctx.set(memory.data[row], (1 << len(memory.data[row])) - 1)
        assert ctx.get(dut.fast.hold)
        await until_ready(ctx, dut)
        await ctx.tick()
        assert not ctx.get(dut.fast.hold)
        for guest in range(8):
            assert await fast(ctx, dut, guest) == ((0, 0), OFF, 0, guest != 0, 0)
            assert await Registers(dut).state(ctx, guest) == ((OFF, 0), 0)

    simulate(dut, testbench)


@pytest.mark.parametrize("guests, data_width", [(4, 32), (256, 64)])
def test_what_software_writes_is_found(guests, data_width):
    rng = random.Random(guests)
    dut = table(guests, data_width)
    software = Registers(dut, data_width)

    async def testbench(ctx):
        await until_ready(ctx, dut)
        known = {guest: (random_guest(rng), rng.randrange(5), rng.randrange(2))
                 for guest in rng.sample(range(guests), 4)}
        for guest, (entry, state, fatal) in known.items():
            await software.set_entry(ctx, guest, entry)
            await software.set_state(ctx, guest, state, fatal)
        for guest, (entry, state, fatal) in known.items():
            seen = FREEZE if state == RUN and fatal else state
            assert await software.entry(ctx, guest) == (entry.words(), 0)
            assert await software.state(ctx, guest) == ((seen, fatal), 0)
            assert await software.read(ctx, 64 * guest + 24) == (0, 0)
            assert await fast(ctx, dut, guest) == (entry.words(), seen, fatal, guest != 0, 0)
            answer = GuestLookup.const({
                "state": seen, "fatal": fatal, "first_pair": entry.first_pair,
                "pairs": entry.pairs, "function": entry.function, "ok": guest != 0})
            assert await lookup(ctx, dut.lookup[guest % 2], guest) == answer

    simulate(dut, testbench)


def test_guests_beyond_the_table_do_not_exist():
    dut = table()

    async def testbench(ctx):
        await until_ready(ctx, dut)
        await Registers(dut).set_state(ctx, 3, RUN)
        assert (await fast(ctx, dut, 3))[3] == 1
        assert (await fast(ctx, dut, 8 + 3))[3] == 0
        assert (await lookup(ctx, dut.lookup[0], 128 + 3)).ok == 0

    simulate(dut, testbench)


@pytest.mark.parametrize("data_width", [32, 64])
def test_an_entry_changes_at_its_last_byte_and_what_was_not_written_is_0(data_width):
    rng = random.Random(9)
    dut = table(data_width=data_width)
    software = Registers(dut, data_width)

    async def testbench(ctx):
        await until_ready(ctx, dut)
        old, new = random_guest(rng), random_guest(rng)
        await software.set_entry(ctx, 5, old)
        low, high = new.words()
        await software.write(ctx, 64 * 5, low)
        await software.write(ctx, 64 * 5 + 8, high, strobe=0x7f)
        assert await software.entry(ctx, 5) == (old.words(), 0)
        await software.write(ctx, 64 * 5 + 8, 0, strobe=0x80)
        assert await software.entry(ctx, 5) == (new.words(), 0)
        await software.write(ctx, 64 * 5, low)
        await software.write(ctx, 64 * 6 + 8, high)
        assert await software.entry(ctx, 6) == ((0, high), 0)
        await software.write(ctx, 64 * 5 + 8, 0)
        assert await software.entry(ctx, 5) == ((0, 0), 0)

    simulate(dut, testbench)


def test_numbers_that_are_no_state_are_off():
    dut = table()

    async def testbench(ctx):
        await until_ready(ctx, dut)
        for number in range(8):
            await Registers(dut).set_state(ctx, 1, RUN)
            await Registers(dut).set_state(ctx, 1, number)
            wanted = number if number <= QUARANTINE else OFF
            assert await Registers(dut).state(ctx, 1) == ((wanted, 0), 0)

    simulate(dut, testbench)


def test_a_frozen_guest_does_not_run_until_software_has_cleared_that():
    dut = table()
    software = Registers(dut)

    async def testbench(ctx):
        await until_ready(ctx, dut)
        for state in (OFF, RUN, FREEZE, DRAIN, QUARANTINE):
            await software.set_state(ctx, 2, state)
            await send(ctx, dut.freeze[1], [2])
            for _ in range(3):
                await ctx.tick()
            seen = FREEZE if state == RUN else state
            assert await software.state(ctx, 2) == ((seen, 1), 0)
            assert (await fast(ctx, dut, 2))[1:3] == (seen, 1)
            await software.set_state(ctx, 2, RUN, fatal=1)
            assert await software.state(ctx, 2) == ((FREEZE, 1), 0)
            await software.set_state(ctx, 2, RUN)
            assert await software.state(ctx, 2) == ((RUN, 0), 0)

    simulate(dut, testbench)


def test_each_freeze_has_its_effect_and_each_new_one_is_told_of_once():
    dut, told = table(64), []
    rng = random.Random(3)
    colours = [[rng.randrange(1, 40) for _ in range(60)] + [200] for _ in range(2)]

    async def monitor(ctx):
        async for _, _, valid, colour in ctx.tick().sample(dut.frozen.valid, dut.frozen.colour):
            if valid:
                told.append(colour)

    def source(n):
        async def testbench(ctx):
            await until_ready(ctx, dut)
            await send(ctx, dut.freeze[n], colours[n], gap=gaps(n, 2))
            if n == 0:
                await send(ctx, dut.freeze[n], [63])
                for guest in range(64):
                    fatal = guest in {*colours[0], *colours[1], 63}
                    assert (await fast(ctx, dut, guest))[1:3] == (OFF, fatal)
        return testbench

    simulate(dut, source(0), source(1), background=[monitor])
    assert sorted(told) == sorted({*colours[0], *colours[1], 63} - {200})


def test_a_write_waits_until_nobody_is_attributed_and_keeps_others_out():
    dut, done = table(), []
    software = Registers(dut)

    async def writer(ctx):
        await until_ready(ctx, dut)
        ctx.set(dut.fast.idle, 0)
        await software.set_state(ctx, 4, RUN)
        done.append(1)

    async def reader(ctx):
        while not ctx.get(dut.fast.hold) or not ctx.get(dut.ready):
            await ctx.tick()
        for _ in range(20):
            assert not done and ctx.get(dut.fast.hold)
            assert (await fast(ctx, dut, 4))[1] == OFF
        ctx.set(dut.fast.idle, 1)
        while not done:
            await ctx.tick()
        assert not ctx.get(dut.fast.hold)
        assert (await fast(ctx, dut, 4))[1] == RUN

    simulate(dut, writer, reader)


def test_lookups_and_registers_are_served_while_every_clock_has_a_fast_read():
    rng, dut = random.Random(5), table()
    software, entries, busy = Registers(dut), {}, []

    async def reader(ctx):
        await until_ready(ctx, dut)
        for guest in range(1, 8):
            entries[guest] = random_guest(rng)
            await software.set_entry(ctx, guest, entries[guest])
        pending = []
        while len(busy) < 2:
            guest, hold = rng.randrange(1, 8), ctx.get(dut.fast.hold)
            ctx.set(dut.fast.guest, guest)
            ctx.set(dut.fast.valid, not hold)
            await ctx.tick()
            pending.append(None if hold else guest)
            if len(pending) > 4 and (old := pending[-5 + 1]):
                assert found_now(ctx, dut)[0] == entries[old].words()
        assert sum(guest is None for guest in pending) < len(pending) / 5

    def client(n):
        async def testbench(ctx):
            while len(entries) < 7 or not ctx.get(dut.fast.valid):
                await ctx.tick()
            for _ in range(20):
                guest = rng.randrange(1, 8)
                answer = await lookup(ctx, dut.lookup[n], guest)
                assert answer.first_pair == entries[guest].first_pair and answer.ok
            busy.append(n)
        return testbench

    simulate(dut, reader, client(0), client(1))


@pytest.mark.parametrize("state, off", [(OFF, 1), (RUN, 0), (FREEZE, 0), (QUARANTINE, 1)])
def test_others_hear_of_states_that_software_sets(state, off):
    dut, heard = table(), []

    async def watch(ctx):
        async for _, _, valid, colour, changed_off in ctx.tick().sample(
                dut.changed.valid, dut.changed.colour, dut.changed_off):
            if valid:
                heard.append((colour, changed_off))

    async def testbench(ctx):
        await until_ready(ctx, dut)
        await Registers(dut).set_entry(ctx, 3, random_guest(random.Random(1)))
        await Registers(dut).set_state(ctx, 5, state)
        await ctx.tick().repeat(3)

    simulate(dut, testbench, background=(watch,))
    assert heard == [(5, off)]
