import random

import pytest
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from iovirt.irq.layouts import MessageKind, VerdictKind
from iovirt_sim.harness import simulate

from .entries import entry_word
from .front_bench import ENTRIES, Bench


@pytest.mark.parametrize("entry, msi", [
    ({}, {"rid": 0x101}),                              # forged RID
    ({"rid_mask": 0x7}, {"rid": 0x108}),
    ({}, {"segment": 1}),
    ({}, {"rid": 0x101, "segment": 1}),
    ({"valid": 0}, {}),
    ({"queue": 3}, {}),                                # not built
    ({"delivery": 1}, {}),                             # posted: not built
    ({"delivery": 3}, {}),
    ({}, {"multi": 1, "data": 2}),                     # not permitted
])
def test_an_interrupt_that_the_entry_does_not_admit_is_denied_and_recorded(entry, msi):
    bench = Bench(random.Random(1))

    async def testbench(ctx):
        await bench.write_entry(ctx, 5, **entry)
        await bench.msi(ctx, 5, counts=False, **msi)
        await ctx.tick().repeat(30)
        assert await bench.read_entry(ctx, 5) >> 255 == 0

    bench.run(testbench)
    assert not bench.asked and not bench.forwards
    assert bench.errors == [("MSI_DENIED", msi.get("segment", 0), msi.get("rid", 0x100), 40)]


