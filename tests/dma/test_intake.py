# amaranth: UnusedElaboratable=no

import random

from iovirt.dma.intake import HIDDEN_CLOCKS, HIDDEN_WRITES, WriteIntake
from iovirt.dma.layouts import TicketKind
from iovirt_sim.harness import simulate
from iovirt_sim.streams import receive, send

ROWS, SLOTS = 16, 4


def intake(data_width=64, **more):
    return WriteIntake(data_width=data_width, rows=ROWS, slots=SLOTS, tickets=8, classes=2,
                       link_order=False, **more)


def beats(address, words, *, abort=False, **header):
    """A write of 64-bit beats."""
    count = -(-len(words) // 2)
    words = [*words, 0]
    return [{"header": {"address": address, "length_dw": len(words) - 1, "rid": 0x102,
                        "segment": 5, "first_be": 0xF, **header},
             "data": words[2 * n] | words[2 * n + 1] << 32, "first": int(n == 0),
             "last": int(n == count - 1), "abort": int(abort and n == count - 1)}
            for n in range(count)]


class Store:
    """The payload memory and the pool of slots, in plain Python."""

    def __init__(self, dut):
        self.dut, self.words, self.entries = dut, {}, {}

    async def testbench(self, ctx):
        port, entry = self.dut.payload, self.dut.entry
        async for _, _, en, slot, row, bump, data, kept, at, what in ctx.tick().sample(
                port.en, port.slot, port.row, port.bump, port.data, entry.en, entry.slot,
                entry.data):
            for lane in range(2 if en else 0):
                at_row = (row + (bump >> lane & 1)) % ROWS
                self.words[slot, 2 * at_row + lane] = data >> 32 * lane & 0xFFFFFFFF
            if kept:
                self.entries[at] = what


async def slots(ctx, dut, given):
    for slot in given:
        ctx.set(dut.slot.payload, slot)
        ctx.set(dut.slot.valid, 1)
        await ctx.tick().until(dut.slot.ready)
    ctx.set(dut.slot.valid, 0)


def test_payload_is_moved_to_the_lanes_of_its_address():
    for first in (0, 1):
        dut = intake()
        store = Store(dut)
        words = [0x1000 + n for n in range(2 * ROWS)]   # a whole slot

        async def testbench(ctx, dut=dut, store=store, first=first, words=words):
            await send(ctx, dut.i, beats(0x7000 + 4 * first, words))
            (request,), = await receive(ctx, dut.request, 1)
            assert (request.device_id, request.iova) == (0x50102, 0x7000 + 4 * first)
            assert request.write and request.source == 0x50102
            assert store.entries[2].length_dw == len(words)
            for n, word in enumerate(words):
                assert store.words[2, (n + first) % len(words)] == word

        async def pool(ctx, dut=dut):
            await slots(ctx, dut, [2])

        simulate(dut, testbench, background=[store.testbench, pool])


def test_dropped_writes_keep_their_place_and_take_no_slot():
    dut = intake()
    counts = []

    async def producer(ctx):
        await send(ctx, dut.i, [*beats(0, [1]), *beats(8, [2, 3, 4], abort=True),
                                *beats(16, [5], ep=1), *beats(24, [6])])

    async def consumer(ctx):
        for _ in range(20):
            await ctx.tick()
        assert ctx.get(dut.forwarded) == 0, "a dropped write was counted before its turn"
        (first,), = await receive(ctx, dut.request, 1)
        (error,), = await receive(ctx, dut.error, 1)
        (last,),  = await receive(ctx, dut.request, 1)
        assert (first.iova, last.iova) == (0, 24)
        assert (error.cause.value, error.segment, error.rid, error.address) == (5, 5, 0x102, 16)
        for _ in range(5):
            await ctx.tick()
        assert ctx.get(dut.forwarded) == 4 and ctx.get(dut.pending) == 0

    async def pool(ctx):
        await slots(ctx, dut, [0, 3])
        counts.append(2)

    simulate(dut, producer, consumer, pool)
    assert counts == [2]


def test_first_beat_waits_for_a_slot():
    dut = intake()

    async def testbench(ctx):
        ctx.set(dut.i.payload, beats(0, [1])[0])
        ctx.set(dut.i.valid, 1)
        await ctx.tick().repeat(5)
        assert not ctx.get(dut.i.ready)
        ctx.set(dut.slot.valid, 1)
        assert ctx.get(dut.i.ready) and ctx.get(dut.slot.ready)

    simulate(dut, testbench)


def test_pending_covers_what_is_in_front_of_the_block():
    dut = intake()

    async def testbench(ctx):
        assert ctx.get(dut.pending) == 0
        ctx.set(dut.i.payload, beats(0, [1])[0])
        ctx.set(dut.i.valid, 1)
        assert ctx.get(dut.pending) >= HIDDEN_WRITES
        ctx.set(dut.slot.valid, 1)
        await ctx.tick()
        ctx.set(dut.i.valid, 0)
        assert ctx.get(dut.pending) == 1 + HIDDEN_WRITES
        await ctx.tick().repeat(HIDDEN_CLOCKS)
        assert ctx.get(dut.pending) == 1
        await receive(ctx, dut.request, 1)
        assert ctx.get(dut.pending) == 0

    simulate(dut, testbench)


def test_takes_a_beat_in_every_clock():
    dut = intake()
    rng = random.Random(1)
    sent = [beat for n in range(30) for beat in beats(8 * n, [n] * rng.choice([1, 2, 7]))]
    clocks = [0]

    async def producer(ctx):
        await send(ctx, dut.i, sent)

    async def count(ctx):
        async for _, _, valid in ctx.tick().sample(dut.i.valid):
            clocks[0] += valid

    async def others(ctx):
        ctx.set(dut.slot.valid, 1)
        ctx.set(dut.request.ready, 1)

    simulate(dut, producer, others, background=[count])
    assert clocks[0] == len(sent)


def test_no_write_is_lost_while_the_remap_engine_waits():
    dut = intake()

    async def producer(ctx):
        await send(ctx, dut.i, [beat for n in range(25) for beat in beats(8 * n, [n])])

    async def consumer(ctx):
        ctx.set(dut.slot.valid, 1)
        await ctx.tick().repeat(60)
        assert [got.iova for got, in await receive(ctx, dut.request, 25)] == [
            8 * n for n in range(25)]

    simulate(dut, producer, consumer)


def test_signal_takes_a_slot_of_its_own_and_keeps_its_place():
    dut = intake(signals=8)
    store, kept, ended = Store(dut), [], []

    async def producer(ctx):
        await send(ctx, dut.i, [*beats(0, [1]), *beats(0xFEE0_1238, [7], signal=1, turn=1),
                                *beats(8, [2]), *beats(0xFFFF_FFFF_0000, [0x27], signal=2),
                                *beats(0x1238, [7], signal=1, ep=1, turn=1)])

    async def consumer(ctx):
        got = [got for got, in await receive(ctx, dut.request, 4)]
        assert [request.bypass for request in got] == [0, 1, 0, 1]
        ids = [dut.ticket.from_bits(request.id) for request in got]
        assert [(id.slot, id.kind) for id in ids] == [
            (2, TicketKind.WRITE), (5, TicketKind.SIGNAL), (3, TicketKind.WRITE),
            (6, TicketKind.SIGNAL)]
        (error,), = await receive(ctx, dut.error, 1)
        assert (error.cause.value, error.address) == (5, 0x1238)

    async def signal_slots(ctx):
        for slot in (5, 6, 7):
            ctx.set(dut.signal_slot.payload, slot)
            ctx.set(dut.signal_slot.valid, 1)
            await ctx.tick().until(dut.signal_slot.ready)

    async def watch(ctx):
        port, end = dut.signal_entry, dut.finish
        async for _, _, en, slot, data, valid, turn in ctx.tick().sample(
                port.en, port.slot, port.data, end.valid, end.turn):
            if en:
                signal = data.signal
                kept.append((slot, signal.kind.value, signal.segment, signal.rid, signal.offset,
                             signal.data, data.turn))
            ended.extend([turn] * valid)

    async def pool(ctx):
        await slots(ctx, dut, [2, 3, 1])

    simulate(dut, producer, consumer, background=[store.testbench, pool, signal_slots, watch])
    assert kept == [(5, 1, 5, 0x102, 0x1238, 7, 1), (6, 2, 5, 0x102, 0, 0x27, 0)]
    assert set(store.entries) == {2, 3} and {slot for slot, _ in store.words} == {2, 3}
    assert ended == [1]


def test_signal_waits_for_a_slot_of_its_own_only():
    dut = intake(signals=4)

    async def testbench(ctx):
        ctx.set(dut.slot.valid, 1)
        ctx.set(dut.i.payload, beats(0, [1], signal=1)[0])
        ctx.set(dut.i.valid, 1)
        await ctx.tick().repeat(5)
        assert not ctx.get(dut.i.ready)
        ctx.set(dut.slot.valid, 0)
        ctx.set(dut.signal_slot.valid, 1)
        assert ctx.get(dut.i.ready) and ctx.get(dut.signal_slot.ready)
        assert not ctx.get(dut.slot.ready)

    simulate(dut, testbench)
