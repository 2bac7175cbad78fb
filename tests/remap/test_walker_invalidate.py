# amaranth: UnusedElaboratable=no

import random

import pytest

from iovirt.config import RemapConfig
from iovirt.remap.layouts import InvalidateKind
from iovirt.remap.walker import Walker
from iovirt_sim.harness import simulate
from iovirt_sim.models.memory import WordMemory
from iovirt_sim.models.translate import Capabilities, Request
from iovirt_sim.walk_tables import ScatteredTables, TableMemory
from iovirt_sim.walks import WalkBench


class World:
    """A walker with three devices, of which two share a domain, and 64 pages for each domain."""

    def __init__(self, seed, *, walks=4, latency=(5, 30, 60), gap=lambda: 0):
        self.rng = rng = random.Random(seed)
        remap = RemapConfig(walks=walks, pointers=4)
        self.dut = Walker(slot_width=3, table_width=128, remap=remap)
        self.tables = ScatteredTables(rng, Capabilities(46, remap.second_stage), levels=2)
        self.bench = WalkBench(self.dut, self.tables, rng, gap=gap)
        self.memory = TableMemory(self.tables.words, rng, data_width=128,
                                  latency=lambda: rng.choice(latency))
        self.stages = {gscid: self.tables.second_stage("Sv39x4", gscid=gscid) for gscid in (3, 9)}
        self.domain = {0x11: 3, 0x2222: 3, 0x33: 9}
        self.bench.devices = list(self.domain)
        for device, gscid in self.domain.items():
            self.tables.device(device, iohgatp=self.stages[gscid].iohgatp)
        for stage in self.stages.values():
            for n in range(48):
                stage.map(self.page(n), rng.randrange(1 << 34) << 12)
            stage.map(0x4000_0000, rng.randrange(1 << 16) << 30, level=2)

    def page(self, n):
        """Return the address of one of 48 pages, in 3 regions of 2 MiB."""
        return (n // 16 << 21) + (n % 16 << 12)

    def request(self):
        """Return a random request."""
        iova = self.rng.choice([self.page(self.rng.randrange(48)), 0x4000_0000])
        return Request(self.rng.choice(list(self.domain)), iova + 8 * self.rng.randrange(512),
                       write=self.rng.random() < 0.5)

    def victim(self):
        """Return the domain and the page of a walk that runs, or of any."""
        running = [request for request in self.bench.running.values() if request.iova >> 30 == 0]
        request = self.rng.choice(running) if running else Request(0x11, 0)
        return self.domain[request.device_id], request.iova & -4096

    def remember(self):
        """From here on, a walk may have seen the memory as it is now, or as it will be."""
        self.bench.older = [WordMemory(self.tables.memory)]

    async def invalidate(self, ctx, **op):
        """Invalidate; what was remembered must not be seen afterwards."""
        port = self.dut.invalidate
        ctx.set(port.payload, op)
        ctx.set(port.valid, 1)
        await ctx.tick().until(port.ready)
        ctx.set(port.valid, 0)

    def run(self, testbench, deadline=30_000):
        """Simulate."""
        async def main(ctx):
            ctx.set(self.dut.ddtp, {"mode": self.tables.ddtp & 0xF, "ppn": self.tables.ddtp >> 10})
            await testbench(ctx)
            await self.bench.drain(ctx)
            await ctx.tick().repeat(40)

        async def serve(ctx):
            await self.memory.serve(ctx, self.dut.read, self.dut.beats)

        simulate(self.dut, main, background=[serve, *self.bench.watchers()], deadline=deadline)
        assert not self.bench.faults


def change_leaf(world):
    gscid, gpa = world.victim()
    world.tables.memory[world.stages[gscid].slot(gpa)] ^= world.rng.choice([1, 4, 1 << 40])
    return [{"kind": InvalidateKind.IOTLB, "gv": 1, "av": 1, "gscid": gscid, "iova": gpa >> 12}]


def change_table(world):
    gscid, gpa = world.victim()
    stage = world.stages[gscid]
    memory = world.tables.memory
    slot, fresh = stage.slot(gpa, level=1), world.tables.allocate()
    old = memory[slot] >> 10 << 12
    for place in range(0, 16 * 8, 8):
        memory[fresh + place] = memory[old + place] ^ 1 << 38
    memory[slot] = fresh >> 12 << 10 | 1
    return [{"kind": InvalidateKind.IOTLB, "gv": world.rng.randrange(2), "gscid": gscid}]


def change_context(world):
    device = world.rng.choice(list(world.domain))
    place = world.tables.device(device, iohgatp=world.stages[world.domain[device]].iohgatp)
    world.tables.memory[place] = world.rng.choice([1, 0x11, 0x1000_0001, 0x2001])
    return [{"kind": InvalidateKind.CONTEXT, "dv": world.rng.randrange(2), "device_id": device}]


def move_domain(world):
    device = world.rng.choice(list(world.domain))
    world.domain[device] = gscid = 12 - world.domain[device]
    world.tables.device(device, iohgatp=world.stages[gscid].iohgatp)
    return [{"kind": InvalidateKind.CONTEXT, "dv": 1, "device_id": device}]


@pytest.mark.parametrize("change, stalls", [
    (change_leaf, False), (change_table, True), (change_context, False), (move_domain, True)])
def test_nothing_older_than_an_invalidation_is_seen_after_it(change, stalls):
    rng = random.Random(f"{change.__name__} {stalls}")
    world = World(rng.random(), gap=(lambda: rng.choice([0, 2, 15])) if stalls else lambda: 0)

    async def testbench(ctx):
        for _ in range(16):
            for _ in range(rng.randrange(1, 5)):
                await world.bench.send(ctx, world.request(), known=rng.random() < 0.5,
                                       prefetch=rng.random() < 0.2)
            await ctx.tick().repeat(rng.randrange(1, 80))
            world.remember()
            for op in change(world):
                ctx.set(world.dut.hold, rng.randrange(2))
                await ctx.tick().repeat(rng.choice([1, 2, 5, 20]))
                await world.invalidate(ctx, **op)
            world.bench.older = []
            ctx.set(world.dut.hold, 0)

    world.run(testbench)
    assert len(world.bench.answers) > 20


def test_walks_of_other_guests_and_devices_go_on():
    world = World(1, latency=(40,))

    async def testbench(ctx):
        await world.bench.send(ctx, Request(0x11, 0x5000), known=True)
        await ctx.tick().repeat(10)
        await world.invalidate(ctx, kind=InvalidateKind.IOTLB, gv=1, av=1, gscid=9)
        await world.invalidate(ctx, kind=InvalidateKind.CONTEXT, dv=1, device_id=0x33)
        await world.bench.drain(ctx)
        assert len(world.memory.reads) == 3
        await world.bench.send(ctx, Request(0x11, 0x20_0000), known=True)
        await ctx.tick().repeat(10)
        await world.invalidate(ctx, kind=InvalidateKind.IOTLB, gv=1, av=1, gscid=3)
        await world.bench.drain(ctx)
        # Again from the directory, after the first read.
        assert [size for _, size in world.memory.reads[3:]] == [8, 8, 32, 8, 8, 64]

    world.run(testbench)


def test_stale_prefetch_ends():
    world = World(2, latency=(40,))

    async def testbench(ctx):
        for n in range(1, 7):
            await world.bench.send(ctx, Request(0x11, 0x5000), prefetch=True)
            await ctx.tick().repeat(10)
            await world.invalidate(ctx, kind=InvalidateKind.IOTLB)
            await ctx.tick().repeat(200)
            assert len(world.memory.reads) == n

    world.run(testbench)
    assert not world.bench.lines and not world.bench.contexts


def test_only_changes_of_tables_drop_pointers():
    world = World(3, latency=(5,))
    rounds = [({"kind": InvalidateKind.IOTLB, "gv": 1, "av": 1, "gscid": 3}, 1),
              ({"kind": InvalidateKind.CONTEXT}, 1),
              ({"kind": InvalidateKind.IOTLB, "gv": 1, "gscid": 9}, 1),
              ({"kind": InvalidateKind.IOTLB, "gv": 1, "gscid": 3}, 3),
              ({"kind": InvalidateKind.IOTLB}, 3)]

    async def testbench(ctx):
        await world.bench.send(ctx, Request(0x11, 0x5000))
        await world.bench.drain(ctx)
        for op, reads in rounds:
            await world.invalidate(ctx, **op)
            world.memory.reads.clear()
            await world.bench.send(ctx, Request(0x11, 0x5000), known=True)
            await world.bench.drain(ctx)
            assert len(world.memory.reads) == reads, op

    world.run(testbench)


def test_invalidation_waits_for_fills_under_way():
    world = World(4, latency=(5,))
    world.bench.blocked.add("line_fill")

    async def testbench(ctx):
        await world.bench.send(ctx, Request(0x11, 0x5000))
        while not ctx.get(world.dut.line_fill.valid):
            await ctx.tick()
        ctx.set(world.dut.invalidate.payload, {"kind": InvalidateKind.IOTLB, "gv": 1, "av": 1,
                                               "gscid": 3, "iova": 5})
        ctx.set(world.dut.invalidate.valid, 1)
        for _ in range(50):
            await ctx.tick()
            assert not ctx.get(world.dut.invalidate.ready)
        world.bench.blocked.clear()
        await ctx.tick().until(world.dut.invalidate.ready)
        assert len(world.bench.lines) == 1 and not world.bench.running
        ctx.set(world.dut.invalidate.valid, 0)

    world.run(testbench)
