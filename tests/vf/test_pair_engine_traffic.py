import pytest

from iovirt_sim.harness import simulate

from .pairs_bench import Bench, nvme, ring_access, words_of


def background(bench, *but):
    """Return the testbenches of a bench without the receivers of some verdicts."""
    names = [name for name in bench.expected if name not in but]
    return [bench.monitor, *(bench.receiver(name) for name in names),
            bench.collector("completed", lambda p: (p.colour, p.count)),
            bench.collector("denial", lambda p: (p.cause.name, p.colour, p.address))]


@pytest.mark.parametrize("stuck", ["doorbell", "grant", "ring"])
def test_no_client_waits_until_another_one_takes_its_verdicts(stuck):
    bench   = Bench(pairs=4)
    offers  = {"doorbell": {"read": 0, "pair": 0, "colour": 5, "side": 0, "value": 0},
               "grant": {"pair": 1, "limit": 1}, "ring": ring_access(pair=2)}
    waiting = {"sent": 0}

    async def flood(ctx):
        port = getattr(bench.dut, stuck)
        ctx.set(port.payload, offers[stuck])
        ctx.set(port.valid, 1)
        async for *_, ready in ctx.tick().sample(port.ready):
            waiting["sent"] += ready

    async def testbench(ctx):
        await ctx.tick().repeat(300)
        assert 16 <= waiting["sent"] <= 20
        for _ in range(5):
            for name in offers.keys() - {stuck}:
                await bench.ask(ctx, name, offers[name])
        await bench.put(ctx, 3, **nvme())
        await bench.read(ctx, 3, 0)

    simulate(bench.dut, testbench, background=[flood, *background(bench, stuck)])
    assert waiting["sent"] <= 20


def test_accesses_of_different_pairs_take_one_clock_each_and_have_a_bounded_latency():
    bench = Bench(pairs=16)
    sent, answered = [], []

    async def testbench(ctx):
        await ctx.tick().repeat(20)
        for number in range(80):
            await bench.send(ctx, "ring", ring_access(pair=number % 16))
        await bench.settle(ctx)

    async def clocks(ctx):
        ports, clock = [bench.dut.ring, bench.dut.ring_verdict], 0
        async for *_, asks, takes, tells in ctx.tick().sample(
                ports[0].valid, ports[0].ready, ports[1].valid):
            clock += 1
            if asks and takes:
                sent.append(clock)
            if tells:
                answered.append(clock)

    simulate(bench.dut, testbench, background=[*bench.background, clocks])
    assert [late - early for early, late in zip(sent, answered, strict=True)] == [16] * 80
    assert sent == list(range(sent[0], sent[0] + 80))


def test_others_have_their_turn_while_rings_are_accessed_in_each_clock():
    bench = Bench(pairs=32)

    async def rings(ctx):
        number = 0
        while True:
            await bench.send(ctx, "ring", ring_access(pair=number % 31))
            number += 1

    async def doorbells(ctx):
        while True:
            await bench.send(ctx, "doorbell", {"read": 1, "pair": 31, "colour": 5, "side": 0,
                                               "value": 0})

    async def testbench(ctx):
        await ctx.tick().repeat(50)
        for _ in range(5):
            start = bench.clock
            await bench.ask(ctx, "grant", {"pair": 31, "limit": 1})
            assert bench.clock - start < 110

    simulate(bench.dut, testbench, background=[*bench.background, rings, doorbells])
    kinds = [client.name for _, client, _ in bench.order]
    assert kinds.count("RING") > .8 * len(kinds)


def test_ring_accesses_wait_only_for_room_for_completions():
    bench = Bench(pairs=4)

    async def testbench(ctx):
        await bench.put(ctx, 0, **nvme(depth=200, cq_depth=200))
        await bench.ask(ctx, "doorbell", {"read": 0, "pair": 0, "colour": 5, "side": 0,
                                          "value": 64})
        await bench.ask(ctx, "grant", {"pair": 0, "limit": 64})
        ctx.set(bench.dut.completed.ready, 0)
        for slot in range(31):
            await bench.ask(ctx, "ring", ring_access(write=1, side=1, offset=16 * slot, length=16))
        await bench.send(ctx, "ring", ring_access())
        await ctx.tick().repeat(100)
        assert len(bench.results["ring"]) == 31
        ctx.set(bench.dut.completed.ready, 1)
        await bench.settle(ctx)

    simulate(bench.dut, testbench, background=bench.background)
    bench.check()
    assert bench.completed == [(5, 1)] * 31


