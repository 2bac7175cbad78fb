# amaranth: UnusedElaboratable=no

import pytest

from iovirt_sim.harness import simulate
from iovirt_sim.streams import send
from iovirt_sim.tlp import Status

from .requester_bench import DEVICE, Bench, answer, config, make, memory, read, refusal

#: Clocks of the shortest period at 1 MHz, a tick, and a round of looks in an idle requester.
PERIOD, TICK, ROUND = 64, 4, 32 + 16


def run(testbench, **pio):
    """Run ``testbench(bench, ctx)`` with time-outs on, and return the bench."""
    dut = make(**pio)
    bench = Bench(dut)

    async def started(ctx):
        await bench.start(ctx, timeout_disable=0)
        await testbench(bench, ctx)
        await ctx.tick().repeat(6)

    simulate(dut, started, background=bench.background())
    return bench


async def time_out(bench, ctx, sent, client=0):
    """Wait for the time-out of a request; return the clocks since it was sent."""
    clocks = await bench.wait(ctx, lambda: bench.ends[client])
    assert (await bench.next_end(ctx, client))[1:3] == (sent.tag, "TIMEOUT")
    return clocks


def test_request_without_answer_times_out_within_the_stated_bound():
    async def testbench(bench, ctx):
        for n in range(6):
            await ctx.tick().repeat(5 * n + 1)
            request, client = (config(8), 1) if n % 2 else (read(0x100, 4), 0)
            await bench.request(ctx, {**request, "core": 2, "guest": 3}, client=client)
            sent = await bench.next_sent(ctx)
            clocks = await time_out(bench, ctx, sent, client)
            assert PERIOD <= clocks + 4 <= PERIOD + TICK + ROUND

    bench = run(testbench)
    assert bench.errors == [("PIO_TIMEOUT", 2, 3, 0, tag, 0x208008 if tag % 2 else 0x100)
                            for tag in range(6)]


def test_time_out_can_be_switched_off():
    async def testbench(bench, ctx):
        ctx.set(bench.dut.timeout_disable, 1)
        await bench.request(ctx, read(0, 4))
        sent = await bench.next_sent(ctx)
        await ctx.tick().repeat(5 * PERIOD)
        assert not bench.ends[0]
        await bench.deliver(ctx, *answer(sent))
        assert (await bench.next_end(ctx))[2] == "OK"

    assert not run(testbench).errors


def test_range_changes_only_while_no_tag_is_out():
    async def testbench(bench, ctx):
        await bench.request(ctx, read(0, 4))
        sent = await bench.next_sent(ctx)
        ctx.set(bench.dut.timeout_code, 2)
        await time_out(bench, ctx, sent)
        await bench.release(ctx, sent.tag)
        await bench.wait(ctx, lambda: ctx.get(bench.dut.used) == 0)
        await bench.request(ctx, read(0, 4))
        await ctx.tick().repeat(3 * PERIOD)
        assert not bench.ends[0]
        await bench.deliver(ctx, *answer(await bench.next_sent(ctx)))
        assert (await bench.next_end(ctx))[2] == "OK"

    run(testbench)


@pytest.mark.parametrize("late", ["all", "error", "none", "wrong"])
def test_tag_is_in_quarantine_until_the_late_answer_came_or_a_second_period_passed(late):
    async def testbench(bench, ctx):
        await bench.request(ctx, read(0x30, 32))
        sent = await bench.next_sent(ctx)
        await time_out(bench, ctx, sent)
        await bench.release(ctx, sent.tag)
        await ctx.tick().repeat(4)
        assert ctx.get(bench.dut.used) == 1
        pieces = answer(sent, mps=64)
        if late == "all":
            await bench.deliver(ctx, *pieces)
        elif late == "error":
            await bench.deliver(ctx, refusal(sent, Status.UR))
        elif late == "wrong":
            await bench.deliver(ctx, pieces[1])
        clocks = await bench.wait(ctx, lambda: ctx.get(bench.dut.used) == 0)
        if late in ("all", "error"):
            assert clocks <= ROUND
        else:
            assert PERIOD - ROUND <= clocks <= PERIOD + TICK + 2 * ROUND
        assert not bench.ends[0]

    records = [record[0] for record in run(testbench).errors]
    assert records == ["PIO_TIMEOUT"] + ["COMPLETION_LATE"] * {"all": 2, "none": 0}.get(late, 1)


