"""What the event queues promise to a reader and to a hypervisor, one claim per test."""

import pytest

from iovirt_sim.harness import simulate
from iovirt_sim.table_memory import ACCESS, POISON

from .queue_bench import (
    ACCEPTED,
    ACCEPTS,
    CONTROL,
    COUNT,
    DROPPED,
    DROPS,
    FORGED,
    FULL,
    G_ARM,
    G_HEAD,
    G_MASK,
    G_SIZE,
    G_STATUS,
    G_TAIL,
    HEAD,
    LOST,
    MODERATION,
    OFF,
    STATUS,
    TAIL,
    UNREAD,
    QueueBench,
    an_event,
    make,
    ring_base,
)


def run(body, *, deadline=9000, bench=None, **memory):
    """Run ``body(ctx, bench)`` with everything around the queues."""
    bench = bench or QueueBench(make(), **{"latency": (2, 9), **memory})

    async def main(ctx):
        await body(ctx, bench)
        bench.stop()

    simulate(bench.dut, main, background=bench.background(), deadline=deadline)
    return bench


async def burst(ctx, bench, queue, number, **changes):
    for n in range(number):
        await bench.send(ctx, an_event(bench.rng, queue, n % 256, **changes))
    while bench.sent:
        await ctx.tick()


async def settle(ctx, bench, queue):
    while await bench.get(ctx, queue, STATUS) & 2:
        await ctx.tick()


def kinds(bench):
    result = [kind for kind, _ in bench.verdicts]
    bench.verdicts.clear()
    return result


def test_queue_that_was_never_started_is_off():
    async def body(ctx, bench):
        await burst(ctx, bench, 3, 2)
        assert kinds(bench) == [OFF, OFF]
        assert await bench.get(ctx, 3, STATUS) == 0b10000
        await bench.start(ctx, 3, 1)
        assert bench.rooms == [3] and len(bench.retry) == 2

    run(body)


@pytest.mark.parametrize("size_log2", [0, 17, 31])
def test_illegal_size_does_not_run(size_log2):
    async def body(ctx, bench):
        await bench.start(ctx, 1, size_log2)
        assert not await bench.get(ctx, 1, CONTROL) & 1

    run(body)


def test_full_queue_spills_and_names_room_once_per_refusal():
    async def body(ctx, bench):
        await bench.start(ctx, 2, 2)
        for _ in range(4):
            await burst(ctx, bench, 2, 7)
            assert kinds(bench) == [ACCEPTED] * 4 + [FULL] * 3
            assert bench.rooms == []
            await settle(ctx, bench, 2)
            assert await bench.service(ctx, 2) == 4
            assert bench.rooms == [2]
            await bench.guest_put(ctx, 2, G_HEAD, bench.head[2])
            assert bench.rooms == [2]
            bench.rooms.clear()

    run(body)


def test_full_queue_that_drops_counts():
    async def body(ctx, bench):
        await bench.start(ctx, 2, 1, drop_new=1)
        await burst(ctx, bench, 2, 7)
        assert kinds(bench) == [ACCEPTED] * 2 + [DROPPED] * 5
        assert await bench.get(ctx, 2, DROPS) == 5
        await settle(ctx, bench, 2)
        assert await bench.service(ctx, 2) == 2
        assert bench.rooms == []

    run(body)


def test_unread_record_of_the_source_asks_to_merge_until_the_head_has_passed_it():
    async def body(ctx, bench):
        await bench.start(ctx, 2, 3, preset=COUNT)
        await burst(ctx, bench, 2, 2)
        for last, wanted in ((COUNT, UNREAD), (0, UNREAD), (COUNT - 1, ACCEPTED), (2, ACCEPTED)):
            kinds(bench)
            await burst(ctx, bench, 2, 1, last_valid=1, last=last)
            assert kinds(bench) == [wanted], last
        await settle(ctx, bench, 2)
        await bench.service(ctx, 2, most=1)
        await burst(ctx, bench, 2, 1, last_valid=1, last=COUNT)
        await burst(ctx, bench, 2, 1, last_valid=1, last=0)
        assert kinds(bench) == [ACCEPTED, UNREAD]

    run(body)


