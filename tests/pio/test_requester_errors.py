# amaranth: UnusedElaboratable=no

import dataclasses

from iovirt_sim.harness import simulate
from iovirt_sim.tlp import Kind, Status

from .requester_bench import DEVICE, RID, Bench, answer, config, make, memory, read, refusal

ADDRESS, SIZE = 0x8000_0034, 140


def changed(tlp, **fields):
    """Return a copy of a completion; a length changes the payload, too."""
    made = dataclasses.replace(tlp, **fields)
    if made.kind is Kind.CPL:
        return dataclasses.replace(made, payload=b"")
    return dataclasses.replace(made, payload=made.payload.ljust(4 * made.length, b"\xEE")
                               [:4 * made.length])


def run_reads(*checks):
    """Issue a read of a device for each check, which does the rest; return the errors of each.

    A check gets ``(bench, ctx, sent)``. Then its tag is given back, and must be free.
    """
    dut = make(data_width=128, max_read_bytes=256)
    bench = Bench(dut)
    errors = []

    async def testbench(ctx):
        await bench.start(ctx)
        for check in checks:
            await bench.request(ctx, read(ADDRESS, SIZE, owner=7, core=3, guest=2, completer=DEVICE,
                                          completer_mask=0))
            sent = await bench.next_sent(ctx)
            await check(bench, ctx, sent)
            await bench.release(ctx, sent.tag)
            await bench.wait(ctx, lambda: ctx.get(dut.idle), 20)
            errors.append(bench.errors[:])
            bench.errors.clear()

    simulate(dut, testbench, background=bench.background())
    return errors


def causes(errors):
    """Return the causes of the records of the only read."""
    return [record[0] for record in errors[0]]


def test_ask_7_error_completion_ends_the_request_and_frees_its_tag():
    cases = [(Status.UR, "UR", "PIO_UNSUPPORTED"), (Status.CA, "CA", "PIO_ABORT"),
             (Status.RRS, "UR", "PIO_UNSUPPORTED"), (5, "UR", "PIO_UNSUPPORTED")]

    def check(status, name):
        async def testbench(bench, ctx, sent):
            await bench.deliver(ctx, refusal(sent, status))
            assert (await bench.next_end(ctx))[:3] == (7, sent.tag, name)
        return testbench

    errors = run_reads(*(check(*case[:2]) for case in cases))
    assert errors == [[(case[2], 3, 2, DEVICE, n, ADDRESS)] for n, case in enumerate(cases)]


def test_ask_7_more_failures_than_tags_do_not_stop_the_requester():
    dut = make()
    bench = Bench(dut)
    count = 3 * dut.depth

    async def client(ctx):
        await bench.start(ctx)
        await bench.request(ctx, *(read(4 * n, 4, owner=n) for n in range(count)))

    async def device(ctx):
        for n in range(count):
            await bench.deliver(ctx, refusal(await bench.next_sent(ctx), Status.UR))
            end = await bench.next_end(ctx)
            assert (end[0], end[2]) == (n, "UR")
            await bench.release(ctx, end[1])

    simulate(dut, client, device, background=bench.background())
    assert len(bench.errors) == count


def test_error_after_good_pieces_ends_the_request():
    async def check(bench, ctx, sent):
        first = answer(sent, mps=64)[0]
        await bench.deliver(ctx, first, refusal(sent, Status.CA))
        assert (await bench.next_end(ctx))[:3] == (7, sent.tag, "CA")

    assert causes(run_reads(check)) == ["PIO_ABORT"]


def test_poison_of_any_piece_poisons_the_read():
    def check(poisoned):
        async def testbench(bench, ctx, sent):
            pieces = answer(sent, mps=64)
            pieces[poisoned] = changed(pieces[poisoned], ep=True)
            await bench.deliver(ctx, *pieces)
            assert (await bench.next_end(ctx))[:3] == (7, sent.tag, "POISONED")
        return testbench

    errors = run_reads(*map(check, range(3)))
    assert [[record[0] for record in records] for records in errors] == [["PIO_POISON"]] * 3


CONTRADICTIONS = {
    "completer":       {"cid": DEVICE + 1},
    "class":           {"tc": 1},
    "attribute":       {"attr": 2},
    "ordering by ID":  {"attr": 4},
    "locked":          {"kind": Kind.CPLDLK},
    "no data":         {"kind": Kind.CPL},
    "error with data": {"status": Status.UR},
    "byte count less": {"byte_count": SIZE - 1},
    "byte count more": {"byte_count": SIZE + 1},
    "byte count 4096": {"byte_count": 4096},
    "lower address":   {"lower_addr": 0x35},
    "lower bit 6":     {"lower_addr": 0x74},
    "too long":        {"length": 36},
    "much too long":   {"length": 64},
    "too short":       {"length": 34},
    "cut anywhere":    {"length": 5},
}


def test_ask_8_completion_that_contradicts_its_request_changes_nothing():
    def check(name, fields):
        async def testbench(bench, ctx, sent):
            right = answer(sent)
            wrong = changed(right[0], **fields)
            wrong = dataclasses.replace(wrong, payload=b"\xEE" * len(wrong.payload))
            await bench.deliver(ctx, wrong)
            await ctx.tick().repeat(8)
            assert not bench.ends[0], name
            await bench.deliver(ctx, *right)
            assert (await bench.next_end(ctx))[:3] == (7, sent.tag, "OK"), name
            assert await bench.fetch(ctx, sent.tag, ADDRESS, SIZE) == memory(ADDRESS, SIZE), name
        return testbench

    errors = run_reads(*(check(*item) for item in CONTRADICTIONS.items()))
    assert errors == [[("COMPLETION_MISMATCH", 3, 2, fields.get("cid", DEVICE), tag, ADDRESS)]
                      for tag, fields in enumerate(CONTRADICTIONS.values())]