def test_late_answer_does_not_free_a_tag_that_its_client_still_has():
    async def testbench(bench, ctx):
        await bench.request(ctx, read(0, 4))
        sent = await bench.next_sent(ctx)
        await time_out(bench, ctx, sent)
        await bench.deliver(ctx, *answer(sent))
        await ctx.tick().repeat(3 * PERIOD)
        assert ctx.get(bench.dut.used) == 1
        await bench.release(ctx, sent.tag)
        await bench.wait(ctx, lambda: ctx.get(bench.dut.used) == 0, 2 * ROUND)
        # Nothing is left of it: all tags can be used, each once.
        for n in range(bench.dut.depth):
            await bench.request(ctx, read(4 * n, 4, owner=n))
            again = await bench.next_sent(ctx)
            await bench.deliver(ctx, *answer(again))
            assert (await bench.next_end(ctx))[:3] == (n, again.tag, "OK")
            await bench.release(ctx, again.tag)

    assert [r[0] for r in run(testbench).errors] == ["PIO_TIMEOUT", "COMPLETION_LATE"]


def test_ask_8_late_answer_never_reaches_the_next_user_of_the_tag():
    async def testbench(bench, ctx):
        depth, stale = bench.dut.depth, None
        for n in range(2 * depth):
            if n == depth // 2:
                await bench.request(ctx, read(0x1000, 4, owner=99))
                stale = await bench.next_sent(ctx)
                await time_out(bench, ctx, stale)
                await bench.release(ctx, stale.tag)
            await bench.request(ctx, read(4 * n, 4, owner=n))
            sent = await bench.next_sent(ctx)
            assert stale is None or sent.tag != stale.tag or ctx.get(bench.dut.used) == 1
            await bench.deliver(ctx, *answer(sent))
            _, _, status, data, _ = await bench.next_end(ctx)
            assert (status, data) == ("OK", int.from_bytes(memory(4 * n, 4), "little"))
            await bench.release(ctx, sent.tag)

    run(testbench)


def test_loss_of_the_link_ends_every_request_in_bounded_time():
    async def testbench(bench, ctx):
        requests = [read(64 * n, 8, owner=n, guest=n) for n in range(10)]
        await bench.request(ctx, *requests)
        await bench.request(ctx, config(0, owner=50), client=1)
        tags = [(await bench.next_sent(ctx)).tag for _ in range(11)]
        ctx.set(bench.dut.link_up, 0)
        await bench.wait(ctx, lambda: len(bench.ends[0]) == 10 and bench.ends[1], ROUND + 4)
        assert sorted(end[0] for end in bench.ends[0]) == list(range(10))
        assert {end[2] for end in bench.ends[0] + bench.ends[1]} == {"LINK_DOWN"}
        # What comes while it is down ends, too, and is not sent.
        bench.ends[0].clear()
        await bench.release(ctx, *tags[:10])
        await bench.request(ctx, read(0, 4, owner=77))
        assert (await bench.next_end(ctx))[::2] == (77, "LINK_DOWN", 0)
        assert not bench.sent

    bench = run(testbench)
    assert [r[0] for r in bench.errors].count("PIO_LINK_DOWN") == 12


def test_after_a_new_plug_nothing_of_the_old_link_is_left():
    async def testbench(bench, ctx):
        old = []
        for n in range(3):
            await bench.request(ctx, read(4 * n, 4, owner=n))
            old.append(await bench.next_sent(ctx))
        # One of them times out, one is half answered, and one waits to be sent for ever.
        await time_out(bench, ctx, old[0])
        bench.ends[0].clear()
        ctx.set(bench.dut.link_up, 0)
        await ctx.tick()
        await bench.deliver(ctx, *answer(old[1]))
        ctx.set(bench.dut.link_up, 1)
        await bench.release(ctx, *(tlp.tag for tlp in old))
        await bench.wait(ctx, lambda: ctx.get(bench.dut.used) == 0, 4 * ROUND)
        assert {end[2] for end in bench.ends[0]} <= {"LINK_DOWN", "TIMEOUT"}
        bench.ends[0].clear()
        for n in range(2 * bench.dut.depth):
            await bench.request(ctx, read(4 * n, 4, owner=n))
            sent = await bench.next_sent(ctx)
            await bench.deliver(ctx, *answer(sent))
            assert (await bench.next_end(ctx))[:3] == (n, sent.tag, "OK")
            await bench.release(ctx, sent.tag)

    run(testbench)


