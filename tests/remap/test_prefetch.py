# amaranth: UnusedElaboratable=no

import random
from collections import deque

import pytest
from amaranth.back import verilog

from iovirt.remap.layouts import SecondStage
from iovirt.remap.prefetch import Prefetcher
from iovirt_sim.harness import simulate
from iovirt_sim.models.miss_bench import HiddenStreams

BARE, SV39X4, SV48X4 = SecondStage.BARE, SecondStage.SV39X4, SecondStage.SV48X4


def prefetcher(**changes):
    return Prefetcher(**{"id_width": 4, "slot_width": 3, "address_width": 46, **changes})


def touch(line, *, device=1, hit=1, context_hit=1, mode=SV39X4, **request):
    access = {"device_id": device, "iova": line << 15 | 0x3040, **request.pop("access", {})}
    return {"request": {"access": access, "source": device, **request}, "hit": hit,
            "context_hit": context_hit, "context": {"mode": mode, "gscid": device}}


def run(dut, demands, *, resident=(), spare=lambda: 1, free=lambda: 1, accepts=lambda clock: 1,
        context=lambda device: (1, SV39X4), forget=lambda clock: 0, clocks=None,
        top=None):
    """Play ``demands``, one per clock; return the lines probed and walked.

    Checks that walks that wait during ``forget``, and only those, have forgotten their contexts.
    ``top`` is simulated if it is not ``dut``.
    """
    demands = list(demands)
    probes, walks, issued = [], [], [0]
    waiting = {}

    async def testbench(ctx):
        nonlocal waiting
        pipeline = deque([None] * 3)
        ctx.set(dut.enable, 1)
        for clock in range(clocks or len(demands) + 60):
            demand = demands[clock] if clock < len(demands) else None
            ctx.set(dut.demand.valid, demand is not None)
            if demand is not None:
                ctx.set(dut.demand.payload, demand)
            ctx.set(dut.spare, spare())
            ctx.set(dut.probe.ready, free())
            ctx.set(dut.walk.ready, accepts(clock))
            ctx.set(dut.forget_contexts, forget(clock))

            entering = None
            if ctx.get(dut.probe.valid) and ctx.get(dut.probe.ready):
                request = ctx.get(dut.probe.payload)
                assert request.probe and not request.replay and not request.debug
                assert not request.access.write and not request.access.exec
                assert int(request.access.iova) & 0x7FFF == 0
                entering = int(request.access.device_id), int(request.access.iova) >> 15
                probes.append(entering)
            pipeline.append(entering)
            arriving = pipeline.popleft()
            ctx.set(dut.probed.valid, arriving is not None)
            assert ctx.get(dut.probed.ready)
            if arriving is not None:
                device, line = arriving
                known, mode = context(device)
                waiting[arriving] = 1
                ctx.set(dut.probed.payload, {
                    "request": {"access": {"device_id": device, "iova": line << 15}, "probe": 1},
                    "hit": arriving in resident, "context_hit": known,
                    "context": {"mode": mode, "gscid": device}})

            if ctx.get(dut.walk.valid) and ctx.get(dut.walk.ready):
                walk = ctx.get(dut.walk.payload)
                assert walk.prefetch and int(walk.context.gscid) == int(walk.access.device_id)
                walks.append((int(walk.access.device_id), int(walk.access.iova) >> 15))
                assert walk.context_hit == waiting.pop(walks[-1])
            if forget(clock):
                waiting = dict.fromkeys(waiting, 0)
            issued[0] += ctx.get(dut.issued)
            await ctx.tick()

    simulate(top or dut, testbench)
    assert issued[0] == len(walks)
    return probes, walks


@pytest.mark.parametrize("lines", [0, 3, 12, "64"])
def test_wrong_lines(lines):
    message = rf"^Number of lines must be a power of two of at least 4, not {lines!r}$"
    with pytest.raises(ValueError, match=message):
        prefetcher(lines=lines)


def test_first_touch_of_a_line_walks_the_next_one():
    assert run(prefetcher(), [touch(100)]) == ([(1, 101)], [(1, 101)])


