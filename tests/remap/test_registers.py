import gzip
import json
from pathlib import Path

import pytest
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from iovirt.config import preset
from iovirt.csr import RegisterBank, register_map
from iovirt.remap.commands import CommandQueue
from iovirt.remap.debug import DebugUnit
from iovirt.remap.epochs import Epochs
from iovirt.remap.faults import FaultQueue
from iovirt.remap.interrupts import Interrupts
from iovirt.remap.registers import (
    ModeDrain,
    RemapRegistersSignature,
    RingIndex,
    connect_registers,
)
from iovirt_sim.axi_lite import check_axi_lite, read, write
from iovirt_sim.harness import simulate

VECTORS = Path(__file__).parents[1] / "data" / "vectors" / "16_cmd_regs.jsonl.gz"


class Wired(wiring.Component):
    """Bank, and the parts of the engine that registers concern, with their streams as ports."""

    def __init__(self, *, data_width=64):
        self.map = register_map(preset("default"))
        self.bank = RegisterBank(self.map, data_width=data_width)
        table = {"address_width": 46, "write_tag_width": 1}
        self.commands = CommandQueue(data_width=64, read_tag_width=1, **table)
        self.faults = FaultQueue(address_width=46, tag_width=1)
        self.debug = DebugUnit(address_width=46)
        self.interrupts = Interrupts(vectors=4)
        self.epochs = Epochs(capacity=4, retire_ports=1)
        self.exposed = [
            (self.commands, "invalidate"), (self.commands, "read_request"),
            (self.commands, "read_beats"), (self.commands, "write_request"),
            (self.commands, "write_response"), (self.faults, "fault"), (self.debug, "request"),
            (self.debug, "response"), (self.interrupts, "wsi"), (self.epochs, "accept"),
            (self.epochs, "epoch"), (self.epochs, "retire")]
        super().__init__({
            "bus": self.bank.signature.members["bus"],
            **{name: part.signature.members[name] for part, name in self.exposed},
            "fault_write": self.faults.signature.members["write_request"],
            "fault_written": self.faults.signature.members["write_response"],
            "mode": Out(4),
        })

    def elaborate(self, platform):
        m = Module()
        for name in ("bank", "commands", "faults", "debug", "interrupts", "epochs"):
            m.submodules[name] = getattr(self, name)
        wiring.connect(m, wiring.flipped(self.bus), self.bank.bus)
        for part, name in self.exposed:
            self._expose(m, part, name, name)
        self._expose(m, self.faults, "write_request", "fault_write")
        self._expose(m, self.faults, "write_response", "fault_written")
        connect_registers(m, self.bank, commands=self.commands, faults=self.faults,
                          debug=self.debug, interrupts=self.interrupts, epochs=self.epochs)
        m.d.comb += [self.bank.status.ready.read.eq(1),
                     self.mode.eq(self.bank.ddtp.iommu_mode.value)]
        return m

    def _expose(self, m, part, inner, outer):
        member, port = part.signature.members[inner], getattr(part, inner)
        outside = getattr(self, outer)
        if member.dimensions:
            wiring.connect(m, wiring.flipped(outside[0]), port[0])
        elif member.is_signature:
            wiring.connect(m, wiring.flipped(outside), port)
        elif member.flow is Out:
            m.d.comb += outside.eq(port)
        else:
            m.d.comb += port.eq(outside)


class Software:
    """Registers by offset, as the vectors name them."""

    def __init__(self, ctx, dut):
        self.ctx, self.bus, self.lane = ctx, dut.bus, dut.bank.data_width // 8

    async def write(self, offset, value, size=4):
        if size > self.lane:
            await self.write(offset, value & 0xffffffff)
            return await self.write(offset + 4, value >> 32)
        shift = offset % self.lane
        value &= (1 << 8 * size) - 1
        return await write(self.ctx, self.bus, offset, value << 8 * shift,
                           ((1 << size) - 1) << shift)

    async def read(self, offset, size=4):
        if size > self.lane:
            return await self.read(offset) | await self.read(offset + 4) << 32
        data, resp = await read(self.ctx, self.bus, offset)
        assert resp == 0
        return data >> offset % self.lane * 8 & ((1 << 8 * size) - 1)

    async def set_up(self, offset, value, size=4):
        """Write, and wait as the vectors' bring-up says."""
        await self.write(offset, value, size)
        if offset in (72, 76):
            while (await self.read(offset) ^ (value & 1) << 16) & 0x30000:
                pass
        if offset == 16:
            while await self.read(16) & 0x10:
                pass


def cases(tag):
    return [case for case in map(json.loads, gzip.open(VECTORS, "rt")) if tag in case["tags"]]


def run(dut, testbench, **agents):
    simulate(dut, testbench, background=[check_axi_lite(dut.bus), *agents.values()],
             deadline=60_000)


@pytest.mark.parametrize("data_width", [32, 64])
@pytest.mark.parametrize("part", range(5))
def test_register_rules_of_the_vectors(data_width, part):
    async def testbench(ctx):
        for case in cases("regs")[part::25]:
            software = Software(ctx, dut)
            for offset, size, value in case["regs"]:
                await software.set_up(offset, int(value, 16), size)
            for op in case["ops"]:
                if op["op"] == "wr":
                    await software.set_up(op["off"], int(op["val"], 16), op["size"])
                if op["op"] == "rd":
                    found = await software.read(op["off"], op["size"]) & int(op["mask"], 16)
                    assert found == int(op["exp"]["val"], 16), (case["id"], op)
            for offset in (16, 72, 76):
                await software.set_up(offset, 0)

    dut = Wired(data_width=data_width)
    run(dut, testbench)


