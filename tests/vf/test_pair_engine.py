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


def run(bench, *testbenches, deadline=10_000):
    simulate(bench.dut, *testbenches, background=bench.background, deadline=deadline)
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
