# amaranth: UnusedElaboratable=no

import random
from collections import defaultdict, deque

import pytest
from amaranth.back import verilog

from iovirt.stream.order_pool import OrderPool
from iovirt_sim.harness import simulate


@pytest.mark.parametrize("changes, message", [
    ({"source_width": 0}, r"^Width of source must be an integer of at least 1, not 0$"),
    ({"slots": 1}, r"^Number of slots must be an integer of at least 2, not 1$"),
])
def test_wrong_parameters(changes, message):
    with pytest.raises(ValueError, match=message):
        OrderPool(**{"source_width": 4, "slots": 4, **changes})


async def play(ctx, dut, clocks, *, arrival, finish, ready):
    """Park what ``arrival()`` says; return [(clock, source)] of what left, checking the order."""
    parked, order, owners = [], defaultdict(deque), {}
    finished, leaving, places, given_to, left = set(), deque(), dut.slots, None, []
    for clock in range(clocks):
        # What was parked in the last clock gets its slot.
        assert ctx.get(dut.given) == (given_to is not None)
        if given_to is not None:
            slot = ctx.get(dut.slot)
            assert slot not in owners
            owners[slot] = given_to
            order[given_to].append(slot)
        source = arrival()
        park = source is not None and places > 0
        ctx.set(dut.park, park)
        if source is not None:
            ctx.set(dut.source, source)
            assert ctx.get(dut.waits) == any(source == other for other in parked)
        given_to = source if park else None
        if park:
            parked.append(source)
            places -= 1
        await_release = leaving and leaving[0][0] <= clock
        ctx.set(dut.release, bool(await_release))
        if await_release:
            slot = leaving.popleft()[1]
            ctx.set(dut.released, slot)
            parked.remove(owners.pop(slot))
            finished.discard(slot)
            places += 1
        ctx.set(dut.o.ready, ready())
        if ctx.get(dut.o.valid) and ctx.get(dut.o.ready):
            slot = ctx.get(dut.o.payload)
            assert slot in finished and order[owners[slot]].popleft() == slot
            leaving.append((clock + 2, slot))
            left.append((clock, owners[slot]))
        await ctx.tick()
        finished |= {slot for slot in owners if finish()}
        ctx.set(dut.finished, sum(1 << slot for slot in finished))
    return left


@pytest.mark.parametrize("slots", [2, 3, 8, 13])
@pytest.mark.parametrize("stalls", [False, True])
def test_slots_of_a_source_leave_in_order(slots, stalls):
    rng = random.Random(slots)
    dut = OrderPool(source_width=4, slots=slots)

    async def testbench(ctx):
        left = await play(ctx, dut, 500,
                          arrival=lambda: rng.choice([None, *range(3)]),
                          finish=lambda: rng.random() < 0.3,
                          ready=lambda: not stalls or rng.random() < 0.5)
        assert len(left) > 60

    simulate(dut, testbench)


def test_a_lone_source_leaves_one_slot_per_clock():
    dut = OrderPool(source_width=4, slots=16)

    async def testbench(ctx):
        left = await play(ctx, dut, 200, arrival=lambda: 5, finish=lambda: True, ready=lambda: True)
        assert left[-1][0] - left[20][0] == len(left) - 21

    simulate(dut, testbench)


def test_a_source_does_not_wait_for_another():
    dut = OrderPool(source_width=4, slots=4)

    async def testbench(ctx):
        for source in 1, 2:
            ctx.set(dut.source, source)
            ctx.set(dut.park, 1)
            await ctx.tick()
        ctx.set(dut.park, 0)
        second = ctx.get(dut.slot)
        await ctx.tick()
        ctx.set(dut.finished, 1 << second)
        await ctx.tick().repeat(2)
        assert ctx.get(dut.o.valid) and ctx.get(dut.o.payload) == second

    simulate(dut, testbench)


def test_exports_verilog():
    text = verilog.convert(OrderPool(source_width=8, slots=8), name="order_pool")
    assert "module order_pool(" in text
