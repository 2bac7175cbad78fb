import itertools
import random

import pytest
from amaranth.back import verilog

from iovirt.config import PRESETS, preset
from iovirt.csr import FieldKind, RegisterBank, register_map
from iovirt_sim.axi_lite import check_axi_lite, read, write
from iovirt_sim.harness import simulate

from .model import OKAY, SLVERR, RegisterModel

WIDTHS = [32, 64]


def bank(data_width, *, name="default", **parameters):
    return RegisterBank(register_map(preset(name)), data_width=data_width, **parameters)


def field_of(dut, register, field):
    return getattr(getattr(dut, register.name), field.name)


def keep_outside(dut):
    """Keep the state of the fields outside: written 1s clear it, or it is plain storage."""
    async def testbench(ctx):
        fields  = [(register, field) for register in dut.register_map.registers
                   for field in register.fields if field.kind is FieldKind.OUTSIDE]
        ports   = [field_of(dut, *field) for field in fields]
        state   = [0] * len(ports)
        signals = [signal for port in ports for signal in (port.write, port.mask, port.data)]
        async for _, _, *samples in ctx.tick().sample(*signals):
            for n, port in enumerate(ports):
                strobe, mask, data = samples[3 * n:3 * n + 3]
                assert bool(strobe) == bool(mask)
                state[n] = state[n] & ~(data if fields[n][1].w1c else mask)
                state[n] |= 0 if fields[n][1].w1c else data
                ctx.set(port.read, state[n])
    return testbench


def run(dut, testbench, deadline=60_000):
    simulate(dut, testbench, background=[check_axi_lite(dut.bus), keep_outside(dut)],
             deadline=deadline)


async def read64(ctx, dut, address):
    """Read 8 bytes at ``address``, which is aligned."""
    if dut.data_width == 64:
        return (await read(ctx, dut.bus, address))[0]
    low, _  = await read(ctx, dut.bus, address)
    high, _ = await read(ctx, dut.bus, address + 4)
    return high << 32 | low


