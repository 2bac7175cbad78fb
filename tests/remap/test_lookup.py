# amaranth: UnusedElaboratable=no

import pytest

from iovirt.config import RemapConfig
from iovirt.remap.lookup import Lookup
from iovirt_sim.harness import simulate
from iovirt_sim.lookup_bench import RWX, LookupBench
from iovirt_sim.streams import send

SMALL = RemapConfig(physical_address_bits=40, second_stage=("Sv39x4",), iotlb_tags=16, iotlb_ways=4,
                    superpages=2, contexts=8, context_ways=4)
WIDE  = RemapConfig(physical_address_bits=46, iotlb_tags=32, iotlb_ways=4, contexts=16)
BARE, SV39X4, SV48X4 = 0, 1, 2  # second stages


def small(remap=SMALL):
    """Return a bench of a lookup pipeline."""
    return LookupBench(Lookup(id_width=4, slot_width=3, remap=remap))


def on_small(body):
    """Make a test of ``body(ctx, bench)``."""
    return lambda: small().run(body)


@pytest.mark.parametrize("change, error, message", [
    ({"id_width": 0},     ValueError, r"^id_width must be an integer of at least 1, not 0$"),
    ({"slot_width": "1"}, ValueError, r"^slot_width must be an integer of at least 1, not '1'$"),
    ({"remap": None},     TypeError,  r"^remap must be a RemapConfig, not None$"),
])
def test_wrong_parameters(change, error, message):
    with pytest.raises(error, match=message):
        Lookup(**{"id_width": 4, "slot_width": 3, "remap": SMALL, **change})


@on_small
async def test_nothing_is_held_after_reset(ctx, bench):
    outcome = await bench.look(ctx, 3, 0x1000)
    assert not outcome.hit and not outcome.context_hit


def test_requests_wait_for_the_scrub_after_reset():
    bench = small(WIDE)

    async def testbench(ctx):
        for _ in range(bench.dut.scrub_cycles):
            assert not ctx.get(bench.dut.request.ready)
            await ctx.tick()
        assert ctx.get(bench.dut.request.ready)

    simulate(bench.dut, testbench)


@on_small
async def test_outcome_carries_the_request_and_the_context(ctx, bench):
    await bench.context(ctx, 0x123456, gscid=0xabcd, root=0x12345678, pv=1, pid=77)
    outcome = await bench.look(ctx, 0x123456, 0xdeadbeef, pv=1, pid=77, priv=1, exec=1)
    assert outcome.request.access.iova == 0xdeadbeef
    assert outcome.request.access.priv == 1 and outcome.request.access.exec == 1
    assert outcome.request.source == 7 and outcome.request.id == 5
    assert outcome.context_hit and not outcome.hit
    assert outcome.context.gscid == 0xabcd and outcome.context.root == 0x12345678
    assert outcome.context.mode.value == SV39X4


@on_small
async def test_context_is_found_only_by_its_whole_key(ctx, bench):
    await bench.context(ctx, 0x10, pv=1, pid=5)
    await bench.context(ctx, 0x10, gscid=2)
    for device_id, pv, pid, gscid in ((0x10, 1, 5, 1), (0x10, 0, 0, 2), (0x10, 1, 4, None),
                                      (0x10, 1, 0, None), (0x11, 1, 5, None),
                                      (0x800010, 0, 0, None)):
        outcome = await bench.look(ctx, device_id, 0, pv=pv, pid=pid)
        assert outcome.context_hit == (gscid is not None)
        assert gscid is None or outcome.context.gscid == gscid


@on_small
async def test_context_fill_of_a_present_key_overwrites(ctx, bench):
    for gscid in 1, 2, 3:
        await bench.context(ctx, 0x10, gscid=gscid)
        assert (await bench.look(ctx, 0x10, 0)).context.gscid == gscid
    await bench.invalidate(ctx, context=1, dv=1, device_id=0x10)
    assert not (await bench.look(ctx, 0x10, 0)).context_hit


