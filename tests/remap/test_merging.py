# amaranth: UnusedElaboratable=no

import random
from collections import deque

import pytest
from amaranth.back import verilog

from iovirt.remap.merging import WalkMerger
from iovirt_sim.harness import simulate


@pytest.mark.parametrize("changes, message", [
    ({"slots": 1}, r"^Number of slots must be an integer of at least 2, not 1$"),
    ({"hash_width": 0}, r"^Width of hash must be an integer of at least 1, not 0$"),
])
def test_wrong_parameters(changes, message):
    with pytest.raises(ValueError, match=message):
        WalkMerger(**{"slots": 4, "hash_width": 3, **changes})


@pytest.mark.parametrize("slots", [2, 3, 8, 13])
@pytest.mark.parametrize("lines", [1, 3, 8])
def test_each_slot_walks_or_is_replayed_when_the_walk_of_its_line_is_done(slots, lines):
    rng = random.Random(slots + lines)
    dut = WalkMerger(slots=slots, hash_width=3)
    counts = {"walk": 0, "replay": 0}

    async def testbench(ctx):
        owner, waiting, running, missing, free = {}, {}, [], deque(), set(range(slots))
        unstarted, woken = set(), set()
        for clock in range(800):
            # Report a miss: of a new request, or of a replay.
            slot = None
            if missing and rng.random() < 0.5:
                slot, line = missing.popleft()
            elif free and clock < 600 and rng.random() < 0.7:
                slot, line = free.pop(), rng.randrange(lines)
            ctx.set(dut.missed.en, slot is not None)
            if slot is not None:
                ctx.set(dut.missed.slot, slot)
                ctx.set(dut.missed.hash, line)

            # A walk ends; a miss of its line in the same clock still waits for it.
            ended = running and rng.random() < 0.15
            ctx.set(dut.done.en, bool(ended))
            if slot is not None:
                if line in owner:
                    waiting[slot] = line
                else:
                    owner[line] = slot
                    unstarted.add(slot)
            if ended:
                walked = running.pop(rng.randrange(len(running)))
                ctx.set(dut.done.slot, walked)
                line = next(line for line, slot in owner.items() if slot == walked)
                del owner[line]
                free.add(walked)
                woken |= {(slot, line) for slot, other in waiting.items() if other == line}
                waiting = {slot: other for slot, other in waiting.items() if other != line}

            hold = rng.random() < 0.2
            ctx.set(dut.hold, hold)
            for name in "walk", "replay":
                port = getattr(dut, name)
                ctx.set(port.ready, rng.random() < 0.7)
                if ctx.get(port.valid) and ctx.get(port.ready):
                    slot = ctx.get(port.payload)
                    counts[name] += 1
                    if name == "walk":
                        unstarted.remove(slot)
                        running.append(slot)
                    else:
                        line, = (line for woke, line in woken if woke == slot)
                        woken.remove((slot, line))
                        if rng.random() < 0.5:
                            missing.append((slot, line))
                        else:
                            free.add(slot)
            await ctx.tick()
        assert not (owner or waiting or running or missing or unstarted or woken)

    simulate(dut, testbench)
    assert counts["walk"] > 30 and counts["replay"] > 5


def test_no_walk_is_chosen_while_held():
    dut = WalkMerger(slots=4, hash_width=3)

    async def testbench(ctx):
        ctx.set(dut.hold, 1)
        ctx.set(dut.missed.en, 1)
        await ctx.tick()
        ctx.set(dut.missed.en, 0)
        for _ in range(5):
            await ctx.tick()
            assert not ctx.get(dut.walk.valid)
        ctx.set(dut.hold, 0)
        await ctx.tick()
        assert ctx.get(dut.walk.valid)

    simulate(dut, testbench)


def test_exports_verilog():
    text = verilog.convert(WalkMerger(slots=8, hash_width=14), name="walk_merger")
    assert "module walk_merger(" in text
