# amaranth: UnusedElaboratable=no
"""Rules of the RISC-V Server SoC specification, at the AXI port of the cores."""

import pytest

from iovirt_sim.models.pio_front import Burst

from .bridge_bench import ECAM, HIGH, LOW, ONES, Core
from .front_bench import OKAY, SLVERR, device_byte

DEVICE, POISONED_WINDOW = ECAM + (1 << 20), 0x1100_0000
RRS, FAILED = {"status": "RRS"}, ("UR", "CA", "TIMEOUT")


@pytest.fixture(scope="module")
def core():
    core = Core()
    core.start()
    return core


def bytes_of(address, size):
    return sum(device_byte(address + n) << 8 * n for n in range(size))


def test_ecm_010_an_aligned_access_of_1_2_or_4_bytes_is_one_request(core):
    shapes = [(size, lane) for size in (1, 2, 4) for lane in range(0, 4, size)]

    async def program(ctx, core):
        for size, lane in shapes:
            for register in (0x10, 0x14, 0xffc):
                value, resp, _ = await core.load(ctx, DEVICE + register + lane, size)
                assert (value, resp) == (0x44332211 >> 8 * lane & (1 << 8 * size) - 1, OKAY)
                data = 0x88776655 & (1 << 8 * size) - 1
                assert await core.store(ctx, DEVICE + register + lane, data, size) == OKAY
        # All else is no request: 8 bytes, and what is not aligned.
        count = len(core.config_tlps)
        assert (await core.load(ctx, DEVICE, 8))[0] == (1 << 64) - 1
        core.read(Burst(0, DEVICE + 1, 1, 2))
        await ctx.tick().repeat(60)
        assert len(core.config_tlps) == count

    core.play(program, completion=lambda request: {"data": 0x44332211})
    expected = [(write, address, be) for size, lane in shapes
                for address in (0x100010, 0x100014, 0x100ffc)
                for write, be in ((0, (1 << size) - 1 << lane), (1, (1 << size) - 1 << lane))]
    assert [(tlp["write"], tlp["address"], tlp["be"]) for tlp in core.config_tlps] == expected
    assert len(core.errors) == 2


def test_ecm_020_write_completes_after_the_completion(core):
    async def program(ctx, core):
        start = core.clock
        assert await core.store(ctx, DEVICE + 4, 6) == OKAY
        assert core.responses[-1][0] > core.config_ended[-1] > start + 500

    core.play(program, completion=lambda request: {"after": 500})


def test_ecm_030_window_is_contiguous_and_aligned_to_its_size(core):
    async def program(ctx, core):
        # 4 buses; address bits below the size, 00345678h, do not count.
        ctx.set(core.dut.ecam.base, ECAM | 0x00345678)
        ctx.set(core.dut.ecam.size_log2, 22)
        for bus in range(4):
            assert (await core.load(ctx, ECAM + (bus << 20)))[1] == OKAY
        for outside in (ECAM - 4, ECAM + (4 << 20)):
            assert (await core.load(ctx, outside))[1] == SLVERR
        ctx.set(core.dut.ecam.base, ECAM)
        ctx.set(core.dut.ecam.size_log2, 28)

    core.play(program)
    assert [tlp["address"] for tlp in core.config_tlps] == [1 << 20, 2 << 20, 3 << 20]


def test_ecm_050_the_port_is_on_the_primary_bus(core):
    async def program(ctx, core):
        assert await core.load(ctx, ECAM + 0x08) == (0x06040000, OKAY, 0)
        assert await core.load(ctx, ECAM + 0x18) == (0x00030100, OKAY, 0)

    core.play(program)
    assert not core.config_tlps


def test_ecm_060_the_port_is_accessible_without_a_link(core):
    async def program(ctx, core):
        ctx.set(core.dut.link_up, 0)
        assert await core.load(ctx, ECAM + 0x0e, 1) == (1, OKAY, 0)
        assert await core.store(ctx, ECAM + 0x3c, 0x5a, 1) == OKAY
        assert await core.load(ctx, ECAM + 0x3c, 1) == (0x5a, OKAY, 0)

    core.play(program)


def test_ecm_070_visibility_of_rrs_can_be_enabled(core):
    async def program(ctx, core):
        assert (await core.load(ctx, ECAM + 0x5e, 2))[0] & 1
        assert await core.load(ctx, DEVICE) == (ONES, OKAY, 0)
        await core.store(ctx, ECAM + 0x5c, 0x10, 2)
        assert (await core.load(ctx, ECAM + 0x5c, 2))[0] == 0x10
        assert await core.load(ctx, DEVICE) == (0xffff0001, OKAY, 0)
        assert await core.load(ctx, DEVICE, 2) == (0x0001, OKAY, 0)

    core.play(program, completion=lambda request: RRS)
    assert len(core.config_tlps) == 3 + 1 + 1


