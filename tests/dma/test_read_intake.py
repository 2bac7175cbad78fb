# amaranth: UnusedElaboratable=no

import pytest

from iovirt.dma.read_intake import ReadIntake
from iovirt_sim.harness import simulate
from iovirt_sim.tlp import byte_count, lower_address


def intake():
    return ReadIntake(slots=4, tickets=8, classes=2, link_order=False)


async def offer(ctx, dut, **fields):
    ctx.set(dut.i.payload, fields)
    ctx.set(dut.i.valid, 1)
    ctx.set(dut.slot.valid, 1)
    ctx.set(dut.enable, 1)


@pytest.mark.parametrize("posted, forwarded, pending, goes", [
    (5,   5,   0, True),
    (5,   4,   1, False),   # one write is still to be forwarded
    (5,   9,   3, True),    # and four later ones have been
    (1,   254, 3, False),   # counts wrap
    (254, 1,   4, True),
    (5,   3,   0, True),    # 254 writes ago: nothing is pending
])
def test_read_enters_after_the_writes_before_it(posted, forwarded, pending, goes):
    dut = intake()

    async def testbench(ctx):
        await offer(ctx, dut, posted=posted)
        ctx.set(dut.forwarded, forwarded)
        ctx.set(dut.pending, pending)
        await ctx.tick()
        assert ctx.get(dut.i.ready) == goes

    simulate(dut, testbench)


@pytest.mark.parametrize("length", [1, 2, 5])
def test_enabled_bytes_are_counted_as_the_specification_says(length):
    dut = intake()

    async def testbench(ctx):
        ctx.set(dut.request.ready, 1)
        for first_be in range(0 if length == 1 else 1, 16):
            for last_be in range(1, 16) if length > 1 else [0]:
                await offer(ctx, dut, header={"length_dw": length, "first_be": first_be,
                                              "last_be": last_be})
                entry = dut.entry.data
                skip, trim = ctx.get(entry.skip), ctx.get(entry.trim)
                assert 4 * length - skip - trim == byte_count(length, first_be, last_be)
                assert skip == lower_address(0, first_be)
                await ctx.tick()

    simulate(dut, testbench)


@pytest.mark.parametrize("missing", ["enable", "slot"])
def test_read_waits_for_tables_and_for_a_slot(missing):
    dut = intake()

    async def testbench(ctx):
        await offer(ctx, dut, header={"address": 0x5000})
        port = dut.enable if missing == "enable" else dut.slot.valid
        ctx.set(port, 0)
        await ctx.tick().repeat(3)
        assert not ctx.get(dut.i.ready) and not ctx.get(dut.request.valid)
        ctx.set(port, 1)
        assert ctx.get(dut.i.ready)
        await ctx.tick()
        assert ctx.get(dut.request.valid) and ctx.get(dut.request.payload.iova) == 0x5000
        assert not ctx.get(dut.request.payload.write)

    simulate(dut, testbench)