def test_head_moves_only_between_head_and_tail():
    async def body(ctx, bench):
        preset = COUNT - 1
        await bench.start(ctx, 2, 2, preset=preset)
        await burst(ctx, bench, 2, 3)
        await settle(ctx, bench, 2)
        forged = [preset - 1, preset + 4, preset + (1 << 31), 5, preset + (1 << 17), 2]
        for count, head in enumerate(forged):
            await bench.guest_put(ctx, 2, G_HEAD, head)
            assert await bench.guest_get(ctx, 2, G_HEAD) == preset
            assert await bench.get(ctx, 2, FORGED) == count + 1
        await bench.put(ctx, 2, FORGED, 7)
        assert await bench.get(ctx, 2, FORGED) == 0
        await bench.guest_put(ctx, 2, G_TAIL, 9)
        assert await bench.guest_get(ctx, 2, G_TAIL) == 1
        for head in (COUNT, COUNT, 1):
            await bench.guest_put(ctx, 2, G_HEAD, head)
            assert await bench.guest_get(ctx, 2, G_HEAD) == head
        assert await bench.get(ctx, 2, HEAD) == 1
        assert await bench.get(ctx, 2, FORGED) == 0

    run(body)


def test_guest_page_reaches_only_its_own_queue():
    async def body(ctx, bench):
        for queue in (1, 2):
            await bench.start(ctx, queue, 4, preset=100 * queue)
        await burst(ctx, bench, 2, 2)
        await settle(ctx, bench, 2)
        for word in range(16):
            await bench.guest_put(ctx, 1, word, 201)
        assert await bench.guest_get(ctx, 2, G_HEAD) == 200
        assert await bench.guest_get(ctx, 2, G_ARM) == 200
        assert await bench.guest_get(ctx, 2, G_TAIL) == 202
        assert await bench.guest_get(ctx, 2, G_SIZE) == 4
        assert await bench.guest_get(ctx, 2, G_STATUS) == 1
        assert await bench.guest_get(ctx, 1, G_HEAD) == 100
        assert await bench.guest_get(ctx, 1, G_MASK) == 1
        assert await bench.access(ctx, "guest", (32 << 12) + 0x1000 * 2 + 0x40, 0) == 0
        assert await bench.access(ctx, "guest", (32 << 12) + 0x1000 * 8, 0) == 0

    run(body)


@pytest.mark.parametrize("wait", range(0, 24, 3))
def test_arm_written_around_a_record_never_misses_it(wait):
    async def body(ctx, bench):
        await bench.start(ctx, 1, 1, once=1)
        for _ in range(4):
            await bench.send(ctx, an_event(bench.rng, 1, 0))
            for _ in range(wait):
                await ctx.tick()
            await bench.guest_put(ctx, 1, G_ARM, bench.head[1])
            await settle(ctx, bench, 1)
            assert bench.notified() in ([1], [1, 1])
            await bench.service(ctx, 1, arm=False)

    run(body)


def test_armed_index_ahead_of_the_tail_waits_for_the_record_behind_it():
    async def body(ctx, bench):
        await bench.start(ctx, 1, 2, preset=COUNT - 1)
        await bench.guest_put(ctx, 1, G_ARM, 1)
        for wanted in ([], [], [], [1]):
            await burst(ctx, bench, 1, 1)
            await settle(ctx, bench, 1)
            assert bench.notified() == wanted
            await bench.service(ctx, 1, arm=False)
        assert await bench.guest_get(ctx, 1, G_ARM) == 1
        # Records beyond the size of the ring behind the armed index do not notify.
        seen = []
        for _ in range(5):
            await burst(ctx, bench, 1, 1)
            await settle(ctx, bench, 1)
            seen += bench.notified()
            await bench.service(ctx, 1, arm=False)
        assert seen == [1, 1, 1]

    run(body)


