import random

import pytest
from amaranth import ClockDomain, Module
from amaranth.lib import wiring

from iovirt.vf.headers import WRITTEN, GuestHeaders
from iovirt_sim.harness import simulate

M32 = 0xFFFFFFFF


def make(guests=4, data_width=64):
    return GuestHeaders(guests=guests, data_width=data_width, address_width=16)


class Bench:
    """Accesses of guests and of software, one at a time each."""

    def __init__(self, dut, data_width=64):
        self.dut, self.width, self.events = dut, data_width // 8, []

    def run(self, *testbenches):
        simulate(self.dut, *testbenches, background=[self._watch])

    async def _watch(self, ctx):
        event = self.dut.event
        async for _, _, valid, colour in ctx.tick().sample(event.valid, event.colour):
            if valid:
                self.events.append(colour)

    async def call(self, ctx, guest, offset, data=None, be=0xF, owner=3):
        """Read, or write ``data``; return what is read."""
        dut = self.dut
        ctx.set(dut.i.payload, {"guest": guest, "address": 0x3000 + offset, "be": be, "legal": 1,
                                "write": data is not None, "data": data or 0, "owner": owner})
        ctx.set(dut.i.valid, 1)
        await ctx.tick().until(dut.i.ready)
        ctx.set(dut.i.valid, 0)
        ctx.set(dut.end.ready, 1)
        end, = await ctx.tick().sample(dut.end.payload).until(dut.end.valid)
        ctx.set(dut.end.ready, 0)
        assert (end.owner, end.guest, end.ok) == (owner, guest, 1)
        return end.data

    async def bus(self, ctx, address, data=0, strobe=0):
        port = self.dut.port
        ctx.set(port.request.payload, {"address": address, "write": strobe != 0, "data": data,
                                       "strobe": strobe})
        ctx.set(port.request.valid, 1)
        await ctx.tick().until(port.request.ready)
        ctx.set(port.request.valid, 0)
        ctx.set(port.response.ready, 1)
        response, = await ctx.tick().sample(port.response.payload).until(port.response.valid)
        ctx.set(port.response.ready, 0)
        assert not response.error
        return response.data

    async def write(self, ctx, address, value):
        """Write 8 bytes as software does."""
        for at in range(0, 8, self.width):
            await self.bus(ctx, address + at, value >> 8 * at & (1 << 8 * self.width) - 1,
                           (1 << self.width) - 1)

    async def read(self, ctx, address):
        """Read 8 bytes as software does."""
        return sum([await self.bus(ctx, address + at) << 8 * at
                    for at in range(0, 8, self.width)])

    async def template(self, ctx, dword, value=0, mask=0, slot=None, notify=0):
        await self.write(ctx, 16 * dword, mask << 32 | value)
        await self.write(ctx, 16 * dword + 8, notify << 4 | (slot is not None) << 3 | (slot or 0))


@pytest.mark.parametrize("parameters, match", [
    ({"guests": 5}, r"Number of guests must be a power of two in 4\.\.256, not 5"),
    ({"data_width": 128}, "Data width must be 32 or 64, not 128"),
    ({"guests": 256, "address_width": 14}, "Address width must cover 24576 bytes, because there "
                                           "are 256 guests, not be 14")])
def test_parameters_are_checked(parameters, match):
    with pytest.raises(ValueError, match=match):
        GuestHeaders(**{"guests": 4, "data_width": 64, "address_width": 16} | parameters)


@pytest.mark.parametrize("data_width", [32, 64])
def test_base_address_register_tells_its_size(data_width):
    bench = Bench(make(data_width=data_width), data_width)

    async def testbench(ctx):
        await bench.template(ctx, 0, value=0x1234_1B36)
        await bench.template(ctx, 4, value=0x4, mask=0xFFFF_C000, slot=2)
        assert await bench.call(ctx, 1, 0) == 0x1234_1B36
        assert await bench.call(ctx, 1, 0x10) == 4
        await bench.call(ctx, 1, 0x10, M32)
        await bench.call(ctx, 1, 0, M32)
        assert await bench.call(ctx, 1, 0x10) == 0xFFFF_C004
        await bench.call(ctx, 1, 0x10, 0x8765_4321)
        assert await bench.call(ctx, 1, 0x10) == 0x8765_4004
        assert await bench.call(ctx, 1, 0) == 0x1234_1B36
        assert await bench.call(ctx, 2, 0x10) == 4
        assert await bench.read(ctx, WRITTEN + 32 + 8) == 0x8765_4321
        assert await bench.read(ctx, 16 * 4) == 0xFFFF_C000_0000_0004
        assert await bench.read(ctx, 16 * 4 + 8) == 0xA

    bench.run(testbench)


def test_bytes_are_written_alone_and_notified():
    bench = Bench(make())

    async def testbench(ctx):
        await bench.template(ctx, 1, value=0x0010_0000, mask=0x0000_0547, slot=0, notify=1)
        await bench.template(ctx, 2, notify=1)
        await bench.call(ctx, 3, 4, 0xFFFF_FF06, be=1)
        assert await bench.call(ctx, 3, 4) == 0x0010_0006
        await bench.call(ctx, 3, 4, 0xFFFF_04FF, be=2)
        assert await bench.call(ctx, 3, 4) == 0x0010_0406
        assert bench.events == [3, 3]
        await bench.call(ctx, 2, 8, 5)
        await bench.call(ctx, 2, 12, 5)
        assert bench.events == [3, 3, 2]

    bench.run(testbench)


