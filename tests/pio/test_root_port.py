# amaranth: UnusedElaboratable=no

import random

import pytest
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from iovirt.pcie.layouts import ErrorCause
from iovirt.pio.config_layouts import HeaderPortSignature
from iovirt.pio.root_port import PLACEHOLDER_DEVICE, PLACEHOLDER_VENDOR, RootPort
from iovirt_sim.harness import simulate
from iovirt_sim.models.pio_config import FIELDS, HeaderModel

from .header_bench import access, read, tell_event, tell_message, write

IDS = {0x00: PLACEHOLDER_DEVICE << 16 | PLACEHOLDER_VENDOR, 0x08: 0x06040000, 0x44: 0x8021,
       0x4c: 0x00580043, 0x6c: 0xe}


@pytest.mark.parametrize("name, value, message", [
    ("vendor_id", 0xffff, r"^Vendor ID must be an integer in 1..65534, not 65535$"),
    ("device_id", -1, r"^Device ID must be an integer in 0..65535, not -1$"),
    ("revision_id", 256, r"^Revision ID must be an integer in 0..255, not 256$"),
    ("port_number", True, r"^Port number must be an integer in 0..255, not True$"),
    ("link_speed", 7, r"^Link speed must be an integer in 1..6, not 7$"),
    ("link_width", 3, r"^Link width must be 1, 2, 4, 8 or 16, not 3$"),
    ("max_payload_bytes", 64, r"^Largest payload must be a power of two in 128..4096, not 64$"),
    ("rcb_bytes", 32, r"^Read completion boundary must be 64 or 128, not 32$"),
])
def test_wrong_values(name, value, message):
    with pytest.raises(ValueError, match=message):
        RootPort(**{name: value})


def test_wrong_type():
    with pytest.raises(TypeError, match=r"^Use of tags of 10 bits must be a bool, not 1$"):
        RootPort(ten_bit_tags=1)


def run(testbench, **parameters):
    dut = RootPort(**parameters)

    async def bench(ctx):
        await testbench(ctx, dut)

    simulate(dut, bench, deadline=60_000)


def test_every_register_reads_its_value_after_reset_and_all_else_0():
    async def testbench(ctx, dut):
        model = HeaderModel(IDS)
        for offset in range(0, 4096, 4):
            assert await read(ctx, dut.port, offset) == model.read(offset), hex(offset)

    run(testbench)


def test_parameters_are_what_the_capabilities_say():
    async def testbench(ctx, dut):
        assert await read(ctx, dut.port, 0x00) == 0x56781234
        assert await read(ctx, dut.port, 0x08, 1) == 7
        assert await read(ctx, dut.port, 0x44) & 7 == 5
        assert await read(ctx, dut.port, 0x4c) == 0x9 << 24 | 0x58 << 16 | 16 << 4 | 5
        assert await read(ctx, dut.port, 0x50) & 8 == 8
        assert await read(ctx, dut.port, 0x64) >> 16 & 3 == 3
        await write(ctx, dut.port, 0x68, 0x1000)
        assert ctx.get(dut.ten_bit_tags) == 1

    run(testbench, vendor_id=0x1234, device_id=0x5678, revision_id=7, max_payload_bytes=4096,
        rcb_bytes=128, ten_bit_tags=True, port_number=9, link_speed=5, link_width=16)


def test_settings_come_out():
    async def testbench(ctx, dut):
        names = ("memory", "bus_master", "extended_tags", "ari", "rrs_visibility",
                 "secondary_reset", "link_disable", "timeout_disable")
        assert [ctx.get(getattr(dut, name)) for name in names] == [0] * 8
        await write(ctx, dut.port, 0x04, 6, 2)
        await write(ctx, dut.port, 0x18, 0x050100, 4)
        await write(ctx, dut.port, 0x3e, 0x40, 1)
        await write(ctx, dut.port, 0x48, 0x5120, 2)
        await write(ctx, dut.port, 0x50, 0x10, 2)
        await write(ctx, dut.port, 0x5c, 0x10, 2)
        await write(ctx, dut.port, 0x68, 0x3a, 2)
        await ctx.tick().repeat(2)
        assert [ctx.get(getattr(dut, name)) for name in names] == [1] * 8
        assert [ctx.get(getattr(dut, name)) for name in (
            "secondary", "subordinate", "mps", "mrrs", "timeout")] == [1, 5, 1, 5, 10]

    run(testbench)


