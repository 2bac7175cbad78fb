# amaranth: UnusedElaboratable=no

import pytest

from iovirt.dma.read_issue import ReadIssue
from iovirt_sim.harness import simulate
from iovirt_sim.streams import receive, send


def issue():
    return ReadIssue(lanes=4, rows=8, slots=4, pieces=8, address_width=40, id_width=3)


def cut(*, ok=1, ca=0, peer=0, **fields):
    entry = {"rid": 0x55, "segment": 1, "tag": 0x3A5, "tc": 2, "attr": 5, "length_dw": 100,
             "address": 0xA5A5_0000_0F10, "skip": 1, "trim": 2}
    return {"read": {"slot": 2, "entry": entry,
                     "answer": {"ok": ok, "ca": ca, "peer": peer, "ppn": 0x1234567, "epoch": 1}},
            "first": 6, "last": 31, "end": 105, "index": 0, "start": 1, "final": 0, **fields}


@pytest.mark.parametrize("start, byte_count, lower", [(1, 397, 0x19), (0, 398, 0x18)])
def test_piece_owns_a_buffer_and_its_id(start, byte_count, lower):
    dut = issue()
    seen = []

    async def testbench(ctx):
        await send(ctx, dut.i, [cut(start=start)])
        (burst,), = await receive(ctx, dut.address, 1)
        assert (burst.id, burst.address, burst.last_row) == (5, 0x1234567_010, 6)

    async def pool(ctx):
        await send(ctx, dut.piece, [5])

    async def watch(ctx):
        async for _, _, en, slot, place, too, same, record in ctx.tick().sample(
                dut.place.en, dut.place.slot, dut.place.data, dut.record.en, dut.record.slot,
                dut.record.data):
            assert en == too and slot == same
            if en:
                seen.append(slot)
                assert (place.slot, place.index, place.last, place.epoch) == (2, 0, 0, 1)
                assert (record.byte_count, record.lower_addr) == (byte_count, lower)
                assert (record.length_dw, record.first_lane) == (26, 2)
                assert (record.rid, record.tag, record.tc, record.attr) == (0x55, 0x3A5, 2, 5)

    simulate(dut, testbench, pool, background=[watch])
    assert seen == [5]


def test_nothing_is_read_without_a_buffer():
    dut = issue()

    async def testbench(ctx):
        ctx.set(dut.i.payload, cut())
        ctx.set(dut.i.valid, 1)
        ctx.set(dut.address.ready, 1)
        await ctx.tick().repeat(5)
        assert not ctx.get(dut.i.ready) and not ctx.get(dut.address.valid)

    simulate(dut, testbench)


@pytest.mark.parametrize("ca, status", [(0, 1), (1, 4)])
def test_denied_read_is_refused_without_a_buffer(ca, status):
    dut = issue()

    async def testbench(ctx):
        await send(ctx, dut.i, [cut(ok=0, ca=ca)])
        (deny,), = await receive(ctx, dut.deny, 1)
        assert (deny.status.value, deny.byte_count, deny.lower_addr) == (status, 397, 0x19)
        assert (deny.rid, deny.tag, deny.tc, deny.attr) == (0x55, 0x3A5, 2, 5)
        (end,), = await receive(ctx, dut.denied, 1)
        assert (end.slot, end.epoch) == (2, 1)
        assert not ctx.get(dut.address.valid)

    simulate(dut, testbench)


def test_read_of_the_aperture_is_refused_and_recorded():
    dut = issue()

    async def testbench(ctx):
        await send(ctx, dut.i, [cut(ok=0, peer=1)])
        (deny,), = await receive(ctx, dut.deny, 1)
        (record,), = await receive(ctx, dut.error, 1)
        assert deny.status.value == 1
        assert (record.cause.name, record.segment, record.rid, record.address) == (
            "PEER_DENIED", 1, 0x55, 0xA5A5_0000_0F10)

    simulate(dut, testbench)
