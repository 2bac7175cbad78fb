import pytest

from iovirt.vf.pair_admission import PairAdmission
from iovirt.vf.pair_engine import PairEngine
from iovirt.vf.pair_table import PairTable
from iovirt.vf.pair_window import PairWindow
from iovirt_sim.harness import simulate

from .pairs_bench import Bench, nvme, ring_access


@pytest.mark.parametrize("make", [
    lambda pairs: PairEngine(pairs=pairs, data_width=64, address_width=20),
    lambda pairs: PairAdmission(pairs=pairs, stages=15),
    lambda pairs: PairTable(pairs=pairs),
    lambda pairs: PairWindow(pairs=pairs, data_width=64, address_width=20),
])
@pytest.mark.parametrize("pairs", [2, 12, 2048, "16"])
def test_wrong_numbers_of_pairs(make, pairs):
    with pytest.raises(ValueError, match=r"^Number of pairs must be a power of two in 4\.\.1024, "
                                         rf"not {pairs!r}$"):
        make(pairs)


def test_wrong_parameters():
    with pytest.raises(ValueError, match=r"^Address width must cover 65536 bytes, because there "
                                         r"are 1024 pairs, not be 15$"):
        PairEngine(pairs=1024, data_width=32, address_width=15)
    with pytest.raises(ValueError, match=r"^Number of stages must be an integer of at least 3, "
                                         r"not 2$"):
        PairAdmission(pairs=4, stages=2)


def run(bench, testbench):
    async def and_settle(ctx):
        await testbench(ctx)
        await bench.settle(ctx)

    simulate(bench.dut, and_settle, background=bench.background)
    bench.check()


async def tail(bench, ctx, value, **changes):
    """Write a doorbell; return whether it was accepted."""
    verdict = await bench.ask(ctx, "doorbell", {"read": 0, "pair": 0, "colour": 5, "side": 0,
                                                "value": value} | changes)
    return verdict["ok"]


async def grant(bench, ctx, limit=255, pair=0):
    """Return how many are granted."""
    return (await bench.ask(ctx, "grant", {"pair": pair, "limit": limit}))["count"]


async def read(bench, ctx, first, count=1, size=64, **changes):
    """Read entries; return which may be given, or None if the access is not permitted."""
    verdict = await bench.ask(ctx, "ring", ring_access(offset=first * size, length=count * size)
                              | changes)
    return verdict["allow"] if verdict["ok"] else None


async def complete(bench, ctx, first, count=1, **changes):
    """Write completions of 16 bytes; return whether the access is permitted."""
    verdict = await bench.ask(ctx, "ring", ring_access(
        write=1, side=1, offset=16 * first, length=16 * count) | changes)
    return verdict["ok"]


def test_a_command_is_requested_granted_fetched_completed_and_read():
    bench = Bench()

    async def testbench(ctx):
        await bench.put(ctx, 0, **nvme())
        assert await tail(bench, ctx, 3)
        assert await grant(bench, ctx, 2) == 2
        assert await read(bench, ctx, 0, 3) == 3
        assert await complete(bench, ctx, 0)
        assert await tail(bench, ctx, 1, side=1)
        await bench.settle(ctx)
        for word in range(8):
            await bench.read(ctx, 0, word)

    run(bench, testbench)
    assert bench.results["grant"] == [{"count": 2, "more": 1, "granted": 2, "tail": 0x402,
                                       "function": 2, "paired": 1}]
    assert bench.completed == [(5, 1)]
    assert bench.results["doorbell"][1] == {"ok": 1, "ring": 1, "value": 1, "tail": 0x402,
                                            "function": 2}