def test_payload_is_never_larger_than_what_is_built():
    async def testbench(ctx, dut):
        await write(ctx, dut.port, 0x48, 0xa0, 2)
        await ctx.tick().repeat(2)
        assert ctx.get(dut.mps) == 2

    run(testbench, max_payload_bytes=512)


def test_training_again_is_a_pulse_and_reads_0():
    async def testbench(ctx, dut):
        pulses = 0
        await write(ctx, dut.port, 0x50, 0x20, 1)
        for _ in range(5):
            pulses += ctx.get(dut.retrain)
            await ctx.tick()
        assert pulses == 1
        assert await read(ctx, dut.port, 0x50, 2) == 0

    run(testbench)


def test_nothing_passes_in_d3_and_the_settings_survive_it():
    async def testbench(ctx, dut):
        for state, reads, on in ((0, 0, 1), (3, 3, 0), (1, 3, 0), (0, 0, 1), (2, 0, 1)):
            await write(ctx, dut.port, 0x04, 6, 1)
            await write(ctx, dut.port, 0x84, state, 1)
            await write(ctx, dut.port, 0x86, 0, 2)
            await ctx.tick().repeat(2)
            assert await read(ctx, dut.port, 0x84) == reads | 8
            assert (ctx.get(dut.memory), ctx.get(dut.bus_master)) == (on, on)

    run(testbench)


class Restarted(wiring.Component):
    """A root port with a reset input."""

    port:    In(HeaderPortSignature())
    restart: In(1)
    inner = RootPort()

    def elaborate(self, platform):
        m = Module()
        m.submodules.inner = ResetInserter(self.restart)(self.inner)
        wiring.connect(m, wiring.flipped(self.port), self.inner.port)
        return m


def test_reset_restores_all():
    dut = Restarted()

    async def testbench(ctx):
        for offset in FIELDS:
            await access(ctx, dut.port, offset, write=1, data=0xffffffff)
        assert ctx.get(dut.inner.secondary) == 0xff
        ctx.set(dut.restart, 1)
        await ctx.tick()
        ctx.set(dut.restart, 0)
        model = HeaderModel(IDS)
        for offset in FIELDS:
            assert await read(ctx, dut.port, offset) == model.read(offset), hex(offset)
        assert ctx.get(dut.inner.secondary) == 0

    simulate(dut, testbench)


@pytest.mark.parametrize("seed", range(4))
def test_any_accesses_and_errors_do_what_the_model_does(seed):
    rng   = random.Random(seed)
    model = HeaderModel(IDS)
    interesting = [0x04, 0x1c, 0x3c, 0x48, 0x5c, 0x60, 0x104, 0x108, 0x10c, 0x110, 0x114, 0x118,
                   0x12c, 0x130, 0x134]

    async def change(ctx, dut):
        kind = rng.randrange(4)
        if kind == 0:
            cause, advisory = rng.choice(list(ErrorCause)), rng.randrange(2)
            await tell_event(ctx, dut, cause, advisory=advisory)
            model.event(cause.name, advisory)
        elif kind == 1:
            code, rid = rng.choice([0x30, 0x31, 0x33, 0x18, 0x20]), rng.randrange(1 << 16)
            await tell_message(ctx, dut, code, rid)
            model.message(code, rid)
        elif kind == 2 and rng.random() < 0.3:
            model.primary, model.link_status = rng.randrange(256), rng.randrange(1 << 10)
            ctx.set(dut.primary, model.primary)
            ctx.set(dut.speed, model.link_status & 15)
            ctx.set(dut.width, model.link_status >> 4)
            up = rng.random() < 0.5
            ctx.set(dut.link_up, up)
            await ctx.tick().repeat(2)
            model.link(up)
        await ctx.tick().repeat(5)

    async def testbench(ctx, dut):
        await read(ctx, dut.port, 0)
        for _ in range(400):
            await change(ctx, dut)
            offset = rng.choice([*interesting, *interesting, *FIELDS, rng.randrange(0, 4096, 4)])
            be, data = rng.randrange(16), rng.randrange(1 << 32) | rng.choice([0, 0xffffffff])
            if rng.random() < 0.5:
                await access(ctx, dut.port, offset, write=1, be=be, data=data)
                model.write(offset, be, data)
                await ctx.tick().repeat(3)
            assert await read(ctx, dut.port, offset) == model.read(offset), hex(offset)
            assert ctx.get(dut.interrupt) == model.interrupt

    run(testbench)
