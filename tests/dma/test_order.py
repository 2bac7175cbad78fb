# amaranth: UnusedElaboratable=no

import random

import pytest
from amaranth import Signal

from iovirt.dma.order import WriteOrder, order_class
from iovirt_sim.harness import simulate


@pytest.mark.parametrize("change, message", [
    ({"classes": 3}, r"^Number of classes must be a power of two, not 3$"),
    ({"width": 1},   r"^Width of numbers must be an integer of at least 2, not 1$"),
])
def test_wrong_parameters(change, message):
    with pytest.raises(ValueError, match=message):
        WriteOrder(**{"classes": 2, "width": 4} | change)


@pytest.mark.parametrize("classes", [1, 2, 8])
def test_counts_of_classes_are_separate(classes):
    rng = random.Random(classes)
    dut = WriteOrder(classes=classes, width=6)
    arrived, done = [0] * classes, [0] * classes

    async def testbench(ctx):
        for _ in range(200):
            a, b, c = (rng.randrange(classes) for _ in range(3))
            ctx.set(dut.arrive.order, a)
            ctx.set(dut.respond.order, b)
            ctx.set(dut.ask[0].order, c)
            ctx.set(dut.ask[0].number, arrived[c] % 64)
            ctx.set(dut.ask[1].order, a)
            ctx.set(dut.ask[1].number, done[a] % 64)
            assert ctx.get(dut.arrive.number) == arrived[a] % 64
            assert ctx.get(dut.respond.number) == done[b] % 64
            assert ctx.get(dut.ask[0].distance) == arrived[c] - done[c]
            assert ctx.get(dut.ask[1].distance) == 0
            come, go = arrived[a] - done[a] < 20 and rng.random() < 0.7, done[b] < arrived[b]
            ctx.set(dut.arrive.en, come)
            ctx.set(dut.respond.en, go)
            await ctx.tick()
            arrived[a] += come
            done[b] += go

    simulate(dut, testbench)


@pytest.mark.parametrize("classes", [1, 4, 8, 16])
def test_class_depends_on_every_bit_of_the_source(classes):
    hashed = order_class(Signal(24), classes=classes)
    assert 1 << len(hashed) == classes