def test_nobody_reads_or_moves_the_pair_of_another_guest():
    bench = Bench()

    async def testbench(ctx):
        await bench.put(ctx, 0, **nvme())
        await tail(bench, ctx, 3)
        await grant(bench, ctx, 3)
        assert not await tail(bench, ctx, 5, colour=6)
        assert not await tail(bench, ctx, 0, colour=6, read=1)
        assert await read(bench, ctx, 0, colour=6) is None
        assert await read(bench, ctx, 0, function=1) is None
        assert not await complete(bench, ctx, 0, colour=6)
        for word in range(5):
            await bench.read(ctx, 0, word)
        assert await read(bench, ctx, 0) == 1

    run(bench, testbench)
    assert bench.denials == []


def test_an_entry_is_given_once_whole_and_only_after_its_grant():
    bench = Bench()

    async def testbench(ctx):
        await bench.put(ctx, 0, **nvme())
        await tail(bench, ctx, 6)
        assert await read(bench, ctx, 0, 8) == 0
        await grant(bench, ctx, 4)
        assert await read(bench, ctx, 2, 1) == 1
        assert await read(bench, ctx, 0, 1, offset=4, length=60) == 0
        assert await read(bench, ctx, 0, 2, offset=32, length=96) == 0b10
        assert await read(bench, ctx, 0, 8) == 0b1001
        assert await read(bench, ctx, 0, 8) == 0
        await grant(bench, ctx)
        assert await read(bench, ctx, 0, 16) == 0b11_0000

    run(bench, testbench)


def test_what_begins_among_granted_entries_ends_with_them():
    bench = Bench()

    async def testbench(ctx):
        await bench.put(ctx, 0, **nvme())
        for count in (10, 3):
            await tail(bench, ctx, count)
            await grant(bench, ctx)
            if count == 10:
                assert await read(bench, ctx, 0, 10) == (1 << 10) - 1
                assert await complete(bench, ctx, 0, 10)
                await tail(bench, ctx, 10, side=1)
        # Granted: 10 to 15, 0 to 2. Entries 3 to 9 were fetched long ago.
        assert await read(bench, ctx, 0, 16) == 0b111
        assert await read(bench, ctx, 3, 13) == 0b1_1111_1000_0000

    run(bench, testbench)


def test_an_entry_that_may_be_read_again_is_given_always():
    bench = Bench()

    async def testbench(ctx):
        await bench.put(ctx, 0, **nvme(once=0, paired=0, size_log2=1, depth=200))
        await tail(bench, ctx, 150)
        assert await grant(bench, ctx) == 64
        assert await grant(bench, ctx) == 0
        for _ in range(2):
            assert await read(bench, ctx, 0, 60, size=16) == (1 << 64) - 1
        assert await grant(bench, ctx) == 60

    run(bench, testbench)


def test_accesses_beyond_a_ring_and_of_the_wrong_kind_are_denied():
    bench = Bench()

    async def testbench(ctx):
        await bench.put(ctx, 0, **nvme(depth=5, cq_depth=3))
        await bench.put(ctx, 1, **nvme(paired=0, device_writes=1))
        assert await read(bench, ctx, 4) == 0
        assert await read(bench, ctx, 4, length=68) is None
        assert await read(bench, ctx, 5) is None
        assert await read(bench, ctx, 0, offset=1 << 21) is None
        assert await read(bench, ctx, 0, side=1, length=16) is None
        assert await read(bench, ctx, 0, write=1) is None
        assert await read(bench, ctx, 0, write=1, pair=1) == 0
        assert not await complete(bench, ctx, 0, pair=1)
        assert await complete(bench, ctx, 2)
        assert not await complete(bench, ctx, 3)
        assert not await tail(bench, ctx, 0, side=1, pair=1)
        for pair in (2, 8, 1023):
            assert await read(bench, ctx, 0, pair=pair) is None
            assert not await tail(bench, ctx, 0, pair=pair)
            assert await grant(bench, ctx, pair=pair) == 0

    run(bench, testbench)
    assert [cause for cause, *_ in bench.denials] == ["ODD"]


