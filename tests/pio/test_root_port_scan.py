# amaranth: UnusedElaboratable=no
"""Software that finds devices the way Linux does it, against the header of the root port."""

from iovirt.pio.root_port import PLACEHOLDER_DEVICE, PLACEHOLDER_VENDOR

from .header_bench import tell_message
from .scan_bench import Function, run

ONES = 0xffffffff


def endpoint():
    """A device with a 64-bit BAR of 16 KiB and a 32-bit one of 4 KiB."""
    return Function({0x00: 0x10080001 + 0x1b00, 0x08: 0x01080200, 0x10: 0x4},
                    {0x04: 0x0546, 0x10: 0xffffc000, 0x14: ONES, 0x18: 0xfffff000, 0x3c: 0xff})


def bridge(below):
    """A switch, as far as configuration needs one."""
    return Function({0x00: 0x22221111, 0x08: 0x06040001, 0x0c: 0x00010000},
                    {0x04: 0x0546, 0x18: 0xffffff, 0x20: 0xfff0fff0, 0x24: 0xfff0fff0,
                     0x28: ONES, 0x2c: ONES, 0x3c: 0x004300ff}, below)


async def capabilities(software, rid):
    """Return {ID: offset} of the capabilities, and of the extended ones (from 1000h on)."""
    found = {}
    assert await software.read(rid, 0x06, 2) & 0x10
    offset = await software.read(rid, 0x34, 1)
    while offset:
        assert offset not in found.values() and offset & 3 == 0
        header = await software.read(rid, offset, 2)
        found[header & 0xff], offset = offset, header >> 8
    offset = 0x100
    while offset:
        header = await software.read(rid, offset)
        assert header not in (0, ONES) and 0x1000 + (header & 0xffff) not in found
        found[0x1000 + (header & 0xffff)], offset = offset, header >> 20
    return found


async def present(software, rid):
    """Return whether a function answers; wait for one that says RRS."""
    for _ in range(10):
        vendor = await software.read(rid, 0)
        if vendor & 0xffff != 0x0001:
            return vendor not in (ONES, 0, 0x0000ffff, 0xffff0000)
    return False


async def scan(software, bus, tree, last):
    """Scan a bus in the two passes of Linux; return the highest bus used."""
    for device in range(32 if bus == 0 else 1):
        rid = bus << 8 | device << 3
        if not await present(software, rid):
            continue
        kind = await software.read(rid, 0x0e, 1)
        tree[rid] = await software.read(rid, 0)
        if kind & 0x7f == 1:
            control = await software.read(rid, 0x3e, 2)
            await software.write(rid, 0x3e, control & ~0x20, 2)
            buses = await software.read(rid, 0x18)
            if bus == 0:
                await software.write(rid, 0x5c, 0x10, 2)
            last += 1
            buses = buses & 0xff000000 | bus | last << 8 | 0xff << 16
            await software.write(rid, 0x18, buses)
            assert await software.read(rid, 0x18) == buses
            child = last
            last  = await scan(software, child, tree, last)
            await software.write(rid, 0x1a, last, 1)
            assert await software.read(rid, 0x18) & 0xffffff == bus | child << 8 | last << 16
            await software.write(rid, 0x3e, control, 2)
    return last


def test_devices_are_found_through_the_port_and_a_switch():
    device = endpoint()
    device.busy = 3
    root, tree = bridge({0: device}), {}

    async def testbench(software, dut):
        assert await scan(software, 0, tree, 0) == 2

    dut = run(testbench, root)
    assert tree == {0x0000: PLACEHOLDER_DEVICE << 16 | PLACEHOLDER_VENDOR, 0x0100: 0x22221111,
                    0x0200: 0x10081b01}
    assert all(what["address"] >> 20 in (1, 2) for what in dut.requests)


def test_without_a_link_the_port_is_found_alone():
    tree = {}

    async def testbench(software, dut):
        assert await scan(software, 0, tree, 0) == 1

    dut = run(testbench, endpoint(), link_up=0)
    assert list(tree) == [0x0000] and dut.requests == []


def test_capabilities_are_chained():
    async def testbench(software, dut):
        found = await capabilities(software, 0)
        assert found == {0x10: 0x40, 0x01: 0x80, 0x1001: 0x100, 0x100d: 0x148}
        flags = await software.read(0, 0x42, 2)
        assert (flags & 15, flags >> 4 & 15) == (2, 4)

    run(testbench, endpoint())


def test_windows_are_sized_and_set():
    async def testbench(software, dut):
        # No BARs, no ROM, and no window for I/O.
        for offset in (0x10, 0x14, 0x38):
            await software.write(0, offset, ONES)
            assert await software.read(0, offset) == 0
        await software.write(0, 0x1c, 0xe0f0, 2)
        assert await software.read(0, 0x1c, 2) == 0
        # A window for memory, and a prefetchable one of 64 bits.
        await software.write(0, 0x20, 0x40f04000)
        assert await software.read(0, 0x20) == 0x40f04000
        await software.write(0, 0x28, ONES)
        assert await software.read(0, 0x28) == ONES
        assert await software.read(0, 0x24) & 0x000f000f == 0x00010001
        for offset, value in ((0x2c, 0), (0x24, 0x3ff00000), (0x28, 0x12), (0x2c, 0x13)):
            await software.write(0, offset, value)
        assert [await software.read(0, offset) for offset in (0x24, 0x28, 0x2c)] == [
            0x3ff10001, 0x12, 0x13]

    run(testbench, endpoint())


def test_bars_of_a_device_are_sized():
    async def testbench(software, dut):
        await scan(software, 0, {}, 0)
        sizes = {}
        for offset in (0x10, 0x14, 0x18):
            old = await software.read(0x100, offset)
            await software.write(0x100, offset, ONES)
            sizes[offset] = await software.read(0x100, offset)
            await software.write(0x100, offset, old)
        assert sizes == {0x10: 0xffffc004, 0x14: ONES, 0x18: 0xfffff000}
        await software.write(0x100, 0x04, 6, 2)
        assert await software.read(0x100, 0x04, 2) == 6

    run(testbench, endpoint())


def test_the_port_driver_sets_up_errors_and_finds_one():
    async def testbench(software, dut):
        ctx = software.ctx
        # As the AER driver: clear what there is, let errors through, allow the interrupt.
        for offset in (0x104, 0x110, 0x130):
            await software.write(0, offset, await software.read(0, offset))
        control = await software.read(0, 0x48, 2)
        await software.write(0, 0x48, control | 0xf, 2)
        await software.write(0, 0x3e, 2, 2)
        await software.write(0, 0x5c, await software.read(0, 0x5c, 2) & ~7, 2)
        await software.write(0, 0x12c, 7)
        assert ctx.get(dut.port.interrupt) == 0
        await tell_message(ctx, dut.port, 0x31, 0x0108)
        await ctx.tick().repeat(4)
        assert ctx.get(dut.port.interrupt) == 1
        status = await software.read(0, 0x130)
        assert status == 0x24
        await software.write(0, 0x130, status)
        assert await software.read(0, 0x134) >> 16 == 0x0108
        await ctx.tick().repeat(4)
        assert ctx.get(dut.port.interrupt) == 0
        assert await software.read(0, 0x1e, 2) == 0x4000

    run(testbench, endpoint())