def test_a_write_of_4096_bytes_has_256_completions():
    bench = Bench(pairs=4)

    async def testbench(ctx):
        await bench.put(ctx, 0, **nvme(depth=400, cq_depth=400, size_log2=0))
        for lap in range(4):
            await bench.ask(ctx, "doorbell", {"read": 0, "pair": 0, "colour": 5, "side": 0,
                                              "value": 64 * lap + 64})
            await bench.ask(ctx, "grant", {"pair": 0, "limit": 64})
            await bench.ask(ctx, "ring", ring_access(offset=512 * lap, length=512))
        await bench.ask(ctx, "ring", ring_access(write=1, side=1, length=4096))
        await bench.settle(ctx)

    simulate(bench.dut, testbench, background=bench.background)
    bench.check()
    assert bench.completed == [(5, 256)] and bench.denials == []


def test_software_sets_a_pair_anew_while_nobody_takes_completions():
    bench = Bench(pairs=4)

    async def testbench(ctx):
        for number in range(2):
            await bench.put(ctx, number, **nvme(depth=200, cq_depth=200))
            await bench.ask(ctx, "doorbell", {"read": 0, "pair": number, "colour": 5, "side": 0,
                                              "value": 64})
            await bench.ask(ctx, "grant", {"pair": number, "limit": 64})
        ctx.set(bench.dut.completed.ready, 0)
        for slot in range(31):
            await bench.ask(ctx, "ring", ring_access(write=1, side=1, offset=16 * slot, length=16))
        await bench.put(ctx, 1)
        await bench.send(ctx, "ring", ring_access())
        await ctx.tick().repeat(100)
        assert len(bench.results["ring"]) == 31
        ctx.set(bench.dut.completed.ready, 1)
        await bench.put(ctx, 0)
        await bench.settle(ctx)

    simulate(bench.dut, testbench, background=bench.background)
    bench.check()
    assert bench.completed == [(5, 1)] * 31 + [(5, 64), (5, 33)]


@pytest.mark.parametrize("data_width", [32, 64])
def test_an_entry_is_replaced_at_once_and_its_state_cleared(data_width):
    bench = Bench(pairs=4, data_width=data_width)
    step  = data_width // 8

    async def testbench(ctx):
        await bench.put(ctx, 1, **nvme())
        await bench.ask(ctx, "doorbell", {"read": 0, "pair": 1, "colour": 5, "side": 0,
                                          "value": 9})
        # All but the last word; a byte of it.
        word = words_of(nvme(owner=7, depth=300))
        whole = word[0] | word[1] << 64
        for at in range(0, 16, step):
            last = at == 16 - step
            data = whole >> 8 * at & (1 << data_width) - 1
            await bench.access(ctx, 64 + at, True, data, strobe=0b11 if last else None)
        await bench.read(ctx, 1, 0)
        await bench.read(ctx, 1, 2)
        bench.entries.append(nvme(owner=7, depth=300))
        await bench.access(ctx, 64 + 16 - step, True, data, strobe=(1 << step) - 4)
        for at in range(8):
            await bench.read(ctx, 1, at)
        await bench.access(ctx, 64 + 16, True, (1 << data_width) - 1)
        await bench.read(ctx, 1, 2)
        # The last word alone makes the entry invalid.
        bench.entries.append({})
        await bench.access(ctx, 64 + 16 - step, True, 0)
        await bench.read(ctx, 1, 0)

    simulate(bench.dut, testbench, background=bench.background)
    bench.check()


def test_accesses_beyond_the_table_answer_an_error():
    bench = Bench(pairs=4)

    async def testbench(ctx):
        for address in (256, 0x1_0000):
            for write in (0, 1):
                assert await bench.access(ctx, address + 8, write, 1) == (0, 1)
        await bench.read(ctx, 3, 0)
        assert bench.order and not bench.entries

    simulate(bench.dut, testbench, background=bench.background)


def test_a_pair_that_cannot_be_is_invalid():
    bench = Bench(pairs=4)

    async def testbench(ctx):
        for field, value in (("depth", 1), ("depth", 4097), ("size_log2", 4), ("cq_depth", 0),
                             ("cq_depth", 4097), ("cq_size_log2", 5)):
            await bench.put(ctx, 0, **nvme())
            assert (await bench.ask(ctx, "ring", ring_access()))["valid"] == 1
            await bench.put(ctx, 0, **nvme(**{field: value}))
            data, error = await bench.access(ctx, 0)
            assert not data & 1 and not error, (field, value)
            assert (await bench.ask(ctx, "ring", ring_access()))["valid"] == 0, (field, value)

    simulate(bench.dut, testbench, background=bench.background)
