"""Run in the simulator by test_cosim.py: interrupts of devices that are not ours."""

import random

import cocotb
from cocotb.triggers import ClockCycles, RisingEdge
from cocotbext.pcie.core.caps import MsiCapability

from iovirt_sim.cosim.interrupts import MSI_WINDOW, Interrupts, msi_address

from .dma_cases import IOVA, PAGE, attach, system

QUEUE, RING_LOG2, INDEX = 3, 2, 8
VECTORS_LOG2 = 2
COOKIE, GUEST, DATA = 0xC00C1E50, 0x1234, 0x4340
MSI = 1   # type of a record


def give_msi(function, *, address, data):
    """Give a function an MSI capability of 4 vectors, set up."""
    capability = MsiCapability()
    capability.msi_64bit_address_capable = 1
    capability.msi_multiple_message_capable = VECTORS_LOG2
    function.register_capability(capability)
    capability.msi_multiple_message_enable = VECTORS_LOG2
    capability.msi_message_address, capability.msi_message_data = address, data
    capability.msi_enable = True
    return capability


async def interrupting_system(dut, functions=1, **options):
    """Return bench, hypervisor, functions and interrupts, with one queue running."""
    bench, hypervisor, functions = await system(dut, functions, **options)
    interrupts = Interrupts(bench)
    await interrupts.start()
    await interrupts.run(QUEUE, hypervisor.frame(), RING_LOG2)
    return bench, hypervisor, functions, interrupts


@cocotb.test(timeout_time=150, timeout_unit="us")
async def each_vector_becomes_a_record_after_the_data_before_it(dut):
    bench, hypervisor, (function,), interrupts = await interrupting_system(dut, busy=0.3)
    _, frames = attach(hypervisor, function, 2)
    rid = int(function.pcie_id)
    for n in range(4):
        await interrupts.admit(INDEX + n, rid, queue=QUEUE, cookie=COOKIE + n, guest=GUEST,
                               multi=True)
    capability = give_msi(function, address=msi_address(INDEX, multi=True), data=DATA)
    texts, seen = [random.Random(n).randbytes(300) for n in range(10)], []

    async def watch():
        while True:
            await RisingEdge(dut.clk)
            count = len(seen)
            if interrupts.record(QUEUE, count):
                seen.append(bench.memory.read(frames[count % 2] + 0x33, 300) == texts[count])

    async def device():
        for n, text in enumerate(texts):
            await bench.until(lambda n=n: len(seen) >= n - 1)   # else it overwrites what is read
            await function.mem_write(IOVA + PAGE * (n % 2) + 0x33, text)
            await capability.issue_msi_interrupt(n % 4)

    cocotb.start_soon(watch())
    sender = cocotb.start_soon(device())
    times = []
    for n in range(10):
        record = await interrupts.take(QUEUE, n)
        assert (record.cookie, record.index) == (COOKIE + n % 4, INDEX + n % 4)
        assert (record.rid, record.guest, record.type) == (rid, GUEST, MSI)
        assert (record.data, record.sequence, record.count) == (DATA + n % 4, n, 1)
        times.append(record.time)
    await sender
    assert seen == [True] * 10
    assert times == sorted(times)
    assert interrupts.record(QUEUE, 10) is None


@cocotb.test(timeout_time=100, timeout_unit="us")
async def a_forwarded_interrupt_is_one_write_of_four_bytes(dut):
    bench, hypervisor, (function,), interrupts = await interrupting_system(dut)
    target = hypervisor.frame()
    bench.memory.write(target, b"\xEE" * 0x100)
    await interrupts.admit(INDEX, int(function.pcie_id), forward=(target + 0x44, 0xCAFE_0017))
    capability = give_msi(function, address=msi_address(INDEX), data=DATA)
    await capability.issue_msi_interrupt(1)
    await bench.until(lambda: bench.memory.read(target + 0x44, 1) != b"\xEE")
    await ClockCycles(dut.clk, 100)
    expected = b"\xEE" * 0x44 + bytes.fromhex("1700feca") + b"\xEE" * (0x100 - 0x48)
    assert bench.memory.read(target, 0x100) == expected
    assert interrupts.record(QUEUE, 0) is None


@cocotb.test(timeout_time=100, timeout_unit="us")
async def an_interrupt_of_another_is_refused(dut):
    bench, _, (owner, other), interrupts = await interrupting_system(dut, functions=2)
    await interrupts.admit(INDEX, int(owner.pcie_id), queue=QUEUE)
    good, bad = (give_msi(function, address=msi_address(INDEX), data=DATA)
                 for function in (owner, other))
    await bad.issue_msi_interrupt(0)
    await other.mem_write(MSI_WINDOW + 8 * INDEX, bytes(8))
    await other.mem_write(MSI_WINDOW + 8 * (INDEX + 1), bytes(4))
    try:
        await owner.mem_read(MSI_WINDOW + 8 * INDEX, 4)
        raise AssertionError("a read of the window was answered with data")
    except Exception as error:
        assert str(error) == "Unsuccessful completion"
    await good.issue_msi_interrupt(0)
    record = await interrupts.take(QUEUE, 0)
    assert record.rid == int(owner.pcie_id)
    await ClockCycles(dut.clk, 200)
    assert interrupts.record(QUEUE, 1) is None
    # The interrupt of another, the write of 8 bytes, the entry that is not valid, and the read.
    assert await bench.read(bench.address("error_msi_denied")) == 4
    assert await bench.read(bench.address("records")) == 1
