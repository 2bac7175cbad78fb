# amaranth: UnusedElaboratable=no
"""A link that takes no requests: the device returns no credits."""

import pytest

from iovirt_sim.harness import simulate
from iovirt_sim.tlp import Tlp

from .requester_bench import Bench, answer, config, make, memory, read

#: Clocks of the shortest period at 1 MHz, and a round of looks in an idle requester.
PERIOD, ROUND = 64, 32 + 16


def run(testbench, **inputs):
    """Run ``testbench(bench, ctx, link)``; TLPs are taken while ``link[0]``."""
    bench, link = Bench(make()), [0]

    async def started(ctx):
        await bench.start(ctx, **{"timeout_disable": 0} | inputs)
        await testbench(bench, ctx, link)
        await ctx.tick().repeat(6)

    simulate(bench.dut, started, background=bench.background(sends=lambda: link[0]))
    return bench


@pytest.mark.parametrize("limit, count, periods", [(1023, 12, 3), (0, 4, 12), (1, 4, 12),
                                                   (2, 5, 12), (4, 6, 12)])
def test_requests_time_out_though_no_credits_come(limit, count, periods):
    async def testbench(bench, ctx, link):
        await bench.request(ctx, *(read(64 * n, 4, owner=n, guest=1) for n in range(count)))
        for _ in range(count):
            await bench.wait(ctx, lambda: bench.ends[0], periods * (PERIOD + ROUND))
            _, tag, status, *_ = await bench.next_end(ctx)
            assert status == "TIMEOUT"
            await bench.release(ctx, tag)
        assert not bench.sent

    bench = run(testbench, core_limit=limit, guest_limit=limit)
    assert [record[0] for record in bench.errors] == ["PIO_TIMEOUT"] * count


def test_configuration_requests_time_out_though_no_credits_come():
    async def testbench(bench, ctx, link):
        for n in range(6):
            await bench.request(ctx, config(4 * n, owner=n), client=1)
        for _ in range(6):
            await bench.wait(ctx, lambda: bench.ends[1], 6 * PERIOD)
            assert (await bench.next_end(ctx, 1))[2] == "TIMEOUT"

    run(testbench)


def test_without_time_outs_nothing_is_given_up():
    async def testbench(bench, ctx, link):
        ctx.set(bench.dut.timeout_disable, 1)
        await bench.request(ctx, *(read(64 * n, 4, owner=n) for n in range(3)))
        await ctx.tick().repeat(5 * PERIOD)
        assert ctx.get(bench.dut.used) == 2 and not bench.ends[0]
        link[0] = 1
        for n in range(3):
            sent = await bench.next_sent(ctx)
            await bench.deliver(ctx, *answer(sent))
            assert (await bench.next_end(ctx))[:3] == (n, sent.tag, "OK")

    run(testbench, timeout_disable=1)


def test_tag_is_not_used_again_before_its_request_was_sent():
    async def testbench(bench, ctx, link):
        await bench.request(ctx, read(0x100, 4, owner=1), read(0x200, 4, owner=2))
        for n in (1, 2):
            assert (await bench.next_end(ctx))[:3] == (n, n - 1, "TIMEOUT")
            await bench.release(ctx, n - 1)
        await ctx.tick().repeat(6 * PERIOD)
        assert ctx.get(bench.dut.used) == 2
        link[0] = 1
        old = [await bench.next_sent(ctx) for _ in range(2)]
        # The quarantine has a period from now on.
        await ctx.tick().repeat(PERIOD - ROUND - 4)
        assert ctx.get(bench.dut.used) == 2
        await bench.deliver(ctx, *answer(old[0]))
        await bench.wait(ctx, lambda: ctx.get(bench.dut.used) == 0, 3 * PERIOD)
        # Nobody gets what came late, and each tag works again.
        ctx.set(bench.dut.timeout_disable, 1)
        for n in range(bench.dut.depth):
            await bench.request(ctx, read(0x1000 + 4 * n, 4, owner=n))
            sent = await bench.next_sent(ctx)
            await bench.deliver(ctx, *answer(sent))
            expected = int.from_bytes(memory(0x1000 + 4 * n, 4), "little")
            assert (await bench.next_end(ctx))[:4] == (n, sent.tag, "OK", expected)
            await bench.release(ctx, sent.tag)

    records = [record[0] for record in run(testbench).errors]
    assert records == ["PIO_TIMEOUT"] * 2 + ["COMPLETION_LATE"]


def test_requests_that_got_no_place_are_never_sent_and_later_ones_are():
    async def testbench(bench, ctx, link):
        await bench.request(ctx, *(read(64 * n, 4, owner=n) for n in range(5)))
        for _ in range(5):
            _, tag, status, *_ = await bench.next_end(ctx)
            assert status == "TIMEOUT"
            await bench.release(ctx, tag)
        link[0] = 1
        assert [(await bench.next_sent(ctx)).address for _ in range(2)] == [0, 64]
        await ctx.tick().repeat(4)
        await bench.request(ctx, read(0x3000, 4, owner=9))
        sent = await bench.next_sent(ctx)
        await bench.deliver(ctx, *answer(sent))
        assert (await bench.next_end(ctx))[:3] == (9, sent.tag, "OK")

    run(testbench)


@pytest.mark.parametrize("late", [False, True])
def test_completion_of_a_request_that_was_not_sent_counts_for_nothing(late):
    async def testbench(bench, ctx, link):
        await bench.request(ctx, read(0x40, 4, owner=1))
        await bench.wait(ctx, lambda: ctx.get(bench.dut.tx.valid))
        forged = answer(Tlp.unpack(ctx.get(bench.dut.tx.p.hdr), b""))
        if late:
            assert (await bench.next_end(ctx))[2] == "TIMEOUT"
        await bench.deliver(ctx, *forged)
        await ctx.tick().repeat(8)
        assert not bench.ends[0]
        link[0] = 1
        await bench.deliver(ctx, *answer(await bench.next_sent(ctx)))
        if not late:
            assert (await bench.next_end(ctx))[:3] == (1, 0, "OK")
        await bench.release(ctx, 0)
        await bench.wait(ctx, lambda: ctx.get(bench.dut.used) == 0, 2 * ROUND)

    assert [record[0] for record in run(testbench).errors] == (
        ["PIO_TIMEOUT", "COMPLETION_LATE", "COMPLETION_LATE"] if late
        else ["UNEXPECTED_COMPLETION"])
