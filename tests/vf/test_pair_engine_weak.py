import pytest
from amaranth.hdl import ResetInserter, Signal

from iovirt_sim.harness import simulate

from .pairs_bench import Bench, nvme, ring_access


def flip(ctx, memory, row, *bits):
    """Flip bits of a row."""
    word = ctx.get(memory.data[row])
    ctx.set(memory.data[row], word ^ sum(1 << bit for bit in bits))


async def prepare(bench, ctx, pair=0, **changes):
    await bench.put(ctx, pair, **nvme(**changes))
    await bench.ask(ctx, "doorbell", {"read": 0, "pair": pair, "colour": 5, "side": 0, "value": 9})
    await bench.ask(ctx, "grant", {"pair": pair, "limit": 4})
    await bench.settle(ctx)


def test_a_wrong_bit_of_an_entry_is_corrected_and_written_back():
    bench = Bench(pairs=4)
    seen, bits = [], [0, 31, 60, 88, 89, 96]

    async def count(ctx):
        async for *_, one, more in ctx.tick().sample(bench.dut.corrected, bench.dut.uncorrectable):
            seen.append((one, more))

    async def testbench(ctx):
        await prepare(bench, ctx)
        entries = bench.dut.table.entries
        word    = ctx.get(entries.data[0])
        for number, bit in enumerate(bits):
            flip(ctx, entries, 0, bit)
            answer = await bench.ask(ctx, "ring", ring_access(offset=64 * (number % 4)))
            assert answer["allow"] == (number < 4) and ctx.get(entries.data[0]) == word
        await bench.ask(ctx, "ring", ring_access(offset=64))
        await bench.settle(ctx)

    simulate(bench.dut, testbench, background=[*bench.background, count])
    bench.check()
    assert (seen.count((1, 0)), seen.count((0, 1))) == (len(bits), 0)


@pytest.mark.parametrize("table", ["entries", "states"])
def test_a_pair_with_errors_is_closed_until_it_gets_a_new_entry(table):
    bench = Bench(pairs=4)

    async def testbench(ctx):
        await prepare(bench, ctx)
        flip(ctx, getattr(bench.dut.table, table), 0, *([3, 70] if table == "entries" else [3]))
        bench.model.bad.add(0)
        assert not (await bench.ask(ctx, "ring", ring_access()))["ok"]
        await bench.settle(ctx)
        await bench.ask(ctx, "doorbell", {"read": 0, "pair": 0, "colour": 5, "side": 0,
                                          "value": 10})
        await bench.settle(ctx)
        assert (await bench.ask(ctx, "grant", {"pair": 0, "limit": 4}))["count"] == 0
        assert await bench.access(ctx, 0) == (0, 1)
        await prepare(bench, ctx)
        assert (await bench.ask(ctx, "ring", ring_access()))["allow"] == 1
        await bench.settle(ctx)

    simulate(bench.dut, testbench, background=bench.background)
    bench.check()
    assert bench.denials == [("TABLE", 5, 0), ("TABLE", 5, 0), ("TABLE", 0, 0)]


def test_denials_that_find_no_room_are_told_to_be_lost():
    bench = Bench(pairs=4)

    async def testbench(ctx):
        await prepare(bench, ctx)
        ctx.set(bench.dut.denial.ready, 0)
        for slot in (7, 8, 9):
            await bench.ask(ctx, "ring", ring_access(write=1, side=1, offset=16 * slot, length=16))
        await bench.settle(ctx)
        ctx.set(bench.dut.denial.ready, 1)
        await bench.settle(ctx)

    simulate(bench.dut, testbench, background=bench.background)
    bench.check()
    assert bench.denials == [("ODD", 5, 1 << 22 | 7 * 16)] and bench.lost == 2


def test_nothing_is_left_after_a_reset():
    bench = Bench(pairs=4)
    reset = Signal()
    whole = ResetInserter(reset)(bench.dut)

    async def testbench(ctx):
        await prepare(bench, ctx)
        # In the middle of an operation.
        await bench.send(ctx, "ring", ring_access())
        await ctx.tick().repeat(8)
        ctx.set(reset, 1)
        await ctx.tick()
        ctx.set(reset, 0)
        for expected in bench.expected.values():
            expected.clear()
        while not ctx.get(bench.dut.ready):
            await ctx.tick()
        for memory in bench.dut.table.entries, bench.dut.table.states:
            assert [ctx.get(memory.data[row]) for row in range(4)] == [0] * 4
        bench.model.put(0)
        assert (await bench.ask(ctx, "ring", ring_access()))["valid"] == 0

    simulate(whole, testbench, background=bench.background)


WEAK = {
    "once":   ("ring", ring_access(), {"allow": 1}),
    "window": ("ring", ring_access(offset=9 * 64), {"allow": 1}),
    "owner":  ("ring", ring_access(colour=6, side=1, write=1, length=8), {"ok": 1}),
    "depth":  ("ring", ring_access(offset=16 * 64), {"ok": 1}),
    "tail":   ("doorbell", {"read": 0, "pair": 0, "colour": 5, "side": 0, "value": 2}, {"ok": 1}),
    "head":   ("doorbell", {"read": 0, "pair": 0, "colour": 5, "side": 1, "value": 2}, {"ok": 1}),
    "doorbell": ("doorbell", {"read": 1, "pair": 0, "colour": 6, "side": 0, "value": 0},
                 {"ok": 1}),
    "cq_space": ("grant", {"pair": 0, "limit": 4}, {"count": 4}),
}


def test_each_defence_can_be_switched_off_alone():
    bench = Bench(pairs=8, weak=True)

    async def testbench(ctx):
        for pair, (name, (client, asked, wanted)) in enumerate(WEAK.items()):
            await prepare(bench, ctx, pair, cq_depth=5)
            await bench.ask(ctx, "ring", ring_access(pair=pair))
            await bench.settle(ctx)
            verdict = getattr(bench.dut, f"{client}_verdict")
            for on in (0, 1):
                ctx.set(getattr(bench.dut.weaken, name), on)
                await bench.send(ctx, client, asked | {"pair": pair})
                payload, = await ctx.tick().sample(verdict.payload).until(verdict.valid)
                found = {field: getattr(payload, field) & 0xf for field in wanted}
                assert all(found[field] >= value if on else found[field] == 0
                           for field, value in wanted.items()), (name, on, found)
                await bench.settle(ctx)
            ctx.set(getattr(bench.dut.weaken, name), 0)

    simulate(bench.dut, testbench, background=[bench.monitor, *(
        quiet(bench, other) for other in bench.expected)])


def quiet(bench, name):
    """Return a testbench that takes verdicts without comparing them."""
    async def testbench(ctx):
        port = getattr(bench.dut, f"{name}_verdict")
        ctx.set(port.ready, 1)
        async for *_, valid in ctx.tick().sample(port.valid):
            if valid:
                bench.results[name].append(bench.expected[name].popleft())
    return testbench


def test_table_errors_can_be_ignored():
    bench = Bench(pairs=4, weak=True)

    async def testbench(ctx):
        await prepare(bench, ctx)
        flip(ctx, bench.dut.table.states, 0, 36)
        ctx.set(bench.dut.weaken.ecc, 1)
        assert (await bench.ask(ctx, "ring", ring_access()))["ok"]

    simulate(bench.dut, testbench, background=bench.background)
