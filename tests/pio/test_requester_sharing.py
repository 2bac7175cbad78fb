# amaranth: UnusedElaboratable=no

import pytest

from iovirt_sim.harness import simulate

from .requester_bench import Bench, answer, config, make, read


def run(testbench, *, takes=lambda: 1, inputs=None, **pio):
    """Run ``testbench(bench, ctx)``; return the bench."""
    bench = Bench(make(**pio))

    async def started(ctx):
        await bench.start(ctx, **(inputs or {}))
        await testbench(bench, ctx)

    simulate(bench.dut, started, background=bench.background(takes=takes))
    return bench


@pytest.mark.parametrize("limits", [{"guest_limit": 2}, {"core_limit": 2}], ids=str)
def test_who_is_over_quota_does_not_block_others(limits):
    async def testbench(bench, ctx):
        await bench.request(ctx, *(read(0x1000 + 4 * n, 4, guest=1, core=1, owner=n)
                                   for n in range(8)))
        await ctx.tick().repeat(20)
        assert [tlp.address for tlp in bench.sent] == [0x1000, 0x1004]
        other = {"guest": 2, "core": 2}
        await bench.request(ctx, read(0x2000, 4, owner=20, **other))
        await bench.wait(ctx, lambda: len(bench.sent) == 3, 12)
        # The others go in their order, as answers come.
        for n in range(8):
            sent = next(tlp for tlp in bench.sent if tlp.address == 0x1000 + 4 * n)
            bench.sent.remove(sent)
            await bench.deliver(ctx, *answer(sent))
            assert (await bench.next_end(ctx))[0] == n
            await bench.release(ctx, sent.tag)
            await ctx.tick().repeat(40)
            waiting = [tlp.address for tlp in bench.sent if tlp.address != 0x2000]
            assert waiting == [0x1000 + 4 * n for n in range(n + 1, min(n + 3, 8))]

    run(testbench, inputs=limits)


def test_limit_of_zero_counts_as_one():
    async def testbench(bench, ctx):
        await bench.request(ctx, read(0, 4, guest=1), read(4, 4, guest=1), read(8, 4, guest=2))
        await ctx.tick().repeat(20)
        assert [tlp.address for tlp in bench.sent] == [0, 8]

    run(testbench, inputs={"guest_limit": 0})


def test_configuration_gets_a_tag_when_reads_hold_all_others():
    async def testbench(bench, ctx):
        count = bench.dut.depth - 4
        await bench.request(ctx, *(read(4 * n, 4, owner=n) for n in range(count + 1)))
        await ctx.tick().repeat(20)
        assert len(bench.sent) == count and ctx.get(bench.dut.used) == count
        for n in range(5):
            await bench.request(ctx, config(4 * n, owner=n), client=1)
        await ctx.tick().repeat(10)
        assert len(bench.sent) == count + 4
        await bench.deliver(ctx, *answer(bench.sent[count]))
        assert (await bench.next_end(ctx, client=1))[0] == 0
        await bench.wait(ctx, lambda: len(bench.sent) == count + 5, 20)

    run(testbench)


def test_client_that_takes_no_ends_stops_neither_completions_nor_the_other_client():
    bench = Bench(make())
    takes = [1]

    async def testbench(ctx):
        await bench.start(ctx)
        count = bench.dut.depth - 4
        await bench.request(ctx, *(read(4 * n, 4, owner=n) for n in range(count)))
        await bench.wait(ctx, lambda: len(bench.sent) == count)
        takes[0] = 0
        for sent in bench.sent[:]:
            await bench.deliver(ctx, *answer(sent))
        assert not bench.ends[0]
        await bench.request(ctx, config(0, owner=3), client=1)
        await bench.wait(ctx, lambda: len(bench.sent) == count + 1)
        await bench.deliver(ctx, *answer(bench.sent[-1]))
        await bench.wait(ctx, lambda: ctx.get(bench.dut.finish[1].valid), 10)
        takes[0] = 1
        await bench.wait(ctx, lambda: len(bench.ends[0]) == count, 2 * count)
        assert [end[0] for end in bench.ends[0]] == list(range(count))

    simulate(bench.dut, testbench, background=bench.background(takes=lambda: takes[0]))


