# amaranth: UnusedElaboratable=no

import random

import pytest

from iovirt.pio.read_data import ReadData
from iovirt_sim.harness import simulate


@pytest.mark.parametrize("data_width, most", [(64, 64), (128, 64), (512, 64), (256, 512)])
def test_only_the_dwords_of_a_payload_are_written_each_to_its_lane(data_width, most):
    rng = random.Random(data_width)
    dut = ReadData(depth=4, data_width=data_width, max_read_bytes=most)
    lanes = data_width // 32
    kept = {}

    async def testbench(ctx):
        for _ in range(60):
            tag, start = rng.randrange(4), rng.randrange(most // 4)
            count = rng.randint(1, most // 4 - start)
            for n in range(0, count, lanes):
                words = [rng.getrandbits(32) for _ in range(min(lanes, count - n))]
                # What is beside the payload in its last beat must not be written.
                noise = rng.getrandbits(data_width) >> 32 * len(words) << 32 * len(words)
                ctx.set(dut.store.en, 1)
                ctx.set(dut.store.tag, tag)
                ctx.set(dut.store.row, start // lanes + n // lanes)
                ctx.set(dut.store.lane, start % lanes)
                ctx.set(dut.store.strb, (1 << len(words)) - 1)
                ctx.set(dut.store.data, noise | sum(word << 32 * k for k, word in enumerate(words)))
                kept.update({(tag, start + n + k): word for k, word in enumerate(words)})
                await ctx.tick()
            ctx.set(dut.store.en, 0)
        # A beat is there after two clocks.
        await ctx.tick()
        for tag in range(4):
            for row in range(dut.rows):
                ctx.set(dut.fetch.en, 1)
                ctx.set(dut.fetch.tag, tag)
                ctx.set(dut.fetch.row, row)
                await ctx.tick()
                got = ctx.get(dut.fetch.data)
                assert [got >> 32 * k & 0xFFFFFFFF for k in range(lanes)] == [
                    kept.get((tag, row * lanes + k), 0) for k in range(lanes)]

    simulate(dut, testbench)
