"""Run in the simulator by test_cosim.py: cores use devices that are not ours."""

import random

import cocotb
from cocotbext.pcie.core import Device, MemoryEndpoint
from cocotbext.pcie.core.caps import MsiCapability
from cocotbext.pcie.core.switch import Switch

from iovirt_sim.cosim.bench import Bench
from iovirt_sim.cosim.enumeration import EXPRESS, MSI, Enumeration, devfn
from iovirt_sim.cosim.host import HIGH_PCIE, LOW_PCIE, Host
from iovirt_sim.cosim.interrupts import Interrupts, msi_address
from iovirt_sim.cosim.software import Hypervisor

from .dma_cases import CONFIG, IOVA, attach, content

ROOT_IDENTITY = 0x0001_FFF0
AER = 0x0001


def endpoint(*sizes, identity=0x00FF_1234, wide=()):
    """Return a function with BARs of these sizes, and the memory behind each.

    ``wide`` are the sizes of 64-bit, prefetchable ones, which come after.
    """
    function = MemoryEndpoint()
    function.vendor_id, function.device_id = identity & 0xFFFF, identity >> 16
    memories = [function.add_mem_region(size) for size in sizes]
    memories += [function.add_prefetchable_mem_region(size) for size in wide]
    return function, memories


async def system(dut, device, *, devices=32, **options):
    """Return bench, host and the enumerated root port."""
    bench = Bench(dut, CONFIG, **options)
    host = Host(bench)
    await bench.start(device)
    await host.start()
    port = await Enumeration(host, memory=LOW_PCIE, prefetchable=HIGH_PCIE, devices=devices).run()
    return bench, host, port


def touched(tlps):
    """Return the address of each byte that memory requests ask for or carry."""
    found = []
    for tlp in tlps:
        enables = [tlp.first_be, *[15] * (tlp.length - 2), *[tlp.last_be] * (tlp.length > 1)]
        found += [tlp.address + 4 * n + byte for n, enable in enumerate(enables)
                  for byte in range(4) if enable >> byte & 1]
    return found


@cocotb.test(timeout_time=200, timeout_unit="us")
async def functions_are_found_and_get_addresses(dut):
    (first, _), (second, _) = (endpoint(0x1000, 0x8000, identity=0x1111_1AF4, wide=(0x10_0000,)),
                               endpoint(0x1_0000, identity=0x2222_1AF4))
    first.register_capability(MsiCapability())
    bench, host, port = await system(dut, Device([first, second]))

    assert port.identity == ROOT_IDENTITY
    assert EXPRESS in port.capabilities and AER in port.extended
    assert (port.secondary, port.subordinate) == (1, 1)
    found = list(port.endpoints())
    assert [(end.rid, end.identity) for end in found] == [
        (devfn(1), 0x1111_1AF4), (devfn(1, 0, 1), 0x2222_1AF4)]
    assert [[bar.size for bar in end.bars] for end in found] == [
        [0x1000, 0x8000, 0x10_0000], [0x1_0000]]
    assert set(found[0].capabilities) == {1, EXPRESS, MSI}
    assert set(found[1].capabilities) == {1, EXPRESS}
    # What the devices think.
    assert [int(each.pcie_id) for each in (first, second)] == [0x100, 0x101]
    assert first.bar[:2] == [bar.address for bar in found[0].bars[:2]]
    assert first.bar[2] | first.bar[3] << 32 == found[0].bars[2].address | 0xC
    assert all(each.memory_space_enable and each.bus_master_enable for each in (first, second))
    # What is not there: functions, devices and buses; the latter two without a TLP.
    sent = len(bench.core.sent)
    for rid in (devfn(1, 1), devfn(2), devfn(0, 1)):
        assert await host.read(rid, 0, 4) == 0xFFFF_FFFF
        await host.write(rid, 4, 0, 4)
    assert len(bench.core.sent) == sent
    assert await host.read(devfn(1, 0, 5), 0, 2) == 0xFFFF
    await host.write(devfn(1, 0, 5), 4, 6, 2)
    # Bytes and words.
    assert await host.read(devfn(1), 1, 1) == 0x1A
    assert await host.read(devfn(1), 2, 2) == 0x1111
    await host.write(devfn(1), 0x3C, 0x5A, 1)
    assert first.interrupt_line == 0x5A and second.interrupt_line == 0


@cocotb.test(timeout_time=300, timeout_unit="us")
async def loads_and_stores_reach_exactly_their_bytes(dut):
    function, (low, high) = endpoint(0x2000, wide=(0x4000,))
    bench, host, port = await system(dut, Device(function), busy=0.2)
    bars, rng = next(port.endpoints()).bars, random.Random(1)
    for bar, memory in zip(bars, (low, high), strict=True):
        copy = bytearray(rng.randbytes(bar.size))
        memory[:] = bytes(copy)
        for log2 in range(4):   # aligned: one TLP
            at, size = rng.randrange(bar.size >> log2) << log2, 1 << log2
            sent = len(bench.core.sent)
            assert await host.load(bar.address + at, size, size=log2) == copy[at:at + size]
            copy[at:at + size] = data = rng.randbytes(size)
            await host.store(bar.address + at, data, size=log2)
            for tlp in bench.core.sent[sent:]:
                assert touched([tlp]) == [*range(bar.address + at, bar.address + at + size)]
            assert len(bench.core.sent) - sent == 2
        for _ in range(8):   # anything: all the bytes, and no other
            size = rng.choice((3, 5, 9, 40, 100, 300))
            at, log2 = rng.randrange(bar.size - size), rng.randrange(4)
            sent = len(bench.core.sent)
            copy[at:at + size] = data = rng.randbytes(size)
            await host.store(bar.address + at, data, size=log2)
            wanted = [*range(bar.address + at, bar.address + at + size)]
            assert sorted(touched(bench.core.sent[sent:])) == wanted
            sent = len(bench.core.sent)
            assert await host.load(bar.address + at, size, size=log2) == data
            # A read has no strobes: its last beat is whole.
            wanted = [*range(wanted[0], -(-(wanted[-1] + 1) >> log2) << log2)]
            assert sorted(touched(bench.core.sent[sent:])) == wanted
        assert memory[:] == bytes(copy)


