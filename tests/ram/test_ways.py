# amaranth: UnusedElaboratable=no

import random

import pytest

from iovirt.ram import WayTable
from iovirt_sim.harness import simulate


@pytest.mark.parametrize("change, message", [
    ({"sets": 3}, r"^Number of sets must be a power of two of at least 2, not 3$"),
    ({"ways": 0}, r"^Number of ways must be an integer of at least 1, not 0$"),
])
def test_wrong_geometry(change, message):
    with pytest.raises(ValueError, match=message):
        WayTable(8, **{"sets": 4, "ways": 2, **change})


@pytest.mark.parametrize("sets, ways", [(2, 1), (4, 3), (128, 2)])
def test_ways_are_written_alone_and_read_together(sets, ways):
    rng   = random.Random(sets)
    dut   = WayTable(8, sets=sets, ways=ways)
    model = [[0] * ways for _ in range(sets)]

    async def testbench(ctx):
        for _ in range(300):
            read, write, mask = rng.randrange(sets), rng.randrange(sets), rng.randrange(1 << ways)
            ctx.set(dut.read_set, read)
            ctx.set(dut.write_set, write)
            ctx.set(dut.write_ways, mask)
            expected = list(model[read])
            for way in range(ways):
                value = rng.randrange(256)
                ctx.set(dut.write_data[way], value)
                if mask >> way & 1:
                    model[write][way] = value
            await ctx.tick()
            assert ctx.get(dut.collided) == (read == write and mask != 0)
            if not ctx.get(dut.collided):
                assert [ctx.get(entry) for entry in dut.entries] == expected

    simulate(dut, testbench)
