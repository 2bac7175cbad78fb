# amaranth: UnusedElaboratable=no

import dataclasses

import pytest

from iovirt.config import RemapConfig
from iovirt.remap.lookup import Lookup
from iovirt_sim.lookup_bench import RWX, LookupBench
from iovirt_sim.streams import send

SMALL = RemapConfig(physical_address_bits=40, second_stage=("Sv39x4",), iotlb_tags=16, iotlb_ways=2,
                    superpages=3, contexts=8, context_ways=2)  # 8 sets of lines, 4 of contexts

WIDE = dataclasses.replace(SMALL, iotlb_tags=32)  # 16 sets: more than a hash can reach


def on_small(body, remap=SMALL):
    """Make a test of ``body(ctx, bench)``."""
    return lambda: LookupBench(Lookup(id_width=4, slot_width=3, remap=remap)).run(body)


async def fill(ctx, bench):
    """Fill three domains: a line of three pages in each, a superpage in two."""
    for gscid in 1, 2, 3:
        await bench.context(ctx, gscid, gscid=gscid)
        await bench.line(ctx, 6, {n: gscid << 8 | n for n in (0, 1, 7)}, gscid=gscid,
                         device_id=gscid)
    for gscid in 1, 2:
        await bench.superpage(ctx, 0x40000000, 1, gscid << 12, gscid=gscid)


async def held(ctx, bench):
    """Return which of these hit, as a set of (GSCID, page) or (GSCID, "2M")."""
    found = set()
    for gscid in 1, 2, 3:
        for n in 0, 1, 7:
            if await bench.translate(ctx, gscid, 6 << 15 | n << 12) == (gscid << 8 | n) << 12:
                found.add((gscid, n))
        if await bench.translate(ctx, gscid, 0x40123456) == gscid << 24 | 0x123456:
            found.add((gscid, "2M"))
    return found


ALL = {(gscid, n) for gscid in (1, 2, 3) for n in (0, 1, 7)} | {(1, "2M"), (2, "2M")}


@pytest.mark.parametrize("op, dropped", [
    ({},                                                   ALL),
    ({"gv": 1, "gscid": 2},                                {e for e in ALL if e[0] == 2}),
    ({"gv": 1, "gscid": 9},                                set()),
    ({"gv": 1, "av": 1, "gscid": 1, "iova": 6 << 15},      {(1, 0)}),
    ({"gv": 1, "av": 1, "gscid": 3, "iova": 0x37fff},      {(3, 7)}),
    ({"gv": 1, "av": 1, "gscid": 1, "iova": 7 << 15},      set()),
    ({"gv": 1, "av": 1, "gscid": 1, "iova": 0x401ff000},   {(1, "2M")}),
    ({"gv": 1, "av": 1, "gscid": 1, "iova": 0x40200000},   set()),
    ({"context": 1},                                       set()),
    ({"context": 1, "dv": 1, "device_id": 2},              set()),
])
def test_iotlb_invalidation_drops_just_what_it_names(op, dropped):
    async def body(ctx, bench):
        await fill(ctx, bench)
        assert await held(ctx, bench) == ALL
        await bench.invalidate(ctx, **op)
        for gscid in 1, 2, 3:  # contexts only hide translations
            await bench.context(ctx, gscid, gscid=gscid)
        assert await held(ctx, bench) == ALL - dropped

    on_small(body)()


@on_small
async def test_page_is_dropped_whatever_the_device(ctx, bench):
    # Devices of one domain may have the line in different sets.
    for device_id in range(8):
        await bench.context(ctx, device_id)
        await bench.line(ctx, 6, {n: 0x100 + n for n in range(8)}, device_id=device_id)
    await bench.invalidate(ctx, gv=1, av=1, gscid=1, iova=6 << 15 | 3 << 12)
    for device_id in range(8):
        for n in range(8):
            spa = await bench.translate(ctx, device_id, 6 << 15 | n << 12)
            assert spa == (None if n == 3 else (0x100 + n) << 12)


@pytest.mark.parametrize("remap", [SMALL, WIDE], ids=["small", "wide"])
@pytest.mark.parametrize("page", [0, 5, 8, 15])
def test_page_of_a_napot_leaf_drops_both_lines(page, remap):
    async def body(ctx, bench):
        await bench.context(ctx, 5)
        for line in 6, 7:
            await bench.line(ctx, line, {n: 0x100 + n for n in range(8)}, device_id=5, napot=1)
        for line in 4, 8:  # neighbours: another 64 KiB, and not NAPOT
            await bench.line(ctx, line, {0: 0x500}, device_id=5, napot=line == 4)
        await bench.invalidate(ctx, gv=1, av=1, gscid=1, iova=6 << 15 | page << 12)
        for n in range(16):
            assert await bench.translate(ctx, 5, 6 << 15 | n << 12) is None
        for line in 4, 8:
            assert await bench.translate(ctx, 5, line << 15) == 0x500000

    on_small(body, remap)()


def test_page_is_dropped_in_whatever_set_its_device_has_it():
    async def body(ctx, bench):
        for device_id in range(8):
            await bench.context(ctx, device_id)
            for line in 0x3c5, 0x3c4:
                await bench.line(ctx, line, {3: 0x100, 4: 0x200}, device_id=device_id)
        await bench.invalidate(ctx, gv=1, av=1, gscid=1, iova=0x3c5 << 15 | 3 << 12)
        for device_id in range(8):
            for line, page, kept in (0x3c5, 3, None), (0x3c5, 4, 0x200), (0x3c4, 3, 0x100):
                spa = await bench.translate(ctx, device_id, line << 15 | page << 12)
                assert spa == (kept and kept << 12)

    on_small(body, dataclasses.replace(WIDE, iotlb_tags=64, iotlb_ways=4))()