@cocotb.test(timeout_time=300, timeout_unit="us")
async def reads_of_many_cores_get_their_own_data(dut):
    function, (memory,) = endpoint(0x1000)
    bench, host, port = await system(dut, Device(function), busy=0.2)
    rng, base = random.Random(2), next(port.endpoints()).bars[0].address
    memory[:] = text = rng.randbytes(0x1000)

    async def core(number):
        for _ in range(6):
            size = rng.choice((1, 8, 64, 200))
            at = rng.randrange(0x1000 - size)
            assert await host.load(base + at, size, arid=number) == text[at:at + size]

    cores = [cocotb.start_soon(core(number)) for number in range(12)]
    for each in cores:
        await each
    assert await bench.read(bench.address("pio_ring"), 4) == 0, "there were errors"


@cocotb.test(timeout_time=400, timeout_unit="us")
async def devices_behind_a_switch_are_reached_and_reach_memory(dut):
    switch, ends = Switch(), []
    for n in range(2):
        function, memories = endpoint(0x1000, identity=(0x5000 + n) << 16 | 0x1AF4, wide=(0x1000,))
        ends.append((function, memories))
        Device(function).connect(switch.make_port().downstream_port)
    bench, host, port = await system(dut, switch, devices=4)
    (upstream,) = port.children
    assert [(bridge.rid, bridge.secondary) for bridge in upstream.children] == [
        (devfn(2, 1), 3), (devfn(2, 2), 4)]
    assert (port.subordinate, upstream.subordinate) == (4, 4)
    hypervisor = Hypervisor(bench)
    await hypervisor.start()
    for n, (found, (function, memories)) in enumerate(zip(port.endpoints(), ends, strict=True)):
        assert found.identity == (0x5000 + n) << 16 | 0x1AF4
        assert found.rid == devfn(3 + n) == int(function.pcie_id)
        for bar, memory in zip(found.bars, memories, strict=True):
            await host.store(bar.address + 0x10, bytes([n]) * 21)
            assert await host.load(bar.address + 0x10, 21) == bytes([n]) * 21
            assert memory[:0x26] == bytes(0x10) + bytes([n]) * 21 + b"\0"
        _, frames = attach(hypervisor, function, 1)
        await function.mem_write(IOVA + 5, bytes([0x80 + n]) * 200)
        assert await function.mem_read(IOVA + 5, 200) == bytes([0x80 + n]) * 200
        assert content(bench, frames)[:206] == bytes(5) + bytes([0x80 + n]) * 200 + b"\0"


@cocotb.test(timeout_time=200, timeout_unit="us")
async def an_msi_set_up_by_software_arrives_as_a_record(dut):
    function, _ = endpoint(0x1000)
    capability = MsiCapability()
    capability.msi_64bit_address_capable, capability.msi_multiple_message_capable = 1, 2
    function.register_capability(capability)
    bench, host, port = await system(dut, Device(function))
    hypervisor, interrupts = Hypervisor(bench), Interrupts(bench)
    await hypervisor.start()
    await interrupts.start()
    await interrupts.run(1, hypervisor.frame(), 3)
    rid, index = next(port.endpoints()).rid, 16
    offset = next(port.endpoints()).capabilities[MSI]
    for n in range(4):
        await interrupts.admit(index + n, rid, queue=1, cookie=n, multi=True)
    control = await host.read(rid, offset + 2, 2)
    assert control >> 7 & 1 and control >> 1 & 7 == 2
    await host.write(rid, offset + 4, msi_address(index, multi=True), 4)
    await host.write(rid, offset + 8, 0, 4)
    await host.write(rid, offset + 12, 0, 2)
    await host.write(rid, offset + 2, 2 << 4 | 1, 2)
    for n, vector in enumerate((2, 0, 3, 1)):
        await capability.issue_msi_interrupt(vector)
        record = await interrupts.take(1, n)
        assert (record.cookie, record.index, record.data) == (vector, index + vector, vector)
        assert record.rid == rid


@cocotb.test(timeout_time=300, timeout_unit="us")
async def data_of_a_read_comes_after_the_writes_of_its_device(dut):
    function, sequence = MemoryEndpoint(), []

    async def read(address, length):
        sequence.append(bytes([len(sequence) + 1]) * 180)
        await function.mem_write(IOVA + 0x21, sequence[-1])
        return sequence[-1][:length]

    async def write(address, data):
        raise AssertionError("nobody writes")

    function.add_mem_region(0x1000, read, write)
    bench, host, port = await system(dut, Device(function), busy=0.5)
    hypervisor = Hypervisor(bench)
    await hypervisor.start()
    _, (frame,) = attach(hypervisor, function, 1)
    base = next(port.endpoints()).bars[0].address
    for n in range(1, 9):
        assert await host.load(base + 8 * n, 4, size=2) == bytes([n]) * 4
        assert bench.memory.read(frame + 0x21, 180) == sequence[n - 1]