@on_small
async def test_pages_of_a_line_translate(ctx, bench):
    await bench.context(ctx, 5)
    await bench.line(ctx, 0x99, {n: 0x1000 + n * 0x111 for n in (0, 2, 3, 7)}, device_id=5)
    for n in range(8):
        expected = (0x1000 + n * 0x111) << 12 | 0x234 if n in (0, 2, 3, 7) else None
        assert await bench.translate(ctx, 5, 0x99 << 15 | n << 12 | 0x234) == expected


@on_small
async def test_iova_is_compared_up_to_bit_63(ctx, bench):
    await bench.context(ctx, 5)
    await bench.line(ctx, 0x99, {0: 0x1000}, device_id=5)
    await bench.superpage(ctx, 0x40000000, 1, 0x2000)
    assert await bench.translate(ctx, 5, 0x99 << 15) == 0x1000000
    assert await bench.translate(ctx, 5, 0x40000000) == 0x2000000
    for bit in [*range(15, 64)]:
        assert await bench.translate(ctx, 5, 0x99 << 15 ^ 1 << bit) is None
    for bit in [*range(21, 64)]:
        assert await bench.translate(ctx, 5, 0x40000000 ^ 1 << bit) is None


@on_small
async def test_fill_wider_than_a_gpa_is_dropped(ctx, bench):
    await bench.context(ctx, 5)
    await bench.line(ctx, 0x99 | 1 << 26, {0: 0x1000}, device_id=5)
    await bench.superpage(ctx, 1 << 41, 1, 0x2000)
    await bench.superpage(ctx, 0, 3, 0x2000)   # no 512 GiB leaves in Sv39x4
    await bench.superpage(ctx, 0, 1, 0x2000, valid=0)
    for iova in 0x99 << 15, (0x99 | 1 << 26) << 15, 0, 1 << 41:
        assert await bench.translate(ctx, 5, iova) is None


@on_small
async def test_translation_belongs_to_the_domain_of_the_device(ctx, bench):
    await bench.context(ctx, 1, gscid=1)
    await bench.context(ctx, 2, gscid=2)
    await bench.context(ctx, 9, gscid=1)
    await bench.line(ctx, 8, {0: 0x111}, gscid=1, device_id=1)
    await bench.line(ctx, 8, {0: 0x222}, gscid=2, device_id=2)
    await bench.superpage(ctx, 0x40000000, 1, 0x2000, gscid=2)
    assert await bench.translate(ctx, 1, 8 << 15) == 0x111000
    assert await bench.translate(ctx, 2, 8 << 15) == 0x222000
    assert await bench.translate(ctx, 9, 8 << 15) in (0x111000, None)  # it may be in another set
    assert await bench.translate(ctx, 1, 0x40000000) is None
    assert await bench.translate(ctx, 2, 0x40000000) == 0x2000000


@pytest.mark.parametrize("level", [0, 1])
def test_permission_is_checked(level):
    async def body(ctx, bench):
        await bench.context(ctx, 5)
        for allowed, read, write, execute in (("r", 1, 0, 0), ("rw", 1, 1, 0), ("x", 0, 0, 1),
                                              ("rx", 1, 0, 1), ("rwx", 1, 1, 1)):
            bits = {bit: bit in allowed for bit in "rwx"}
            if level:
                await bench.superpage(ctx, 0, 1, 0x200, allowed=bits)
            else:
                await bench.line(ctx, 0, {0: (0x200, bits)}, device_id=5)
            for access, granted in (({}, read), ({"write": 1}, write), ({"exec": 1}, execute),
                                    ({"write": 1, "exec": 1}, write)):
                spa = await bench.translate(ctx, 5, 0, **access)
                assert spa == (0x200000 if granted else None)

    small().run(body)