@on_small
async def test_line_merged_from_napot_and_pages_is_dropped_whole(ctx, bench):
    await bench.context(ctx, 5)
    for order in (0, 1), (1, 0):
        for napot in order:
            await bench.line(ctx, 6, {4 * napot + n: 0x100 for n in range(4)}, device_id=5,
                             napot=napot)
        await bench.invalidate(ctx, gv=1, av=1, gscid=1, iova=6 << 15)
        for n in range(8):
            assert await bench.translate(ctx, 5, 6 << 15 | n << 12) is None


@pytest.mark.parametrize("op, dropped", [
    ({},                           {(2, 0), (2, 1), (2, 2), (3, 0)}),
    ({"dv": 1, "device_id": 2},    {(2, 0), (2, 1), (2, 2)}),
    ({"dv": 1, "device_id": 3},    {(3, 0)}),
    ({"dv": 1, "device_id": 6},    set()),
])
def test_context_invalidation_drops_just_what_it_names(op, dropped):
    keys = [(2, 0), (2, 1), (3, 0)]

    async def body(ctx, bench):
        for device_id, pid in keys:
            await bench.context(ctx, device_id, pv=pid != 0, pid=pid)
        await bench.invalidate(ctx, context=1, **op)
        for device_id, pid in keys:
            outcome = await bench.look(ctx, device_id, 0, pv=pid != 0, pid=pid)
            assert outcome.context_hit == ((device_id, pid) not in dropped)

    on_small(body)()


@on_small
async def test_invalidation_follows_fills_that_were_accepted(ctx, bench):
    # The first page of a line has been taken; the others follow while the invalidation waits.
    await bench.context(ctx, 5)
    dut = bench.dut
    transfer = lambda n: {"gscid": 1, "device_id": 5, "line": 6, "last": n == 7,
                          "page": {"valid": 1, "ppn": 0x200, **RWX}}
    await send(ctx, dut.line_fill, [transfer(0)])
    ctx.set(dut.invalidate.valid, 1)
    await ctx.tick().repeat(40)
    assert not ctx.get(dut.invalidate.ready)
    await send(ctx, dut.line_fill, map(transfer, range(1, 8)))
    await ctx.tick().until(dut.invalidate.ready)
    ctx.set(dut.invalidate.valid, 0)
    assert await bench.translate(ctx, 5, 6 << 15) is None


@on_small
async def test_invalidation_waits_for_outcomes_of_older_requests(ctx, bench):
    await bench.context(ctx, 5)
    await bench.line(ctx, 6, {0: 0x200}, device_id=5)
    dut = bench.dut
    request = {"access": {"device_id": 5, "iova": 6 << 15}}
    await send(ctx, dut.request, [request, request])
    ctx.set(dut.invalidate.valid, 1)
    await send(ctx, dut.request, [request, request])  # these find it or not
    for _ in range(2):
        await ctx.tick().repeat(40)
        assert not ctx.get(dut.invalidate.ready)
        outcome, = [ctx.get(dut.outcome.payload)]
        assert outcome.hit
        ctx.set(dut.outcome.ready, 1)
        await ctx.tick()
        ctx.set(dut.outcome.ready, 0)
    await ctx.tick()
    ctx.set(dut.outcome.ready, 1)
    await ctx.tick().until(dut.invalidate.ready)
    ctx.set(dut.invalidate.valid, 0)
    assert await bench.translate(ctx, 5, 6 << 15) is None


@on_small
async def test_invalidations_take_as_long_as_stated(ctx, bench):
    sets, context_sets = bench.dut.sets, bench.dut.context_sets
    await ctx.tick().repeat(bench.dut.scrub_cycles)
    assert await bench.invalidate(ctx) == sets + 4
    assert await bench.invalidate(ctx, gv=1) == sets + 6
    assert await bench.invalidate(ctx, gv=1, av=1) == 14
    assert await bench.invalidate(ctx, context=1) == context_sets + 4
    assert await bench.invalidate(ctx, context=1, dv=1) == 5


@on_small
async def test_fill_is_not_confused_by_an_invalidation_that_comes_meanwhile(ctx, bench):
    dut = bench.dut
    for cycles in range(4):
        await bench.context(ctx, 5, gscid=1)
        await bench.context(ctx, 6, gscid=4)
        ctx.set(dut.context_fill.payload, {"key": {"device_id": 5},
                                           "context": {"gscid": 2, "mode": 1}})
        ctx.set(dut.context_fill.valid, 1)
        filled = False
        for cycle in range(12):
            if cycle == cycles:
                ctx.set(dut.invalidate.payload, {"kind": 1, "dv": 1, "device_id": 6})
                ctx.set(dut.invalidate.valid, 1)
            _, _, taken, done = await ctx.tick().sample(
                dut.context_fill.ready, dut.invalidate.ready)
            if taken and not filled:
                ctx.set(dut.context_fill.valid, 0)
                filled = True
            if done:
                ctx.set(dut.invalidate.valid, 0)
        outcome = await bench.look(ctx, 5, 0)
        assert outcome.context_hit and outcome.context.gscid == 2
        assert not (await bench.look(ctx, 6, 0)).context_hit
