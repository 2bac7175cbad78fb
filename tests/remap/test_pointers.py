# amaranth: UnusedElaboratable=no

import random

import pytest

from iovirt.remap.layouts import SecondStage
from iovirt.remap.pointers import PointerCache
from iovirt_sim.harness import simulate

RIGHT = {"entries": 8, "address_width": 46, "gpa_bits": 50}


@pytest.mark.parametrize("parameters, message", [
    ({"entries": 6}, r"^Number of pointers must be a power of two of at least 4, not 6$"),
    ({"address_width": 60}, r"^Address width must be an integer in 32..56, not 60$"),
    ({"gpa_bits": 48}, r"^Width of a guest address must be 41, 50 or 59, not 48$"),
])
def test_wrong_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        PointerCache(**RIGHT | parameters)


def key(gscid, region, mode=SecondStage.SV48X4):
    return {"gscid": gscid, "mode": mode, "region": region}


async def look(ctx, dut, wanted):
    """Return the table of ``wanted``, or None."""
    ctx.set(dut.look, wanted)
    await ctx.tick().repeat(3)
    return ctx.get(dut.table) if ctx.get(dut.hit) else None


async def fill(ctx, dut, wanted, table):
    ctx.set(dut.fill_key, wanted)
    ctx.set(dut.fill_table, table)
    ctx.set(dut.fill, 1)
    await ctx.tick()
    ctx.set(dut.fill, 0)


async def sweep(ctx, dut, **what):
    ctx.set(dut.sweep.payload, what)
    ctx.set(dut.sweep.valid, 1)
    await ctx.tick().until(dut.sweep.ready)
    ctx.set(dut.sweep.valid, 0)


@pytest.mark.parametrize("entries", [4, 64])
def test_hits_are_what_was_filled_last_and_sweeps_leave_nothing(entries):
    rng, dut = random.Random(entries), PointerCache(**RIGHT | {"entries": entries})
    known, hits = {}, []

    async def testbench(ctx):
        await ctx.tick().repeat(entries + 4)
        for _ in range(250):
            gscid, region = rng.choice([1, 0x801]), rng.choice([0, 1, 1 << 20])
            mode = rng.choice([SecondStage.SV39X4, SecondStage.SV48X4])
            action = rng.random()
            if action < 0.45:
                known[gscid, region, mode] = rng.randrange(1 << 34)
                await fill(ctx, dut, key(gscid, region, mode), known[gscid, region, mode])
            elif action < 0.98:
                table = await look(ctx, dut, key(gscid, region, mode))
                if table is not None:
                    assert table == known[gscid, region, mode]
                    hits.append(table)
            else:
                gv = rng.randrange(2)
                await sweep(ctx, dut, gv=gv, gscid=gscid)
                for one in list(known):
                    if not gv or one[0] == gscid:
                        del known[one]

    simulate(dut, testbench, deadline=5000 + 30 * entries)
    assert len(hits) > 10


def test_sweep_of_a_guest_spares_the_others():
    dut = PointerCache(**RIGHT)

    async def testbench(ctx):
        await ctx.tick().repeat(12)
        await fill(ctx, dut, key(1, 5), 0x111)
        await fill(ctx, dut, key(2, 5), 0x222)
        await sweep(ctx, dut, gv=1, gscid=1)
        assert await look(ctx, dut, key(1, 5)) is None
        assert await look(ctx, dut, key(2, 5)) == 0x222

    simulate(dut, testbench)


def test_nothing_is_found_until_all_entries_have_been_written_after_reset():
    dut = PointerCache(**RIGHT)

    async def testbench(ctx):
        await fill(ctx, dut, key(1, 5), 0x111)
        for _ in range(12):
            assert await look(ctx, dut, key(1, 5)) is None
        await fill(ctx, dut, key(1, 5), 0x333)
        assert await look(ctx, dut, key(1, 5)) == 0x333

    simulate(dut, testbench)
