# amaranth: UnusedElaboratable=no

import random

from amaranth import *

from iovirt.config import RemapConfig
from iovirt.remap.lookup import Lookup
from iovirt_sim.harness import simulate
from iovirt_sim.lookup_bench import RWX, LookupBench
from iovirt_sim.streams import receive, send

SMALL = RemapConfig(physical_address_bits=40, second_stage=("Sv39x4",), iotlb_tags=16, iotlb_ways=2,
                    superpages=1, contexts=8, context_ways=2)


def make():
    """Return a bench of a lookup pipeline."""
    return LookupBench(Lookup(id_width=10, slot_width=3, remap=SMALL))


def request(n, device_id=5, **fields):
    """Return a hit of page ``n % 8``."""
    return {"access": {"device_id": device_id, "iova": n % 8 << 12}, "id": n % 1024, **fields}


async def fill(ctx, bench):
    await bench.context(ctx, 5)
    await bench.line(ctx, 0, {n: 0x100 + n for n in range(8)}, device_id=5)


def test_outcome_comes_3_cycles_after_the_request():
    async def body(ctx, bench):
        await fill(ctx, bench)
        dut = bench.dut
        for ready in 0, 1:
            ctx.set(dut.outcome.ready, ready)
            await send(ctx, dut.request, [request(1)])  # accepted at the edge that has just passed
            for _ in range(2):
                assert not ctx.get(dut.outcome.valid)
                await ctx.tick()
            assert ctx.get(dut.outcome.valid) and ctx.get(dut.outcome.payload).hit
            assert ctx.get(dut.in_flight) == 1
            ctx.set(dut.outcome.ready, 1)
            await ctx.tick()
            assert not ctx.get(dut.outcome.valid) and ctx.get(dut.in_flight) == 0

    make().run(body)


def test_one_lookup_per_cycle():
    bench, count = make(), 200

    async def body(ctx, bench):
        await fill(ctx, bench)
        ctx.set(bench.dut.request.valid, 1)
        for n in range(count):
            ctx.set(bench.dut.request.payload, request(n))
            assert ctx.get(bench.dut.request.ready)
            await ctx.tick()
        ctx.set(bench.dut.request.valid, 0)

    async def consumer(ctx):
        outcomes = await receive(ctx, bench.dut.outcome, count)
        assert [(o.hit, o.ppn, o.request.id) for o, in outcomes] == [
            (1, 0x100 + n % 8, n) for n in range(count)]

    async def producer(ctx):
        ctx.set(bench.dut.ddtp_mode, 3)
        await body(ctx, bench)

    simulate(bench.dut, producer, consumer)


def test_full_rate_returns_after_every_stall():
    bench, rng = make(), random.Random(1)

    async def body(ctx, bench):
        dut = bench.dut
        await fill(ctx, bench)
        ctx.set(dut.request.valid, 1)
        for _ in range(20):
            ctx.set(dut.outcome.ready, 0)
            await ctx.tick().repeat(rng.randrange(1, 8))
            ctx.set(dut.outcome.ready, 1)
            await ctx.tick().repeat(4)
            for _ in range(6):
                _, _, accepted, offered = await ctx.tick().sample(
                    dut.request.ready, dut.outcome.valid)
                assert accepted and offered
        ctx.set(dut.request.valid, 0)

    bench.run(body)


