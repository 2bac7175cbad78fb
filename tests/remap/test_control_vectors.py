"""The queues, interrupts and registers together, on the vectors that concern them.

There is no translation here: a request of the vectors becomes the fault that it is said to cause.
"""

from pathlib import Path

import pytest
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from iovirt.axi import Axi4Signature, TablePort
from iovirt.config import preset
from iovirt.csr import RegisterBank, register_map
from iovirt.remap.commands import CommandQueue
from iovirt.remap.debug import DebugUnit
from iovirt.remap.epochs import Epochs
from iovirt.remap.faults import FaultQueue
from iovirt.remap.interrupts import Interrupts
from iovirt.remap.registers import connect_registers
from iovirt_sim.axi_lite import read, write
from iovirt_sim.harness import simulate
from iovirt_sim.table_memory import ACCESS, POISON, TableMemory
from iovirt_sim.vectors import load_cases

VECTORS = Path(__file__).parents[1] / "data" / "vectors"
ABSENT  = {"S", "NL", "ATS", "PD17", "PD20"}
IPSR, CQT, FQT, CQCSR = 84, 36, 52, 72


class Control(wiring.Component):
    """The parts of the engine that are not about translation."""

    def __init__(self):
        self.bank   = RegisterBank(register_map(preset("default")), data_width=64)
        self.faults = FaultQueue(address_width=46, tag_width=0)
        self.table  = {"data_width": 128, "address_width": 46}
        super().__init__({
            "bus":   self.bank.signature.members["bus"],
            "fault": self.faults.signature.members["fault"],
            "idle":  Out(1),
            "memory": Out(Axi4Signature(id_width=1, **self.table)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.bank = bank = self.bank
        m.submodules.faults = faults = self.faults
        m.submodules.commands = commands = CommandQueue(
            read_tag_width=0, write_tag_width=0, **self.table)
        m.submodules.debug = debug = DebugUnit(address_width=46)
        m.submodules.interrupts = interrupts = Interrupts(vectors=4)
        m.submodules.epochs = epochs = Epochs(capacity=4)
        m.submodules.port = port = TablePort(readers=1, writers=2, read_tag_width=0,
                                             write_tag_width=0, **self.table)
        connect_registers(m, bank, commands=commands, faults=faults, debug=debug,
                          interrupts=interrupts, epochs=epochs)
        wiring.connect(m, wiring.flipped(self.bus), bank.bus)
        wiring.connect(m, wiring.flipped(self.fault), faults.fault)
        wiring.connect(m, port.bus, wiring.flipped(self.memory))
        wiring.connect(m, commands.read_request, port.read_request[0])
        wiring.connect(m, port.read_beats[0], commands.read_beats)
        for n, client in enumerate((faults, commands)):
            wiring.connect(m, client.write_request, port.write_request[n])
            wiring.connect(m, port.write_response[n], client.write_response)
        m.d.comb += [
            bank.status.ready.read.eq(1),
            commands.invalidate.ready.eq(1),
            self.idle.eq(faults.idle),
        ]
        return m


class Runner:
    """One case after the other on one ``Control``."""

    def __init__(self, dut, memory):
        self.dut, self.memory = dut, memory

    async def write(self, offset, value, size=4):
        shift = offset % 8
        value &= (1 << 8 * size) - 1
        assert await write(self.ctx, self.dut.bus, offset, value << 8 * shift,
                           ((1 << size) - 1) << shift) == 0
        while offset in (72, 76) and (await self.read(offset) ^ (value & 1) << 16) & 0x30000:
            pass
        while offset == 16 and await self.read(16) & 0x10:
            pass

    async def read(self, offset, size=4):
        data, resp = await read(self.ctx, self.dut.bus, offset)
        assert resp == 0
        return data >> offset % 8 * 8 & ((1 << 8 * size) - 1)

    async def run(self, ctx, case):
        self.ctx, raw = ctx, case.raw
        self.cq, self.cq_entries = int(raw["cq"][0], 16), 1 << raw["cq"][1]
        self.fq, self.fq_entries = int(raw["fq"][0], 16), 1 << raw["fq"][1]
        self.memory.bytes.clear()
        self.memory.bad[:] = [(int(address, 16), length, {"access": ACCESS, "poison": POISON}[kind])
                              for address, length, kind in raw["bad"]]
        for offset, size, value in raw["regs"]:
            await self.write(offset, int(value, 16), size)
        for number, op in enumerate(raw["ops"]):
            self.where = f"{case.id} op {number}: {op}"
            self.memory.writes.clear()
            await getattr(self, "_" + op["op"])(op)
        for offset in (16, 72, 76, 760):
            await self.write(offset, 0)
        await self.write(IPSR, 15)

    async def _wr(self, op):
        await self.write(op["off"], int(op["val"], 16), op["size"])

    async def _rd(self, op):
        found = await self.read(op["off"], op["size"]) & int(op["mask"], 16)
        assert found == int(op["exp"]["val"], 16), f"{self.where} is {found:#x}"

    async def _cmd(self, op):
        tail = await self.read(CQT)
        self.memory.store(self.cq + 16 * tail, 16, int(op["lo"], 16) | int(op["hi"], 16) << 64)
        tail = (tail + 1) % self.cq_entries
        await self.write(CQT, tail)
        while await self.read(32) != tail and not await self.read(CQCSR) & 0x700:
            pass
        assert await self.read(32) == op["exp"]["cqh"], self.where
        assert await self.read(CQCSR) & 0xF00 == int(op["exp"]["cqcsr"], 16), self.where
        words = {int(address, 16): int(word, 16) for address, word in op["exp"].get("mem", [])}
        assert {address & ~7 for address, _ in self.memory.writes
                if not self.memory.error(address, 4)} == set(words), self.where
        for address, word in words.items():
            assert self.memory.load(address, 8) == word, self.where

    async def _req(self, op):
        if op["exp"]["st"] == "ok":
            return
        tail = await self.read(FQT)
        cause, iova = op["exp"]["cause"], int(op["iova"], 16)
        if cause != 256:  # Off comes and goes by register, which is not what this is about
            self.ctx.set(self.dut.fault.payload, {
                "cause": cause, "device_id": int(op["did"], 16), "iotval": iova,
                "ttyp": 3 if op["write"] else 2 - op["exec"],
                "iotval2": iova & ~3 if cause in (20, 21, 23) else 0})
            self.ctx.set(self.dut.fault.valid, 1)
            await self.ctx.tick().until(self.dut.fault.ready)
            self.ctx.set(self.dut.fault.valid, 0)
            await self.ctx.tick().until(self.dut.idle)
            await self.ctx.tick().repeat(3)
        assert await self.read(FQT) == op["exp"]["fqt"], self.where
        for number, record in enumerate(op["exp"].get("faults", [])):
            base = self.fq + 32 * ((tail + number) % self.fq_entries)
            assert [self.memory.load(base + 8 * n, 8) for n in range(4)] == [
                int(word, 16) for word in record], self.where


def cases(name, tag):
    """Return the cases with ``tag`` that hold for a design without the optional commands."""
    return [case for case in load_cases(VECTORS / f"{name}.jsonl.gz")
            if tag in case.tags and case.igs == 1 and case.max_pa < 1 << 46
            and not case.needs & ABSENT and all(
                op.get("at", "untranslated") == "untranslated" and not op.get("pv")
                for op in case.raw["ops"])]


@pytest.mark.parametrize(("name", "tag", "step"), [
    ("14_dtf_fq_irq", "fq_overflow", 5), ("14_dtf_fq_irq", "fq_memfault", 3),
    ("14_dtf_fq_irq", "irq_wsi", 3), ("16_cmd_regs", "cmd_illegal", 4),
    ("16_cmd_regs", "iofence", 6), ("16_cmd_regs", "cq_memfault", 6)])
def test_vectors(name, tag, step):
    dut    = Control()
    memory = TableMemory(latency=(2, 10), stall=0.1)
    runner = Runner(dut, memory)
    chosen = cases(name, tag)[::step]
    assert len(chosen) >= 3

    async def testbench(ctx):
        for case in chosen:
            await runner.run(ctx, case)
        memory.stop()

    simulate(dut, testbench, memory.serve_axi_reads(dut.memory),
             memory.serve_axi_writes(dut.memory), deadline=60_000)
