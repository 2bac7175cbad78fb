# amaranth: UnusedElaboratable=no

import random

import pytest

from iovirt.stream.slot_memory import SlotMemory
from iovirt_sim.harness import simulate
from iovirt_sim.streams import receive, send


@pytest.mark.parametrize("slots", [1, None])
def test_wrong_slots(slots):
    message = rf"^Number of slots must be an integer of at least 2, not {slots!r}$"
    with pytest.raises(ValueError, match=message):
        SlotMemory(8, slots=slots)


@pytest.mark.parametrize("slots", [2, 3, 16])
@pytest.mark.parametrize("gaps", [(0,), (0, 1, 3)])
def test_each_slot_comes_with_what_was_stored_for_it(slots, gaps):
    rng = random.Random(slots)
    gap = lambda: rng.choice(gaps)
    dut = SlotMemory(8, slots=slots)
    order = [rng.randrange(slots) for _ in range(60)]

    async def producer(ctx):
        for slot in range(slots):
            ctx.set(dut.write.en, 1)
            ctx.set(dut.write.slot, slot)
            ctx.set(dut.write.data, 17 * slot & 255)
            await ctx.tick()
        ctx.set(dut.write.en, 0)
        await send(ctx, dut.i, order, gap=gap)

    async def consumer(ctx):
        for (payload,), slot in zip(await receive(ctx, dut.o, len(order), gap=gap), order,
                                    strict=True):
            assert payload == {"slot": slot, "data": 17 * slot & 255}

    simulate(dut, producer, consumer)
