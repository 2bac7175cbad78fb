# amaranth: UnusedElaboratable=no

import random

import pytest

from iovirt.remap.layouts import InvalidateKind
from iovirt.remap.walk_beats import WalkBeats
from iovirt.remap.walk_contexts import WalkContexts
from iovirt.remap.walk_examine import WalkExamine
from iovirt.remap.walk_invalidation import WalkInvalidation
from iovirt.remap.walk_slots import WalkSlots
from iovirt_sim.harness import simulate


@pytest.mark.parametrize("component, parameters, message", [
    (WalkSlots, {"walks": 1}, r"^Number of walks must be an integer of at least 2, not 1$"),
    (WalkBeats, {"walks": 0, "data_width": 64},
     r"^Number of walks must be an integer of at least 2, not 0$"),
    (WalkBeats, {"walks": 2, "data_width": 96},
     r"^Data width must be 64, 128, 256 or 512, not 96$"),
    (WalkContexts, {"depth": 0}, r"^Depth must be an integer of at least 1, not 0$"),
    (WalkInvalidation, {"walks": 4, "contexts": 0},
     r"^Number of contexts must be an integer of at least 1, not 0$"),
    (WalkExamine, {"slot_width": 3, "address_width": 46, "modes": ("Sv39x4",), "ddt_levels": 4},
     r"^Levels of the directory must be 1, 2 or 3, not 4$"),
])
def test_wrong_parameters(component, parameters, message):
    with pytest.raises(ValueError, match=message):
        component(**parameters)


@pytest.mark.parametrize("walks", [2, 5, 16])
def test_a_walk_is_never_given_twice(walks):
    rng, dut = random.Random(walks), WalkSlots(walks=walks)
    running, most = set(), [0]

    async def testbench(ctx):
        for _ in range(400):
            free, index = ctx.get(dut.free), ctx.get(dut.index)
            take = free and rng.random() < 0.7
            done = rng.choice(sorted(running)) if running and rng.random() < 0.3 else None
            if take:
                assert index not in running
            ctx.set(dut.take, take)
            ctx.set(dut.release, done is not None)
            ctx.set(dut.release_index, done or 0)
            running.difference_update({done})
            running.update({index} if take else ())
            most[0] = max(most[0], len(running))
            await ctx.tick()
            if ctx.get(dut.spare):
                assert len(running) < walks - max(1, walks // 4)

    simulate(dut, testbench)
    assert most[0] == walks


def test_marks_are_seen_at_once_and_fall_with_a_new_start():
    dut = WalkSlots(walks=4)

    async def mark(ctx, **op):
        ctx.set(dut.op, op)
        await ctx.tick()
        ctx.set(dut.mark, 1)
        seen = []
        for walk in range(3):
            ctx.set(dut.look, walk)
            seen.append(ctx.get(dut.stale))
        await ctx.tick()
        ctx.set(dut.mark, 0)
        for walk in range(3):
            ctx.set(dut.look, walk)
            assert ctx.get(dut.stale) == seen[walk]
            ctx.set(dut.fresh, 1)
            ctx.set(dut.fresh_index, walk)
            await ctx.tick()
            assert not ctx.get(dut.stale)
        ctx.set(dut.fresh, 0)
        return seen

    async def testbench(ctx):
        for walk, (device, gscid, known) in enumerate([(1, 7, 1), (2, 9, 1), (3, 0, 0)]):
            for port, value in ((dut.update, 1), (dut.update_index, walk), (dut.gscid, gscid),
                                (dut.device_id, device), (dut.known, known)):
                ctx.set(port, value)
            await ctx.tick()
        ctx.set(dut.update, 0)
        assert await mark(ctx, kind=InvalidateKind.IOTLB, gv=1, gscid=7) == [1, 0, 1]
        assert await mark(ctx, kind=InvalidateKind.IOTLB) == [1, 1, 1]
        assert await mark(ctx, kind=InvalidateKind.CONTEXT, dv=1, device_id=2) == [0, 1, 0]
        assert await mark(ctx, kind=InvalidateKind.CONTEXT) == [1, 1, 1]
        assert await mark(ctx, kind=InvalidateKind.IOTLB, gv=1, gscid=9) == [0, 1, 1]

    simulate(dut, testbench)


@pytest.mark.parametrize("data_width", [64, 128, 256, 512])
def test_beats_of_several_walks_find_their_places(data_width):
    rng, dut = random.Random(data_width), WalkBeats(walks=3, data_width=data_width)
    lanes = data_width // 64

    async def issue(ctx, walk, word):
        ctx.set(dut.issue, 1)
        ctx.set(dut.issue_walk, walk)
        ctx.set(dut.issue_word, word)
        await ctx.tick()
        ctx.set(dut.issue, 0)

    async def beat(ctx, walk, words, *, last, error=0):
        ctx.set(dut.beats.payload, {"data": sum(word << 64 * n for n, word in enumerate(words)),
                                    "tag": walk, "last": last, "error": error})
        ctx.set(dut.beats.valid, 1)
        await ctx.tick()
        ctx.set(dut.beats.valid, 0)
        assert ctx.get(dut.completed) == last

    async def word_at(ctx, walk, word, *, first):
        ctx.set(dut.looking, first)
        ctx.set(dut.look if first else dut.peek, {"walk": walk, "word": word})
        await ctx.tick()
        return ctx.get(dut.word), ctx.get(dut.error).value

    async def testbench(ctx):
        lines = {walk: [rng.getrandbits(64) for _ in range(8)] for walk in range(3)}
        for walk in lines:
            await issue(ctx, walk, 0)
        order = [walk for walk in lines for _ in range(8 // lanes)]
        rng.shuffle(order)
        done = dict.fromkeys(lines, 0)
        for walk in order:
            start = done[walk]
            done[walk] += lanes
            await beat(ctx, walk, lines[walk][start:start + lanes], last=done[walk] == 8,
                       error=2 if walk == 1 and start == 0 else 0)
            if done[walk] == 8:
                assert ctx.get(dut.walk) == walk
                assert (ctx.get(dut.access), ctx.get(dut.poison)) == (0, walk == 1)
        await issue(ctx, 2, 5)
        await beat(ctx, 2, [n if n == 5 % lanes else 0 for n in range(lanes)], last=1)
        for walk, line in lines.items():
            for n, word in enumerate(line):
                if walk == 2 and n // lanes == 5 // lanes:
                    continue
                expected = word, 2 if walk == 1 and n < lanes else 0
                assert await word_at(ctx, walk, n, first=n % 2) == expected
        assert await word_at(ctx, 2, 5, first=1) == (5 % lanes, 0)

    simulate(dut, testbench)


def test_more_device_contexts_than_can_wait_are_dropped():
    dut = WalkContexts(depth=2)

    async def testbench(ctx):
        for gscid in range(5):
            ctx.set(dut.i.payload, {"context": {"gscid": gscid}})
            ctx.set(dut.i.valid, 1)
            await ctx.tick()
        ctx.set(dut.i.valid, 0)
        assert ctx.get(dut.level) == 2
        ctx.set(dut.o.ready, 1)
        left = []
        for _ in range(4):
            if ctx.get(dut.o.valid):
                left.append(ctx.get(dut.o.payload).context.gscid)
            await ctx.tick()
        assert left == [0, 1]

    simulate(dut, testbench)