def test_rejected_completion_never_overwrites_good_data():
    async def check(bench, ctx, sent):
        pieces = answer(sent, mps=64)
        await bench.deliver(ctx, pieces[0])
        # A duplicate of the first piece, and the last one before its turn, with other data.
        for piece in (pieces[0], pieces[2]):
            await bench.deliver(ctx, dataclasses.replace(piece, payload=b"\xEE" * 4 * piece.length))
        await bench.deliver(ctx, *pieces[1:])
        assert (await bench.next_end(ctx))[:3] == (7, sent.tag, "OK")
        assert await bench.fetch(ctx, sent.tag, ADDRESS, SIZE) == memory(ADDRESS, SIZE)

    assert causes(run_reads(check)) == ["COMPLETION_MISMATCH"] * 2


def test_aborted_completion_counts_for_nothing():
    async def check(bench, ctx, sent):
        pieces = answer(sent, mps=128)
        bad = [dataclasses.replace(piece, payload=b"\xEE" * 4 * piece.length) for piece in pieces]
        await bench.deliver(ctx, bad[0], abort=True)
        await bench.deliver(ctx, pieces[0])
        await bench.deliver(ctx, bad[1], abort=True)
        await bench.deliver(ctx, refusal(sent, Status.UR), abort=True)
        await bench.deliver(ctx, *pieces[1:])
        assert (await bench.next_end(ctx))[:3] == (7, sent.tag, "OK")
        assert await bench.fetch(ctx, sent.tag, ADDRESS, SIZE) == memory(ADDRESS, SIZE)

    assert run_reads(check) == [[]]


def test_ask_8_completion_without_request_is_dropped_and_recorded():
    cases = [{"tag": 9}, {"tag": 32}, {"tag": 512}, {"rid": RID + 1}]

    def check(fields):
        async def testbench(bench, ctx, sent):
            await bench.deliver(ctx, changed(answer(sent)[0], **fields))
            await bench.deliver(ctx, *answer(sent))
            assert (await bench.next_end(ctx))[:3] == (7, sent.tag, "OK")
            assert await bench.fetch(ctx, sent.tag, ADDRESS, SIZE) == memory(ADDRESS, SIZE)
        return testbench

    assert run_reads(*map(check, cases)) == [
        [("UNEXPECTED_COMPLETION", 0, 0, DEVICE, fields.get("tag", tag), 0)]
        for tag, fields in enumerate(cases)]


def test_ask_8_duplicate_completion_is_unexpected():
    async def check(bench, ctx, sent):
        await bench.deliver(ctx, *answer(sent), *answer(sent))
        assert (await bench.next_end(ctx))[:3] == (7, sent.tag, "OK")
        await bench.deliver(ctx, *answer(sent))
        await ctx.tick().repeat(8)
        assert not bench.ends[0]

    assert causes(run_reads(check)) == ["UNEXPECTED_COMPLETION"] * 2


def test_ask_9_configuration_write_ends_with_its_completion_and_not_before():
    dut = make()
    bench = Bench(dut)

    async def testbench(ctx):
        await bench.start(ctx)
        await bench.request(ctx, config(4, write=True, owner=1), client=1)
        sent = await bench.next_sent(ctx)
        await ctx.tick().repeat(50)
        assert not bench.ends[1]
        # With data it would be the answer to something else.
        await bench.deliver(ctx, changed(answer(sent)[0], kind=Kind.CPLD))
        await bench.deliver(ctx, *answer(sent))
        assert (await bench.next_end(ctx, 1))[:3] == (1, sent.tag, "OK")

    simulate(dut, testbench, background=bench.background())
    assert [error[0] for error in bench.errors] == ["COMPLETION_MISMATCH"]


def test_ask_9_tag_is_not_reused_before_its_data_are_fetched():
    dut = make()
    bench = Bench(dut)

    async def testbench(ctx):
        await bench.start(ctx)
        free = 2 * dut.depth
        await bench.request(ctx, read(0, 8, owner=200))
        kept = await bench.next_sent(ctx)
        await bench.deliver(ctx, *answer(kept))
        assert (await bench.next_end(ctx))[2] == "OK"
        for n in range(free):
            await bench.request(ctx, read(8 * n, 8, owner=n))
            sent = await bench.next_sent(ctx)
            assert sent.tag != kept.tag
            await bench.deliver(ctx, *answer(sent))
            assert (await bench.next_end(ctx))[0] == n
            await bench.release(ctx, sent.tag)
        assert await bench.fetch(ctx, kept.tag, 0, 8) == memory(0, 8)

    simulate(dut, testbench, background=bench.background())


def test_configuration_client_is_told_of_retry_status():
    dut = make()
    bench = Bench(dut)

    async def testbench(ctx):
        await bench.start(ctx)
        for status, name in ((Status.RRS, "RRS"), (Status.UR, "UR")):
            await bench.request(ctx, config(0, owner=5), client=1)
            sent = await bench.next_sent(ctx)
            await bench.deliver(ctx, refusal(sent, status))
            assert (await bench.next_end(ctx, 1))[:3] == (5, sent.tag, name)
        await ctx.tick().repeat(6)

    simulate(dut, testbench, background=bench.background())
    assert [error[0] for error in bench.errors] == ["PIO_UNSUPPORTED"]