def test_illegal_command_interrupts_until_it_is_cleared():
    dut = Wired()

    async def memory(ctx):
        while True:
            ctx.set(dut.read_request.ready, 1)
            request, = await ctx.tick().sample(dut.read_request.p).until(dut.read_request.valid)
            ctx.set(dut.read_request.ready, 0)
            beats = (1 << request.size_log2) // 8
            for beat in range(beats):
                ctx.set(dut.read_beats.p, {"data": 0x17, "error": 0, "last": beat == beats - 1,
                                           "tag": request.tag})
                ctx.set(dut.read_beats.valid, 1)
                await ctx.tick().until(dut.read_beats.ready)
            ctx.set(dut.read_beats.valid, 0)

    async def testbench(ctx):
        software = Software(ctx, dut)
        await software.write(760, 2, 8)
        await software.set_up(24, 0x1000_0003, 8)
        await software.set_up(72, 3)
        await software.write(36, 1)
        while not await software.read(72) & 0x400:
            pass
        assert await software.read(84) == 1
        assert ctx.get(dut.wsi) == 0b0100
        await software.write(84, 1)
        assert await software.read(84) == 1
        await software.set_up(72, 0)
        assert await software.read(72) == 0x400
        await software.write(36, 0)
        await software.set_up(72, 3)
        assert await software.read(72) == 0x10003
        await software.write(84, 1)
        assert await software.read(84) == 0
        assert ctx.get(dut.wsi) == 0

    run(dut, testbench, memory=memory)


def test_debug_request_carries_what_was_written_and_shows_the_answer():
    dut, seen = Wired(data_width=32), []

    async def engine(ctx):
        ctx.set(dut.request.ready, 1)
        access, = await ctx.tick().sample(dut.request.p).until(dut.request.valid)
        seen.append(access)
        await ctx.tick().repeat(60)
        ctx.set(dut.response.p, {"ok": 1, "ppn": 0x1_2345_6789})
        ctx.set(dut.response.valid, 1)
        await ctx.tick().until(dut.response.ready)
        ctx.set(dut.response.valid, 0)
        await ctx.tick().repeat(10_000)

    async def testbench(ctx):
        software = Software(ctx, dut)
        await software.write(600, 0x7_1234_5678_9abc, 8)
        await software.write(612, 0x0012_3400)
        await software.write(608, 0b1001)
        assert await software.read(608) == 0b1001
        while await software.read(608) & 1:
            pass
        assert await software.read(616, 8) == 0x1_2345_6789 << 10
        assert await software.read(608, 8) == 0x0012_3400_0000_0008

    run(dut, testbench, engine=engine)
    access, = seen
    assert (access.iova, access.device_id) == (0x7_1234_5678_9000, 0x1234)
    assert (access.write, access.exec, access.pv) == (0, 0, 0)


def test_mode_stays_busy_until_earlier_requests_are_done():
    dut = Wired()

    async def testbench(ctx):
        software = Software(ctx, dut)
        await software.set_up(16, 1, 8)
        epoch = ctx.get(dut.epoch)
        ctx.set(dut.accept, 1)
        await ctx.tick()
        ctx.set(dut.accept, 0)
        await software.write(16, 0, 8)
        assert ctx.get(dut.mode) == 0
        for _ in range(4):
            assert await software.read(16, 8) == 0x10
        ctx.set(dut.retire[0].epoch, epoch)
        ctx.set(dut.retire[0].valid, 1)
        await ctx.tick()
        ctx.set(dut.retire[0].valid, 0)
        await ctx.tick().repeat(4)
        assert await software.read(16, 8) == 0

    run(dut, testbench)


def test_every_change_of_mode_is_followed_by_a_drain():
    dut, drains = ModeDrain(), []

    async def testbench(ctx):
        ctx.set(dut.mode, 1)
        await ctx.tick().repeat(2)
        assert ctx.get(dut.drain.valid) and ctx.get(dut.busy)
        ctx.set(dut.mode, 0)
        await ctx.tick()
        ctx.set(dut.drain.ready, 1)
        for _ in range(8):
            _, _, valid, busy = await ctx.tick().sample(dut.drain.valid, dut.busy)
            drains.append((valid, busy))

    simulate(dut, testbench)
    assert sum(valid for valid, _ in drains) == 2
    assert [busy for _, busy in drains] == sorted((busy for _, busy in drains), reverse=True)


@pytest.mark.parametrize("width", [0, 33, "8"])
def test_wrong_index_width(width):
    with pytest.raises(ValueError, match=r"^Width must be an integer in 1\.\.32, not "):
        RingIndex(width=width)


def test_index_keeps_only_bits_of_the_ring():
    dut = RingIndex(width=16)

    async def testbench(ctx):
        ctx.set(dut.log2sz_1, 5)
        ctx.set(dut.data, 0xffff)
        ctx.set(dut.mask, 0xffff)
        await ctx.tick()
        ctx.set(dut.mask, 0)
        assert ctx.get(dut.value) == 0x3f
        ctx.set(dut.log2sz_1, 1)
        await ctx.tick()
        assert ctx.get(dut.value) == 3
        ctx.set(dut.log2sz_1, 15)
        await ctx.tick()
        assert ctx.get(dut.value) == 3

    simulate(dut, testbench)


def test_signature_holds_the_registers_of_page_0():
    members = RemapRegistersSignature(register_map(preset("default"))).members
    assert set(members) == {"ddtp", "cqb", "cqh", "cqt", "fqb", "fqh", "fqt", "cqcsr", "fqcsr",
                            "ipsr", "tr_req_iova", "tr_req_ctl", "tr_response", "icvec"}
