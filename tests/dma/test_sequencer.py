# amaranth: UnusedElaboratable=no

import random

import pytest

from iovirt.dma.sequencer import PIECES_PER_READ, ReadSequencer
from iovirt_sim.harness import simulate
from iovirt_sim.streams import receive, send


async def place(ctx, dut, piece, slot, index, last, epoch):
    ctx.set(dut.place.slot, piece)
    ctx.set(dut.place.data, {"slot": slot, "index": index, "last": last, "epoch": epoch})
    ctx.set(dut.place.en, 1)
    await ctx.tick()
    ctx.set(dut.place.en, 0)


async def ready(ctx, dut):
    await ctx.tick().until(dut.enable)


def test_tables_are_cleared_after_reset():
    dut = ReadSequencer(slots=4, pieces=4)

    async def testbench(ctx):
        for _ in range(4 * PIECES_PER_READ):
            assert not ctx.get(dut.enable)
            await ctx.tick()
        assert ctx.get(dut.enable)

    simulate(dut, testbench)


@pytest.mark.parametrize("seed, gaps", [(1, [0]), (2, [0, 0, 3]), (3, [0]), (4, [5])])
def test_pieces_leave_in_order_whatever_order_they_came_in(seed, gaps):
    rng = random.Random(seed)
    dut = ReadSequencer(slots=4, pieces=16)
    released, ended = [], []

    async def testbench(ctx):
        await ready(ctx, dut)
        for _ in range(6):
            # All 16 pieces, of four reads of different sizes.
            sizes  = rng.choice([[4, 4, 4, 4], [1, 2, 3, 10], [13, 1, 1, 1]])
            pieces = rng.sample(range(16), 16)
            where, reads, n = {}, [], 0
            for slot, size in enumerate(sizes):
                reads.append(pieces[n:n + size])
                n += size
                for index, piece in enumerate(reads[-1]):
                    where[piece] = slot, index
                    await place(ctx, dut, piece, slot, index, int(index == size - 1), slot & 1)
            aborted = rng.choice(pieces)
            rng.shuffle(pieces)
            released.clear()
            ended.clear()
            await send(ctx, dut.i, [{"piece": piece, "abort": int(piece == aborted)}
                                    for piece in pieces], gap=lambda: rng.choice(gaps))
            while len(released) < 16 or len(ended) < 4:
                await ctx.tick()
            order = [piece for piece, _ in released]
            for read in reads:
                assert [piece for piece in order if piece in read] == read
            slot, index = where[aborted]
            dropped = {piece for piece, drop in released if drop}
            assert dropped == set(reads[slot][index + 1:])
            assert sorted(ended) == [(slot, slot & 1) for slot in range(4)]
            for _ in range(5):
                await ctx.tick()

    async def consumer(ctx):
        while True:
            (got,), = await receive(ctx, dut.o, 1, gap=lambda: rng.choice(gaps))
            released.append((got.piece, bool(got.drop)))

    async def watch(ctx):
        async for _, _, en, slot, valid, epoch in ctx.tick().sample(
                dut.put.en, dut.put.slot, dut.retire.valid, dut.retire.epoch):
            assert en == valid
            if en:
                ended.append((slot, epoch))

    simulate(dut, testbench, background=[consumer, watch])


@pytest.mark.parametrize("seed", [1, 2])
def test_failures_that_stay_hidden_are_told_of_once_and_before_the_slot_is_used_again(seed):
    rng = random.Random(seed)
    dut = ReadSequencer(slots=4, pieces=16, shared=True)
    told, ended, expected = [], [], []

    async def testbench(ctx):
        await ready(ctx, dut)
        for _ in range(8):
            pieces = rng.sample(range(16), 16)
            hidden = set(rng.sample(range(16), rng.randrange(16)))
            order, wanted = rng.sample(range(16), 16), set()
            for n, piece in enumerate(pieces):
                await place(ctx, dut, piece, n // 4, n % 4, int(n % 4 == 3), 0)
                if piece in hidden:
                    wanted.add(n // 4)
            told.clear()
            ended.clear()
            await send(ctx, dut.i, [{"piece": piece, "abort": int(piece in hidden),
                                     "hide": int(piece in hidden or rng.random() < 0.5)}
                                    for piece in order])
            while len(ended) < 4:
                await ctx.tick()
            await ctx.tick().repeat(2)
            assert sorted(told) == sorted(wanted)
            expected.append(len(wanted))

    async def consumer(ctx):
        while True:
            (got,), = await receive(ctx, dut.o, 1)
            assert not got.drop

    async def watch(ctx):
        before = []
        async for _, _, en, slot, put, put_slot in ctx.tick().sample(
                dut.hidden.en, dut.hidden.slot, dut.put.en, dut.put.slot):
            if en:
                assert slot not in ended[:len(ended) - len(before)], "told after the end"
                told.append(slot)
            before = [put_slot] if put else []
            ended.extend(before)

    simulate(dut, testbench, background=[consumer, watch])
    assert any(expected)


def test_denied_read_ends_once():
    dut = ReadSequencer(slots=4, pieces=4)
    ended = []

    async def testbench(ctx):
        await ready(ctx, dut)
        await send(ctx, dut.denied, [{"slot": 3, "epoch": 1}, {"slot": 1, "epoch": 0}])
        await ctx.tick()

    async def watch(ctx):
        async for _, _, en, slot, epoch in ctx.tick().sample(dut.put.en, dut.put.slot,
                                                             dut.retire.epoch):
            if en:
                ended.append((slot, epoch))

    simulate(dut, testbench, background=[watch])
    assert ended == [(3, 1), (1, 0)]
