# amaranth: UnusedElaboratable=no

import re
from pathlib import Path

import iovirt

from .sharing_bench import (
    ADDRESSES,
    BAR,
    FREEZE,
    GUESTS,
    PAIRS,
    QUARANTINE,
    RUN,
    TAILS,
    WINDOWS,
    SharingBench,
)

ONES = 0xffff_ffff


def test_doorbells_of_guests_become_doorbells_of_the_device():
    async def testbench(bench, ctx):
        await bench.guest(ctx, 1, first_pair=2, pairs=2)
        await bench.pair(ctx, 2, 1)
        await bench.pair(ctx, 3, 1, tail=0x1780)
        await bench.doorbell(ctx, 1, 2, 5)
        await ctx.tick().repeat(80)
        assert bench.rung == [(BAR + 0x1780, 5)]
        await bench.doorbell(ctx, 1, 1, 3)
        await ctx.tick().repeat(80)
        assert bench.rung[1:] == [(BAR + TAILS + 16, 3)]
        # What is no tail and no head changes nothing.
        await bench.doorbell(ctx, 1, 1, 16)
        await bench.doorbell(ctx, 1, 1, 1, side=1)
        assert await bench.total(ctx) == 8 and len(bench.rung) == 2
        assert await bench.doorbell(ctx, 1, 2) == 5 and await bench.doorbell(ctx, 1, 1) == 3
        # Completions of the device; the guest has read one of them.
        assert await bench.fetch(ctx, 2, 2) == 2
        await bench.complete(ctx, 2, 2)
        await bench.doorbell(ctx, 1, 1, 1, side=1)
        assert await bench.total(ctx) == 6 and bench.rung[2:] == [(BAR + TAILS + 20, 1)]
        gone = bench.left[-1]
        assert gone.device_id == 0x51 and gone.iova == ADDRESSES.ring_offset(2, 1, 16)
        assert [await bench.read(ctx, 0x30_1000 + 8 * n) for n in (0, 2, 5, 6)] == [8, 2, 3, 2]

    SharingBench(testbench)


def test_commands_never_exceed_the_room_for_their_completions_and_completions_free_places():
    async def testbench(bench, ctx):
        await bench.guest(ctx, 1, limit=6)
        await bench.pair(ctx, 0, 1, cq_depth=4)
        await bench.doorbell(ctx, 1, 1, 14)
        await ctx.tick().repeat(150)
        head = done = 0
        while bench.granted[0] < 14:
            # Only what the guest has read makes room.
            assert bench.granted[0] == min(head + 3, 14)
            flying = bench.granted[0] - done
            assert await bench.fetch(ctx, 0, flying) == flying
            await bench.complete(ctx, 0, flying)
            done += flying
            await ctx.tick().repeat(60)
            assert bench.granted[0] == done and await bench.in_flight(ctx, 1) == 0
            head = done
            await bench.doorbell(ctx, 1, 1, head % 4, side=1)
            await ctx.tick().repeat(90)
        assert (await bench.pair_state(ctx, 0)).in_flight == bench.granted[0] - done
        assert await bench.total(ctx) == 14 - done

    SharingBench(testbench)


def test_rings_without_completions_go_on_for_several_laps():
    async def testbench(bench, ctx):
        await bench.guest(ctx, 1, limit=3)
        await bench.pair(ctx, 0, 1, depth=8, paired=False, device_writes=True, entry_bytes=16)
        tail = 0
        for _ in range(5):
            tail += 7
            await bench.doorbell(ctx, 1, 1, tail % 8)
            await ctx.tick().repeat(130)
            assert bench.granted[0] == tail
            assert await bench.fetch(ctx, 0, 7) == 7
            assert await bench.total(ctx) == 0
        assert await bench.read(ctx, 0x30_1000) == tail and await bench.in_flight(ctx, 1) == 0
        # Write-back of an entry counts nothing.
        gone = await bench.touch(ctx, bench.iova(0, 0, 16), 16, write=1)
        assert not gone.contain and gone.iova == ADDRESSES.ring_offset(0, 0, 16)
        await ctx.tick().repeat(40)
        assert await bench.read(ctx, 0x30_1010) == 0

    SharingBench(testbench, most=4)


def test_frozen_guest_is_granted_nothing_and_goes_on_by_itself_when_it_runs_again():
    async def testbench(bench, ctx):
        for guest in (1, 2):
            await bench.guest(ctx, guest, limit=2, first_pair=guest)
            await bench.pair(ctx, guest, guest)
        await bench.doorbell(ctx, 1, 1, 9)
        await ctx.tick().repeat(80)
        assert bench.rung == [(BAR + TAILS + 8, 2)]
        # With its own key, into a ring of another guest.
        gone = await bench.touch(ctx, ADDRESSES.ring(1, 2, 0, 0, key=1), 64, write=0)
        assert gone.contain and gone.shared and gone.bypass
        await ctx.tick().repeat(30)
        assert bench.frozen == 1 and await bench.read(ctx, 0x20_0050) == FREEZE | 8
        # What was granted is still done, and makes room that nobody gets.
        assert await bench.fetch(ctx, 1, 2) == 2
        await bench.complete(ctx, 1, 2)
        await bench.doorbell(ctx, 1, 1, 10)
        await bench.doorbell(ctx, 2, 1, 1)
        assert await bench.total(ctx) == 1 and bench.granted == {1: 2, 2: 1}
        await bench.state(ctx, 1, RUN)
        await ctx.tick().repeat(80)
        assert bench.rung[2:] == [(BAR + TAILS + 8, 4)]

    SharingBench(testbench)


