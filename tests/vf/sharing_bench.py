"""A sharing block, its registers at their addresses, its device, and cores."""

from functools import cache

from amaranth.sim import Simulator

from iovirt.config import VfConfig
from iovirt.pcie.tlp import RequestHeader
from iovirt.vf.engine import SharingEngine
from iovirt_sim.drivers.sharing_words import Addresses, GuestEntry, PairEntry, PairState, Rates
from iovirt_sim.harness import CLOCK_PERIOD
from iovirt_sim.streams import receive, send

OFF, RUN, FREEZE, DRAIN, QUARANTINE = range(5)
#: First byte and size of the windows, as the register map has them (see `test_windows...`).
WINDOWS = {"guests": (0x20_0000, 21), "parameters": (0x20_8000, 15), "budgets": (0x21_0000, 16),
           "templates": (0x21_4000, 14), "headers": (0x21_8000, 15), "pairs": (0x22_0000, 17),
           "statistics": (0x30_0000, 20)}
GUESTS, PAIRS = 4, 8
RID, BAR, TAILS = 0x0100, 0xC000_0000, 0x1000
PAGES = {"region_log2": 2, "stride_log2": 0, "single": 0, "doorbell_base": 0x1000}
REGION = 4096 << PAGES["region_log2"]
SCHEDULER = {"quantum": 16, "burst": 8, "most": 64, "byte_shift": 31}
ADDRESSES = Addresses(offset_bits=40, key_bits=12)


@cache
def _simulator():
    """Return one simulator for all tests, because it takes long to make one."""
    vf  = VfConfig(guests=GUESTS, pairs=PAIRS, functions=1, patches=4, tick_log2=9)
    dut = SharingEngine(vf=vf, data_width=64, id_width=8, reads=4, writes=4,
                        register_data_width=64, register_address_width=22)
    sim, bench = Simulator(dut), []
    sim.add_clock(CLOCK_PERIOD)

    def part(name):
        async def testbench(ctx):
            await getattr(bench[-1], name)(ctx)
        return testbench

    sim.add_testbench(part("main"))
    for name in ("hear_posted", "hear_attributed", "watch"):
        sim.add_testbench(part(name), background=True)
    return sim, bench, dut


