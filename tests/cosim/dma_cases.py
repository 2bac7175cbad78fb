"""Run in the simulator by test_cosim.py: DMA of devices that are not ours."""

import os
import random

import cocotb
from cocotb.triggers import ClockCycles, RisingEdge
from cocotbext.pcie.core import Device, MemoryEndpoint

from iovirt import preset
from iovirt_sim.cosim.bench import Bench
from iovirt_sim.cosim.software import Hypervisor
from iovirt_sim.platform import iofence, iotinval_gvma

CONFIG = preset(os.environ.get("IOVIRT_PRESET", "tiny"))
BUS    = 1
PAGE   = 0x1000
IOVA   = 0x4000
#: Causes of faults (RISC-V IOMMU 1.0, table 11).
READ_GUEST_PAGE_FAULT, WRITE_GUEST_PAGE_FAULT, DDT_INVALID = 21, 23, 258


def make_device(functions=1, completions=(0, 0)):
    """Return a device with so many functions that may master the bus.

    ``completions`` are the credits that it advertises for them; 0 is infinite. With them its link
    is slow.
    """
    device = Device([MemoryEndpoint() for _ in range(functions)])
    device.bus_num = BUS
    link = device.upstream_port.fc_state[0]
    for pool, credits in zip((link.cplh, link.cpld), completions, strict=True):
        pool.rx_initial_allocation = pool.rx_credits_allocated = credits
    if any(completions):
        device.upstream_port.max_link_speed = device.upstream_port.max_link_width = 1
    for function in device.functions:
        function.bus_master_enable = True
    return device


async def system(dut, functions=1, completions=(0, 0), **options):
    """Return bench, hypervisor and functions, ready for DMA."""
    bench = Bench(dut, CONFIG, **options)
    device = make_device(functions, completions)
    await bench.start(device)
    hypervisor = Hypervisor(bench)
    await hypervisor.start()
    return bench, hypervisor, device.functions


def attach(hypervisor, function, pages, iova=IOVA):
    """Give a function so many pages from ``iova`` on; return its address space and the pages."""
    space = hypervisor.attach(int(function.pcie_id))
    frames = [hypervisor.frame() for _ in range(pages)]
    for n, spa in enumerate(frames):
        space.map(iova + PAGE * n, spa)
    return space, frames


def content(bench, frames):
    """Return what is in pages."""
    return b"".join(bench.memory.read(spa, PAGE) for spa in frames)


@cocotb.test(timeout_time=100, timeout_unit="us")
async def reads_and_writes_reach_the_mapped_pages(dut):
    bench, hypervisor, (function,) = await system(dut)
    _, frames = attach(hypervisor, function, 4)
    data = random.Random(1).randbytes(0x3000)
    await function.mem_write(IOVA + 0x123, data)
    assert await function.mem_read(IOVA + 0x123, len(data)) == data
    whole = bytes(0x123) + data + bytes(4 * PAGE - 0x123 - len(data))
    assert content(bench, frames) == whole
    assert await hypervisor.faults() == []
    assert len(bench.memory.segs) < 20, "something was written outside"


@cocotb.test(timeout_time=200, timeout_unit="us")
async def functions_share_the_link_and_keep_to_their_own_pages(dut):
    bench, hypervisor, functions = await system(dut, functions=3, busy=0.3)

    async def traffic(function, frames, rng):
        # The same addresses for all functions; each checks against its own copy.
        copy = bytearray(2 * PAGE)
        for _ in range(40):
            at, size = rng.randrange(2 * PAGE), rng.choice((1, 2, 3, 4, 7, 64, 130, 300))
            size = min(size, 2 * PAGE - at)
            if rng.random() < 0.5:
                copy[at:at + size] = data = rng.randbytes(size)
                await function.mem_write(IOVA + at, data)
            else:
                assert await function.mem_read(IOVA + at, size) == copy[at:at + size]
        assert await function.mem_read(IOVA, 0) == b""   # the writes before it are visible
        assert content(bench, frames) == copy

    tasks = []
    for n, function in enumerate(functions):
        _, frames = attach(hypervisor, function, 2)
        tasks.append(cocotb.start_soon(traffic(function, frames, random.Random(n))))
    for task in tasks:
        await task
    assert await hypervisor.faults() == []


@cocotb.test(timeout_time=100, timeout_unit="us")
async def what_is_not_mapped_is_refused_and_recorded(dut):
    bench, hypervisor, (known, unknown) = await system(dut, functions=2)
    _, frames = attach(hypervisor, known, 1)
    await known.mem_write(IOVA, b"mine")

    async def refused(function, address):
        try:
            await function.mem_read(address, 8)
        except Exception as error:
            assert str(error) == "Unsuccessful completion"
            return bench.core.sent[-1].status
        raise AssertionError(f"read of {address:#x} was answered with data")

    assert await refused(known, IOVA + PAGE) == 1
    assert known.received_master_abort and not unknown.received_master_abort
    await known.mem_write(IOVA - 4, b"lost")
    assert await refused(unknown, IOVA) == 1
    await unknown.mem_write(IOVA, b"lost")
    assert await known.mem_read(IOVA, 4) == b"mine"
    assert content(bench, frames) == b"mine".ljust(PAGE, b"\0")
    device, stranger = int(known.pcie_id), int(unknown.pcie_id)
    assert sorted(await hypervisor.faults(4)) == sorted([
        (READ_GUEST_PAGE_FAULT, device, IOVA + PAGE), (WRITE_GUEST_PAGE_FAULT, device, IOVA - 4),
        (DDT_INVALID, stranger, IOVA), (DDT_INVALID, stranger, IOVA)])