def test_line_fill_takes_10_cycles_and_one_slot():
    bench, lines = make(), 12

    async def body(ctx, bench):
        dut = bench.dut
        await fill(ctx, bench)
        ctx.set(dut.outcome.ready, 1)
        ctx.set(dut.request.payload, request(3))
        ctx.set(dut.request.valid, 1)
        transfers = [{"gscid": 1, "device_id": 5, "line": 8 * (1 + n // 8), "last": n % 8 == 7,
                      "page": {"valid": 1, "ppn": n, **RWX}} for n in range(8 * lines)]
        ctx.set(dut.line_fill.valid, 1)
        cycles = slots = 0
        for transfer in transfers:
            ctx.set(dut.line_fill.payload, transfer)
            taken = 0
            while not taken:
                _, _, taken, free = await ctx.tick().sample(dut.line_fill.ready, dut.request.ready)
                cycles += 1
                slots += not free
        ctx.set(dut.line_fill.valid, 0)
        assert (cycles, slots) == (10 * lines, lines)

    bench.run(body)


def test_lookup_that_meets_a_write_misses():
    # Memories may return anything then. Page 3 of a line that is present is written once in a fill
    # of it, and the tag once; the other lookups of page 3 hit.
    async def body(ctx, bench):
        dut, hits = bench.dut, []
        await fill(ctx, bench)
        ctx.set(dut.outcome.ready, 1)
        ctx.set(dut.request.payload, request(3))
        ctx.set(dut.request.valid, 1)
        ctx.set(dut.line_fill.valid, 1)
        for n in range(8):
            ctx.set(dut.line_fill.payload, {
                "gscid": 1, "device_id": 5, "line": 0, "last": n == 7,
                "page": {"valid": 1, "ppn": 0x100 + n, **RWX}})
            taken = 0
            while not taken:
                _, _, taken, valid, outcome = await ctx.tick().sample(
                    dut.line_fill.ready, dut.outcome.valid, dut.outcome.payload)
                hits += [outcome.hit] if valid else []
        ctx.set(dut.line_fill.valid, 0)
        for _ in range(5):
            _, _, valid, outcome = await ctx.tick().sample(dut.outcome.valid, dut.outcome.payload)
            assert valid
            hits.append(outcome.hit)
        ctx.set(dut.request.valid, 0)
        assert hits.count(0) == 2 and len(hits) > 10

    make().run(body)


def test_context_and_superpage_fills_take_3_and_5_cycles():
    async def body(ctx, bench):
        await ctx.tick().repeat(bench.dut.scrub_cycles)
        for cycles, port in (3, bench.dut.context_fill), (5, bench.dut.superpage_fill):
            ctx.set(port.valid, 1)
            for _ in range(4):
                for n in range(1, cycles + 1):
                    _, _, ready = await ctx.tick().sample(port.ready)
                    assert ready == (n == cycles)
            ctx.set(port.valid, 0)

    make().run(body)


class Resettable(Elaboratable):
    """A component with a reset that tests can assert."""

    def __init__(self, dut):
        self.dut, self.reset, self.signature = dut, Signal(), dut.signature

    def __getattr__(self, name):
        return getattr(self.dut, name)

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = sync = ClockDomain()
        m.d.comb += sync.rst.eq(self.reset)
        m.submodules.dut = self.dut
        return m


def test_nothing_survives_a_reset():
    # Reset comes while lookups, a fill and an invalidation are under way.
    bench, rng = LookupBench(Resettable(make().dut)), random.Random(2)

    async def body(ctx, bench):
        dut = bench.dut
        for _ in range(6):
            await fill(ctx, bench)
            await bench.superpage(ctx, 0x40000000, 1, 0x200)
            assert await bench.translate(ctx, 5, 0x1000) == 0x101000
            ctx.set(dut.request.valid, 1)
            ctx.set(dut.line_fill.payload, {"gscid": 1, "line": 1, "page": {"valid": 1, **RWX}})
            ctx.set(dut.line_fill.valid, 1)
            await ctx.tick().repeat(rng.randrange(1, 12))
            ctx.set(dut.invalidate.payload, {"gv": 1, "av": 1, "gscid": 9})
            ctx.set(dut.invalidate.valid, 1)
            await ctx.tick().repeat(rng.randrange(1, 12))
            ctx.set(dut.reset, 1)
            ctx.set(dut.request.valid, 0)
            ctx.set(dut.line_fill.valid, 0)
            ctx.set(dut.invalidate.valid, 0)
            await ctx.tick()
            ctx.set(dut.reset, 0)
            assert not ctx.get(dut.outcome.valid) and ctx.get(dut.in_flight) == 0
            assert not (await bench.look(ctx, 5, 0x1000)).context_hit
            await bench.context(ctx, 5)
            for n in range(16):
                assert await bench.translate(ctx, 5, n << 12) is None
            assert await bench.translate(ctx, 5, 0x40000000) is None

    bench.run(body)
