# amaranth: UnusedElaboratable=no

import random

import pytest

from iovirt.dma.arrivals import ReadArrivals
from iovirt_sim.harness import simulate
from iovirt_sim.streams import receive, send


@pytest.mark.parametrize("seed, gaps", [(1, [0]), (2, [0, 0, 1, 3])])
def test_beats_of_mixed_bursts_find_their_rows(seed, gaps):
    rng = random.Random(seed)
    dut = ReadArrivals(lanes=2, rows=8, pieces=4, id_width=3)
    bursts, sent, expected = {}, [], []
    told = []
    for n in range(150):
        piece = rng.randrange(4)
        burst = bursts.setdefault(piece, {"left": rng.randrange(1, 9), "row": 0, "bad": set()})
        resp  = rng.choice([0, 0, 0, 0, 0, 2, 3])
        burst["left"] -= 1
        burst["bad"].add(resp)
        sent.append({"id": piece, "data": n, "resp": resp, "last": int(not burst["left"])})
        expected.append((piece, burst["row"], n))
        burst["row"] += 1
        if not burst["left"]:
            told.append((piece, 2 in burst["bad"], 3 in burst["bad"]))
            del bursts[piece]
    stored = []

    async def producer(ctx):
        await ctx.tick().until(dut.enable)
        await send(ctx, dut.i, sent, gap=lambda: rng.choice(gaps))

    async def consumer(ctx):
        for piece, poison, abort in told:
            (got,), = await receive(ctx, dut.o, 1)
            assert (got.piece, bool(got.poison), bool(got.abort)) == (piece, poison, abort)
            assert not got.drop

    async def watch(ctx):
        port = dut.payload
        async for _, _, en, ready, *beat in ctx.tick().sample(port.en, dut.i.ready, port.slot,
                                                              port.row, port.data):
            assert ready, "read data must be taken at once"
            if en:
                stored.append(tuple(beat))

    simulate(dut, producer, consumer, background=[watch])
    assert stored[:len(expected)] == expected[:len(stored)]
    assert len(stored) >= len(expected) - 3