@cocotb.test(timeout_time=100, timeout_unit="us")
async def a_flag_is_never_seen_before_the_data(dut):
    bench, hypervisor, (function,) = await system(dut, busy=0.4)
    _, frames = attach(hypervisor, function, 4)
    flag, data = frames[3] + 0x40, random.Random(2).randbytes(700)
    seen = []

    async def watch():
        while True:
            await RisingEdge(dut.clk)
            count = bench.memory.read(flag, 1)[0]
            if count > len(seen):
                seen.append(bench.memory.read(frames[count % 3] + 0x77, len(data)))

    cocotb.start_soon(watch())
    for n in range(1, 8):
        await function.mem_write(IOVA + PAGE * (n % 3) + 0x77, bytes([n]) + data[1:])
        await function.mem_write(IOVA + 3 * PAGE + 0x40, bytes([n]))
    await function.mem_read(IOVA, 0)
    await ClockCycles(dut.clk, 2)
    assert seen == [bytes([n]) + data[1:] for n in range(1, 8)]


@cocotb.test(timeout_time=100, timeout_unit="us")
async def a_read_waits_for_the_write_before_it(dut):
    bench, hypervisor, (function,) = await system(dut)
    attach(hypervisor, function, 1)
    memory = bench.rams["dma"].write_if
    for n, channel in enumerate((memory.w_channel, memory.b_channel)):
        await function.mem_write(IOVA, bytes([n]) * 20)
        assert await function.mem_read(IOVA, 20) == bytes([n]) * 20
        channel.pause = True
        await function.mem_write(IOVA, bytes([0x80 + n]) * 20)
        read = cocotb.start_soon(function.mem_read(IOVA, 20))
        await ClockCycles(dut.clk, 150)
        assert not read.done(), "the read passed the write"
        channel.pause = False
        assert await read == bytes([0x80 + n]) * 20


@cocotb.test(timeout_time=100, timeout_unit="us")
async def writes_pass_reads_that_memory_does_not_answer(dut):
    bench, hypervisor, (function,) = await system(dut)
    _, frames = attach(hypervisor, function, 2)
    await function.mem_write(IOVA, bytes(range(64)))
    assert await function.mem_read(IOVA, 64) == bytes(range(64))
    bench.rams["dma"].read_if.r_channel.pause = True
    # More than the block has room for: the rest waits in the device, without a credit.
    reads = [cocotb.start_soon(function.mem_read(IOVA + n, 16))
             for n in range(2 * CONFIG.pcie.np_credits + CONFIG.dma.reads)]
    await ClockCycles(dut.clk, 300)
    assert not any(read.done() for read in reads)
    held = sum(tlp.is_nonposted() for tlp in bench.core.received)
    assert held < len(reads), "every read was taken"
    for n in range(20):
        await function.mem_write(IOVA + PAGE + 100 * n, bytes([n]) * 100)
    await bench.until(lambda: bench.memory.read(frames[1] + 1999, 1) == b"\x13", clocks=2000)
    assert not any(read.done() for read in reads)
    bench.rams["dma"].read_if.r_channel.pause = False
    for n, read in enumerate(reads):
        assert await read == bytes(range(n, min(n + 16, 64))).ljust(16, b"\0")


@cocotb.test(timeout_time=200, timeout_unit="us")
async def completions_keep_to_the_credits_of_the_device(dut):
    bench, hypervisor, (function,) = await system(dut, completions=(2, 17), busy=0.2)
    _, frames = attach(hypervisor, function, 2)
    data = random.Random(3).randbytes(2 * PAGE)
    for n, spa in enumerate(frames):
        bench.memory.write(spa, data[PAGE * n:PAGE * (n + 1)])
    # The shim fails if a completion is sent without credits for it.
    for at, size in ((0, 1024), (5, 777), (PAGE - 1, 2)):
        assert await function.mem_read(IOVA + at, size) == data[at:at + size]
    reads = [cocotb.start_soon(function.mem_read(IOVA + 9 * n, 5)) for n in range(16)]
    for n, read in enumerate(reads):
        assert await read == data[9 * n:9 * n + 5]


@cocotb.test(timeout_time=200, timeout_unit="us")
async def after_a_fence_the_old_page_is_out_of_reach(dut):
    bench, hypervisor, (function,) = await system(dut)
    space, (first, _) = attach(hypervisor, function, 2)
    bench.memory.write(first, b"old")
    assert await function.mem_read(IOVA, 3) == b"old"
    second = hypervisor.frame()
    bench.memory.write(second, b"new")
    space.map(IOVA, second)
    assert await function.mem_read(IOVA, 3) == b"old", "it was not in the cache"
    writes = [cocotb.start_soon(function.mem_write(IOVA + 16 + n, bytes([n]))) for n in range(16)]
    await hypervisor.command(iotinval_gvma(gscid=space.gscid, iova=IOVA), iofence())
    before = content(bench, [first])
    assert await function.mem_read(IOVA, 3) == b"new"
    for write in writes:
        await write
    await function.mem_write(IOVA, b"NEW")
    assert await function.mem_read(IOVA, 3) == b"NEW"
    assert bench.memory.read(second, 3) == b"NEW"
    assert content(bench, [first]) == before
