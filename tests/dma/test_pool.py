# amaranth: UnusedElaboratable=no

import random

import pytest

from iovirt.dma.pool import SlotPool
from iovirt_sim.harness import simulate


@pytest.mark.parametrize("slots", [0, 3, "8"])
def test_wrong_slots(slots):
    with pytest.raises(ValueError, match=r"^Number of slots must be an integer of at least 4, "
                                         rf"not {slots!r}$"):
        SlotPool(slots=slots)


@pytest.mark.parametrize("slots", [4, 5, 8])
def test_slot_is_never_out_twice(slots):
    rng = random.Random(slots)
    dut = SlotPool(slots=slots)
    out = set()
    most = [0]

    async def testbench(ctx):
        for _ in range(300):
            put = rng.choice(sorted(out)) if out and rng.random() < 0.45 else None
            ctx.set(dut.put.en, put is not None)
            ctx.set(dut.put.slot, put or 0)
            ctx.set(dut.o.ready, rng.random() < 0.6)
            _, _, valid, ready, slot = await ctx.tick().sample(dut.o.valid, dut.o.ready,
                                                               dut.o.payload)
            if valid and ready:
                assert slot not in out and slot < slots
                out.add(slot)
            out.discard(put)
            most[0] = max(most[0], len(out))
            assert ctx.get(dut.used) == len(out)

    simulate(dut, testbench)
    assert most == [slots]


def test_every_slot_comes_back():
    dut = SlotPool(slots=4)

    async def testbench(ctx):
        ctx.set(dut.o.ready, 1)
        for _ in range(4):
            await ctx.tick().until(dut.o.valid)
        for slot in (2, 0, 3, 1):
            ctx.set(dut.put.slot, slot)
            ctx.set(dut.put.en, 1)
            await ctx.tick()
            ctx.set(dut.put.en, 0)
            got, = await ctx.tick().sample(dut.o.payload).until(dut.o.valid)
            assert got == slot

    simulate(dut, testbench)