def test_ecm_080_type_of_request_follows_the_bus(core):
    async def program(ctx, core):
        for bus in (1, 2, 3):
            await core.load(ctx, ECAM + (bus << 20))
        # Without ARI forwarding there is one device on the secondary bus, behind it any number.
        for device in (1, 31):
            assert await core.load(ctx, DEVICE + (device << 15)) == (ONES, OKAY, 0)
            assert await core.store(ctx, DEVICE + (device << 15), 0) == OKAY
        assert [tlp["type1"] for tlp in core.config_tlps] == [0, 1, 1]
        await core.load(ctx, ECAM + (2 << 20) + (31 << 15))
        await core.store(ctx, ECAM + 0x68, 0x20, 2)
        await core.load(ctx, DEVICE + (31 << 15))

    core.play(program)
    assert [(tlp["type1"], tlp["address"]) for tlp in core.config_tlps[3:]] == [
        (1, 2 << 20 | 31 << 15), (0, 1 << 20 | 31 << 15)]


@pytest.mark.parametrize("where", [ECAM + (1 << 15), ECAM + (1 << 12), ECAM + (4 << 20),
                                   ECAM + (255 << 20)])
def test_ecm_090_what_does_not_exist_reads_ones(core, where):
    async def program(ctx, core):
        for size in (1, 2, 4):
            assert await core.load(ctx, where, size) == ((1 << 8 * size) - 1, OKAY, 0)

    core.play(program)
    assert not core.config_tlps


@pytest.mark.parametrize("status, requests", [*((name, 1) for name in FAILED), ("RRS", 3)])
def test_ecm_090_failed_read_reads_ones(core, status, requests):
    async def program(ctx, core):
        for visible in (0, 0x10):
            await core.store(ctx, ECAM + 0x5c, visible, 2)
            assert await core.load(ctx, DEVICE + 4) == (ONES, OKAY, 0)
            assert await core.load(ctx, DEVICE + 2, 2) == (0xffff, OKAY, 0)

    core.play(program, completion=lambda request: {"status": status})
    assert len(core.config_tlps) == 4 * requests


def test_ecm_090_without_a_link_devices_read_ones(core):
    async def program(ctx, core):
        ctx.set(core.dut.link_up, 0)
        for bus in (1, 2):
            assert await core.load(ctx, ECAM + (bus << 20)) == (ONES, OKAY, 0)

    core.play(program)
    assert not core.config_tlps


@pytest.mark.parametrize("where", [ECAM + (1 << 15), ECAM + (7 << 12), ECAM + (9 << 20)])
def test_ecm_100_write_to_what_does_not_exist_is_dropped(core, where):
    async def program(ctx, core):
        before = await core.load(ctx, ECAM + 0x18)
        assert await core.store(ctx, where + 0x18, 0x12345678) == OKAY
        assert await core.load(ctx, ECAM + 0x18) == before

    core.play(program)
    assert not core.config_tlps


def test_ecm_110_poisoned_read_reads_ones(core):
    async def program(ctx, core):
        assert await core.load(ctx, DEVICE + 0x10) == (ONES, OKAY, 0)
        ctx.set(core.dut.ecam.policy, 2)
        assert await core.load(ctx, DEVICE + 0x10) == (0x12345678, OKAY, 1)

    core.play(program, completion=lambda request: {"status": "POISONED", "data": 0x12345678})


def test_mms_010_and_020_windows_reach_32_bit_and_64_bit_bars(core):
    async def program(ctx, core):
        for window, target in ((LOW, 0x8000_0000), (HIGH, 0x90_0000_0000)):
            assert await core.load(ctx, window + 0x40) == (bytes_of(target + 0x40, 4), OKAY, 0)
            assert await core.store(ctx, window + 0x44, 5) == OKAY
            assert core.requests[-1].address == target + 0x40
            assert core.tlps[-1].address == target + 0x44

    core.play(program)


def test_mms_030_an_aligned_access_of_up_to_8_bytes_is_one_request(core):
    shapes = [(size, lane) for size in (1, 2, 4, 8) for lane in range(0, 8, size)]

    async def program(ctx, core):
        for size, lane in shapes:
            expected = bytes_of(0x8000_0100 + lane, size), OKAY, 0
            assert await core.load(ctx, LOW + 0x100 + lane, size) == expected
            await core.store(ctx, LOW + 0x200 + lane, 1, size)

    core.play(program)
    assert len(core.requests) == len(core.tlps) == len(shapes)
    for (size, lane), request in zip(shapes, core.requests, strict=True):
        enables = request.first_be | (request.last_be << 4 * (request.length_dw - 1)
                                      if request.length_dw > 1 else 0)
        assert enables << (request.address & 4) == (1 << size) - 1 << lane


@pytest.mark.parametrize("status", [*FAILED, "LINK_DOWN"])
def test_mms_040_failed_load_reads_ones(core, status):
    async def program(ctx, core):
        for size in (1, 2, 4, 8):
            assert await core.load(ctx, LOW, size) == ((1 << 8 * size) - 1, OKAY, 0)

    core.play(program, status=status)


def test_mms_050_store_that_cannot_be_done_is_dropped(core):
    async def program(ctx, core):
        ctx.set(core.dut.link_up, 0)
        assert await core.store(ctx, LOW, 1) == OKAY

    core.play(program)
    assert not core.tlps


def test_mms_070_poisoned_load_reads_ones_or_is_handed_on_as_poison(core):
    async def program(ctx, core):
        assert await core.load(ctx, LOW) == (ONES, OKAY, 0)
        assert await core.load(ctx, POISONED_WINDOW) == (bytes_of(0x8100_0000, 4), OKAY, 1)

    core.play(program, status="POISONED")