def test_an_index_beyond_the_table_is_denied_and_never_reaches_the_message_table():
    bench = Bench(random.Random(1))

    async def testbench(ctx):
        for index in [*range(ENTRIES), *range(ENTRIES, ENTRIES + 16)]:
            await bench.write_entry(ctx, index, rid_mask=0xffff, multi=1)
        for index in 16, 17, 31, 32, 48, 8191:
            await bench.msi(ctx, index, counts=False)
        await bench.msi(ctx, 15 + 31, multi=1, data=31, counts=False)
        await ctx.tick().repeat(30)

    bench.run(testbench, deadline=40_000)
    assert not bench.asked
    assert [address // 8 for *_, address in bench.errors] == [16, 17, 31, 32, 48, 8191, 46]


def test_masks_and_multi_admit_what_they_say():
    bench, rng = Bench(random.Random(1)), random.Random(2)
    bench.checks = False

    async def testbench(ctx):
        await bench.write_entry(ctx, 9, rid=0x4320, rid_mask=0x0007, multi=1)
        for number in range(8):
            await bench.msi(ctx, 9, rid=0x4320 + number, multi=number & 1,
                            data=rng.randrange(9) if number & 1 else 0)
        await bench.settle(ctx)

    bench.run(testbench)
    assert sum(count for count, *_ in bench.records[9]) == 8 and not bench.errors


@pytest.mark.parametrize("clocks", [1800])
def test_overflow_for_long_loses_nothing(clocks):
    rng   = random.Random(7)
    bench = Bench(rng, events=4)
    bench.queues[0].drain = 0

    async def testbench(ctx):
        for index in range(4):
            await bench.write_entry(ctx, index, queue=0, merge=index & 1)
        await bench.write_entry(ctx, 4, queue=1)
        start = bench.clock
        while bench.clock - start < clocks:
            await bench.msi(ctx, rng.randrange(5))
            await ctx.tick().repeat(rng.randrange(1, 30))
        assert len(bench.asked) - sum(map(len, bench.records.values())) < 30
        # The other queue is not held up.
        assert bench.sent[4] - bench.given[4] <= 1
        for index in range(4):
            assert await bench.read_entry(ctx, index) >> 255
        bench.queues[0].drain = 0.2
        await bench.settle(ctx)

    bench.run(testbench, deadline=clocks + 4000)
    assert all(len(bench.records[index]) <= 4 + 3 for index in range(4))


def test_merged_interrupts_wait_until_the_record_is_read_and_then_come_as_one():
    bench = Bench(random.Random(1))
    bench.queues[1].drain = 0

    async def testbench(ctx):
        await bench.write_entry(ctx, 3, queue=1, merge=1)
        for _ in range(9):
            await bench.msi(ctx, 3)
            await ctx.tick().repeat(25)
        assert [count for count, *_ in bench.records[3]] == [1]
        bench.queues[1].drain = 1
        await bench.settle(ctx)

    bench.run(testbench)
    assert [count for count, *_ in bench.records[3]] == [1, 8]
    assert bench.verdicts[VerdictKind.UNREAD] == 1


def test_a_queue_that_drops_is_asked_once():
    bench = Bench(random.Random(1))
    bench.queues[0].drain, bench.queues[0].drop = 0, True

    async def testbench(ctx):
        await bench.write_entry(ctx, 3)
        for _ in range(9):
            await bench.msi(ctx, 3)
            await ctx.tick().repeat(25)
        await bench.settle(ctx)

    bench.run(testbench)
    assert (bench.verdicts[VerdictKind.ACCEPTED], bench.verdicts[VerdictKind.DROPPED]) == (4, 5)


def test_a_storm_stays_below_its_limit_and_loses_nothing():
    bench = Bench(random.Random(1))
    bench.queues[0].drain = 1
    times = []

    async def watch(ctx):
        async for _, _, valid, event in ctx.tick().sample(bench.dut.event.valid, bench.dut.event.p):
            if valid and event.index == 3:
                times.append(bench.clock)

    async def testbench(ctx):
        ctx.set(bench.dut.interval, 199)
        await bench.write_entry(ctx, 3, limit=2)
        await bench.write_entry(ctx, 4)
        for _ in range(120):
            await bench.msi(ctx, 3)
            await bench.msi(ctx, 4)
            await ctx.tick().repeat(6)
        await bench.settle(ctx)

    simulate(bench.dut, testbench, background=[bench.back, bench.memory, bench.log, watch])
    assert len(bench.records[4]) >= 50
    # Five deliveries, two at most in each interval, are in three intervals at least.
    assert all(late - early > 200 for early, late in zip(times, times[4:], strict=False))
    assert 10 <= len(times) <= 18


def test_a_suspended_entry_keeps_its_interrupts_and_delivers_them_as_one():
    bench = Bench(random.Random(1))

    async def testbench(ctx):
        await bench.write_entry(ctx, 3, suspend=1)
        for _ in range(5):
            await bench.msi(ctx, 3)
        await ctx.tick().repeat(200)
        assert not bench.asked
        word = entry_word(valid=1, rid=0x100, suspend=1)
        assert await bench.read_entry(ctx, 3) == word | 1 << 255
        await bench.write_entry(ctx, 3)
        await bench.settle(ctx)

    bench.run(testbench)
    assert [count for count, *_ in bench.records[3]] == [5]


@pytest.mark.parametrize("seed", [1, 2])
def test_retargeting_in_two_phases_loses_nothing_and_repeats_nothing(seed):
    rng   = random.Random(seed)
    bench = Bench(rng, latency=(1, 25), stalls=0.5)
    done  = []

    async def device(ctx):
        while not done:
            await bench.msi(ctx, rng.randrange(2))
            await ctx.tick().repeat(rng.randrange(1, 12))

    async def software(ctx):
        target = 0
        for _ in range(6):
            await bench.write_entry(ctx, 0, queue=target, suspend=1)
            # No event of the old queue is under way any more, and none starts.
            asked = len(bench.asked)
            await ctx.tick().repeat(rng.randrange(1, 40))
            assert all(event.index == 1 for event in bench.asked[asked:])
            bench.queues[target].drain = rng.choice([0, 0.5])
            target = rng.randrange(3)
            bench.queues[target].drain = 0.5
            asked = len(bench.asked)
            await bench.write_entry(ctx, 0, queue=target, merge=rng.randrange(2))
            await ctx.tick().repeat(rng.randrange(40, 100))
            assert all(event.queue == target for event in bench.asked[asked:] if event.index == 0)
        done.append(True)
        for queue in bench.queues:
            queue.drain = 0.5
        await bench.settle(ctx)

    async def setup(ctx):
        await bench.write_entry(ctx, 0)
        await bench.write_entry(ctx, 1, queue=1)
        await ctx.tick()

    async def both(ctx):
        await setup(ctx)
        await software(ctx)

    async def late_device(ctx):
        await ctx.tick().repeat(150)
        await device(ctx)

    bench.run(both, late_device)
    assert bench.given == bench.sent and not bench.errors


def test_a_record_in_the_old_queue_is_not_looked_for_in_the_new_one():
    bench = Bench(random.Random(1), latency=(60, 60))

    async def testbench(ctx):
        await bench.write_entry(ctx, 3, merge=1)
        await bench.msi(ctx, 3)
        await ctx.tick().repeat(15)
        await bench.write_entry(ctx, 3, merge=1, queue=1)
        assert bench.given[3] == 1
        await bench.msi(ctx, 3)
        await bench.settle(ctx)
        await bench.msi(ctx, 3)
        await bench.settle(ctx)

    bench.run(testbench)
    assert [event.queue for event in bench.asked] == [0, 1, 1]
    assert [event.last_valid for event in bench.asked] == [0, 0, 1]


@pytest.mark.parametrize("pause", [1, 5, 9, 13, 20, 60])
def test_an_invalidated_entry_leaves_nothing_to_its_next_owner(pause):
    bench = Bench(random.Random(1), latency=(30, 30))
    bench.queues[0].drain = 0
    bench.queues[0].size  = 1

    async def testbench(ctx):
        await bench.write_entry(ctx, 1)
        await bench.write_entry(ctx, 3)
        await bench.msi(ctx, 1)
        await ctx.tick().repeat(80)
        for _ in range(3):
            await bench.msi(ctx, 3, counts=False)
            await ctx.tick().repeat(pause)
        await bench.write_entry(ctx, 3, valid=0)
        await bench.write_entry(ctx, 3, rid=0x200)
        bench.queues[0].drain = 1
        bench.queues[0].size  = 4
        asked = len(bench.asked)
        await ctx.tick().repeat(150)
        assert all(event.index != 3 for event in bench.asked[asked:])
        await bench.msi(ctx, 3, rid=0x200)
        await ctx.tick().repeat(80)
        assert [(event.index, event.rid, event.merge_count) for event in bench.asked[asked:]] \
            == [(3, 0x200, 1)]

    bench.checks = False
    bench.run(testbench)


def test_an_entry_with_errors_denies_and_keeps_what_is_pending():
    bench = Bench(random.Random(1))

    async def testbench(ctx):
        await bench.write_entry(ctx, 3, suspend=1, rid_mask=0xff)
        await bench.msi(ctx, 3)
        await ctx.tick().repeat(20)
        row  = bench.dut._table.memory.words.data[3]
        code = ctx.get(row)
        ctx.set(row, code ^ 0b11)
        await ctx.tick()
        await bench.msi(ctx, 3, rid=0x111, counts=False)
        await ctx.tick().repeat(20)
        assert await bench.access(ctx, 32 * 3) == (0, 1)
        assert not bench.asked
        await bench.write_entry(ctx, 3)
        await bench.settle(ctx)

    bench.run(testbench)
    assert bench.errors == [("MSI_ECC", 0, 0x111, 24)]
    assert [count for count, *_ in bench.records[3]] == [1]


def test_a_corrected_entry_works_and_is_told_of():
    bench, pulses = Bench(random.Random(1)), []

    async def watch(ctx):
        async for _, _, corrected in ctx.tick().sample(bench.dut.corrected):
            pulses.append(corrected)

    async def testbench(ctx):
        await bench.write_entry(ctx, 3)
        row = bench.dut._table.memory.words.data[3]
        ctx.set(row, ctx.get(row) ^ 1)
        await ctx.tick()
        for _ in range(3):
            await bench.msi(ctx, 3)
            await ctx.tick().repeat(20)
        await bench.settle(ctx)

    simulate(bench.dut, testbench, background=[bench.back, bench.memory, bench.log, watch])
    assert sum(pulses) == 1 and not bench.errors


def test_messages_keep_the_first_requester_and_tell_of_others():
    bench = Bench(random.Random(1))

    async def testbench(ctx):
        for kind in MessageKind:
            await bench.write_entry(ctx, ENTRIES + kind.value, suspend=1, rid=0, segment=9)
        for kind in MessageKind:
            for rid in (0x500,) if kind.value % 2 else (0x500, 0x600, 0x500):
                await bench.notice(ctx, kind, rid=rid, segment=2)
        for kind in MessageKind:
            await bench.write_entry(ctx, ENTRIES + kind.value, rid=0, queue=kind.value % 3)
        await bench.settle(ctx)

    bench.run(testbench)
    for kind in MessageKind:
        (count, _, _, event), = bench.records[ENTRIES + kind.value]
        even = kind.value % 2 == 0
        assert (count, event.more, event.rid, event.segment) == (3 if even else 1, even, 0x500, 2)
        assert event.type.name == ("INTX" if kind.value < 4 else kind.name)


def test_messages_without_entry_are_recorded_but_not_what_has_its_own_log():
    bench = Bench(random.Random(1))

    async def testbench(ctx):
        for kind in MessageKind:
            await bench.notice(ctx, kind, rid=kind.value, counts=False)
            await ctx.tick().repeat(3)
        await ctx.tick().repeat(30)

    bench.run(testbench)
    assert [(cause, rid) for cause, _, rid, _ in bench.errors] \
        == [("UNHANDLED_MESSAGE", rid) for rid in range(8)]


def test_forwarded_interrupts_are_written_and_failures_recorded():
    bench = Bench(random.Random(1))

    async def testbench(ctx):
        await bench.write_entry(ctx, 1, delivery=2, address=0x12_3456_7890 >> 2, data=77)
        await bench.write_entry(ctx, 2, delivery=2, address=0xb0_0000_0000 >> 2, data=78)
        await bench.write_entry(ctx, 3, delivery=2, address=0x1ff_0000_0000 >> 2, data=79)
        await bench.write_entry(ctx, 4, delivery=2, address=0x4, data=80, suspend=1)
        for index in 1, 2, 3, 4, 4, 1:
            await bench.msi(ctx, index, counts=False)
        await ctx.tick().repeat(40)
        assert len(bench.forwards) == 3
        await bench.write_entry(ctx, 4, delivery=2, address=0x4, data=80)
        await ctx.tick().repeat(40)

    bench.run(testbench)
    assert bench.forwards == [(0x12_3456_7890, 77, 2), (0xb0_0000_0000, 78, 2),
                              (0x12_3456_7890, 77, 2), (0x10, 80, 2)]
    assert sorted(bench.errors) == [("MSI_WRITE_ERROR", 0, 0x100, 0xb0_0000_0000),
                                    ("MSI_WRITE_ERROR", 0, 0x100, 0x1ff_0000_0000)]


def test_counts_saturate():
    bench = Bench(random.Random(1))
    bench.checks = False

    async def testbench(ctx):
        await bench.write_entry(ctx, 3, suspend=1)
        await bench.msi(ctx, 3, counts=False)
        await ctx.tick().repeat(20)
        row  = bench.dut._slots.slots.words.data[3]
        slot = ctx.get(row)
        ctx.set(row, slot | 0xfffe << 3)
        for _ in range(3):
            await bench.msi(ctx, 3, counts=False)
        await bench.write_entry(ctx, 3)
        await ctx.tick().repeat(60)

    bench.run(testbench)
    assert [count for count, *_ in bench.records[3]] == [0xffff]


def test_neither_arrivals_nor_replays_starve():
    bench = Bench(random.Random(1))
    bench.queues[0].drain = 0
    bench.queues[1].drain = bench.queues[2].drain = 1

    async def testbench(ctx):
        for index in range(16):
            await bench.write_entry(ctx, index, queue=0 if index < 8 else 1 + index % 2)
        for _ in range(4):
            for index in range(8):
                await bench.msi(ctx, index)
        await ctx.tick().repeat(50)
        # All of queue 0 goes round; arrivals for the others keep 7 of 8 clocks at least.
        start = bench.clock
        for number in range(160):
            await bench.msi(ctx, 8 + number % 8)
        assert bench.clock - start <= 160 * 8 / 7 + 2
        bench.queues[0].drain = 1
        given = sum(bench.given[index] for index in range(8))
        for number in range(240):
            await bench.msi(ctx, 8 + number % 8)
        assert sum(bench.given[index] for index in range(8)) - given >= 12
        await bench.settle(ctx)

    bench.run(testbench)


class Resettable(wiring.Component):
    """A front half with a reset input; its memories keep their contents, as in hardware."""

    def __init__(self, inner):
        self.inner = inner
        super().__init__({**inner.signature.members, "reset": In(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.inner = ResetInserter(self.reset)(self.inner)
        for name in self.inner.signature.members:
            mine, its = getattr(self, name), getattr(self.inner, name)
            if self.inner.signature.members[name].is_signature:
                wiring.connect(m, wiring.flipped(mine), its)
            elif self.inner.signature.members[name].flow is In:
                m.d.comb += its.eq(mine)
            else:
                m.d.comb += mine.eq(its)
        return m


@pytest.mark.parametrize("pause", [1, 8, 40])
def test_reset_in_the_middle_leaves_nothing(pause):
    bench = Bench(random.Random(pause))
    bench.dut = dut = Resettable(bench.dut)

    async def before(ctx):
        ctx.set(dut.event.ready, 1)
        for index in range(8):
            await bench.write_entry(ctx, index)
        for number in range(24):
            await bench.msi(ctx, number % 8, counts=False)
        await ctx.tick().repeat(pause)
        ctx.set(dut.reset, 1)
        await ctx.tick()
        ctx.set(dut.reset, 0)

    async def after(ctx):
        asked = []
        ctx.set(dut.error.ready, 1)
        await bench.msi(ctx, 3, counts=False)
        for _ in range(100):
            assert not ctx.get(dut.event.valid)
            asked.append(ctx.get(dut.error.valid) and ctx.get(dut.error.p.cause.as_value()))
            await ctx.tick()
        assert [cause for cause in asked if cause] == [12]

    async def testbench(ctx):
        await before(ctx)
        await after(ctx)

    simulate(dut, testbench)
