"""The fault queue against a plain-Python ring, software that drains it, and memory that fails."""

import random

import pytest

from iovirt.remap.faults import FaultQueue
from iovirt_sim.harness import simulate
from iovirt_sim.table_memory import ACCESS, POISON, TableMemory

BASE = 0x12_3450_0000


def make(**changes):
    return FaultQueue(**{"address_width": 40, "tag_width": 1, **changes})


@pytest.mark.parametrize(("changes", "message"), [
    ({"address_width": 57}, r"Address width must be an integer in 32\.\.56, not 57"),
    ({"tag_width": -1}, "Tag width must be an integer of at least 0, not -1"),
    ({"depth": 0}, "Depth must be an integer of at least 1, not 0"),
])
def test_parameter_errors(changes, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        make(**changes)


class Bench:
    """The queue with its memory, the bits of fqcsr, and counters of what happened."""

    def __init__(self, dut, *, log2sz=2, base=BASE, **memory):
        self.dut, self.log2sz, self.base = dut, log2sz, base
        self.size = 1 << log2sz
        self.memory = TableMemory(**memory)
        self.fqmf = self.fqof = self.clear = 0
        self.lost = self.recorded = 0

    def run(self, *testbenches, deadline=20_000):
        async def main(ctx):
            ctx.set(self.dut.fqb_log2sz_1, self.log2sz - 1)
            ctx.set(self.dut.fqb_ppn, self.base >> 12)
            for testbench in testbenches:
                await testbench(ctx)
            self.memory.stop()

        simulate(self.dut, self.bits, main,
                 self.memory.serve_writes(self.dut.write_request, self.dut.write_response),
                 deadline=deadline)

    async def bits(self, ctx):
        dut = self.dut
        while not self.memory.stopped:
            _, _, mf, of, clear, lost, new, write, taken, tail, head = await ctx.tick().sample(
                dut.set_fqmf, dut.set_fqof, dut.clear_errors, dut.lost, dut.new_record,
                dut.write_request.valid, dut.write_request.ready, dut.fqt, dut.fqh)
            keep = 0 if clear else ~self.clear
            self.fqmf, self.fqof = mf | self.fqmf & keep, of | self.fqof & keep >> 1
            self.clear = 0
            self.lost += lost
            self.recorded += new
            ctx.set(dut.fqmf, self.fqmf)
            ctx.set(dut.fqof, self.fqof)
            if write and taken:
                assert (tail + 1 - head) % self.size != 0, "write to a full ring"

    async def enable(self, ctx, on=1):
        ctx.set(self.dut.fqen, on)
        assert ctx.get(self.dut.busy) == (ctx.get(self.dut.fqon) != on)
        await ctx.tick().until(self.dut.fqon == on)
        assert not ctx.get(self.dut.busy)

    async def send(self, ctx, fault):
        ctx.set(self.dut.fault.payload, fault)
        ctx.set(self.dut.fault.valid, 1)
        await ctx.tick().until(self.dut.fault.ready)
        ctx.set(self.dut.fault.valid, 0)

    async def settle(self, ctx):
        await ctx.tick().until(self.dut.idle)
        await ctx.tick().repeat(3)

    async def send_and_settle(self, ctx, *faults):
        for fault in faults:
            await self.send(ctx, fault)
        await self.settle(ctx)

    def state(self, ctx):
        return ctx.get(self.dut.fqt), self.fqmf, self.fqof, self.lost

    def record(self, index):
        return [self.memory.load(self.base + 32 * index + 8 * n, 8) for n in range(4)]


def fault(number):
    """Return a fault whose iotval tells it from others."""
    rng = random.Random(number)
    return {"cause": rng.getrandbits(12), "pid": rng.getrandbits(20), "pv": 1,
            "priv": rng.getrandbits(1), "ttyp": rng.getrandbits(6),
            "device_id": rng.getrandbits(24), "iotval": number, "iotval2": rng.getrandbits(64)}


def words(fault):
    """Return the record of ``fault``: figure of the fault-queue record."""
    return [fault["cause"] | fault["pid"] << 12 | fault["pv"] << 32 | fault["priv"] << 33
            | fault["ttyp"] << 34 | fault["device_id"] << 40, 0, fault["iotval"], fault["iotval2"]]


def test_record_has_the_layout_of_the_specification():
    bench = Bench(make())

    async def testbench(ctx):
        await bench.enable(ctx)
        await bench.send_and_settle(ctx, fault(5), fault(6))
        assert bench.record(0) == words(fault(5))
        assert bench.record(1) == words(fault(6))
        assert bench.state(ctx) == (2, 0, 0, 0)

    bench.run(testbench)


def test_tail_moves_with_the_write_response():
    bench = Bench(make(), latency=(20, 20))

    async def testbench(ctx):
        await bench.enable(ctx)
        await bench.send(ctx, fault(1))
        await ctx.tick().until(bench.dut.write_request.valid & bench.dut.write_request.ready)
        for _ in range(20):
            assert ctx.get(bench.dut.fqt) == 0 and not ctx.get(bench.dut.new_record)
            await ctx.tick()
        await bench.settle(ctx)
        assert bench.state(ctx) == (1, 0, 0, 0) and bench.recorded == 1

    bench.run(testbench)


def test_full_ring_sets_fqof_and_drops_until_cleared():
    bench = Bench(make())

    async def testbench(ctx):
        await bench.enable(ctx)
        await bench.send_and_settle(ctx, *map(fault, range(5)))
        assert bench.state(ctx) == (3, 0, 1, 2)
        ctx.set(bench.dut.fqh, 2)
        await bench.send_and_settle(ctx, fault(5))
        assert bench.state(ctx) == (3, 0, 1, 3)  # room, but the bit is still set
        bench.clear = 0b10
        await bench.send_and_settle(ctx, fault(6))
        assert bench.state(ctx) == (0, 0, 0, 3)
        assert bench.record(3) == words(fault(6))
        assert bench.record(0) == words(fault(0))

    bench.run(testbench)


@pytest.mark.parametrize("error", [ACCESS, POISON])
def test_failed_write_sets_fqmf_and_leaves_the_tail(error):
    bench = Bench(make(), bad=[(BASE + 32, 32, error)])

    async def testbench(ctx):
        await bench.enable(ctx)
        await bench.send_and_settle(ctx, *map(fault, range(4)))
        assert bench.state(ctx) == (1, 1, 0, 3)
        bench.clear = 0b01
        bench.memory.bad.clear()
        await bench.send_and_settle(ctx, fault(4))
        assert bench.state(ctx) == (2, 0, 0, 3)
        assert bench.record(1) == words(fault(4))

    bench.run(testbench)


def test_base_beyond_physical_addresses_sets_fqmf_without_a_write():
    bench = Bench(make(), base=1 << 40)

    async def testbench(ctx):
        await bench.enable(ctx)
        await bench.send_and_settle(ctx, fault(0))
        assert bench.state(ctx) == (0, 1, 0, 1) and not bench.memory.writes

    bench.run(testbench)


def test_queue_that_is_off_drops_and_counts():
    bench = Bench(make())

    async def testbench(ctx):
        await bench.send_and_settle(ctx, fault(0), fault(1))
        assert bench.state(ctx) == (0, 0, 0, 2) and not bench.memory.writes

    bench.run(testbench)


def test_enabling_resets_the_tail_and_the_error_bits():
    bench = Bench(make())

    async def testbench(ctx):
        await bench.enable(ctx)
        await bench.send_and_settle(ctx, *map(fault, range(4)))
        assert bench.state(ctx) == (3, 0, 1, 1)
        await bench.enable(ctx, 0)
        assert bench.state(ctx) == (3, 0, 1, 1)
        await bench.enable(ctx)
        await bench.send_and_settle(ctx, fault(9))
        assert bench.state(ctx) == (1, 0, 0, 1)
        assert bench.record(0) == words(fault(9))

    bench.run(testbench)


def test_no_write_is_on_its_way_once_off():
    bench = Bench(make(), latency=(30, 30))

    async def testbench(ctx):
        await bench.enable(ctx)
        for n in range(3):
            await bench.send(ctx, fault(n))
        await ctx.tick().repeat(5)
        await bench.enable(ctx, 0)
        writes = len(bench.memory.writes)
        assert bench.recorded == writes == 1
        await ctx.tick().repeat(50)
        assert len(bench.memory.writes) == writes and bench.lost == 2

    bench.run(testbench)


@pytest.mark.parametrize(("log2sz", "seed"), [(1, 0), (1, 1), (2, 2), (3, 3)])
def test_every_fault_is_recorded_in_order_or_counted_as_lost(log2sz, seed):
    rng = random.Random(seed)
    last = BASE + 32 * ((1 << log2sz) - 1)
    bench = Bench(make(depth=rng.choice((1, 2, 4))), log2sz=log2sz, seed=seed, latency=(0, 9),
                  stall=0.3, bad=[(last, 4, ACCESS)])
    seen = []

    async def software(ctx):
        sent = head = 0
        await bench.enable(ctx)
        while sent < 120:
            action = rng.random()
            if action < 0.6:
                await bench.send(ctx, fault(sent))
                sent += 1
            elif action < 0.8:  # drain
                tail = ctx.get(bench.dut.fqt)
                while head != tail:
                    seen.append(bench.record(head))
                    head = (head + 1) % bench.size
                ctx.set(bench.dut.fqh, head | rng.getrandbits(8) << 16)
            elif action < 0.95:
                bench.clear = rng.getrandbits(2)
                if rng.random() < 0.5:
                    bench.memory.bad.clear()
            else:
                await bench.enable(ctx, 0)
                tail = ctx.get(bench.dut.fqt)
                while head != tail:
                    seen.append(bench.record(head))
                    head = (head + 1) % bench.size
                head = 0
                ctx.set(bench.dut.fqh, 0)
                await bench.enable(ctx)
            for _ in range(rng.randrange(6)):
                await ctx.tick()
        await bench.settle(ctx)
        tail = ctx.get(bench.dut.fqt)
        while head != tail:
            seen.append(bench.record(head))
            head = (head + 1) % bench.size
        assert bench.lost + bench.recorded == sent
        assert len(seen) == bench.recorded > 10

    bench.run(software)
    numbers = [record[2] for record in seen]
    assert numbers == sorted(set(numbers))
    assert seen == [words(fault(number)) for number in numbers]
