# amaranth: UnusedElaboratable=no

import random

import pytest

from iovirt.dma.answers import Answers
from iovirt.dma.arrivals import ReadArrivals
from iovirt.dma.entry_widener import EntryWidener
from iovirt.dma.layouts import TicketKind
from iovirt.dma.patch_return import PatchReturn
from iovirt.dma.read_issue import ReadIssue
from iovirt_sim.dma_share import Share
from iovirt_sim.harness import simulate
from iovirt_sim.streams import receive, send


@pytest.mark.parametrize("lanes", [2, 4, 8, 16])
def test_whole_entries_are_fetched_around_what_is_sent(lanes):
    rng = random.Random(lanes)
    dut = EntryWidener(address_width=40, slots=4, lanes=lanes)
    sent, expected = [], []
    for _ in range(150):
        share = rng.choice([Share(), Share(patch=True, size_log2=rng.randrange(4)),
                            Share(patch=True, size_log2=1, phase=True)])
        first = rng.choice([0, 1, 2, 1020, 1021, 1022, 1023, rng.randrange(1024)])
        last  = min(1023, first + rng.choice([0, 1, 2, 3, 15, rng.randrange(64)]))
        sent.append({"first": first, "last": last, "read": {"share": {
            "patch": int(share.patch), "size_log2": share.size_log2, "phase": int(share.phase)}}})
        spans = list(share.entries(4 * first, 4 * last)) if share.patch else [
            (4 * first, 4 * last + 4)]
        expected.append((first, last, spans[0][0] // 4 // lanes, (spans[-1][1] - 1) // 4 // lanes))

    async def producer(ctx):
        await send(ctx, dut.i, sent, gap=lambda: rng.choice([0, 0, 2]))

    async def consumer(ctx):
        got = await receive(ctx, dut.o, len(sent), gap=lambda: rng.choice([0, 0, 1]))
        assert [(piece.cut.first, piece.cut.last, piece.first_row, piece.last_row)
                for piece, in got] == expected

    simulate(dut, producer, consumer)


def result(dut, kind, **fields):
    ticket = {name: fields.pop(name, 0) for name in ("shared", "contain")}
    return {**fields, "id": dut.ticket.const({"slot": 1, "kind": kind, **ticket}).as_value().value}


@pytest.mark.parametrize("kind", [TicketKind.READ, TicketKind.WRITE, TicketKind.NOTHING])
@pytest.mark.parametrize("fields, kept, told", [
    ({"ok": 1}, "ok", False), ({"ok": 0}, "denied", False), ({"ok": 1, "ppn": 3}, "denied", False),
    ({"ok": 1, "shared": 1}, "ok", False), ({"ok": 0, "shared": 1}, "contained", True),
    ({"ok": 1, "ppn": 3, "shared": 1}, "contained", True),
    ({"ok": 1, "shared": 1, "contain": 1}, "contained", False),
    ({"ok": 1, "ppn": 3, "shared": 1, "contain": 1}, "contained", False),
])
def test_denied_accesses_of_shared_functions_are_contained_and_told_of(kind, fields, kept, told):
    dut = Answers(writes=4, reads=4, classes=2, number_width=8, address_width=40, shared=True)
    stored, pulses, is_read = [], [], kind == TicketKind.READ

    async def testbench(ctx):
        ctx.set(dut.aperture_enable, 1)
        ctx.set(dut.aperture_base, 3 << 12)
        ctx.set(dut.aperture_mask, (1 << 40) - 1)
        await send(ctx, dut.i, [result(dut, kind, **fields)])
        await ctx.tick().repeat(5)

    async def watch(ctx):
        port = dut.read_answer if is_read else dut.write_answer
        pulse = dut.contained
        async for _, _, en, data, valid, write, slot in ctx.tick().sample(
                port.en, port.data, pulse.valid, pulse.write, pulse.slot):
            if en:
                stored.append((data.ok, data.contain, data.peer) if is_read else
                              (data.go, 0, data.peer))
            if valid:
                pulses.append((write, slot))

    simulate(dut, testbench, background=[watch])
    peer = int(fields.get("ppn") == 3 and not fields.get("contain"))
    goes = int(kept == "ok" and kind != TicketKind.NOTHING)
    assert stored == [(goes, int(kept == "contained" and is_read), peer)]
    assert pulses == [(int(not is_read), 1)] * told


def issue_input(*, ok, contain, patch, peer=0, start=1):
    return {"first_row": 2, "last_row": 5, "cut": {
        "read": {"slot": 3, "entry": {"rid": 0x55, "length_dw": 6},
                 "answer": {"ok": ok, "contain": contain, "peer": peer, "ppn": 0x77},
                 "share": {"shared": 1, "patch": patch, "phase": 1, "size_log2": 1}},
        "first": 13, "last": 18, "end": 18, "start": start, "final": 1}}


@pytest.mark.parametrize("ok, contain, patch, goes_to", [
    (1, 0, 0, "address"), (1, 0, 1, "address"), (0, 1, 1, "synth"), (0, 1, 0, "zero"),
    (0, 0, 1, "denied")])
@pytest.mark.parametrize("start", [0, 1])
def test_only_permitted_pieces_reach_memory_and_patched_ones_have_a_buffer(ok, contain, patch,
                                                                           goes_to, start):
    dut = ReadIssue(lanes=4, rows=8, slots=4, pieces=8, address_width=40, id_width=3, patches=4)
    taken, written = set(), {}

    async def testbench(ctx):
        for port in (dut.address, dut.deny, dut.denied, dut.synth, dut.zero, dut.error):
            ctx.set(port.ready, 1)
        ctx.set(dut.piece.payload, 6)
        ctx.set(dut.buffer.payload, 2)
        ctx.set(dut.piece.valid, 1)
        ctx.set(dut.i.payload, issue_input(ok=ok, contain=contain, patch=patch, start=start,
                                           peer=1 - ok))
        ctx.set(dut.i.valid, 1)
        if patch and goes_to != "denied":
            await ctx.tick().repeat(3)
            assert not ctx.get(dut.i.ready), "a piece that is patched needs a buffer"
        ctx.set(dut.buffer.valid, 1)
        await ctx.tick().until(dut.i.ready)
        ctx.set(dut.i.valid, 0)
        await ctx.tick().repeat(4)

    async def watch(ctx):
        ports = {name: getattr(dut, name) for name in ("address", "denied", "synth", "zero",
                                                       "error", "piece", "buffer")}
        stores = {name: getattr(dut, name) for name in ("place", "record", "way", "patch")}
        async for _, _, *values in ctx.tick().sample(
                *(port.valid & port.ready for port in ports.values()),
                *(port.en for port in stores.values()), *(port.data for port in stores.values())):
            taken.update(name for name, moves in zip(ports, values, strict=False) if moves)
            for name, en, data in zip(stores, values[7:11], values[11:], strict=True):
                if en:
                    written[name] = data

    simulate(dut, testbench, background=[watch])
    buffers = {"piece", *(["buffer"] * patch)} if goes_to != "denied" else set()
    # The record of an access of the aperture comes once.
    records = {"error"} if not ok and (start or goes_to == "denied") else set()
    assert taken == {goes_to} | buffers | records
    assert set(written) == (set() if goes_to == "denied" else
                            {"place", "record", "way", *(["patch"] * patch)})
    if goes_to != "denied":
        assert written["record"].carried == (patch and not start)
        assert (written["way"].shared, written["way"].patch) == (1, patch)
    if "patch" in written:
        got = written["patch"]
        assert (got.piece, got.slot, got.base, got.last_row, got.skip, got.sent) == (
            6, 3, 2, 3, 1, 1)


@pytest.mark.parametrize("seed, gaps", [(1, [0]), (2, [0, 0, 1, 3])])
def test_beats_go_the_way_of_their_piece_and_wait_while_held(seed, gaps):
    rng = random.Random(seed)
    dut = ReadArrivals(lanes=2, rows=4, pieces=4, id_width=2, patches=4)
    ways = [{"shared": 1, "patch": n & 1, "buffer": 3 - n} for n in range(4)]
    ways[0]["shared"] = 0
    sent, expected, statuses, jobs, rows, bad = [], [], [], [], {}, {}
    for n in range(120):
        piece = rng.randrange(4)
        row   = rows.setdefault(piece, [0, rng.randrange(1, 9 if ways[piece]["patch"] else 5)])
        resp  = rng.choice([0, 0, 0, 0, 0, 0, 2, 3])
        bad.setdefault(piece, set()).add(resp)
        last  = row[0] + 1 == row[1]
        sent.append({"id": piece, "data": n, "resp": resp, "last": int(last)})
        patch = ways[piece]["patch"]
        expected.append((patch, ways[piece]["buffer"] if patch else piece, row[0], n))
        row[0] += 1
        if last:
            poison, abort = 2 in bad[piece], 3 in bad[piece]
            hide = abort and ways[piece]["shared"]
            (jobs if patch else statuses).append(
                (ways[piece]["buffer"], poison or abort, poison, abort) if patch else
                (piece, poison, abort, hide, hide))
            del rows[piece], bad[piece]
    stored = []

    async def producer(ctx):
        for n, way in enumerate(ways):
            ctx.set(dut.way.slot, n)
            ctx.set(dut.way.data, way)
            ctx.set(dut.way.en, 1)
            await ctx.tick()
        ctx.set(dut.way.en, 0)
        await ctx.tick().until(dut.enable)
        await send(ctx, dut.i, sent, gap=lambda: rng.choice(gaps))
        while len(stored) < len(expected):
            await ctx.tick()

    async def hold(ctx):
        async for _ in ctx.tick():
            ctx.set(dut.hold, rng.random() < 0.3)

    def take(port, wanted, fields):
        async def testbench(ctx):
            for want in wanted:
                (got,), = await receive(ctx, port, 1)
                assert tuple(getattr(got, name) for name in fields) == want
        return testbench

    async def watch(ctx):
        async for _, _, held, *values in ctx.tick().sample(dut.hold, *(
                getattr(port, name) for port in (dut.payload, dut.patch)
                for name in ("en", "slot", "row", "data"))):
            for patch in range(2):
                en, *beat = values[4 * patch:][:4]
                if en:
                    assert not held
                    stored.append((patch, *beat))

    simulate(dut, producer, take(dut.o, statuses, ("piece", "poison", "abort", "hide", "zero")),
             take(dut.job, jobs, ("buffer", "synth", "poison", "abort")), background=[watch, hold])
    assert stored == expected


def test_patched_rows_that_are_sent_are_stored_and_the_next_one_is_kept():
    rng = random.Random(4)
    dut = PatchReturn(lanes=2, rows=16, pieces=4)
    pieces, beats, stored, kept, got = [], [], [], [], []
    for n in range(40):
        skip, sent, more = rng.randrange(8), rng.randrange(16), rng.randrange(8)
        piece = {"piece": n % 4, "skip": skip, "sent": sent, "poison": n & 1, "abort": n >> 1 & 1}
        pieces.append(piece)
        total = skip + sent + 1 + more
        for row in range(total):
            beats.append({"data": n << 8 | row, "last": int(row == total - 1)})
            if skip <= row <= skip + sent:
                stored.append((n % 4, row - skip, n << 8 | row))
        if more:
            kept.append((n % 4, n << 8 | skip + sent + 1))
    fetched = 0xABCD

    async def watch(ctx):
        port, carry = dut.payload, dut.carry
        async for _, _, hold, en, slot, row, data, keeps, at, rest in ctx.tick().sample(
                dut.hold, port.en, port.slot, port.row, port.data, carry.en, carry.slot,
                carry.data):
            ctx.set(dut.fetched.data, fetched)
            assert hold or not en or data == fetched
            if hold:
                assert en and stored.pop(0) == (slot, row, data)
            if keeps:
                assert kept.pop(0) == (at, rest)

    async def consumer(ctx):
        for piece in pieces:
            (status,), = await receive(ctx, dut.o, 1, gap=lambda: rng.choice([0, 0, 9]))
            got.append({name: getattr(status, name) for name in ("piece", "poison", "abort")})
            assert status.hide and not status.zero and not status.drop
            assert got[-1].items() <= piece.items()

    def give(port, payloads, gaps):
        async def testbench(ctx):
            await send(ctx, port, payloads, gap=lambda: rng.choice(gaps))
        return testbench

    simulate(dut, consumer, give(dut.piece, pieces, [0, 30]), give(dut.i, beats, [0, 0, 1]),
             background=[watch])
    assert not stored and not kept