async def reset(bench, ctx, guest, pair, *, key):
    """What software does before somebody else gets the place of a guest."""
    await bench.state(ctx, guest, QUARANTINE)
    await bench.write(ctx, 0x22_0000 + 64 * pair, 0, 0)
    await bench.write(ctx, 0x21_0000 + 32 * guest + 16, 0)
    await bench.guest(ctx, guest, first_pair=pair, key=key)
    await bench.pair(ctx, pair, guest)


def test_nothing_of_the_old_owner_is_left_after_a_reset():
    async def testbench(bench, ctx):
        await bench.guest(ctx, 1, first_pair=3, key=0x111)
        await bench.guest(ctx, 2, first_pair=4)
        await bench.pair(ctx, 3, 1)
        await bench.pair(ctx, 4, 2)
        await bench.doorbell(ctx, 1, 1, 12)
        await bench.doorbell(ctx, 2, 1, 2)
        assert await bench.total(ctx) == 14 and bench.granted == {3: 12, 4: 2}
        assert await bench.fetch(ctx, 3, 5) == 5
        await bench.complete(ctx, 3, 3)
        # More is asked for until the end.
        await bench.doorbell(ctx, 1, 1, 15)
        await reset(bench, ctx, 1, 3, key=0x222)
        assert await bench.total(ctx) == 2 and await bench.in_flight(ctx, 1) == 0
        assert await bench.in_flight(ctx, 2) == 2
        state = await bench.pair_state(ctx, 3)
        assert not any(vars(state).values()) and await bench.doorbell(ctx, 1, 1) == 0
        # Late accesses for the old owner have the old key, and harm nobody.
        for side, write in ((1, 1), (0, 0)):
            assert (await bench.touch(ctx, bench.iova(3, side, key=0x111), 16, write=write)).contain
        assert bench.frozen == 0
        rung = len(bench.rung)
        await bench.doorbell(ctx, 1, 1, 3)
        await ctx.tick().repeat(80)
        assert bench.rung[rung:] == [(BAR + TAILS + 24, 3)]
        assert await bench.fetch(ctx, 3, 3) == 3
        await bench.complete(ctx, 3, 3)
        await bench.complete(ctx, 4, 2)
        assert await bench.total(ctx) == 0 and await bench.in_flight(ctx, 1) == 0

    SharingBench(testbench)


def test_guest_whose_commands_never_end_does_not_stop_others():
    async def testbench(bench, ctx):
        for guest in (1, 2, 3):
            await bench.guest(ctx, guest, limit=4 if guest == 1 else 0, first_pair=guest)
            await bench.pair(ctx, guest, guest)
            await bench.doorbell(ctx, guest, 1, 9)
        for _ in range(6):
            await ctx.tick().repeat(80)
            for pair in (2, 3):
                flying = bench.granted[pair] - bench.slots[pair]
                await bench.fetch(ctx, pair, flying)
                await bench.complete(ctx, pair, flying)
        assert bench.granted == {1: 4, 2: 9, 3: 9} and bench.slots == {1: 0, 2: 9, 3: 9}
        assert await bench.total(ctx) == 4

    SharingBench(testbench, most=8)


def test_windows_answer_at_the_addresses_of_the_register_map():
    async def testbench(bench, ctx):
        # The last words of each table, and what is beyond.
        places = {0x20_0000 + 64 * (GUESTS - 1): 0x20_0000 + 64 * GUESTS,
                  0x20_8000 + 32 * GUESTS - 8: 0x20_8000 + 32 * GUESTS,
                  0x21_0000 + 32 * (GUESTS - 1) + 8: 0x21_0000 + 32 * GUESTS,
                  0x21_4000 + 128 * 7: 0x21_4000 + 128 * 8,
                  0x22_0000 + 64 * (PAIRS - 1): 0x22_0000 + 64 * PAIRS}
        for n, (place, _) in enumerate(places.items()):
            await bench.write(ctx, place, n + 1)
        # Entries are put in place by their last byte.
        await bench.write(ctx, 0x20_0000 + 64 * (GUESTS - 1) + 8, 7)
        await bench.write(ctx, 0x22_0000 + 64 * (PAIRS - 1) + 8, 9)
        assert [await bench.read(ctx, place) for place in places] == [1, 2, 3, 4, 4]
        for beyond in places.values():
            assert await bench.access(ctx, beyond) == (0, 1)
            assert await bench.access(ctx, beyond, ONES) == (0, 1)
        # Headers: what guests have written begins behind the template.
        await bench.write(ctx, 0x21_8010, 0x1234)
        assert await bench.read(ctx, 0x21_8010) == 0x1234
        assert await bench.access(ctx, 0x21_c000 + 32 * (GUESTS - 1)) == (0, 0)
        # Statistics and state, one page each.
        await bench.state(ctx, GUESTS - 1, RUN)
        assert await bench.read(ctx, 0x30_0040 + 4096 * (GUESTS - 1)) == RUN
        assert await bench.read(ctx, 0x20_0000 + 64 * (GUESTS - 1) + 16) == RUN

    SharingBench(testbench)


def test_windows_are_where_the_bench_has_them():
    text = Path(iovirt.__file__).with_name("csr").joinpath("regs/iovirt.rdl").read_text()
    names = {"guests": "guest", "parameters": "parameters", "budgets": "budget", "pairs": "pair",
             "templates": "template", "headers": "header", "statistics": "page"}
    for member, name in names.items():
        place, = re.findall(rf"\bshare_{name}(?:\[[^\]]*\])?\s*@ (0x[0-9a-f]+)", text)
        first = int(place, 16)
        assert WINDOWS[member] == (first, (first & -first).bit_length() - 1)
