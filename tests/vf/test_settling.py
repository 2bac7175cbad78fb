# amaranth: UnusedElaboratable=no

import random
from collections import deque

import pytest

from iovirt.vf.settling import Settling
from iovirt_sim.harness import simulate


@pytest.mark.parametrize("change, message", [
    ({"parts": 0}, "Number of parts must be an integer of at least 1, not 0"),
    ({"capacity": "4"}, "Capacity must be an integer of at least 1, not '4'"),
])
def test_wrong_parameters(change, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        Settling(**{"parts": 2, "capacity": 4, **change})


@pytest.mark.parametrize("load", [.2, .6, 1])
def test_it_is_settled_soon_after_all_of_before_has_left_however_much_comes(load):
    rng, parts, capacity = random.Random(str(load)), 3, 4
    dut = Settling(parts=parts, capacity=capacity)
    # Things in each part, by the clock in which they came.
    queues, times = [deque() for _ in range(parts)], []

    async def testbench(ctx):
        restarted, waited = -1, 0
        for clock in range(3000):
            restart = rng.random() < .02
            leaves  = [bool(queue) and rng.random() < .5
                       and (n == parts - 1 or len(queues[n + 1]) < capacity)
                       for n, queue in enumerate(queues)]
            ctx.set(dut.restart, restart)
            for part, queue, leaving in zip(dut.part, queues, leaves, strict=True):
                ctx.set(part.idle, not queue)
                ctx.set(part.leaves, leaving)
            if ctx.get(dut.settled):
                assert all(came > restarted for queue in queues for came in queue)
                times.append(waited)
            waited = 0 if restart else waited + 1
            restarted = clock if restart else restarted
            came = rng.random() < load and len(queues[0]) < capacity
            for n in reversed(range(parts)):
                if leaves[n]:
                    thing = queues[n].popleft()
                    if n + 1 < parts:
                        queues[n + 1].append(thing)
            if came:
                queues[0].append(clock)
            await ctx.tick()

    simulate(dut, testbench)
    assert times and min(times) < 70


def test_it_waits_for_a_part_that_is_stuck():
    dut = Settling(parts=2, capacity=2)

    async def testbench(ctx):
        for part in dut.part:
            ctx.set(part.idle, 1)
        await ctx.tick().repeat(3)
        assert ctx.get(dut.settled)
        ctx.set(dut.part[1].idle, 0)
        ctx.set(dut.part[0].leaves, 1)
        ctx.set(dut.restart, 1)
        await ctx.tick()
        ctx.set(dut.restart, 0)
        await ctx.tick().repeat(50)
        assert not ctx.get(dut.settled)
        ctx.set(dut.part[1].leaves, 1)
        await ctx.tick().repeat(4)
        assert ctx.get(dut.settled)

    simulate(dut, testbench)
