# amaranth: UnusedElaboratable=no

import random

import pytest
from amaranth.back import verilog

from iovirt.stream.picker import SlotPicker
from iovirt_sim.harness import simulate


@pytest.mark.parametrize("slots", [1, "4"])
def test_wrong_slots(slots):
    message = rf"^Number of slots must be an integer of at least 2, not {slots!r}$"
    with pytest.raises(ValueError, match=message):
        SlotPicker(slots=slots)


@pytest.mark.parametrize("slots", [2, 3, 8, 13])
@pytest.mark.parametrize("stalls", [False, True])
def test_each_wanting_slot_is_chosen_once_and_after_at_most_all_others(slots, stalls):
    rng = random.Random(slots)
    dut = SlotPicker(slots=slots)

    async def testbench(ctx):
        wanting, chosen, expected = {}, [], []
        for _ in range(300):
            if rng.random() < 0.5:
                wanting.setdefault(rng.randrange(slots), 0)
            ctx.set(dut.want, sum(1 << n for n in wanting))
            ctx.set(dut.o.ready, not stalls or rng.random() < 0.5)
            if ctx.get(dut.o.valid) and ctx.get(dut.o.ready):
                chosen.append(ctx.get(dut.o.payload))
            taken = ctx.get(dut.taken)
            assert stalls or bool(taken) == bool(wanting)
            if taken:
                slot = taken.bit_length() - 1
                assert taken == 1 << slot
                wanting.pop(slot)
                wanting = {n: passed + 1 for n, passed in wanting.items()}
                assert all(passed < slots for passed in wanting.values())
                expected.append(slot)
            await ctx.tick()
        assert len(expected) > 100 and expected[:len(chosen)] == chosen

    simulate(dut, testbench)


def test_follow_is_chosen_only_if_no_slot_wants():
    dut = SlotPicker(slots=4)

    async def testbench(ctx):
        ctx.set(dut.o.ready, 1)
        ctx.set(dut.follow, 0b0100)
        ctx.set(dut.want, 0b1000)
        assert ctx.get(dut.taken) == 0b1000
        await ctx.tick()
        ctx.set(dut.want, 0)
        assert ctx.get(dut.taken) == 0b0100
        await ctx.tick()
        assert ctx.get(dut.o.payload) == 2

    simulate(dut, testbench)


def test_exports_verilog():
    assert "module slot_picker(" in verilog.convert(SlotPicker(slots=16), name="slot_picker")