@on_small
async def test_other_requests_than_plain_ones_miss(ctx, bench):
    await bench.context(ctx, 5)
    await bench.context(ctx, 6, mode=BARE)
    await bench.line(ctx, 0, {0: 0x200}, device_id=5)
    for device_id in 5, 6:
        for access in {"at": 1}, {"at": 2}, {"at": 3}:
            outcome = await bench.look(ctx, device_id, 0, **access)
            assert outcome.context_hit and not outcome.hit
        assert not (await bench.look(ctx, device_id, 0, pv=1)).hit
        assert (await bench.look(ctx, device_id, 0)).hit


@on_small
async def test_process_with_a_context_of_its_own_hits(ctx, bench):
    await bench.context(ctx, 5, pv=1, pid=3)
    await bench.line(ctx, 0, {0: 0x200}, device_id=5)
    assert (await bench.look(ctx, 5, 0, pv=1, pid=3)).hit
    assert not (await bench.look(ctx, 5, 0, pv=1, pid=2)).hit
    assert not (await bench.look(ctx, 5, 0)).hit


@on_small
async def test_bare_context_passes_what_fits_an_spa(ctx, bench):
    await bench.context(ctx, 5, mode=BARE, gscid=1)
    await bench.line(ctx, 0, {0: 0x200}, device_id=5)
    await bench.superpage(ctx, 0, 1, 0x400)
    for access in {}, {"write": 1}, {"exec": 1}:
        assert await bench.translate(ctx, 5, 0, **access) == 0
        assert await bench.translate(ctx, 5, 0xff_dead_b123, **access) == 0xff_dead_b123
        assert await bench.translate(ctx, 5, 1 << 40, **access) is None
        assert await bench.translate(ctx, 5, 1 << 63, **access) is None


def test_ddtp_bare_passes_without_context():
    async def body(ctx, bench):
        await bench.context(ctx, 5)
        outcome = await bench.look(ctx, 5, 0xff_1234_5678, write=1)
        assert outcome.hit and outcome.ppn == 0xff_1234_5 and not outcome.context_hit
        assert await bench.translate(ctx, 6, 1 << 40) is None
        assert await bench.translate(ctx, 6, 0, at=2) is None
        assert await bench.translate(ctx, 6, 0, pv=1) == 0

    small().run(body, mode=1)


def test_ddtp_off_denies_everything():
    async def body(ctx, bench):
        await bench.context(ctx, 5, mode=BARE)
        await bench.line(ctx, 0, {0: 0x200}, device_id=5)
        outcome = await bench.look(ctx, 5, 0)
        assert not outcome.hit and not outcome.context_hit

    small().run(body, mode=0)


def test_superpage_takes_the_rest_from_the_iova():
    async def body(ctx, bench):
        await bench.context(ctx, 5, mode=SV48X4)
        await bench.superpage(ctx, 0x0_0020_0000, 1, 0x12345e00 + 0x1ff)  # low bits do not count
        await bench.superpage(ctx, 0x0_4000_0000, 2, 0x3_0000_0000 >> 12)
        await bench.superpage(ctx, 1 << 39, 3, 1 << 32)
        assert await bench.translate(ctx, 5, 0x003f_f123) == 0x12345e00 << 12 | 0x1f_f123
        assert await bench.translate(ctx, 5, 0x7fff_f123) == 0x3_3fff_f123
        assert await bench.translate(ctx, 5, 0xff_1234_5678) == 1 << 44 | 0x7f_1234_5678
        assert await bench.translate(ctx, 5, 0x8000_0000) is None

    small(WIDE).run(body)


@on_small
async def test_overlapping_superpage_replaces(ctx, bench):
    await bench.context(ctx, 5)
    await bench.superpage(ctx, 0x200000, 1, 0x1000)
    await bench.superpage(ctx, 0x600000, 1, 0x2000)
    await bench.superpage(ctx, 0, 2, 0x40000)  # covers both
    assert await bench.translate(ctx, 5, 0x200000) == 0x40200000
    assert await bench.translate(ctx, 5, 0x600000) == 0x40600000
    await bench.superpage(ctx, 0x200000, 1, 0x1000)
    assert await bench.translate(ctx, 5, 0x200000) == 0x1000000
    assert await bench.translate(ctx, 5, 0x600000) is None


