"""Run in the simulator by test_cosim.py: what goes wrong between cores and devices."""

import cocotb
from cocotb.triggers import Event
from cocotbext.axi import AxiResp
from cocotbext.pcie.core import Device, MemoryEndpoint
from cocotbext.pcie.core.tlp import Tlp

from iovirt_sim.cosim.bench import Bench
from iovirt_sim.cosim.enumeration import BUSES, EXPRESS, devfn
from iovirt_sim.cosim.host import WINDOWS, Host
from iovirt_sim.cosim.software import Hypervisor

from .dma_cases import CONFIG, IOVA, attach
from .pio_cases import endpoint, system

ROOT_CONTROL = 0x1C
PIO_UNSUPPORTED, PIO_LINK_DOWN = 18, 21


@cocotb.test(timeout_time=200, timeout_unit="us")
async def what_no_device_serves_reads_ones_and_is_recorded(dut):
    function, _ = endpoint(0x1000)
    bench, host, port = await system(dut, Device(function))
    nowhere = next(port.endpoints()).bars[0].address + 0x8_0000
    assert await host.load(nowhere, 8) == b"\xFF" * 8
    await host.store(nowhere, bytes(8))
    first = await bench.read(bench.address("pio_first"))
    assert (first & 0x1F, first >> 32 & 0xFFFF) == (PIO_UNSUPPORTED, devfn(1))
    assert await bench.read(bench.address("pio_first_address")) == nowhere
    # Another policy: the core gets an error.
    await bench.write(bench.address("window_0"), WINDOWS[0][1] | 1 << 1 | 1)
    answer = await host.master.read(host.at(nowhere), 4, size=2)
    assert answer.resp == AxiResp.SLVERR


class Sleepy(MemoryEndpoint):
    """Function that is not ready for its first configuration requests."""

    naps = 0

    async def handle_config_0_read_tlp(self, tlp):
        if self.naps:
            self.naps -= 1
            await self.upstream_send(Tlp.create_crs_completion_for_tlp(tlp, self.pcie_id))
        else:
            await super().handle_config_0_read_tlp(tlp)


@cocotb.test(timeout_time=200, timeout_unit="us")
async def a_device_that_is_not_ready_is_asked_again(dut):
    function = Sleepy()
    bench = Bench(dut, CONFIG)
    host  = Host(bench)
    await bench.start(Device(function))
    await host.start()
    await host.write(devfn(0), BUSES, 0x01_01_00, 4)
    identity = function.device_id << 16 | function.vendor_id
    # Without pause, five times; the register counts repetitions.
    await bench.write(bench.address("config_retry"), 1000 << 32 | 5 << 16)
    function.naps, sent = 5, len(bench.core.sent)
    assert await host.read(devfn(1), 0, 4) == identity
    assert len(bench.core.sent) == sent + 6
    function.naps, sent = 7, len(bench.core.sent)
    assert await host.read(devfn(1), 0, 4) == 0xFFFF_FFFF
    assert len(bench.core.sent) == sent + 6
    assert function.naps == 1
    # Software asked to see it (Root Control, bit 4): only where the vendor ID is.
    express = await express_of(host)
    await host.write(devfn(0), express + ROOT_CONTROL, 1 << 4, 2)
    sent = len(bench.core.sent)
    assert await host.read(devfn(1), 0, 4) == 0xFFFF_0001
    assert await host.read(devfn(1), 0, 4) == identity
    function.naps = 1
    assert await host.read(devfn(1), 4, 2) == 0
    assert len(bench.core.sent) == sent + 4


async def express_of(host):
    """Return the offset of the PCI Express capability of the root port."""
    offset = await host.read(devfn(0), 0x34, 1)
    while await host.read(devfn(0), offset, 1) != EXPRESS:
        offset = await host.read(devfn(0), offset + 1, 1)
    return offset


@cocotb.test(timeout_time=200, timeout_unit="us")
async def a_device_does_not_reach_the_windows_of_the_cores(dut):
    function, (memory,) = endpoint(0x1000)
    bench, host, port = await system(dut, Device(function))
    hypervisor = Hypervisor(bench)
    await hypervisor.start()
    space, _ = attach(hypervisor, function, 1)
    inside = host.at(next(port.endpoints()).bars[0].address)
    space.map(IOVA + 0x1000, inside)
    size = 33   # covers all windows
    await bench.write(bench.address("dma_extent"), (1 << size) - 1 & ~0xFFF)
    await bench.write(bench.address("dma_aperture"), inside >> size << size | 1)
    await function.mem_write(IOVA, b"good")
    await function.mem_write(IOVA + 0x1000, b"evil")
    assert await function.mem_read(IOVA, 4) == b"good"
    try:
        await function.mem_read(IOVA + 0x1000, 4)
        raise AssertionError("a read of the aperture was answered with data")
    except Exception as error:
        assert str(error) == "Unsuccessful completion"
    assert await bench.read(bench.address("error_peer_denied")) == 2
    assert bench.memory.read(inside, 4) == bytes(4) == memory[:4]


@cocotb.test(timeout_time=200, timeout_unit="us")
async def a_link_that_goes_down_ends_every_read(dut):
    function, awake = MemoryEndpoint(), Event()

    async def read(address, length):
        await awake.wait()
        return bytes(range(length))

    async def write(address, data):
        raise AssertionError("nobody writes")

    function.add_mem_region(0x1000, read, write)
    bench, host, port = await system(dut, Device(function))
    base = next(port.endpoints()).bars[0].address
    loads = [cocotb.start_soon(host.load(base + 8 * n, 8)) for n in range(5)]
    sent = len(bench.core.sent)
    await bench.until(lambda: len(bench.core.sent) == sent + 5)
    dut.link_up.value = 0
    for load in loads:
        assert await load == b"\xFF" * 8
    first = await bench.read(bench.address("pio_first"))
    assert first & 0x1F == PIO_LINK_DOWN
    # Old completions come when the link is up again; they answer nobody.
    dut.link_up.value = 1
    received = len(bench.core.received)
    again = cocotb.start_soon(host.load(base, 8))
    awake.set()
    assert await again == bytes(range(8))
    await bench.until(lambda: len(bench.core.received) == received + 6)
    assert await host.load(base, 4, size=2) == bytes(range(4))