@pytest.mark.parametrize("ahead", [1 << 16, 1 << 24, 1 << 31, COUNT - 6])
def test_armed_index_far_from_the_tail_never_notifies(ahead):
    async def body(ctx, bench):
        await bench.start(ctx, 1, 2)
        await bench.guest_put(ctx, 1, G_ARM, ahead)
        await burst(ctx, bench, 1, 2)
        await settle(ctx, bench, 1)
        assert bench.notified() == []

    run(body)


@pytest.mark.parametrize("ahead", range(4))
def test_records_in_a_row_that_pass_the_armed_index_notify(ahead):
    async def body(ctx, bench):
        await bench.start(ctx, 1, 3, once=1)
        await bench.guest_put(ctx, 1, G_ARM, ahead)
        await burst(ctx, bench, 1, ahead + 1)
        await settle(ctx, bench, 1)
        assert bench.notified() == [1]

    run(body)


def test_masked_queue_notifies_when_unmasked():
    async def body(ctx, bench):
        await bench.start(ctx, 1, 2)
        await bench.guest_put(ctx, 1, G_MASK, 1)
        await burst(ctx, bench, 1, 2)
        await settle(ctx, bench, 1)
        assert bench.notified() == []
        await bench.guest_put(ctx, 1, G_MASK, 0)
        await settle(ctx, bench, 1)
        assert bench.notified() == [1]

    run(body)


@pytest.mark.parametrize(("threshold", "holdoff", "wanted"), [
    (0, 0, 12), (4, 2000, 3), (5, 2000, 2), (0, 2000, 0)])
def test_count_threshold_moderates(threshold, holdoff, wanted):
    async def body(ctx, bench):
        await bench.start(ctx, 1, 4, threshold=threshold, holdoff=holdoff)
        for _ in range(12):
            await burst(ctx, bench, 1, 1)
            await settle(ctx, bench, 1)
        assert len(bench.notified()) == wanted
        await burst(ctx, bench, 1, 1, urgent=1)
        await settle(ctx, bench, 1)
        assert bench.notified() == [1]

    run(body)


def test_hold_off_time_starts_with_the_first_record():
    async def body(ctx, bench):
        await bench.start(ctx, 1, 4, holdoff=50)
        for _ in range(2):
            await burst(ctx, bench, 1, 3)
            clocks = 0
            while not bench.notified():
                await ctx.tick()
                clocks += 1
            assert 4 * 49 <= clocks <= 4 * 50 + 60

    run(body)


def test_moderation_changes_while_running():
    async def body(ctx, bench):
        await bench.start(ctx, 1, 4, holdoff=2000)
        await burst(ctx, bench, 1, 3)
        await settle(ctx, bench, 1)
        assert bench.notified() == []
        await bench.put(ctx, 1, MODERATION, 0)
        await bench.put(ctx, 1, CONTROL, 1 | 4 << 8)
        await settle(ctx, bench, 1)
        assert bench.notified() == [1]
        assert await bench.get(ctx, 1, TAIL) == 3

    run(body)


def test_wire_stays_high_until_cleared():
    async def body(ctx, bench):
        await bench.start(ctx, 1, 4, wire=3)
        await burst(ctx, bench, 1, 1)
        await settle(ctx, bench, 1)
        assert ctx.get(bench.dut.wires) == 0b1000 and not bench.notified()
        ctx.set(bench.dut.clear_wires, 0b1000)
        await ctx.tick().repeat(2)
        assert ctx.get(bench.dut.wires) == 0

    run(body)