@on_small
async def test_superpages_are_replaced_in_turn(ctx, bench):
    await bench.context(ctx, 5)
    for n in range(5):
        await bench.superpage(ctx, n << 21, 1, n + 1 << 9)
        for old in range(n + 1):
            expected = (old + 1) << 21 if old > n - 2 else None
            assert await bench.translate(ctx, 5, old << 21) == expected


@on_small
async def test_page_goes_before_superpage(ctx, bench):
    await bench.context(ctx, 5)
    await bench.superpage(ctx, 0, 1, 0x1200)
    await bench.line(ctx, 0, {1: 0x777}, device_id=5)
    assert await bench.translate(ctx, 5, 0x1000) == 0x777000
    assert await bench.translate(ctx, 5, 0x2000) == 0x1202000


@on_small
async def test_fill_merges_into_a_present_line(ctx, bench):
    await bench.context(ctx, 5)
    await bench.line(ctx, 3, {0: 0x100, 1: 0x101}, device_id=5)
    await bench.line(ctx, 3, {1: 0x201, 2: 0x202}, device_id=5)
    for n, expected in enumerate([0x100, 0x201, 0x202, None]):
        spa = await bench.translate(ctx, 5, 3 << 15 | n << 12)
        assert spa == (expected and expected << 12)


@on_small
async def test_new_line_replaces_the_oldest_of_its_set(ctx, bench):
    await bench.context(ctx, 5)
    lines = [n << 4 for n in range(8)]  # 4 sets of 4 ways: these share a set
    for n, line in enumerate(lines):
        await bench.line(ctx, line, {0: 0x100 + n}, device_id=5)
        held = [await bench.translate(ctx, 5, old << 15) is not None for old in lines[:n + 1]]
        assert held[-1] and sum(held) == min(n + 1, 4)


@pytest.mark.parametrize("devices, lines", [(8, 8), (32, 2)])
def test_as_many_lines_as_half_the_tags_stay(devices, lines):
    # Guests use few lines each, and the same ones: these must not crowd into a few sets.
    async def body(ctx, bench):
        for device_id in range(devices):
            await bench.context(ctx, device_id, gscid=device_id)
            for line in range(lines):
                await bench.line(ctx, 0x2000 + line, {0: 0x100}, gscid=device_id,
                                 device_id=device_id)
        for device_id in range(devices):
            for line in range(lines):
                assert await bench.translate(ctx, device_id, 0x2000 + line << 15) == 0x100000

    remap = RemapConfig(physical_address_bits=40)
    LookupBench(Lookup(id_width=4, slot_width=3, remap=remap)).run(body)


@on_small
async def test_line_in_use_is_kept(ctx, bench):
    await bench.context(ctx, 5)
    await bench.line(ctx, 0, {0: 0x100}, device_id=5)
    for n in range(1, 9):
        assert await bench.translate(ctx, 5, 0) == 0x100000
        await bench.line(ctx, n << 4, {0: 0x200}, device_id=5)


@on_small
async def test_line_is_written_whole_before_it_hits(ctx, bench):
    # Pages 0 to 6 of a new line are there, page 7 is not: neither the new line nor the line whose
    # place it takes may hit.
    await bench.context(ctx, 5)
    for n in range(4):
        await bench.line(ctx, n << 4, dict.fromkeys(range(8), 0x100), device_id=5)
    transfer = lambda n: {"gscid": 1, "device_id": 5, "line": 4 << 4,
                          "page": {"valid": 1, "ppn": 0x200, **RWX}, "last": n == 7}
    await send(ctx, bench.dut.line_fill, map(transfer, range(7)))
    held = [await bench.translate(ctx, 5, n << 19) for n in range(5)]
    assert sorted(held, key=str) == [0x100000] * 3 + [None] * 2 and held[4] is None
    await send(ctx, bench.dut.line_fill, [transfer(7)])
    assert [await bench.translate(ctx, 5, 4 << 19 | n << 12) for n in range(8)] == [0x200000] * 8
