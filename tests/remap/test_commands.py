"""The command queue against a plain-Python executor, failing memory and erring software."""

import random

import pytest

from iovirt.remap.command_fetch import CommandFetch
from iovirt.remap.commands import CommandQueue
from iovirt_sim.harness import simulate
from iovirt_sim.table_memory import ACCESS, POISON, TableMemory

BASE = 0x12_3450_0000
CQMF, CMD_TO, CMD_ILL, FENCE = 1, 2, 4, 8

FENCE_C, VMA, DDT, PDT = 0x002, 0x001, 0x003, 0x083
GVMA = 0x081


def make(**changes):
    return CommandQueue(**{"address_width": 40, "data_width": 128, "read_tag_width": 2,
                           "write_tag_width": 1, **changes})


@pytest.mark.parametrize(("changes", "message"), [
    ({"address_width": 31}, r"Address width must be an integer in 32\.\.56, not 31"),
    ({"data_width": 96}, "Data width must be 64, 128, 256 or 512, not 96"),
    ({"read_tag_width": -1}, "Tag width must be an integer of at least 0, not -1"),
    ({"write_tag_width": None}, "Tag width must be an integer of at least 0, not None"),
    ({"device_id_bits": 25}, r"Width of device_id must be an integer in 1\.\.24, not 25"),
])
def test_parameter_errors(changes, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        make(**changes)


class Bench:
    """The queue with its memory, the bits of cqcsr, and a log of what it did."""

    def __init__(self, dut, *, log2sz=3, base=BASE, wait=lambda: 0, **memory):
        self.dut, self.log2sz, self.base, self.wait = dut, log2sz, base, wait
        self.size = 1 << log2sz
        self.memory = TableMemory(**memory)
        self.bits = self.clear = 0
        self.tail = 0
        self.log = []

    def run(self, *testbenches, deadline=20_000):
        dut, memory = self.dut, self.memory

        async def main(ctx):
            ctx.set(dut.cqb_log2sz_1, self.log2sz - 1)
            ctx.set(dut.cqb_ppn, self.base >> 12)
            ctx.set(dut.wsi, 1)
            for testbench in testbenches:
                await testbench(ctx)
            memory.stop()

        simulate(
            dut, self.watch, main, self.accept(dut.invalidate, self.invalidated),
            self.accept(dut.drain, lambda _: ("drain",)),
            memory.serve_reads(dut.read_request, dut.read_beats, data_width=dut.data_width),
            memory.serve_writes(dut.write_request, dut.write_response), deadline=deadline)

    async def watch(self, ctx):
        dut = self.dut
        while not self.memory.stopped:
            _, _, mf, ill, wip, clear, read, taken, request, head, tail, on, fence = (
                await ctx.tick().sample(
                    dut.set_cqmf, dut.set_cmd_ill, dut.set_fence_w_ip, dut.clear_errors,
                    dut.read_request.valid, dut.read_request.ready, dut.read_request.payload,
                    dut.cqh, dut.cqt, dut.cqon, dut.write_request.valid))
            self.bits = (mf * CQMF | ill * CMD_ILL | wip * FENCE
                         | self.bits & ~(15 if clear else self.clear))
            self.clear = 0
            for name, bit in (("cqmf", CQMF), ("cmd_to", CMD_TO), ("cmd_ill", CMD_ILL)):
                ctx.set(getattr(dut, name), bool(self.bits & bit))
            assert on or not (read or fence), "access while off"
            if read and taken:
                first = (request.address - self.base) // 16
                held  = (tail - head) % self.size
                for index in range(first, first + (1 << request.size_log2 - 4)):
                    assert (index - head) % self.size < held, "read at or behind the tail"

    def accept(self, stream, entry):
        async def testbench(ctx):
            while not self.memory.stopped:
                _, _, valid = await ctx.tick().sample(stream.valid)
                if valid:
                    for _ in range(self.wait()):
                        await ctx.tick()
                    self.log.append(entry(ctx.get(stream.payload)))
                    ctx.set(stream.ready, 1)
                    await ctx.tick()
                    ctx.set(stream.ready, 0)
        return testbench

    @staticmethod
    def invalidated(op):
        if op.kind.value:
            return ("context", op.dv, op.device_id if op.dv else 0)
        return ("iotlb", op.gv, op.av, op.gscid if op.gv else 0, op.iova if op.av else 0)

    async def enable(self, ctx, on=1):
        ctx.set(self.dut.cqen, on)
        assert ctx.get(self.dut.busy) == (ctx.get(self.dut.cqon) != on)
        await ctx.tick().until(self.dut.cqon == on)
        assert not ctx.get(self.dut.busy)

    def put(self, ctx, *commands, garbage=0):
        """Queue ``commands`` and pass the tail over them at once."""
        for command in commands:
            self.memory.store(self.base + 16 * self.tail, 16, command)
            self.tail = (self.tail + 1) % self.size
        ctx.set(self.dut.cqt, self.tail | garbage << self.log2sz)

    async def idle(self, ctx):
        """Wait as software does: until the head is at the tail, or an error bit is set."""
        while not (ctx.get(self.dut.cqh) == self.tail or self.bits & (CQMF | CMD_TO | CMD_ILL)):
            await ctx.tick()
        await ctx.tick().repeat(3)

    async def execute(self, ctx, *commands):
        self.put(ctx, *commands)
        await self.idle(ctx)

    def state(self, ctx):
        return ctx.get(self.dut.cqh), self.bits


def gvma(*, gscid=None, page=None, extra=0):
    low = GVMA | (gscid is not None) << 33 | (gscid or 0) << 44 | (page is not None) << 10
    return low | (page or 0) << 74 | extra


def ddt(device_id=None, extra=0):
    return DDT | (device_id is not None) << 33 | (device_id or 0) << 40 | extra


def pdt(device_id, pid):
    return PDT | pid << 12 | 1 << 33 | device_id << 40


def fence(address=None, data=0, wsi=0, ordering=0):
    low = FENCE_C | (address is not None) << 10 | wsi << 11 | ordering << 12 | data << 32
    return low | (address or 0) >> 2 << 64


def test_each_command_does_its_work_and_the_head_follows():
    bench = Bench(make())

    async def testbench(ctx):
        await bench.enable(ctx)
        await bench.execute(
            ctx, gvma(), gvma(gscid=0xABCD), gvma(gscid=1, page=0xF_1234_5678_9ABC), VMA,
            ddt(), ddt(0x123456), pdt(0x123456, 0xFF))
        assert bench.state(ctx) == (7, 0)
        assert bench.log == [
            ("iotlb", 0, 0, 0, 0), ("iotlb", 1, 0, 0xABCD, 0),
            ("iotlb", 1, 1, 1, 0xF_1234_5678_9ABC), ("context", 0, 0), ("context", 1, 0x123456)]

    bench.run(testbench)


def test_address_without_guest_means_all_guests():
    bench = Bench(make())

    async def testbench(ctx):
        await bench.enable(ctx)
        await bench.execute(ctx, gvma(page=0x1234))
        assert bench.log == [("iotlb", 0, 0, 0, 0)]

    bench.run(testbench)


def test_fence_drains_then_writes_then_flags():
    bench = Bench(make(), latency=(6, 6), wait=lambda: 5)

    async def testbench(ctx):
        await bench.enable(ctx)
        bench.put(ctx, fence(0x77_1234_5674, 0xCAFE_F00D, wsi=1, ordering=2))
        await ctx.tick().until(bench.dut.drain.ready)
        assert not bench.memory.writes and bench.state(ctx) == (0, 0)
        await ctx.tick().until(bench.dut.write_request.ready & bench.dut.write_request.valid)
        await ctx.tick().repeat(5)
        assert bench.state(ctx) == (0, 0)
        await bench.idle(ctx)
        assert bench.memory.writes == [(0x77_1234_5674, bytes.fromhex("0df0feca"))]
        assert bench.state(ctx) == (1, FENCE)
        await bench.execute(ctx, fence())
        assert bench.state(ctx) == (2, FENCE) and bench.log == [("drain",)] * 2
        await bench.enable(ctx, 0)
        await bench.enable(ctx)
        assert bench.bits == 0

    bench.run(testbench)


@pytest.mark.parametrize(("address", "bad"), [
    (0x55_0000_0010, [(0x55_0000_0000, 64, ACCESS)]),
    (0x55_0000_0010, [(0x55_0000_0012, 1, POISON)]),
    (1 << 40, []),
    (1 << 63, []),
])
def test_failed_fence_write_stops_at_the_fence_without_the_flag(address, bad):
    bench = Bench(make(), bad=bad)

    async def testbench(ctx):
        await bench.enable(ctx)
        await bench.execute(ctx, VMA, fence(address, 5, wsi=1), ddt())
        assert bench.state(ctx) == (1, CQMF)
        assert bench.log == [("drain",)]
        if not bad:
            assert not bench.memory.writes
        bench.memory.bad.clear()
        bench.memory.store(bench.base + 16, 16, fence(0x40, 5, wsi=1))
        bench.clear = CQMF
        await ctx.tick()
        await bench.idle(ctx)
        assert bench.state(ctx) == (3, FENCE)
        assert bench.log == [("drain",), ("drain",), ("context", 0, 0)]

    bench.run(testbench)


ILLEGAL = {
    "opcode":               0x2b,
    "custom opcode":        0x40,
    "opcode 0":             0x00,
    "iotinval func3":       0x381,
    "iotinval func3 2":     0x101,
    "iofence func3":        0x082,
    "iodir func3":          0x183,
    "ats inval":            0x2100_0000_0004,
    "ats prgr":             0x084,
    "gvma pscv":            GVMA | 1 << 32,
    "iotinval nl":          0x6_0000_0481,
    "iotinval s":           0x2_0000_0401 | 0x200 << 64,
    "ddt pid":              ddt(5) | 0x16 << 12,
    "pdt without device":   PDT,
    "pdt pid":              pdt(5, 0x100),
    "ddt wide device":      ddt(1 << 16),
    "pdt wide device":      pdt(1 << 16, 1),
    **{f"vma bit {n}": VMA | 1 << n for n in (11, 35, 43, 60, 63, 64, 72, 126, 127)},
    **{f"gvma bit {n}": GVMA | 1 << n for n in (11, 35, 43, 60, 63, 64, 72, 126, 127)},
    **{f"iofence bit {n}": FENCE_C | 1 << n for n in (14, 17, 31, 126, 127)},
    **{f"ddt bit {n}": DDT | 1 << n for n in (10, 11, 32, 34, 39, 64, 73, 127)},
    **{f"pdt bit {n}": PDT | 1 << 33 | 1 << n for n in (10, 11, 32, 34, 39, 64, 127)},
}


def test_illegal_commands_stop_the_queue_until_cleared():
    bench = Bench(make(device_id_bits=16))

    async def testbench(ctx):
        await bench.enable(ctx)
        for name, command in ILLEGAL.items():
            head = bench.tail
            await bench.execute(ctx, command, ddt(7))
            assert bench.state(ctx) == (head, CMD_ILL), name
            assert not bench.log, name
            bench.memory.store(bench.base + 16 * head, 16, VMA)
            bench.clear = CMD_ILL
            await ctx.tick()
            await bench.idle(ctx)
            assert bench.state(ctx) == (bench.tail, 0), name
            assert bench.log == [("context", 1, 7)], name
            bench.log.clear()

    bench.run(testbench)


def test_ignored_operands_are_not_illegal():
    bench = Bench(make(device_id_bits=16))

    async def testbench(ctx):
        await bench.enable(ctx)
        await bench.execute(ctx, ddt() | 1 << 60, gvma(extra=0xFFFFF << 12),
                            VMA | 0x3 << 32 | 0xFFFFF << 12 | 1 << 10,
                            fence() | 0xFFFF_FFFF << 32 | ((1 << 62) - 1) << 64)
        assert bench.state(ctx) == (4, 0)

    bench.run(testbench)


def test_fence_interrupt_is_illegal_without_wires():
    bench = Bench(make())

    async def testbench(ctx):
        ctx.set(bench.dut.wsi, 0)
        await bench.enable(ctx)
        await bench.execute(ctx, fence(wsi=1))
        assert bench.state(ctx) == (0, CMD_ILL) and not bench.log

    bench.run(testbench)


@pytest.mark.parametrize("data_width", [64, 128, 256, 512])
@pytest.mark.parametrize("error", [ACCESS, POISON])
def test_bad_command_is_found_among_those_fetched_with_it(data_width, error):
    bench = Bench(make(data_width=data_width), bad=[(BASE + 16 * 2 + 12, 4, error)])

    async def testbench(ctx):
        await bench.enable(ctx)
        await bench.execute(ctx, *(ddt(n) for n in range(4)))
        assert bench.state(ctx) == (2, CQMF)
        assert bench.log == [("context", 1, 0), ("context", 1, 1)]
        bench.memory.bad.clear()
        bench.clear = CQMF
        await ctx.tick()
        await bench.idle(ctx)
        assert bench.state(ctx) == (4, 0)
        assert bench.log[2:] == [("context", 1, 2), ("context", 1, 3)]

    bench.run(testbench)


def test_base_beyond_physical_addresses_sets_cqmf_without_a_read():
    bench = Bench(make(), base=1 << 40)

    async def testbench(ctx):
        await bench.enable(ctx)
        await bench.execute(ctx, VMA)
        assert bench.state(ctx) == (0, CQMF) and not bench.memory.reads

    bench.run(testbench)


def test_burst_of_invalidations_is_fetched_by_lines():
    bench = Bench(make(), log2sz=6, latency=(50, 50))

    async def testbench(ctx):
        await bench.enable(ctx)
        await bench.execute(ctx, *(gvma(gscid=1, page=n) for n in range(32)), fence())
        assert bench.state(ctx) == (33, 0)
        assert [entry[-1] for entry in bench.log[:-1]] == list(range(32))

    bench.run(testbench, deadline=700)
    assert bench.memory.reads == [*((BASE + 64 * n, 64) for n in range(8)), (BASE + 512, 16)]


@pytest.mark.parametrize("data_width", [64, 256])
def test_slow_execution_does_not_lose_what_is_fetched_ahead(data_width):
    bench = Bench(make(data_width=data_width), log2sz=6, wait=lambda: 30)

    async def testbench(ctx):
        await bench.enable(ctx)
        await bench.execute(ctx, *(gvma(gscid=1, page=n) for n in range(30)))
        assert [entry[-1] for entry in bench.log] == list(range(30))

    bench.run(testbench)


@pytest.mark.parametrize("data_width", [64, 512])
def test_nothing_is_fetched_after_a_bad_command(data_width):
    bench = Bench(make(data_width=data_width), bad=[(BASE + 16, 16, ACCESS)], wait=lambda: 80)

    async def testbench(ctx):
        await bench.enable(ctx)
        await bench.execute(ctx, *(ddt(n) for n in range(6)))
        assert bench.state(ctx) == (1, CQMF) and bench.log == [("context", 1, 0)]
        assert bench.memory.reads[-1] == (BASE + 16, 16)

    bench.run(testbench)


@pytest.mark.parametrize("bit", [CQMF, CMD_TO, CMD_ILL])
def test_nothing_is_fetched_while_an_error_bit_is_set(bit):
    bench = Bench(make())

    async def testbench(ctx):
        await bench.enable(ctx)
        await bench.execute(ctx, 0x7F)
        bench.bits = bit
        await ctx.tick().repeat(3)
        reads = len(bench.memory.reads)
        await ctx.tick().repeat(50)
        assert len(bench.memory.reads) == reads and bench.state(ctx) == (0, bit)
        bench.clear = bit
        await ctx.tick().repeat(30)
        assert len(bench.memory.reads) == reads + 1 and bench.bits == CMD_ILL

    bench.run(testbench)


def test_disabling_stops_after_the_command_being_executed():
    bench = Bench(make(), latency=(10, 10), wait=lambda: 40)

    async def testbench(ctx):
        await bench.enable(ctx)
        bench.put(ctx, ddt(1), ddt(2), ddt(3), ddt(4), ddt(5))
        await ctx.tick().until(bench.dut.invalidate.valid)
        await bench.enable(ctx, 0)
        assert bench.log == [("context", 1, 1)] and ctx.get(bench.dut.cqh) == 1
        reads = len(bench.memory.reads)
        await ctx.tick().repeat(60)
        assert len(bench.memory.reads) == reads and len(bench.log) == 1
        bench.tail = 0
        ctx.set(bench.dut.cqt, 0)
        await bench.enable(ctx)
        assert ctx.get(bench.dut.cqh) == 0
        await bench.execute(ctx, ddt(9))
        assert bench.log[1:] == [("context", 1, 9)]

    bench.run(testbench)


def expected(command):
    """Return (effects, bits, stops) of a command, by the figures of the specification."""
    opcode, func3 = command & 0x7F, command >> 7 & 7

    def bits(high, low):
        return command >> low & (1 << high - low + 1) - 1

    if opcode == 1 and func3 <= 1:
        reserved = (bits(11, 11), bits(43, 34), bits(63, 60), bits(73, 64), bits(127, 126))
        if any(reserved) or (func3 == 1 and bits(32, 32)):
            return [], CMD_ILL
        gv, av = bits(33, 33), bits(33, 33) & bits(10, 10)
        effect = ("iotlb", gv, av, bits(59, 44) * gv, bits(125, 74) * av)
        return [effect] * func3, 0
    if opcode == 2 and func3 == 0 and not bits(31, 14) and not bits(127, 126):
        effects = [("drain",)]
        if bits(10, 10):
            if bits(125, 64) << 2 >= 1 << 40:
                return effects, CQMF
            effects.append(("write", bits(125, 64) << 2, bits(63, 32)))
        return effects, FENCE * bits(11, 11)
    if opcode == 3 and not (bits(11, 10) or bits(32, 32) or bits(39, 34) or bits(127, 64)):
        if func3 == 0 and not bits(31, 12):
            return [("context", bits(33, 33), bits(63, 40) * bits(33, 33))], 0
        if func3 == 1 and bits(31, 12) < 256 and bits(33, 33):
            return [], 0
    return [], CMD_ILL


def random_command(rng):
    command = rng.choice((
        gvma(), gvma(gscid=rng.getrandbits(16)),
        gvma(gscid=rng.getrandbits(16), page=rng.getrandbits(52)), VMA | rng.getrandbits(20) << 12,
        ddt(), ddt(rng.getrandbits(24)), pdt(rng.getrandbits(24), rng.getrandbits(8)),
        fence(), fence(rng.getrandbits(37) << 2, rng.getrandbits(32), rng.getrandbits(1)),
        fence(rng.getrandbits(42) & ~3, 1)))
    return command if rng.random() < 0.9 else command ^ 1 << rng.randrange(128)


@pytest.mark.parametrize(("data_width", "log2sz", "seed"), [
    (64, 1, 0), (64, 4, 1), (128, 2, 2), (128, 3, 3), (256, 4, 4), (512, 5, 5)])
def test_random_commands_do_what_the_specification_says(data_width, log2sz, seed):
    rng = random.Random(seed)
    bench = Bench(make(data_width=data_width), log2sz=log2sz, seed=seed, latency=(0, 15), stall=0.2,
                  wait=lambda: rng.randrange(4))
    effects, writes, flags = [], [], [0]
    bad = BASE + 16 * rng.randrange(bench.size)

    def account(command):
        """Note the effects of a command; return the error bit it must set."""
        found, bits = expected(command)
        effects.extend(effect for effect in found if effect[0] != "write")
        writes.extend((address, data.to_bytes(4, "little"))
                      for kind, address, data in (e for e in found if e[0] == "write"))
        flags[0] |= bits & FENCE
        return bits & ~FENCE

    async def software(ctx):
        queued, done = [], 0
        await bench.enable(ctx)
        while done < 60:
            if rng.random() < 0.1:  # the memory of one command fails for a while
                bench.memory.bad[:] = [] if bench.memory.bad else [(bad, 16, ACCESS)]
            room = bench.size - 1 - len(queued)
            commands = [random_command(rng) for _ in range(rng.randint(0, min(room, 9)))]
            queued += commands
            bench.put(ctx, *commands, garbage=rng.getrandbits(4))
            await bench.idle(ctx)
            head, bits = bench.state(ctx)
            executed = len(queued) - (bench.tail - head) % bench.size
            for command in queued[:executed]:
                assert account(command) == 0
            del queued[:executed]
            done += executed
            if error := bits & ~FENCE:
                if error == CQMF and bench.memory.bad and BASE + 16 * head == bad:
                    bench.memory.bad.clear()
                else:
                    assert account(queued[0]) == error
                    bench.memory.store(BASE + 16 * head, 16, VMA)
                    queued[0] = VMA
                if rng.random() < 0.3:  # start over
                    await bench.enable(ctx, 0)
                    assert bench.state(ctx) == (head, bits)
                    queued.clear()
                    bench.tail = flags[0] = 0
                    ctx.set(bench.dut.cqt, 0)
                    await bench.enable(ctx)
                else:
                    bench.clear = error
                    await ctx.tick().repeat(2)
            else:
                assert not queued
            assert bench.bits & FENCE == flags[0]
        assert bench.log == effects
        assert bench.memory.writes == writes

    bench.run(software)
    assert len(effects) > 20


def test_fetch_checks_its_parameters():
    with pytest.raises(ValueError, match=r"^Data width must be 64, 128, 256 or 512, not 0$"):
        CommandFetch(address_width=40, data_width=0, tag_width=0)