def test_request_of_the_old_link_is_not_sent_on_the_new_one_with_a_tag_in_use():
    dut = make()
    bench = Bench(dut)
    ready = [1]

    async def testbench(ctx):
        await bench.start(ctx)
        ready[0] = 0
        await bench.request(ctx, read(0, 4, owner=1))
        ctx.set(dut.link_up, 0)
        await ctx.tick().repeat(3)
        ctx.set(dut.link_up, 1)
        await bench.request(ctx, read(0x100, 4, owner=9))
        await ctx.tick().repeat(6 * ROUND)
        # It is stuck at the transmitter, so nothing new gets a tag.
        assert not bench.sent and ctx.get(dut.used) == 1
        assert [end[::2][:2] for end in bench.ends[0]] == [(1, "LINK_DOWN")]
        ready[0] = 1
        assert (await bench.next_sent(ctx)).address == 0
        sent = await bench.next_sent(ctx)
        await bench.deliver(ctx, *answer(sent, cid=DEVICE))
        await bench.wait(ctx, lambda: len(bench.ends[0]) == 2)
        assert bench.ends[0][1][::2][:2] == (9, "OK")

    simulate(dut, testbench, background=bench.background(sends=lambda: ready[0]))


def test_completion_counts_though_the_tag_of_another_request_is_freed_between_its_beats():
    async def testbench(bench, ctx):
        await bench.request(ctx, read(0x100, 4, owner=1))
        other = await bench.next_sent(ctx)
        await time_out(bench, ctx, other)
        await bench.release(ctx, other.tag)
        await ctx.tick().repeat(PERIOD)
        await bench.request(ctx, read(0x1000, 64, owner=2))
        sent = await bench.next_sent(ctx)
        beats = [{name: beat[name] for name in ("data", "strb", "hdr", "first", "last")}
                 for beat in answer(sent)[0].beats(64)]
        await send(ctx, bench.dut.completion, beats[:3])
        assert ctx.get(bench.dut.used) == 2
        await bench.wait(ctx, lambda: ctx.get(bench.dut.used) == 1)
        await send(ctx, bench.dut.completion, beats[3:])
        assert (await bench.next_end(ctx))[:3] == (2, sent.tag, "OK")
        assert await bench.fetch(ctx, sent.tag, 0x1000, 64) == memory(0x1000, 64)

    assert [r[0] for r in run(testbench).errors] == ["PIO_TIMEOUT"]


def test_completion_that_spans_a_change_of_hands_counts_for_neither():
    async def testbench(bench, ctx):
        await bench.request(ctx, read(0, 16, owner=1))
        old = await bench.next_sent(ctx)
        first, last = ({name: beat[name] for name in ("data", "strb", "hdr", "first", "last")}
                       for beat in answer(old)[0].beats(64))
        await send(ctx, bench.dut.completion, [first])
        await time_out(bench, ctx, old)
        await bench.release(ctx, old.tag)
        await bench.wait(ctx, lambda: ctx.get(bench.dut.used) == 0)
        ctx.set(bench.dut.timeout_disable, 1)
        # The tag is the last of all to be used again.
        await bench.request(ctx, *(config(0) for _ in range(4)), client=1)
        await bench.request(ctx, *(read(0x480, 16, owner=2) for _ in range(bench.dut.depth - 4)))
        await bench.wait(ctx, lambda: len(bench.sent) == bench.dut.depth)
        new = bench.sent[-1]
        assert new.tag == old.tag
        await send(ctx, bench.dut.completion, [last])
        await bench.deliver(ctx, *answer(new))
        assert (await bench.next_end(ctx))[:3] == (2, old.tag, "OK")
        assert await bench.fetch(ctx, new.tag, 0, 16) == memory(0x480, 16)

    bench = run(testbench)
    assert [r[0] for r in bench.errors] == ["PIO_TIMEOUT", "UNEXPECTED_COMPLETION"]
