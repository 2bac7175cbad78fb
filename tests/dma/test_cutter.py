# amaranth: UnusedElaboratable=no

import random

import pytest

from iovirt.dma.cutter import ReadCutter
from iovirt_sim.harness import simulate
from iovirt_sim.streams import receive, send
from iovirt_sim.tlp import split


def test_wrong_largest_payload():
    with pytest.raises(ValueError, match=r"^Largest payload must be an encoding in 0..5, not 6$"):
        ReadCutter(address_width=40, slots=4, largest_payload=6)


@pytest.mark.parametrize("built, asked, used", [(1, 0, 128), (1, 1, 256), (1, 5, 256),
                                                (5, 5, 4096), (0, 7, 128)])
def test_pieces_end_at_multiples_of_the_largest_payload(built, asked, used):
    rng = random.Random(used)
    dut = ReadCutter(address_width=40, slots=8, largest_payload=built)
    sent, expected = [], []
    for n in range(25):
        length = rng.choice([1, 2, 32, 64, 1024, rng.randrange(1, 1025)])
        first  = rng.randrange(1025 - length)
        ok     = n % 5 != 0
        sent.append({"slot": n % 8, "answer": {"ok": int(ok)},
                     "entry": {"address": 0xABC000 + 4 * first, "length_dw": length}})
        pieces = list(split(4 * first, 4 * length, mps=used, rcb=64))
        for index, (at, size) in enumerate(pieces if ok else [(4 * first, 4 * length)]):
            final = at + size == 4 * (first + length)
            expected.append((n % 8, ok, at // 4, index, index == 0, final)
                            + (((at + size) // 4 - 1,) if ok else ()))
    received = []

    async def producer(ctx):
        ctx.set(dut.max_payload, asked)
        await ctx.tick()
        await send(ctx, dut.i, sent, gap=lambda: rng.choice([0, 0, 2]))

    async def consumer(ctx):
        received.extend(await receive(ctx, dut.o, len(expected),
                                      gap=lambda: rng.choice([0, 0, 1])))

    simulate(dut, producer, consumer)
    for (cut,), piece in zip(received, expected, strict=True):
        got = (cut.read.slot, bool(cut.read.answer.ok), cut.first, cut.index, bool(cut.start),
               bool(cut.final))
        assert got + ((cut.last,) if piece[1] else ()) == piece
