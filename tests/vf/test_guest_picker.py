# amaranth: UnusedElaboratable=no

import random
from collections import Counter

import pytest

from iovirt.vf.guest_picker import GuestPicker
from iovirt_sim.harness import simulate
from iovirt_sim.streams import receive


def test_wrong_parameters():
    with pytest.raises(ValueError, match=r"^Number of guests must be a power of two in 4\.\.256"):
        GuestPicker(guests=5, wakers=1)
    with pytest.raises(ValueError, match=r"^Number of wakers must be an integer of at least 1"):
        GuestPicker(guests=4, wakers=0)


@pytest.mark.parametrize("guests", [4, 8, 64, 256])
def test_guests_are_visited_in_turn_and_no_wake_is_lost(guests):
    rng = random.Random(guests)
    dut = GuestPicker(guests=guests, wakers=2)
    pending, waits, count = set(), {}, 3 * guests
    wakes, visits = Counter(), Counter()

    async def waker(ctx):
        for _ in range(count):
            for n in range(2):
                guest, valid = rng.randrange(guests), rng.random() < 0.5
                ctx.set(dut.wake[n].guest, guest)
                ctx.set(dut.wake[n].valid, valid)
                if valid:
                    pending.add(guest)
                    wakes[guest] += 1
                    waits.setdefault(guest, 0)
            await ctx.tick()
        for n in range(2):
            ctx.set(dut.wake[n].valid, 0)
        while pending or ctx.get(dut.o.valid):
            await ctx.tick()
        await ctx.tick().repeat(20)
        assert not pending and not ctx.get(dut.o.valid)

    async def visitor(ctx):
        while True:
            (guest,), = await receive(ctx, dut.o, 1, gap=lambda: rng.choice([0, 0, 4]))
            # A wake that comes after the choice and before the visit leads to one more visit.
            visits[guest] += 1
            assert visits[guest] <= wakes[guest]
            pending.discard(guest)
            waits.pop(guest, None)
            for other in waits:
                waits[other] += 1
            # One is chosen already, and one wake is under way.
            assert all(wait <= guests + 1 for wait in waits.values())
            await ctx.tick().repeat(rng.choice([1, 1, 5]))
            stays = rng.random() < 0.2
            if stays:
                wakes[guest] += 1
                pending.add(guest)
                waits.setdefault(guest, 0)
            ctx.set(dut.stays, stays)
            ctx.set(dut.over, 1)
            await ctx.tick()
            ctx.set(dut.over, 0)

    simulate(dut, waker, background=[visitor])


def test_idle_guests_take_no_time():
    dut = GuestPicker(guests=256, wakers=1)

    async def testbench(ctx):
        for guest in (3, 200):
            ctx.set(dut.wake[0].valid, 1)
            ctx.set(dut.wake[0].guest, guest)
            await ctx.tick()
        ctx.set(dut.wake[0].valid, 0)
        ctx.set(dut.o.ready, 1)
        clocks = []
        ctx.set(dut.over, 1)
        for clock in range(16):
            _, _, valid, guest = await ctx.tick().sample(dut.o.valid, dut.o.payload)
            if valid:
                clocks.append((clock, guest))
        assert [guest for _, guest in clocks] == [3, 200] and clocks[1][0] <= 11

    simulate(dut, testbench)