def test_end_waits_until_what_was_posted_before_it_is_observable():
    async def testbench(bench, ctx):
        dut = bench.dut
        ctx.set(dut.done, 0xFFE)
        await bench.request(ctx, *(read(4 * n, 4, owner=n) for n in range(4)),
                            config(0, owner=9) | {"owner": 9})
        tags = {}
        for _ in range(4):
            sent = await bench.next_sent(ctx)
            tags[sent.address // 4] = sent
        for n, stamp in enumerate((0xFFE, 0xFFF, 0xFFF, 1)):
            await bench.deliver(ctx, *answer(tags[n]), stamp=stamp)
        for done, owners in ((0xFFE, [0]), (0xFFF, [0, 1, 2]), (0, [0, 1, 2]), (1, [0, 1, 2, 3])):
            ctx.set(dut.done, done)
            await ctx.tick().repeat(8)
            assert [end[0] for end in bench.ends[0]] == owners

    run(testbench)


def test_end_that_its_client_does_not_take_is_not_forgotten_when_stamps_wrap():
    bench = Bench(make())
    takes = [0]

    async def testbench(ctx):
        await bench.start(ctx)
        await bench.request(ctx, read(0, 4, owner=1))
        sent = await bench.next_sent(ctx)
        ctx.set(bench.dut.done, 4)
        await bench.deliver(ctx, *answer(sent), stamp=5)
        await ctx.tick().repeat(10)
        for done in (5, 0x700, 0xF00):
            ctx.set(bench.dut.done, done)
            await ctx.tick().repeat(6)
        takes[0] = 1
        assert (await bench.next_end(ctx))[0] == 1

    simulate(bench.dut, testbench, background=bench.background(takes=lambda: takes[0]))


def test_ten_bit_tags_are_switched_when_no_tag_is_out():
    async def testbench(bench, ctx):
        dut = bench.dut
        await bench.request(ctx, read(0, 4, owner=1))
        first = await bench.next_sent(ctx)
        ctx.set(dut.ten_bit, 1)
        await bench.request(ctx, read(4, 4, owner=2))
        await ctx.tick().repeat(10)
        assert not bench.sent
        await bench.deliver(ctx, *answer(first))
        assert (await bench.next_end(ctx))[:3] == (1, first.tag, "OK")
        await bench.release(ctx, first.tag)
        await bench.wait(ctx, lambda: bench.sent)
        # Tags below 256 are not used with 10 bits (PCIe Base, 2.2.6.2).
        assert (first.tag, bench.sent[0].tag) == (0, 256)
        await bench.deliver(ctx, *answer(bench.sent.pop(0)))
        assert (await bench.next_end(ctx))[:3] == (2, 256, "OK")
        await bench.request(ctx, read(8, 4, owner=3))
        assert (await bench.next_sent(ctx)).tag == 257

    run(testbench, tags=768)


def test_reads_of_one_beat_are_sustained_with_256_tags():
    """Goal: 0.5 reads per clock, with an answer 100 clocks after each request."""
    dut = make(data_width=256, max_read_bytes=64, tags=256, reads=256)
    bench, times, queue, count = Bench(dut), [], [], 400

    async def client(ctx):
        await bench.start(ctx)
        await bench.request(ctx, *(read(8 * n, 8, owner=n & 255, guest=n & 3, core=n & 3)
                                   for n in range(count)))

    async def device(ctx):
        clock = 0
        ctx.set(dut.tx.ready, 1)
        taken = dut.completion.valid & dut.completion.ready
        async for _, _, valid, hdr, gone in ctx.tick().sample(dut.tx.valid, dut.tx.p.hdr, taken):
            clock += 1
            if valid:
                queue.append((clock + 100, hdr >> 72 & 0xFF, hdr >> 32 & 0x7F))
            if gone:
                queue.pop(0)
            due = bool(queue) and queue[0][0] <= clock
            ctx.set(dut.completion.valid, due)
            if due:
                ctx.set(dut.completion.payload, _completion(*queue[0][1:]))

    async def taker(ctx):
        clock = 0
        ctx.set(dut.finish[0].ready, 1)
        while len(times) < count:
            _, _, valid, tag = await ctx.tick().sample(dut.finish[0].valid, dut.finish[0].p.tag)
            clock += 1
            ctx.set(dut.release.valid, valid)
            ctx.set(dut.release.p.tag, tag)
            if valid:
                times.append(clock)

    simulate(dut, client, taker, background=[device])
    rate = (count - 101) / (times[-1] - times[100])
    assert rate > 0.8, f"{rate:.2f} reads per clock"


def _completion(tag, lower):
    hdr = (2 << 29 | 10 << 24 | 2) << 96 | (0x0208 << 16 | 8) << 64 | (
        0x0100 << 16 | tag << 8 | lower) << 32
    return {"hdr": hdr, "strb": 3, "first": 1, "last": 1, "data": tag}
