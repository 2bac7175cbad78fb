# amaranth: UnusedElaboratable=no

import pytest

from iovirt.config import RemapConfig, preset
from iovirt.csr import register_map
from iovirt.remap.engine import RemapEngine
from iovirt.remap.layouts import SecondStage
from iovirt.remap.lookup import Lookup
from iovirt.remap.prefetch import Prefetcher
from iovirt_sim.harness import simulate
from iovirt_sim.lookup_bench import LookupBench
from iovirt_sim.streams import receive

SMALL = RemapConfig(physical_address_bits=40, second_stage=("Sv39x4",), iotlb_tags=16, iotlb_ways=4,
                    superpages=2, contexts=8, context_ways=4)


@pytest.mark.parametrize("mode", [0, 1, 3])
def test_bypass_hits_in_every_mode_whatever_the_access_is(mode):
    bench = LookupBench(Lookup(id_width=4, slot_width=3, remap=SMALL))

    async def body(ctx, bench):
        for access in ({}, {"write": 1}, {"at": 1}, {"at": 2, "write": 1}, {"pv": 1, "pid": 5}):
            for bypass in (1, 0):
                request = {"access": {"device_id": 9, "iova": 0xFEE0_0000_0000, **access},
                           "bypass": bypass}
                ctx.set(bench.dut.request.payload, request)
                ctx.set(bench.dut.request.valid, 1)
                await ctx.tick().until(bench.dut.request.ready)
                ctx.set(bench.dut.request.valid, 0)
                (outcome,), = await receive(ctx, bench.dut.outcome, 1)
                assert outcome.hit == bypass, f"{access} in mode {mode}"
                assert outcome.request.bypass == bypass

    bench.run(body, mode=mode)


A, B = 0x100, 0x201
#: While translation is off, each access is denied after a walk that reads nothing.
REQUESTS = [(A, 0, 1), (A, 1, 2), (B, 1, 3), (A, 0, 4), (A, 1, 5)]


def test_bypass_keeps_its_place_among_those_of_its_source_and_is_not_counted():
    config = preset("tiny")
    dut = RemapEngine(id_width=4, remap=config.remap, table_width=config.table_width, capacity=16,
                      register_map=register_map(config), retires=3)
    counts = dict.fromkeys(("requests", "hits", "misses", "prefetch_walks", "faults_lost"), 0)
    results = []

    async def producer(ctx):
        await ctx.tick().until(dut.ready)
        for source, bypass, id in REQUESTS:
            ctx.set(dut.request.payload, {
                "access": {"device_id": source, "iova": id << 12, "write": 1},
                "source": source, "bypass": bypass, "id": id})
            ctx.set(dut.request.valid, 1)
            await ctx.tick().until(dut.request.ready)
        ctx.set(dut.request.valid, 0)

    async def consumer(ctx):
        ctx.set(dut.prefetch_enable, 1)
        for got, in await receive(ctx, dut.result, len(REQUESTS)):
            results.append((int(got.id), int(got.ok)))
        await ctx.tick().repeat(8)

    async def watch(ctx):
        names = list(counts)
        async for _, _, *pulses in ctx.tick().sample(*(getattr(dut.events, name)
                                                       for name in names)):
            for name, pulse in zip(names, pulses, strict=True):
                counts[name] += pulse

    simulate(dut, producer, consumer, background=[watch])
    assert [got for got in results if got[0] != 3] == [(1, 0), (2, 1), (4, 0), (5, 1)]
    assert results[0] == (3, 1), "another source waited"
    assert counts == {"requests": 2, "hits": 0, "misses": 2, "prefetch_walks": 0,
                      "faults_lost": 2}


@pytest.mark.parametrize("bypass", [0, 1])
def test_bypass_is_not_prefetched_for(bypass):
    dut = Prefetcher(id_width=4, slot_width=3, address_width=46)
    probes = []

    async def testbench(ctx):
        ctx.set(dut.enable, 1)
        ctx.set(dut.spare, 1)
        ctx.set(dut.probe.ready, 1)
        ctx.set(dut.demand.payload, {
            "request": {"access": {"device_id": 1, "iova": 0x12345678}, "bypass": bypass},
            "hit": 1, "context_hit": 1, "context": {"mode": SecondStage.SV39X4}})
        ctx.set(dut.demand.valid, 1)
        await ctx.tick()
        ctx.set(dut.demand.valid, 0)
        for _ in range(12):
            _, _, valid = await ctx.tick().sample(dut.probe.valid)
            probes.append(valid)

    simulate(dut, testbench)
    assert any(probes) == (not bypass)
