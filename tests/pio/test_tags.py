# amaranth: UnusedElaboratable=no

import random

import pytest

from iovirt.pio.tags import TagAllocator
from iovirt_sim.harness import simulate


def make(**change):
    return TagAllocator(**{"depth": 8, "reserve": 2, "core_width": 2, "guest_width": 3, **change})


@pytest.mark.parametrize("change, message", [
    ({"depth": 6}, "Depth must be a power of two of at least 4, not 6"),
    ({"split": 8}, "First upper tag must be None or an integer in 1..7, not 8"),
    ({"reserve": 8}, "Reserve must be an integer in 1..7, not 8"),
    ({"split": 2}, "Reserve must be an integer in 1..1, not 2"),
])
def test_wrong_parameters(change, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        make(**change)


@pytest.mark.parametrize("depth, split, reserve", [(4, None, 1), (8, None, 2), (16, 4, 3)])
def test_tag_is_never_out_twice_and_laps_alternate(depth, split, reserve):
    rng = random.Random(depth)
    dut = make(depth=depth, split=split, reserve=reserve)
    out, laps, seen, cleared = {}, {}, set(), []

    async def put(ctx):
        tag = rng.choice(sorted(out)) if out and rng.random() < 0.5 else None
        ctx.set(dut.put.valid, tag is not None)
        if tag is not None:
            ctx.set(dut.put.payload, {"tag": tag, "lap": 1 - laps[tag]})
        return tag

    async def take(ctx, stops):
        client = int(rng.random() < 0.3)
        takes = not stops and ctx.get(dut.permit) >> client & 1
        ctx.set(dut.take, takes)
        holder = {"client": client, "core": rng.randrange(4), "guest": rng.randrange(8)}
        ctx.set(dut.holder, holder)
        return holder if takes else None

    async def testbench(ctx):
        upper, expected = 0, None
        for clock in range(900):
            if split and clock % 300 == 299:
                upper = 1 - upper
                ctx.set(dut.upper, upper)
            back, holder = await put(ctx), await take(ctx, stops=rng.random() < 0.4)
            free = ctx.get(dut.free)
            if ctx.get(dut.clear):
                cleared.append(ctx.get(dut.clear_tag))
                laps.clear()
            if expected is not None:
                assert ctx.get(dut.freed_en)
                assert all(ctx.get(dut.freed)[name] == value for name, value in expected.items())
            await ctx.tick()
            expected = out.pop(back) if back is not None else None
            if holder:
                assert free.tag not in out and free.lap == 1 - laps.get(free.tag, 0)
                out[free.tag], laps[free.tag] = holder, free.lap
                seen.add(free.tag)
                mine = [one for one in out.values() if one["client"] == holder["client"]]
                most = depth if not split else (depth - split if free.tag >= split else split)
                assert len(mine) <= (reserve if holder["client"] else most - reserve)
            if split and out:
                assert len({tag >= split for tag in out}) == 1
            assert ctx.get(dut.used) == len(out)

    simulate(dut, testbench)
    assert seen == set(range(depth))
    assert cleared[:depth] == list(range(depth)) and (len(cleared) > depth) == bool(split)


def test_one_tag_is_given_in_each_clock():
    dut = make(depth=16)

    async def testbench(ctx):
        while not ctx.get(dut.permit):
            await ctx.tick()
        await ctx.tick().repeat(4)
        ctx.set(dut.take, 1)
        previous = None
        for _ in range(60):
            free = ctx.get(dut.free)
            assert ctx.get(dut.permit) & 1
            # Give the tag of the clock before back.
            ctx.set(dut.put.valid, previous is not None)
            if previous is not None:
                ctx.set(dut.put.payload, {"tag": previous.tag, "lap": 1 - previous.lap})
            await ctx.tick()
            previous = free

    simulate(dut, testbench)


@pytest.mark.parametrize("depth, split", [(64, None), (128, 64)])
def test_only_tags_of_five_bits_are_given_out_when_that_is_asked_for(depth, split):
    dut  = make(depth=depth, split=split, reserve=2)
    seen = []

    async def take(ctx, count):
        taken = []
        while len(taken) < count:
            ctx.set(dut.take, 0)
            if ctx.get(dut.permit) & 1:
                taken.append((ctx.get(dut.free.tag), ctx.get(dut.free.lap)))
                ctx.set(dut.take, 1)
            await ctx.tick()
        ctx.set(dut.take, 0)
        return taken

    async def testbench(ctx):
        out = await take(ctx, 3)
        ctx.set(dut.five_bit, 1)
        for tag, lap in out:
            await ctx.tick().repeat(3)
            assert not ctx.get(dut.permit), "given out while tags of the old kind are out"
            ctx.set(dut.put.payload.tag, tag)
            ctx.set(dut.put.payload.lap, 1 - lap)
            ctx.set(dut.put.valid, 1)
            await ctx.tick()
            ctx.set(dut.put.valid, 0)
        await ctx.tick().until(dut.permit[0])
        seen.extend(await take(ctx, 30))
        await ctx.tick().repeat(10)
        assert not ctx.get(dut.permit[0])

    simulate(dut, testbench, deadline=1000)
    assert sorted(tag for tag, _ in seen) == list(range(30))
