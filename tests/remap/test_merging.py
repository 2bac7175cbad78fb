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
        alone = {}  # slots that walk although another owns their line
        tried = set()  # slots that wait for the second time
        unstarted, woken = set(), set()
        for clock in range(800):
            # Report a miss: of a new request, or of a replay.
            slot, replayed = None, False
            if missing and rng.random() < 0.5:
                (slot, line), replayed = missing.popleft(), True
            elif free and clock < 600 and rng.random() < 0.7:
                slot, line = free.pop(), rng.randrange(lines)
            ctx.set(dut.missed.en, slot is not None)
            if slot is not None:
                ctx.set(dut.missed.slot, slot)
                ctx.set(dut.missed.hash, line)
                ctx.set(dut.missed.replayed, replayed)

            # A walk ends; a miss of its line in the same clock still waits for it.
            ended = running and rng.random() < 0.15
            ctx.set(dut.done.en, bool(ended))
            if slot is not None:
                if line in owner and slot in tried and replayed:
                    alone[slot] = line
                    unstarted.add(slot)
                elif line in owner:
                    waiting[slot] = line
                else:
                    owner[line] = slot
                    unstarted.add(slot)
                tried.discard(slot)
                if replayed and slot in waiting:
                    tried.add(slot)
            if ended:
                walked = running.pop(rng.randrange(len(running)))
                ctx.set(dut.done.slot, walked)
                free.add(walked)
                if walked not in alone:
                    line = next(line for line, slot in owner.items() if slot == walked)
                    del owner[line]
                    woken |= {(slot, line) for slot, other in waiting.items() if other == line}
                    waiting = {slot: other for slot, other in waiting.items() if other != line}
                alone.pop(walked, None)

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


def test_slot_that_missed_three_times_walks_whatever_others_of_its_hash_do():
    # Slots 0 and 1 miss the same line again and again, as a device can make them; slot 5 is one of
    # those that waited for the first walk.
    dut = WalkMerger(slots=8, hash_width=3)
    walked = []

    async def testbench(ctx):
        ctx.set(dut.walk.ready, 1)
        ctx.set(dut.replay.ready, 1)
        reports, walks = deque([(0, 0), (1, 0), (5, 0)]), deque()
        for _ in range(200):
            ctx.set(dut.missed.en, bool(reports))
            if reports:
                slot, replayed = reports.popleft()
                ctx.set(dut.missed.slot, slot)
                ctx.set(dut.missed.replayed, replayed)
            ctx.set(dut.done.en, 0)
            if walks and walks[0][1] == 0:
                slot, _ = walks.popleft()
                ctx.set(dut.done.en, 1)
                ctx.set(dut.done.slot, slot)
                if slot < 2:
                    reports.append((slot, 0))
            walks = deque((slot, max(0, left - 1)) for slot, left in walks)
            if ctx.get(dut.walk.valid):
                walked.append(ctx.get(dut.walk.payload))
                walks.append((walked[-1], 10))
            if ctx.get(dut.replay.valid):
                reports.append((ctx.get(dut.replay.payload), 1))
            await ctx.tick()

    simulate(dut, testbench)
    assert walked.count(5) == 1 and walked.index(5) <= 5


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