def test_nothing_is_beyond_256_bytes():
    bench = Bench(make())

    async def testbench(ctx):
        await bench.template(ctx, 0, value=5, mask=M32, slot=0, notify=1)
        for offset in (0x100, 0x200, 0x400, 0x800, 0xFFC):
            await bench.call(ctx, 1, offset, M32)
            assert await bench.call(ctx, 1, offset) == 0
        assert await bench.call(ctx, 1, 0) == 0 and not bench.events

    bench.run(testbench)


def test_clear_forgets_what_one_guest_has_written():
    bench = Bench(make(guests=8))

    async def testbench(ctx):
        for slot in range(8):
            await bench.template(ctx, slot, mask=M32, slot=slot)
        for guest in range(8):
            for slot in range(8):
                await bench.call(ctx, guest, 4 * slot, 0x100 * guest + slot + 1)
        ctx.set(bench.dut.clear.payload, 5)
        ctx.set(bench.dut.clear.valid, 1)
        await ctx.tick().until(bench.dut.clear.ready)
        ctx.set(bench.dut.clear.valid, 0)
        for guest in range(8):
            for slot in range(8):
                assert await bench.call(ctx, guest, 4 * slot) == (
                    0 if guest == 5 else 0x100 * guest + slot + 1)

    bench.run(testbench)


def test_window_beyond_its_tables_reads_0_and_changes_nothing():
    bench = Bench(make())

    async def testbench(ctx):
        await bench.template(ctx, 0, value=7)
        for address in (0x400, 0x2000, WRITTEN + 32 * 4):
            await bench.write(ctx, address, (1 << 64) - 1)
            assert await bench.read(ctx, address) == 0
        assert await bench.read(ctx, 0) == 7 and await bench.read(ctx, WRITTEN) == 0

    bench.run(testbench)


@pytest.mark.parametrize("seed, data_width", [(1, 64), (2, 32)])
def test_random_accesses_of_guests_beside_software(seed, data_width):
    rng = random.Random(seed)
    bench = Bench(make(data_width=data_width), data_width)
    template = [(rng.getrandbits(32), rng.getrandbits(32), rng.choice([None, *range(8)]),
                 rng.randrange(2)) for _ in range(64)]
    written, expected = {}, []

    async def guests(ctx):
        for dword, (value, mask, slot, notify) in enumerate(template):
            await bench.template(ctx, dword, value, mask, slot, notify)
        started.append(True)
        for _ in range(150):
            guest, dword = rng.randrange(4), rng.randrange(70)
            value, mask, slot, notify = template[dword] if dword < 64 else (0, 0, None, 0)
            if rng.random() < .5:
                data, be = rng.getrandbits(32), rng.randrange(1, 16)
                await bench.call(ctx, guest, 4 * dword, data, be)
                lanes = sum(0xFF << 8 * n for n in range(4) if be >> n & 1)
                if slot is not None:
                    before = written.get((guest, slot), 0)
                    written[guest, slot] = before & ~lanes | data & lanes
                expected.extend([guest] * notify)
            else:
                kept = 0 if slot is None else written.get((guest, slot), 0)
                mask = 0 if slot is None else mask
                assert await bench.call(ctx, guest, 4 * dword) == value & ~mask | kept & mask
        started.append(False)

    started = []

    async def software(ctx):
        while not started:
            await ctx.tick()
        while len(started) == 1:
            dword = rng.randrange(64)
            value, mask, slot, notify = template[dword]
            assert await bench.read(ctx, 16 * dword) == mask << 32 | value
            assert await bench.read(ctx, 16 * dword + 8) == (
                notify << 4 | (slot is not None) << 3 | (slot or 0))
        for guest in range(4):
            for slot in range(0, 8, 2):
                assert await bench.read(ctx, WRITTEN + 32 * guest + 4 * slot) == (
                    written.get((guest, slot + 1), 0) << 32 | written.get((guest, slot), 0))

    bench.run(guests, software)
    assert bench.events == expected


class Resettable(wiring.Component):
    """Headers whose reset can be pulled."""

    def __init__(self, headers):
        self.headers, self.domain = headers, ClockDomain("sync")
        super().__init__(dict(headers.signature.members))

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = self.domain
        m.submodules.headers = self.headers
        wiring.connect(m, wiring.flipped(self), self.headers)
        return m


def test_reset_clears_what_guests_have_written():
    bench = Bench(Resettable(make()))

    async def testbench(ctx):
        await bench.template(ctx, 1, value=9, mask=M32, slot=7)
        await bench.call(ctx, 3, 4, 0x55)
        assert await bench.call(ctx, 3, 4) == 0x55
        ctx.set(bench.dut.domain.rst, 1)
        await ctx.tick()
        ctx.set(bench.dut.domain.rst, 0)
        assert not ctx.get(bench.dut.ready)
        assert await bench.call(ctx, 3, 4) == 0
        assert ctx.get(bench.dut.ready)

    bench.run(testbench)
