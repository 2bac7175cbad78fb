"""The block with memory, registers and a PCIe core, in a cocotb test."""

import itertools
import logging
import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge, with_timeout
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteMaster, AxiMaster, AxiRam, AxiResp
from cocotbext.axi.sparse_memory import SparseMemory

from iovirt.csr import register_map

from .core import PcieCore

__all__ = ["Bench", "Words"]

PERIOD_NS = 4


class Words:
    """A memory as the dict of 64-bit words that a :class:`iovirt_sim.tables.TableBuilder` fills."""

    def __init__(self, memory):
        self.memory = memory

    def get(self, address, default=0):
        """Return a word; memory has no absent ones."""
        return self[address]

    def __getitem__(self, address):
        return int.from_bytes(self.memory.read(address, 8), "little")

    def __setitem__(self, address, word):
        self.memory.write(address, word.to_bytes(8, "little"))


class Bench:
    """Memory of cocotbext-axi behind `dma` and `table`, its masters on `csr` and `pio`, and a PCIe
    core on `rx` and `tx`.

    Parameters
    ----------
    dut : the simulated block.
    config : its configuration.
    seed : of all delays.
    busy : part of the clocks in which a channel of memory, or a beat of a TLP, has to wait.
    """

    def __init__(self, dut, config, *, seed=1, busy=0.0):
        self.dut, self.config = dut, config
        self.map = register_map(config)
        self.rng = random.Random(seed)
        # What is refused is what tests ask for.
        logging.getLogger("cocotb.pcie").setLevel(logging.ERROR)
        self.memory = SparseMemory(1 << config.remap.physical_address_bits)
        dut.rst.value = 1
        dut.link_up.value = 1
        self.rams = {name: AxiRam(AxiBus.from_prefix(dut, f"{name}_"), dut.clk, dut.rst,
                                  mem=self.memory) for name in ("dma", "table")}
        self.csr = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "csr_"), dut.clk, dut.rst)
        self.pio = AxiMaster(AxiBus.from_prefix(dut, "pio_"), dut.clk, dut.rst)
        self.core = PcieCore(dut, config.pcie, stall=lambda: busy and self.rng.random() < busy)
        if busy:
            for ram in self.rams.values():
                for channel in (ram.write_if.aw_channel, ram.write_if.w_channel,
                                ram.write_if.b_channel, ram.read_if.ar_channel,
                                ram.read_if.r_channel):
                    channel.set_pause_generator(self._pauses(busy))

    def _pauses(self, busy):
        rng = random.Random(self.rng.random())
        return (rng.random() < busy for _ in itertools.count())

    async def start(self, device):
        """Connect ``device``, reset the block, and wait until it is ready."""
        self.core.connect(device)
        cocotb.start_soon(Clock(self.dut.clk, PERIOD_NS, unit="ns").start())
        await ClockCycles(self.dut.clk, 4)
        self.dut.rst.value = 0
        self.core.start()
        await self.poll(self.address("status"), mask=1, value=1)

    def address(self, name):
        """Return the address of a register."""
        return self.map[name].address

    async def read(self, address, size=8):
        """Return the value of a register."""
        answer = await self.csr.read(address, size)
        assert answer.resp == AxiResp.OKAY, f"register {address:#x} answered {answer.resp!r}"
        return int.from_bytes(answer.data, "little")

    async def write(self, address, value, size=8):
        """Write a register."""
        answer = await self.csr.write(address, value.to_bytes(size, "little"))
        assert answer.resp == AxiResp.OKAY, f"register {address:#x} answered {answer.resp!r}"

    async def poll(self, address, *, mask, value, size=4, clocks=20_000):
        """Wait until a register, masked, has ``value``."""
        async def until():
            while await self.read(address, size) & mask != value:
                pass
        await with_timeout(until(), clocks * PERIOD_NS, "ns")

    async def until(self, condition, *, clocks=20_000):
        """Wait until ``condition()`` holds."""
        for _ in range(clocks):
            if condition():
                return
            await RisingEdge(self.dut.clk)
        raise TimeoutError(f"not within {clocks} clocks")
