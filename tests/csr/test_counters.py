import random

import pytest
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from iovirt.csr.counters import CounterFile
from iovirt_sim.harness import simulate
from iovirt_sim.streams import receive, send


def counter_file(counters, *, width=48, data_width=64):
    return CounterFile(counters=counters, width=width, data_width=data_width, address_width=16)


async def access(ctx, dut, address, *, write=0):
    """Make one access; return its data and the clocks it took."""
    request = {"address": address, "write": write, "data": 0, "strobe": 0}
    ctx.set(dut.port.request.p, request)
    ctx.set(dut.port.request.valid, 1)
    clocks = 1
    while not ctx.get(dut.port.request.ready):
        await ctx.tick()
        clocks += 1
    await ctx.tick()
    ctx.set(dut.port.request.valid, 0)
    while not ctx.get(dut.port.response.valid):
        await ctx.tick()
        clocks += 1
    ctx.set(dut.port.response.ready, 1)
    data, = await ctx.tick().sample(dut.port.response.p.data).until(dut.port.response.valid)
    ctx.set(dut.port.response.ready, 0)
    return data, clocks


@pytest.mark.parametrize("parameters, message", [
    ({"counters": 0}, r"^Number of counters must be an integer in 1\.\.512, not 0$"),
    ({"counters": 513}, r"^Number of counters must be an integer in 1\.\.512, not 513$"),
    ({"counters": 4, "width": 31},
     r"^Width of counters must be an integer in 32\.\.64, not 31$"),
    ({"counters": 4, "data_width": 128}, r"^Data width must be 32 or 64, not 128$"),
])
def test_wrong_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        counter_file(**parameters)


@pytest.mark.parametrize("counters", [1, 2, 3, 24])
@pytest.mark.parametrize("data_width", [32, 64])
def test_reads_are_exact_under_random_events(counters, data_width):
    rng   = random.Random(counters)
    dut   = counter_file(counters, data_width=data_width)
    model = [0] * counters

    async def testbench(ctx):
        for _ in range(60):
            for _ in range(rng.choice([0, 1, 30])):
                events = rng.getrandbits(counters)
                ctx.set(dut.increment, events)
                for n in range(counters):
                    model[n] += events >> n & 1
                await ctx.tick()
            ctx.set(dut.increment, 0)
            n = rng.randrange(counters)
            if rng.random() < 0.2:
                assert (await access(ctx, dut, 8 * n, write=1))[0] == 0
                model[n] = 0
            else:
                assert (await access(ctx, dut, 8 * n))[0] == model[n]

    simulate(dut, testbench)


def test_no_event_is_lost_when_all_count_every_clock_under_constant_accesses():
    dut, counted = counter_file(5), []

    async def clock(ctx):
        ctx.set(dut.increment, 0b11111)
        async for _, _, increment in ctx.tick().sample(dut.increment):
            counted.append(increment & 1)

    async def testbench(ctx):
        for n in range(200):
            await access(ctx, dut, 8 * (n % 5))
        ctx.set(dut.increment, 0)
        found = [(await access(ctx, dut, 8 * n))[0] for n in range(5)]
        assert found == [sum(counted)] * 5

    simulate(dut, testbench, background=[clock])


def test_counter_wraps_and_halves_show_all_bits():
    dut = counter_file(1, width=32, data_width=32)

    async def testbench(ctx):
        await ctx.tick().repeat(8)
        ctx.set(dut.increment, 1)
        await ctx.tick().repeat(40)
        ctx.set(dut.increment, 0)
        assert (await access(ctx, dut, 0))[0] == 40
        assert (await access(ctx, dut, 4))[0] == 0

    simulate(dut, testbench)


def test_addresses_beyond_the_counters_read_zero_and_disturb_nothing():
    dut = counter_file(3)

    async def testbench(ctx):
        ctx.set(dut.increment, 0b111)
        await ctx.tick().repeat(30)
        ctx.set(dut.increment, 0)
        for address in (24, 32, 64, 4088):
            assert (await access(ctx, dut, address))[0] == 0
            await access(ctx, dut, address, write=1)
        assert [(await access(ctx, dut, 8 * n))[0] for n in range(3)] == [30] * 3

    simulate(dut, testbench)


def test_response_comes_within_the_stated_clocks():
    dut, worst = counter_file(24), []

    async def testbench(ctx):
        await ctx.tick().repeat(40)
        for pause in range(40):
            await ctx.tick().repeat(1 + pause % 9)
            worst.append((await access(ctx, dut, 8 * (pause % 24)))[1])

    simulate(dut, testbench)
    assert max(worst) <= 12


class Resettable(wiring.Component):
    """Counter file with a reset input; its memory keeps its content, as in hardware."""

    def __init__(self, inner):
        self.inner = inner
        super().__init__({"port": inner.signature.members["port"],
                          "increment": In(inner.counters), "reset": In(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.inner = ResetInserter(self.reset)(self.inner)
        wiring.connect(m, wiring.flipped(self.port), self.inner.port)
        m.d.comb += self.inner.increment.eq(self.increment)
        return m


def test_reset_clears_all_counters():
    dut = Resettable(counter_file(3))

    async def testbench(ctx):
        ctx.set(dut.increment, 0b111)
        await ctx.tick().repeat(40)
        ctx.set(dut.increment, 0)
        assert [(await access(ctx, dut, 8 * n))[0] for n in range(3)] == [40] * 3
        ctx.set(dut.reset, 1)
        await ctx.tick()
        ctx.set(dut.reset, 0)
        assert [(await access(ctx, dut, 8 * n))[0] for n in range(3)] == [0] * 3

    simulate(dut, testbench)


def test_port_obeys_the_stream_rules_under_back_pressure():
    rng = random.Random(1)
    dut = counter_file(3)
    gap = lambda: rng.choice([0, 3, 9])
    requests = [{"address": 8 * rng.randrange(4), "write": 0, "data": 0, "strobe": 0}
                for _ in range(30)]

    async def sender(ctx):
        await send(ctx, dut.port.request, requests, gap=gap)

    async def receiver(ctx):
        for response, in await receive(ctx, dut.port.response, len(requests), gap=gap):
            assert response.data == 0

    simulate(dut, sender, receiver)