@pytest.mark.parametrize("gap", [0, 1, 2, 9])
def test_further_touches_of_a_line_do_nothing(gap):
    demands = [touch(100), *[None] * gap] * 8
    assert run(prefetcher(), demands) == ([(1, 101)], [(1, 101)])


def test_lines_of_several_devices_are_tried_each():
    demands = [demand for n in range(6) for demand in (touch(200, device=n), *[None] * 9)] * 3
    probes, walks = run(prefetcher(), demands)
    assert probes == walks == [(n, 201) for n in range(6)]


def test_a_line_that_hits_is_tried_again_after_a_long_while_only():
    probes, _ = run(prefetcher(), [touch(100), *[None] * 2000, touch(100), *[None] * 2500,
                                   touch(100)])
    assert len(probes) == 2


def test_a_line_that_misses_is_tried_again_after_a_walk():
    probes, _ = run(prefetcher(), [touch(100, hit=0), *[None] * 100, touch(100, hit=0),
                                   *[None] * 260, touch(100, hit=0)])
    assert len(probes) == 2


def test_a_next_line_that_is_there_is_not_walked():
    assert run(prefetcher(), [touch(100)], resident=[(1, 101)]) == ([(1, 101)], [])


@pytest.mark.parametrize("demand", [
    touch(100, context_hit=0), touch(100, mode=BARE), touch(100, replay=1), touch(100, probe=1),
    touch(100, debug=1), touch(100, access={"at": 2}), touch(100, access={"at": 1}),
    touch(100, access={"pv": 1}),
    touch((1 << 26) - 1), touch((1 << 35) - 1, mode=SV48X4),
], ids=["no context", "bare", "replay", "probe", "debug", "translated", "ats", "process",
        "top of Sv39x4", "top of Sv48x4"])
def test_what_does_not_trigger(demand):
    assert run(prefetcher(), [demand]) == ([], [])


def test_top_of_a_narrower_mode_is_not_the_top():
    assert run(prefetcher(), [touch((1 << 26) - 1, mode=SV48X4)])[0] == [(1, 1 << 26)]


@pytest.mark.parametrize("context", [(0, SV39X4), (1, BARE)])
def test_without_a_known_second_stage_nothing_is_walked(context):
    probes, walks = run(prefetcher(), [touch(100)], context=lambda device: context)
    assert len(probes) == 1 and not walks


def test_nothing_is_probed_without_a_spare_walk_or_when_switched_off():
    assert run(prefetcher(), [touch(100)], spare=lambda: 0) == ([], [])


@pytest.mark.parametrize("seed", range(4))
def test_walks_that_wait_forget_their_contexts_and_later_ones_know_theirs(seed):
    rng = random.Random(seed)
    dut = prefetcher()
    demands = [demand for n in range(40)
               for demand in (touch(10 * n), *[None] * rng.choice([6, 9]))]
    ready   = [rng.random() < 0.3 for _ in range(600)]
    forget  = [rng.random() < 0.2 for _ in range(600)]
    _, walks = run(dut, demands, top=HiddenStreams(dut), accepts=lambda clock: ready[clock],
                   forget=lambda clock: forget[clock] and not ready[clock], clocks=600)
    assert len(walks) > 30


@pytest.mark.parametrize("seed", range(3))
def test_walks_are_probed_lines_that_were_not_there(seed):
    rng = random.Random(seed)
    lines = [(device, 64 * device + n) for device in range(4) for n in range(60)]
    resident = set(rng.sample(lines, 60))
    demands = [None if rng.random() < 0.7 else
               touch(line, device=device, hit=rng.random() < 0.5)
               for device, line in sorted(lines, key=lambda pair: pair[1] % 64)]
    probes, walks = run(prefetcher(lines=4 << seed), demands, resident=resident,
                        spare=lambda: rng.random() < 0.7, free=lambda: rng.random() < 0.5,
                        accepts=lambda clock: rng.random() < 0.3, clocks=600)
    touched = {(int(d["request"]["source"]), d["request"]["access"]["iova"] >> 15)
               for d in demands if d is not None}
    assert {(device, line - 1) for device, line in probes} <= touched
    assert walks == [probe for probe in probes if probe not in resident]
    assert len(walks) > 5


def test_exports_verilog():
    assert "module prefetcher(" in verilog.convert(prefetcher(), name="prefetcher")