class SharingBench:
    """Runs ``testbench`` with a block that has come out of reset.

    ``rung`` are doorbells of the device as (address, value), ``frozen`` how many guests hardware
    has frozen. Of each pair, ``tails`` is the last tail that the device was told, ``granted`` how
    many commands that makes.
    """

    def __init__(self, testbench, deadline=6000, *, most=64):
        sim, benches, self.dut = _simulator()
        self.testbench, self.deadline, self.most = testbench, deadline, most
        self.rung, self.left, self.entries, self.guests = [], [], {}, {}
        self.tails, self.granted, self.slots, self.fetched = {}, {}, {}, {}
        self.clock = self.frozen = 0
        benches.append(self)
        sim.reset()
        sim.run()

    async def main(self, ctx):
        dut = self.dut
        ctx.set(dut.addresses, {"offset_bits": 40, "key_bits": 12})
        ctx.set(dut.scheduler_settings, SCHEDULER | {"most": self.most})
        ctx.set(dut.page_settings, PAGES)
        ctx.set(dut.functions[0], {"valid": 1, "rid": RID, "bar": BAR, "head_delta": 1})
        ctx.set(dut.requester_id, 0x0008)
        for name in ("page_error", "error", "notice", "patched"):
            ctx.set(getattr(dut, name).ready, 1)
        while not ctx.get(dut.ready):
            await ctx.tick()
        await self.testbench(self, ctx)

    # Software.

    async def access(self, ctx, address, value=None, strobe=0xff):
        """Write or read a doubleword at its address in the register map; return (data, error)."""
        name = max((name for name in WINDOWS if WINDOWS[name][0] <= address),
                   key=lambda name: WINDOWS[name][0])
        port, below = getattr(self.dut, name), WINDOWS[name][1]
        await send(ctx, port.request, [{
            "address": address & (1 << below) - 1, "write": value is not None, "data": value or 0,
            "strobe": 0 if value is None else strobe}])
        (answer,), = await receive(ctx, port.response, 1)
        return answer.data, answer.error

    async def write(self, ctx, address, *words):
        """Write doublewords."""
        for n, word in enumerate(words):
            assert await self.access(ctx, address + 8 * n, word) == (0, 0)

    async def read(self, ctx, address):
        """Read a doubleword."""
        data, error = await self.access(ctx, address)
        assert not error
        return data

    async def guest(self, ctx, number, *, weight=1, limit=0, first_pair=0, pairs=1, key=None):
        """Make a guest that runs."""
        entry = GuestEntry(key=number if key is None else key, device_id=0x40 + number,
                           ring_device_id=0x50 + number, first_pair=first_pair, pairs=pairs)
        self.guests[number] = entry
        await self.write(ctx, 0x20_0000 + 64 * number, *entry.words())
        await self.write(ctx, 0x21_0000 + 32 * number, *Rates(weight=weight, limit=limit).words())
        await self.state(ctx, number, RUN)

    async def state(self, ctx, number, state):
        """Set the state of a guest, and clear `fatal`."""
        await self.write(ctx, 0x20_0000 + 64 * number + 16, state)

    async def pair(self, ctx, number, owner, **more):
        """Make a pair; it starts from zero."""
        entry = PairEntry(**{"owner": owner, "template": 1, "depth": 16, "cq_depth": 16,
                             "tail": TAILS + 8 * number, **more})
        self.entries[number], self.tails[number], self.slots[number] = entry, 0, 0
        self.granted[number] = self.fetched[number] = 0
        await self.write(ctx, 0x22_0000 + 64 * number, *entry.words())

    async def pair_state(self, ctx, number):
        """Return what the registers show of a pair."""
        return PairState.of([await self.read(ctx, 0x22_0000 + 64 * number + 16 + 8 * n)
                             for n in range(3)])

    async def in_flight(self, ctx, number):
        """Return the commands in flight of a guest."""
        return await self.read(ctx, 0x21_0000 + 32 * number + 16) & 0x1fff

    async def total(self, ctx):
        """Return the commands in flight of all guests, when no guest is visited any more."""
        await ctx.tick().repeat(150)
        return ctx.get(self.dut.in_flight)

    # Cores.

    async def doorbell(self, ctx, guest, queue, value=None, *, side=0):
        """Write or read a doorbell on the page of a guest; return the answer."""
        address = REGION * guest + PAGES["doorbell_base"] + 8 * queue + 4 * side
        await send(ctx, self.dut.page, [{
            "write": value is not None, "address": address, "be": 0xf, "data": value or 0,
            "legal": 1, "owner": guest}])
        (answer,), = await receive(ctx, self.dut.page_answer, 1)
        assert answer.ok and answer.owner == guest
        return answer.data

    # The device.

    def iova(self, pair, side, offset=0, *, key=None):
        owner = self.entries[pair].owner
        return ADDRESSES.ring(owner, pair, side, offset,
                              key=self.guests[owner].key if key is None else key)

    async def touch(self, ctx, iova, length, *, write):
        """Access memory; return what goes to translation."""
        before = len(self.left)
        await send(ctx, self.dut.access, [{
            "device_id": RID, "write": write, "iova": iova, "length_dw": length // 4,
            "slot": before % 4, "id": before % 256, "source": RID}])
        while len(self.left) == before:
            await ctx.tick()
        return self.left[before]

    async def fetch(self, ctx, pair, count):
        """Fetch entries one after the other; return how many were not contained."""
        entry = self.entries[pair]
        passed = 0
        for _ in range(count):
            slot = self.fetched[pair] % entry.depth
            self.fetched[pair] += 1
            gone = await self.touch(ctx, self.iova(pair, 0, slot * entry.entry_bytes),
                                    entry.entry_bytes, write=0)
            passed += not gone.contain
        return passed

    async def complete(self, ctx, pair, count):
        """Write completions one after the other."""
        entry = self.entries[pair]
        for _ in range(count):
            slot, self.slots[pair] = self.slots[pair], (self.slots[pair] + 1) % entry.cq_depth
            gone = await self.touch(ctx, self.iova(pair, 1, slot * entry.cq_bytes), entry.cq_bytes,
                                    write=1)
            assert not gone.contain

    async def hear_posted(self, ctx):
        """Take doorbells, and count what they tell."""
        dut = self.dut
        ctx.set(dut.posted.ready, 1)
        async for _, _, valid, beat in ctx.tick().sample(dut.posted.valid, dut.posted.payload):
            if not valid:
                continue
            header = RequestHeader.from_bits(beat.hdr)
            assert beat.first and beat.last and header.dw0.length == 1 and header.first_be == 0xf
            assert header.rid == 0x0008
            address, value = header.dw2, beat.data & 0xffff_ffff
            self.rung.append((address, value))
            for pair in (n for n, entry in self.entries.items() if BAR + entry.tail == address):
                self.granted[pair] += (value - self.tails[pair]) % self.entries[pair].depth
                self.tails[pair] = value

    async def hear_attributed(self, ctx):
        dut = self.dut
        ctx.set(dut.attributed.ready, 1)
        async for _, _, valid, p in ctx.tick().sample(dut.attributed.valid, dut.attributed.payload):
            if valid:
                self.left.append(p)

    async def watch(self, ctx):
        dut = self.dut
        async for _, _, frozen, in_flight in ctx.tick().sample(dut.frozen, dut.in_flight):
            self.clock  += 1
            self.frozen += frozen
            assert self.clock < self.deadline, "test takes too long"
            assert in_flight <= self.most
