# amaranth: UnusedElaboratable=no

import random

import pytest

from iovirt.ram import Plru
from iovirt_sim.harness import simulate


class Trees:
    """Tree pseudo-LRU, as an interval that is halved."""

    def __init__(self, ways):
        self.ways, self.second = ways, {}

    def victim(self, set_index):
        low, high = 0, self.ways
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.second.get((set_index, low, high)) else (low, middle)
        return low

    def touch(self, set_index, way):
        low, high = 0, self.ways
        while high - low > 1:
            middle = (low + high) // 2
            self.second[set_index, low, high] = way < middle
            low, high = (low, middle) if way < middle else (middle, high)


@pytest.mark.parametrize("change, message", [
    ({"sets": 1},   r"^Number of sets must be a power of two of at least 2, not 1$"),
    ({"ways": 3},   r"^Number of ways must be a power of two of at least 2, not 3$"),
    ({"ways": "4"}, r"^Number of ways must be a power of two of at least 2, not '4'$"),
])
def test_wrong_geometry(change, message):
    with pytest.raises(ValueError, match=message):
        Plru(**{"sets": 4, "ways": 4, **change})


@pytest.mark.parametrize("sets, ways", [(2, 2), (4, 4), (8, 8), (4, 16)])
def test_victims_are_those_of_the_tree(sets, ways):
    rng   = random.Random(sets * ways)
    dut   = Plru(sets=sets, ways=ways)
    model = Trees(ways)

    async def testbench(ctx):
        for _ in range(400):
            touched = rng.randrange(sets), rng.randrange(ways), rng.random() < 0.8
            read_set = rng.choice([s for s in range(sets) if s != touched[0]])
            ctx.set(dut.touch_set, touched[0])
            ctx.set(dut.touch_ways, touched[2] << touched[1])
            ctx.set(dut.read_set, read_set)
            expected = model.victim(read_set)
            if touched[2]:
                model.touch(*touched[:2])
            await ctx.tick()
            assert ctx.get(dut.victim) == 1 << expected

    simulate(dut, testbench)


@pytest.mark.parametrize("ways", [2, 4, 8])
def test_way_just_touched_is_not_the_victim(ways):
    dut = Plru(sets=2, ways=ways)

    async def testbench(ctx):
        for way in [*range(ways), *reversed(range(ways))]:
            ctx.set(dut.touch_ways, 1 << way)
            await ctx.tick()
            ctx.set(dut.touch_ways, 0)
            await ctx.tick()
            assert ctx.get(dut.victim) != 1 << way

    simulate(dut, testbench)
