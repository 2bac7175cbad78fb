# amaranth: UnusedElaboratable=no

import random
from collections import Counter

import pytest
from amaranth.back import verilog

from iovirt.config import RemapConfig
from iovirt.remap.misses import Misses
from iovirt_sim.harness import simulate
from iovirt_sim.models.miss_bench import HiddenStreams, MissBench


def misses(slots=16):
    return Misses(id_width=6, remap=RemapConfig(misses=slots))


def run(dut, requests, clocks=4000, *, every=lambda bench, ctx: None, **options):
    """Run until all is answered and return the bench."""
    bench = MissBench(dut, requests, **{"rng": random.Random(1), **options})

    async def testbench(ctx):
        await bench.run(ctx, clocks, every=every)

    simulate(dut, testbench)
    bench.check_all_answered()
    return bench


@pytest.mark.parametrize("id_width, remap, error, message", [
    (6, None, TypeError, r"^Configuration must be a RemapConfig, not None$"),
    (0, RemapConfig(), ValueError, r"^Width of id must be an integer of at least 1, not 0$"),
])
def test_wrong_parameters(id_width, remap, error, message):
    with pytest.raises(error, match=message):
        Misses(id_width=id_width, remap=remap)


@pytest.mark.parametrize("slots, stalls, count", [(4, True, 150), (5, False, 200), (16, True, 300)])
def test_each_request_has_one_right_result_in_the_order_of_its_source(slots, stalls, count):
    rng = random.Random(slots)

    def requests():
        for _ in range(count):
            for _ in range(rng.choice([0, 0, 0, 0, 3])):
                yield None
            yield {"device": rng.randrange(4), "page": rng.randrange(96),
                   "debug": rng.random() < 0.05}

    def evict(bench, ctx):
        if bench.cache and rng.random() < 0.05:
            bench.cache.discard(rng.choice(sorted(bench.cache)))

    bench = run(misses(slots), requests(), rng=rng, every=evict,
                walk_latency=lambda: rng.randrange(1, 40),
                faulty=lambda device, page: 21 * (page % 11 == 0) or 5 * (page % 13 == 0),
                evicts=lambda: rng.random() < 0.2,
                ready=(lambda: rng.random() < 0.6) if stalls else (lambda: 1),
                accepts_walk=lambda: rng.random() < 0.5)
    assert bench.sent == count


def test_hits_are_answered_in_the_clock_of_their_outcome_one_per_clock():
    bench = run(misses(), ({"device": 1, "page": n % 8} for n in range(60)), resident=[(1, 0)])
    assert {latency for _, latency, *_ in bench.results} == {3}
    assert bench.results[-1][0] - bench.results[0][0] == 59


def test_requests_of_one_line_share_a_walk():
    bench = run(misses(), ({"device": 1, "page": n} for n in range(8)), walk_latency=lambda: 50)
    assert len(bench.walked) == 1


def test_equal_lines_of_different_devices_walk_each():
    bench = run(misses(), ({"device": n, "page": 7} for n in range(4)), walk_latency=lambda: 50)
    assert len(bench.walked) == 4


def test_each_request_of_a_faulty_page_has_its_own_walk():
    bench = run(misses(), ({"device": 1, "page": 0} for n in range(5)),
                faulty=lambda device, page: 21)
    assert len(bench.walked) == 5


def test_hits_flow_at_full_rate_while_another_source_misses():
    clocks = 1500
    rng = random.Random(7)

    def requests():
        for n in range(clocks):
            if n % 10 == 3:
                yield {"device": 2, "page": 8 * n}
            else:
                yield {"device": 1, "page": rng.randrange(8)}

    bench = run(misses(32), requests(), resident=[(1, 0)], walks=16, walk_latency=lambda: 100)
    last = [clock for clock, *_ in bench.results]
    steady = sum(300 <= clock < 1300 for clock in last)
    assert steady >= 980
    waits = Counter(latency for _, latency, device, _ in bench.results if device == 1)
    assert waits[3] > 0.9 * sum(waits.values())


def test_a_single_source_keeps_full_rate_after_a_miss():
    def requests():
        for n in range(600):
            yield {"device": 1, "page": 8 if n == 20 else n % 8}

    bench = run(misses(16), requests(), resident=[(1, 0)], walk_latency=lambda: 60)
    ends = [clock for clock, *_ in bench.results]
    assert ends[-1] - ends[100] == len(ends) - 101


def test_a_parked_result_is_not_starved_by_hits():
    def requests():
        for n in range(400):
            yield {"device": 2, "page": 64} if n == 20 else {"device": 1, "page": n % 8}

    bench = run(misses(16), requests(), resident=[(1, 0)], walk_latency=lambda: 20)
    late, = [latency for _, latency, device, _ in bench.results if device == 2]
    assert late <= 3 + 4 + 20 + 3 + 8 + 6
    ends = [clock for clock, *_ in bench.results]
    assert ends[-1] - ends[0] <= len(ends)


def test_debug_requests_are_a_source_of_their_own():
    def requests():
        yield {"device": 1, "page": 64}
        for n in range(8):
            yield {"device": 1, "page": n, "debug": 1}

    bench = run(misses(16), requests(), resident=[(1, 0)], walk_latency=lambda: 50)
    assert sorted(latency for _, latency, *_ in bench.results)[:8] == [3] * 8


def test_probes_pass_to_the_prefetcher_and_take_no_slot():
    def requests():
        for n in range(24):
            yield {"device": 1, "page": n, "probe": 1}
        for _ in range(8):
            yield None
        yield {"device": 1, "page": 0}

    bench = run(misses(4), requests(), resident=[(1, 0)])
    assert bench.probes == [1] * 8 + [0] * 16
    assert not bench.walked


def test_no_walk_begins_with_a_forgotten_context():
    rng = random.Random(3)
    dut = misses()

    # An invalidation: the walker stops, contexts change, old outcomes arrive, all is forgotten.
    def every(bench, ctx):
        phase = bench.clock % 80
        bench.walker_holds = phase >= 50
        bench.version += phase == 54
        ctx.set(dut.hold, phase >= 50)
        ctx.set(dut.forget_contexts, phase == 60)

    bench = MissBench(dut, ({"device": rng.randrange(4), "page": rng.randrange(4096)}
                            for n in range(250)), rng=rng)
    bench.accepts_walk = lambda: not bench.walker_holds and rng.random() < 0.6

    async def testbench(ctx):
        await bench.run(ctx, 8000, every=every)

    simulate(HiddenStreams(dut), testbench)
    bench.check_all_answered()
    assert bench.version >= 8
    assert sum(known for *_, known in bench.walked) > 30


def test_no_walk_is_chosen_while_held():
    dut = misses()

    async def testbench(ctx):
        ctx.set(dut.hold, 1)
        bench = MissBench(dut, [{"device": 1, "page": 0}], rng=random.Random(0))
        await bench.run(ctx, 30)
        assert not ctx.get(dut.walk.valid)
        ctx.set(dut.hold, 0)
        await bench.run(ctx, 40)
        bench.check_all_answered()

    simulate(dut, testbench)


def test_exports_verilog():
    assert "module misses(" in verilog.convert(misses(8), name="misses")