def test_tails_go_neither_back_nor_over_what_was_not_fetched():
    bench = Bench()

    async def testbench(ctx):
        await bench.put(ctx, 0, **nvme(depth=5))
        assert await tail(bench, ctx, 3)
        assert not await tail(bench, ctx, 2)
        assert not await tail(bench, ctx, 5)
        assert not await tail(bench, ctx, 1 << 31 | 3)
        await grant(bench, ctx, 2)
        assert not await tail(bench, ctx, 0)
        assert await read(bench, ctx, 0, 1) == 1
        assert await tail(bench, ctx, 0)
        assert not await tail(bench, ctx, 1)

    run(bench, testbench)


def test_a_tail_or_head_that_stays_where_it_is_is_told_to_nobody():
    bench = Bench()

    async def testbench(ctx):
        await bench.put(ctx, 0, **nvme())
        for side in (0, 1, 0):
            assert await tail(bench, ctx, 0, side=side)
        await tail(bench, ctx, 3)
        await grant(bench, ctx)
        assert await complete(bench, ctx, 0, 2)
        for value in (1, 1, 2, 2):
            assert await tail(bench, ctx, value, side=1)
        assert await tail(bench, ctx, 3)

    run(bench, testbench)
    assert [verdict["ring"] for verdict in bench.results["doorbell"]] == [0, 0, 0, 0, 1, 0, 1, 0, 0]
    # A tail, completions, two heads.
    assert bench.wakes == [5] * 4


def test_a_new_entry_gives_back_to_the_old_owner_what_was_in_flight():
    bench = Bench()

    async def testbench(ctx):
        await bench.put(ctx, 0, **nvme())
        await bench.put(ctx, 1, **nvme(paired=0))
        for pair in range(2):
            await tail(bench, ctx, 4, pair=pair)
            assert await grant(bench, ctx, pair=pair) == 4
        assert await complete(bench, ctx, 0)
        await bench.put(ctx, 1, **nvme(owner=7))
        await bench.put(ctx, 0, **nvme(owner=7))
        assert not await complete(bench, ctx, 1)
        await tail(bench, ctx, 2, colour=7)
        assert await grant(bench, ctx) == 2
        for _ in range(2):
            await bench.put(ctx, 0)

    run(bench, testbench)
    assert bench.completed == [(5, 1), (5, 3), (7, 2)]


def test_commands_are_granted_only_while_completions_have_room():
    bench = Bench()

    async def testbench(ctx):
        await bench.put(ctx, 0, **nvme(cq_depth=4))
        await tail(bench, ctx, 15)
        assert await grant(bench, ctx) == 3
        assert await complete(bench, ctx, 0, 2)
        assert await grant(bench, ctx) == 0
        assert not await tail(bench, ctx, 3, side=1)
        assert not await tail(bench, ctx, 4, side=1)
        assert await tail(bench, ctx, 1, side=1)
        assert await grant(bench, ctx) == 1
        assert await complete(bench, ctx, 2, 2)
        assert await tail(bench, ctx, 0, side=1)
        assert await grant(bench, ctx) == 3

    run(bench, testbench)
    assert bench.completed == [(5, 2), (5, 2)]


def test_completions_count_in_order_at_their_last_byte_and_once():
    bench = Bench()

    async def testbench(ctx):
        await bench.put(ctx, 0, **nvme())
        await tail(bench, ctx, 4)
        await grant(bench, ctx)
        assert await complete(bench, ctx, 0, length=12)
        assert await complete(bench, ctx, 0, offset=12, length=4)
        assert await complete(bench, ctx, 1, empty=1)
        assert await complete(bench, ctx, 0)
        assert await complete(bench, ctx, 2)
        assert await complete(bench, ctx, 0, 3)
        assert await complete(bench, ctx, 3, 2)

    run(bench, testbench)
    assert bench.completed == [(5, 1), (5, 2), (5, 1)]
    assert bench.denials == [("ODD", 5, 1 << 22 | offset) for offset in (0, 32, 0, 48)]