def test_queue_moves_to_another_ring_in_mid_burst_without_loss_or_duplicate():
    async def body(ctx, bench):
        total, moves = 60, 0
        await bench.start(ctx, 1, 4)
        sent = 0
        while bench.read[1] < total:
            for _ in range(5):
                if bench.retry:
                    await bench.send(ctx, bench.retry.pop(0))
                elif sent < total:
                    await bench.send(ctx, an_event(bench.rng, 1, sent))
                    sent += 1
            if moves < 3 and sent > 15 * (moves + 1):
                moves += 1
                await bench.put(ctx, 1, CONTROL, 0)
                await bench.send(ctx, an_event(bench.rng, 1, sent))
                sent += 1
                assert await bench.drain(ctx, 1) < 8
                await bench.service(ctx, 1)
                assert not bench.queued[1], "drained, and a record is not there"
                await bench.start(ctx, 1, 1 + moves, preset=bench.head[1])
            await bench.service(ctx, 1)
        assert sent == total and OFF in kinds(bench)

    run(body, latency=(5, 40))


def test_running_queue_keeps_its_ring_and_its_counts():
    async def body(ctx, bench):
        await bench.start(ctx, 1, 2)
        await burst(ctx, bench, 1, 2)
        await bench.put(ctx, 1, 0, ring_base(5) & COUNT)
        await bench.put(ctx, 1, TAIL, 77)
        await bench.put(ctx, 1, CONTROL, 1 | 5 << 8)
        await burst(ctx, bench, 1, 2)
        await settle(ctx, bench, 1)
        assert await bench.guest_get(ctx, 1, G_SIZE) == 2
        assert await bench.service(ctx, 1) == 4

    run(body)


def test_accepted_tells_the_tail_at_which_every_event_with_a_verdict_is_visible():
    async def body(ctx, bench):
        await bench.start(ctx, 1, 5, preset=COUNT - 2)
        for number in (4, 7):
            before = bench.head[1]
            await burst(ctx, bench, 1, number)
            goal = await bench.get(ctx, 1, ACCEPTS)
            assert goal == (before + number) & COUNT
            assert await bench.get(ctx, 1, TAIL) != goal, "memory was not slow enough"
            while await bench.get(ctx, 1, TAIL) != goal:
                await ctx.tick()
            assert await bench.service(ctx, 1) == number

    run(body, latency=(150, 200))


@pytest.mark.parametrize("error", [ACCESS, POISON])
def test_record_that_cannot_be_written_stops_its_queue_only(error):
    async def body(ctx, bench):
        for queue in (1, 2):
            await bench.start(ctx, queue, 3)
        bench.memory.bad = [(ring_base(1) + 2 * 32, 32, error)]
        for _ in range(5):
            await burst(ctx, bench, 1, 1)
            await burst(ctx, bench, 2, 1)
        await settle(ctx, bench, 1)
        await settle(ctx, bench, 2)
        assert await bench.get(ctx, 1, STATUS) & 0b111 == 0b100
        lost = await bench.get(ctx, 1, LOST)
        accepted = kinds(bench).count(ACCEPTED) - 5
        assert await bench.get(ctx, 1, TAIL) == 2 and lost == accepted - 2
        assert await bench.service(ctx, 2) == 5
        await burst(ctx, bench, 1, 1)
        assert kinds(bench) == [OFF]
        bench.memory.bad = []
        bench.queued[1].clear()
        await bench.start(ctx, 1, 3, preset=16)
        await burst(ctx, bench, 1, 1)
        await settle(ctx, bench, 1)
        assert await bench.get(ctx, 1, STATUS) & 0b111 == 1
        assert await bench.service(ctx, 1) == 1

    run(body, latency=(1, 40))


def test_write_that_fails_once_is_repeated():
    async def body(ctx, bench):
        await bench.start(ctx, 1, 3)
        memory, seen = bench.memory, set()

        def once(address, size):
            seen_before = address in seen
            seen.add(address)
            return 0 if seen_before else ACCESS

        memory.error = bench.notices.error = once
        await burst(ctx, bench, 1, 5)
        await settle(ctx, bench, 1)
        assert await bench.service(ctx, 1) == 5
        assert await bench.get(ctx, 1, STATUS) == 1
        assert len(bench.notified()) > 1

    run(body, latency=(1, 20))
