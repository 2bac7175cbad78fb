# amaranth: UnusedElaboratable=no

import random
from collections import Counter

import pytest

from iovirt.vf.statistics import GuestStatistics
from iovirt_sim.harness import simulate
from iovirt_sim.streams import send


def make(**changes):
    return GuestStatistics(**{"guests": 4, "sources": 2, "data_width": 64, "address_width": 22,
                              **changes})


@pytest.mark.parametrize("change, message", [
    ({"guests": 2}, "Number of guests must be a power of two in 4..256, not 2"),
    ({"sources": 0}, "Number of sources must be an integer of at least 1, not 0"),
    ({"address_width": 13}, "Address width must cover 4 pages, not be 13"),
])
def test_wrong_parameters(change, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        make(**change)


async def access(ctx, dut, address, value=None):
    """Return (data, error)."""
    request, response = dut.port.request, dut.port.response
    ctx.set(request.payload, {"address": address, "write": value is not None,
                              "data": value or 0, "strobe": 0 if value is None else 15})
    ctx.set(request.valid, 1)
    await ctx.tick().until(request.ready)
    ctx.set(request.valid, 0)
    ctx.set(response.ready, 1)
    answer, = await ctx.tick().sample(response.payload).until(response.valid)
    ctx.set(response.ready, 0)
    return answer.data, answer.error


async def table(ctx, dut):
    """Guests of odd numbers are known, in state 2, and fatal."""
    request, answer = dut.lookup.request, dut.lookup.answer
    while True:
        ctx.set(request.ready, 1)
        guest, = await ctx.tick().sample(request.payload).until(request.valid)
        ctx.set(request.ready, 0)
        ctx.set(answer.payload, {"state": 2, "fatal": 1, "ok": guest % 2})
        ctx.set(answer.valid, 1)
        await ctx.tick().until(answer.ready)
        ctx.set(answer.valid, 0)


@pytest.mark.parametrize("guests, sources, data_width", [(4, 1, 32), (8, 3, 64)])
def test_every_event_of_every_source_is_counted(guests, sources, data_width):
    rng = random.Random(guests)
    dut = make(guests=guests, sources=sources, data_width=data_width)
    expected, left = Counter(), sources

    def source(n):
        async def testbench(ctx):
            nonlocal left
            for _ in range(150):
                # Often the same counter, sometimes of a guest that does not exist.
                guest = rng.choice([1, 1, 1, rng.randrange(guests), 200])
                event = {"colour": guest, "counter": rng.choice([0, 0, rng.randrange(8)]),
                         "amount": rng.choice([1, 4095, rng.randrange(4096)])}
                expected[guest, event["counter"]] += event["amount"]
                await send(ctx, dut.i[n], [event], gap=lambda: rng.choice([0, 0, 0, 3]))
            left -= 1
        return testbench

    async def reader(ctx):
        last = 0
        while left:
            count, error = await access(ctx, dut, 0x1000)
            assert last <= count <= expected[1, 0] and not error
            last = count
        await ctx.tick().repeat(20)
        for guest in range(guests):
            for counter in range(8):
                assert await access(ctx, dut, (guest << 12) + 8 * counter) == (
                    expected[guest, counter], 0)

    async def background(ctx):
        await table(ctx, dut)

    simulate(dut, *(source(n) for n in range(sources)), reader, background=[background])


def test_events_of_one_counter_right_after_each_other_all_count():
    dut = make(sources=1)

    async def testbench(ctx):
        await send(ctx, dut.i[0], [{"colour": 2, "counter": 3, "amount": 4095}] * 9)
        await ctx.tick().repeat(60)
        assert await access(ctx, dut, 0x2018) == (9 * 4095, 0)

    simulate(dut, testbench)


@pytest.mark.parametrize("data_width", [32, 64])
def test_a_write_of_a_counter_clears_it_and_no_other(data_width):
    dut = make(data_width=data_width)

    async def testbench(ctx):
        await send(ctx, dut.i[0], [{"colour": guest, "counter": counter, "amount": 9}
                                   for guest in range(4) for counter in range(8)])
        await ctx.tick().repeat(60)
        if data_width == 32:
            assert await access(ctx, dut, 0x2018 + 4, 77) == (0, 0)
            assert await access(ctx, dut, 0x2018) == (9, 0)
        assert await access(ctx, dut, 0x2018, 77) == (0, 0)
        for guest in range(4):
            for counter in range(8):
                left = 0 if (guest, counter) == (2, 3) else 9
                assert await access(ctx, dut, (guest << 12) + 8 * counter) == (left, 0)
        await send(ctx, dut.i[0], [{"colour": 2, "counter": 3, "amount": 4}])
        await ctx.tick().repeat(20)
        assert await access(ctx, dut, 0x2018) == (4, 0)

    simulate(dut, testbench)


@pytest.mark.parametrize("data_width", [32, 64])
def test_pages_show_the_state_of_the_guest_which_cannot_be_written(data_width):
    dut = make(data_width=data_width)

    async def testbench(ctx):
        for guest in range(4):
            state = 2 | 1 << 3 if guest % 2 else 0
            page = guest << 12
            assert await access(ctx, dut, page + 0x40) == (state, 0)
            for offset in (0x48, 0x200, 0xff8):
                assert await access(ctx, dut, page + offset) == (0, 0)
            for offset in (0x40, 0x48, 0xff8):
                assert await access(ctx, dut, page + offset, 5) == (0, 1)
            if data_width == 32:
                assert await access(ctx, dut, page + 4) == (0, 0)
                assert await access(ctx, dut, page + 0x44) == (0, 0)

    async def background(ctx):
        await table(ctx, dut)

    simulate(dut, testbench, background=[background])