async def read32(ctx, dut, address):
    data, _ = await read(ctx, dut.bus, address)
    return data >> (address % (dut.data_width // 8) * 8) & 0xffffffff


async def write32(ctx, dut, address, data):
    shift = address % (dut.data_width // 8)
    return await write(ctx, dut.bus, address, data << 8 * shift, 0xf << shift)


async def write64(ctx, dut, address, data):
    if dut.data_width == 64:
        return await write(ctx, dut.bus, address, data, 0xff)
    await write32(ctx, dut, address, data & 0xffffffff)
    return await write32(ctx, dut, address + 4, data >> 32)


@pytest.mark.parametrize("parameters, error, message", [
    ({"data_width": 16}, ValueError, r"^Data width must be 32 or 64, not 16$"),
    ({"address_width": 11}, ValueError, r"^Address width must be an integer in 12\.\.64, not 11$"),
    ({"address_width": 12}, ValueError, r"^Page must be below 1, because .* 12 bits, not 1$"),
    ({"windows": {"irt": (3, 1)}}, ValueError, r"^Page 3 must be served by one port, not by"),
    ({"windows": {"irt": (15, 2)}}, ValueError, r"^Page must be below 16, because .*, not 16$"),
    ({"windows": {"ddtp": (8, 1)}}, ValueError, r"^Name of window must not be that .* 'ddtp'$"),
])
def test_wrong_parameters(parameters, error, message):
    with pytest.raises(error, match=message):
        bank(**{"data_width": 64, **parameters})


def test_wrong_register_map():
    with pytest.raises(TypeError, match=r"^Register map must be a RegisterMap, not None$"):
        RegisterBank(None, data_width=64)


@pytest.mark.parametrize("data_width, name", [(32, "default"), *((64, name) for name in PRESETS)])
def test_every_register_resets_and_takes_only_writable_bits(data_width, name):
    dut   = bank(data_width, name=name)
    model = RegisterModel(dut.register_map, lane=data_width // 8)

    async def testbench(ctx):
        registers = dut.register_map.registers
        for register in registers:
            reset = sum(field.reset << field.low for field in register.fields)
            found = await (read64 if register.width == 64 else read32)(ctx, dut, register.address)
            assert found == reset, register.name
        for value in (0xffffffffffffffff, 0):
            for register in registers:
                access = (write64 if register.width == 64 else write32)
                resp = await access(ctx, dut, register.address,
                                    value & ((1 << register.width) - 1))
                assert resp == (SLVERR if register.page == 1 else OKAY), register.name
                lanes = range(register.address, register.address + register.width // 8, 4)
                for address in lanes:
                    shift = address % (data_width // 8)
                    model.write(address, (value & 0xffffffff) << 8 * shift, 0xf << shift)
                for address in lanes:
                    expected, _ = model.read(address)
                    found, _    = await read(ctx, dut.bus, address)
                    assert found == expected, f"{register.name}: {found:x} != {expected:x}"

    run(dut, testbench)


@pytest.mark.parametrize("data_width", WIDTHS)
def test_random_accesses_read_what_the_model_reads(data_width):
    rng   = random.Random(data_width)
    dut   = bank(data_width)
    lane  = data_width // 8
    model = RegisterModel(dut.register_map, lane=lane)
    gap   = lambda: rng.choice([0, 0, 0, 1, 5])
    wires = [(register, field) for register, field in model.fields()
             if field.kind is FieldKind.WIRE]
    known = [register.address for register in dut.register_map.registers
             for _ in range(3)] + [*range(0, 0x400, 4), 0x1ffc, 0x2ffc, 0x3ffc, 0x4000, 0xfffc]

    async def testbench(ctx):
        for _ in range(400):
            register, field = rng.choice(wires)
            value = rng.getrandbits(field.width)
            ctx.set(field_of(dut, register, field).read, value)
            model.wires[register.name, field.name] = value

            address = (rng.choice(known) + rng.choice([0, 4])) % 0x10000 // lane * lane
            if rng.random() < 0.5:
                data, strobe = rng.getrandbits(data_width), rng.getrandbits(lane)
                if rng.random() < 0.5:
                    strobe = (1 << lane) - 1
                resp = await write(ctx, dut.bus, address, data, strobe, gap=gap,
                                   order=rng.choice(["both", "address", "data"]))
                assert resp == model.write(address, data, strobe)
            else:
                found = await read(ctx, dut.bus, address, gap=gap)
                assert found == model.read(address), f"{address:#x}"

    run(dut, testbench)


@pytest.mark.parametrize("data_width", WIDTHS)
def test_wide_register_takes_one_access_or_two(data_width):
    dut   = bank(data_width)
    value = 0x0003_5566_7788_9903 & ~0x3f0 & ((1 << 44) - 1)

    async def testbench(ctx):
        await write32(ctx, dut, 0x14, value >> 32)
        await write32(ctx, dut, 0x10, value & 0xffffffff)
        assert await read64(ctx, dut, 0x10) == value
        await write32(ctx, dut, 0x10, 0)
        assert await read32(ctx, dut, 0x14) == value >> 32
        await write64(ctx, dut, 0x10, value)
        assert await read32(ctx, dut, 0x10) == value & 0xffffffff

    run(dut, testbench)


@pytest.mark.parametrize("data_width", WIDTHS)
def test_narrow_registers_in_one_lane_are_independent(data_width):
    dut = bank(data_width)

    async def testbench(ctx):
        await write32(ctx, dut, 0x48, 3)
        await write32(ctx, dut, 0x4c, 1)
        assert await read32(ctx, dut, 0x48) == 3
        assert await read32(ctx, dut, 0x4c) == 1
        await write32(ctx, dut, 0x48, 0)
        assert await read32(ctx, dut, 0x4c) == 1

    run(dut, testbench)


@pytest.mark.parametrize("name, levels", [("tiny", 2), ("default", 3)])
def test_mode_that_is_not_supported_is_not_stored(name, levels):
    dut = bank(64, name=name)

    async def testbench(ctx):
        expected = 0
        for mode in (1, 5, 2, 15, 3, 6, 4, 7, 0, 14):
            expected = mode if mode <= levels + 1 else expected
            await write64(ctx, dut, 0x10, mode)
            assert await read64(ctx, dut, 0x10) == expected
            assert ctx.get(dut.ddtp.iommu_mode.value) == expected

    run(dut, testbench)


def test_addresses_beyond_the_physical_width_are_not_stored():
    dut = bank(64, name="tiny")

    async def testbench(ctx):
        for address in (0x10, 0x18, 0x28):
            await write64(ctx, dut, address, (1 << 64) - 1 & ~0xff)
            assert await read64(ctx, dut, address) == (1 << 38) - 1 & ~0x3ff

    run(dut, testbench)


def test_sticky_bit_stays_until_one_is_written_and_setting_wins():
    dut = bank(32)

    async def testbench(ctx):
        fqof = dut.fqcsr.fqof
        ctx.set(fqof.set, 1)
        await ctx.tick()
        ctx.set(fqof.set, 0)
        assert await read32(ctx, dut, 0x4c) == 0x200
        await write32(ctx, dut, 0x4c, 0x100)
        assert await read32(ctx, dut, 0x4c) == 0x200
        await write32(ctx, dut, 0x4c, 0x200)
        assert await read32(ctx, dut, 0x4c) == 0
        ctx.set(fqof.set, 1)
        await write32(ctx, dut, 0x4c, 0x200)
        assert await read32(ctx, dut, 0x4c) == 0x200

    run(dut, testbench)


def test_hardware_clears_an_error_bit_unless_it_sets_it():
    dut = bank(32)

    async def testbench(ctx):
        cqmf = dut.cqcsr.cqmf
        ctx.set(cqmf.set, 1)
        ctx.set(cqmf.clear, 1)
        await ctx.tick()
        ctx.set(cqmf.set, 0)
        ctx.set(cqmf.clear, 0)
        assert await read32(ctx, dut, 0x48) == 0x100
        ctx.set(cqmf.clear, 1)
        await ctx.tick()
        ctx.set(cqmf.clear, 0)
        assert await read32(ctx, dut, 0x48) == 0

    run(dut, testbench)


@pytest.mark.parametrize("data_width", WIDTHS)
def test_strobe_of_a_field_outside_is_one_clock_with_its_bits(data_width):
    dut, seen = bank(data_width), []

    async def watch(ctx):
        field = dut.cqt.index
        async for _, _, strobe, data, mask in ctx.tick().sample(field.write, field.data,
                                                                field.mask):
            if strobe:
                seen.append((data, mask))

    async def testbench(ctx):
        await write32(ctx, dut, 0x24, 0xabcd_1234)
        await write32(ctx, dut, 0x20, 0x5555)
        await write32(ctx, dut, 0x1024, 0x5555)
        await read32(ctx, dut, 0x24)
        shift = 4 if data_width == 64 else 0
        await write(ctx, dut.bus, 0x24, 0x7788 << 8 * shift, 2 << shift)

    simulate(dut, testbench, background=[watch])
    assert seen == [(0x1234, 0xffff), (0x7700, 0xff00)]


@pytest.mark.parametrize("data_width", WIDTHS)
def test_write_to_a_read_only_page_answers_an_error_and_others_go_on(data_width):
    dut = bank(data_width)

    async def testbench(ctx):
        magic = await read64(ctx, dut, 0x1000)
        assert magic.to_bytes(8, "little") == b"iovirt\0\0"
        assert await write64(ctx, dut, 0x1000, 0) == SLVERR
        assert await write64(ctx, dut, 0x1ff8, 0) == SLVERR
        assert await read64(ctx, dut, 0x1000) == magic
        assert await write64(ctx, dut, 0x0, 0) == OKAY
        assert await write32(ctx, dut, 0x48, 1) == OKAY
        assert await read32(ctx, dut, 0x48) == 1

    run(dut, testbench)


@pytest.mark.parametrize("data_width", WIDTHS)
def test_page_that_nobody_serves_answers_an_error(data_width):
    dut = bank(data_width)

    async def testbench(ctx):
        for page in sorted({*range(16)} - {*dut.register_map.pages}):
            assert await read(ctx, dut.bus, page << 12 | 8) == (0, SLVERR)
            assert await write(ctx, dut.bus, page << 12 | 8, 1, 0xf) == SLVERR
        assert await read(ctx, dut.bus, 0x800) == (0, OKAY)

    run(dut, testbench)


def test_registers_of_absent_features_read_zero():
    dut = bank(64)
    absent = [0x38, 0x40, 0x50, 0x58, 0x60, 0x68, 0x160, 0x270, 0x300, 0x308, 0x30c, 0x400, 0xff8]

    async def testbench(ctx):
        for address in absent:
            assert await write64(ctx, dut, address & ~7, (1 << 64) - 1) == OKAY
            assert await read32(ctx, dut, address) == 0

    run(dut, testbench)


def test_hash_and_geometry_are_those_of_the_configuration():
    config = preset("large")
    dut    = RegisterBank(register_map(config), data_width=64)

    async def testbench(ctx):
        assert f"{await read64(ctx, dut, 0x1010):012x}" == config.hash
        geometry = await read64(ctx, dut, 0x1018)
        assert (geometry & 0xffff, geometry >> 16 & 0xffff) == (config.data_width,
                                                                config.table_width)
        assert await read64(ctx, dut, 0x0) >> 32 & 0x3f == config.remap.physical_address_bits
        assert await read64(ctx, dut, 0x0) >> 17 & 7 == 7
        assert await read32(ctx, dut, 0x2008) == 1

    run(dut, testbench)


def test_window_gets_the_accesses_to_its_pages():
    dut = bank(64, windows={"irt": (8, 2)})
    got = []

    async def serve(ctx):
        while True:
            ctx.set(dut.irt.request.ready, 1)
            request, = await ctx.tick().sample(dut.irt.request.p).until(dut.irt.request.valid)
            ctx.set(dut.irt.request.ready, 0)
            got.append((request.address, request.write, request.data, request.strobe))
            ctx.set(dut.irt.response.p, {"data": 0x1234, "error": request.address == 0x9000})
            ctx.set(dut.irt.response.valid, 1)
            await ctx.tick().until(dut.irt.response.ready)
            ctx.set(dut.irt.response.valid, 0)

    async def testbench(ctx):
        assert await read(ctx, dut.bus, 0x8008) == (0x1234, OKAY)
        assert await write(ctx, dut.bus, 0x9000, 0x55, 0x0f) == SLVERR
        assert await read(ctx, dut.bus, 0x7000) == (0, SLVERR)
        assert await read(ctx, dut.bus, 0xa000) == (0, SLVERR)

    simulate(dut, testbench, background=[serve, check_axi_lite(dut.bus)])
    assert [entry[:2] for entry in got] == [(0x8008, 0), (0x9000, 1)]
    assert got[1][2:] == (0x55, 0x0f)


def test_reads_and_writes_that_never_pause_take_turns():
    dut, order = bank(64), []

    async def testbench(ctx):
        bus = dut.bus
        for signal in (bus.awvalid, bus.wvalid, bus.arvalid, bus.bready, bus.rready):
            ctx.set(signal, 1)
        async for _, _, wrote, got in ctx.tick().sample(bus.bvalid, bus.rvalid):
            order.append("w" * wrote + "r" * got)
            if len("".join(order)) == 10:
                return

    simulate(dut, testbench, background=[check_axi_lite(dut.bus)])
    assert "".join(order) in ("wr" * 5, "rw" * 5)


@pytest.mark.parametrize("kind", ["read", "write"])
def test_response_comes_after_the_stated_clocks(kind):
    dut, clocks = bank(64), []

    async def testbench(ctx):
        bus = dut.bus
        await ctx.tick()
        ctx.set(bus.awvalid if kind == "write" else bus.arvalid, 1)
        ctx.set(bus.wvalid, kind == "write")
        await ctx.tick()
        for signal in (bus.awvalid, bus.wvalid, bus.arvalid):
            ctx.set(signal, 0)
        count = 0
        while not ctx.get(bus.bvalid if kind == "write" else bus.rvalid):
            await ctx.tick()
            count += 1
        clocks.append(count)

    simulate(dut, testbench)
    assert clocks == [4]


def test_reads_follow_each_other_as_fast_as_stated():
    dut, taken = bank(64), []

    async def testbench(ctx):
        ctx.set(dut.bus.arvalid, 1)
        ctx.set(dut.bus.rready, 1)
        clock = 0
        async for _, _, valid in ctx.tick().sample(dut.bus.rvalid):
            clock += 1
            if valid:
                taken.append(clock)
            if len(taken) == 5:
                return

    simulate(dut, testbench)
    assert {after - before for before, after in itertools.pairwise(taken)} == {6}


def test_exports_verilog_with_documented_names():
    text = verilog.convert(bank(64), name="bank")
    assert "module bank(" in text and "bus__awaddr" in text and "cqcsr__cqen__value" in text
