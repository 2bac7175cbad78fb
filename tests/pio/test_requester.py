# amaranth: UnusedElaboratable=no

import random

import pytest

from iovirt.config import PioConfig
from iovirt.pio.requester import Requester
from iovirt.pio.scoreboard import Scoreboard
from iovirt_sim.harness import simulate
from iovirt_sim.tlp import Kind, Tlp, enables

from .requester_bench import DEVICE, RID, Bench, answer, config, make, memory, read

PIO = PioConfig(tags=32, reads=16)


@pytest.mark.parametrize("error, change, message", [
    (ValueError, {"data_width": 96}, "Data width must be 64, 128, 256 or 512, not 96"),
    (TypeError, {"pio": 3}, "Programmed I/O configuration must be a PioConfig, not 3"),
    (ValueError, {"owner_width": 0}, "Owner width must be an integer of at least 1, not 0"),
])
def test_wrong_parameters(error, change, message):
    with pytest.raises(error, match=f"^{message}$"):
        Requester(**{"data_width": 64, "pio": PIO, "owner_width": 4, **change})


def test_read_takes_two_clocks_to_tx_and_three_from_completion_to_end():
    dut = make()
    bench = Bench(dut)
    times = {}

    async def testbench(ctx):
        await bench.start(ctx)
        ctx.set(dut.tx.ready, 1)
        ctx.set(dut.finish[0].ready, 1)
        for client, request in ((0, read(0x1000, 4)), (1, config(0x10))):
            await bench.request(ctx, request, client=client)
            # The transfer was in the clock that has just passed.
            times["tx", client] = 1 + await bench.wait(ctx, lambda: ctx.get(dut.tx.valid))
            await ctx.tick()
            kind = Kind.CFGRD0 if client else Kind.MRD
            await bench.deliver(ctx, *answer(Tlp(kind, rid=RID, tag=client, address=0x1000)))
            port = dut.finish[client]
            times["end", client] = 1 + await bench.wait(ctx, lambda port=port: ctx.get(port.valid))
            ctx.set(port.ready, 1)
            await ctx.tick()

    simulate(dut, testbench)
    assert times == {("tx", 0): 2, ("tx", 1): 2, ("end", 0): 3, ("end", 1): 3}


@pytest.mark.parametrize("data_width, most", [(64, 64), (128, 128), (256, 512), (512, 64)])
def test_data_of_a_read_are_in_the_lanes_of_its_address(data_width, most):
    dut = make(data_width=data_width, max_read_bytes=most)
    bench = Bench(dut)

    async def testbench(ctx):
        await bench.start(ctx)
        for n in range(14):
            size   = bench.rng.choice([1, 2, 4, 8, most // 2, most])
            offset = bench.rng.randrange(most - size + 1)
            address = (0x12_0000_0000 if n % 2 else 0x8000_0000) + most * n + offset
            await bench.request(ctx, read(address, size, owner=n))
            sent = await bench.next_sent(ctx)
            length, first_be, last_be = enables(address, size)
            assert (sent.kind, sent.address, sent.is_wide) == (Kind.MRD, address & ~3, n % 2)
            assert (sent.length, sent.first_be, sent.last_be) == (length, first_be, last_be)
            assert sent.rid == RID and not sent.tc and not sent.attr
            await bench.deliver(ctx, *answer(sent, mps=bench.rng.choice([64, 128, 256])))
            first = int.from_bytes(memory(address & ~3, 4), "little")
            assert await bench.next_end(ctx) == (n, sent.tag, "OK", first, DEVICE)
            assert await bench.fetch(ctx, sent.tag, address, size) == memory(address, size)
            await bench.release(ctx, sent.tag)
        await bench.wait(ctx, lambda: ctx.get(dut.idle), 20)

    simulate(dut, testbench, background=bench.background())
    assert not bench.errors


def test_configuration_requests_are_of_type_0_or_1_with_one_dword():
    dut = make()
    bench = Bench(dut)
    cases = [(0, False, Kind.CFGRD0), (1, False, Kind.CFGRD1),
             (0, True, Kind.CFGWR0), (1, True, Kind.CFGWR1)]

    async def testbench(ctx):
        await bench.start(ctx)
        for n, (type1, write, kind) in enumerate(cases):
            await bench.request(ctx, config(0x9A4, write=write, data=0x01020304, be=0b0110,
                                            type1=type1, owner=n), client=1)
            sent = await bench.next_sent(ctx)
            assert (sent.kind, sent.cid, sent.address) == (kind, 0x208, 0x9A4)
            assert (sent.length, sent.first_be, sent.last_be) == (1, 0b0110, 0)
            assert sent.payload == (bytes([4, 3, 2, 1]) if write else b"")
            # A device that counts no bytes in a completion without data is not wrong enough.
            await bench.deliver(ctx, *answer(sent, **({"byte_count": 0} if write else {})))
            owner, tag, status, data, rid = await bench.next_end(ctx, client=1)
            assert (owner, tag, status, rid) == (n, sent.tag, "OK", DEVICE)
            assert write or data == int.from_bytes(memory(0x9A4, 4), "little")
        # Client 1 gives its tags back by taking its ends.
        await bench.wait(ctx, lambda: ctx.get(dut.idle), 20)

    simulate(dut, testbench, background=bench.background())
    assert not bench.errors


def test_zero_length_read_flushes():
    dut = make()
    bench = Bench(dut)

    async def testbench(ctx):
        await bench.start(ctx)
        await bench.request(ctx, {**read(0x2000, 4), "first_be": 0})
        sent = await bench.next_sent(ctx)
        assert (sent.length, sent.first_be) == (1, 0)
        await bench.deliver(ctx, *answer(sent))
        assert (await bench.next_end(ctx))[2] == "OK"

    simulate(dut, testbench, background=bench.background())
    assert not bench.errors


def test_completion_waits_at_most_three_clocks_in_a_row():
    shape = {"owner_width": 1, "max_read_bytes": 64}
    dut, waits = Scoreboard(depth=4, data_width=64, look_every=4, **shape), set()
    rng = random.Random(1)

    async def testbench(ctx):
        ctx.set(dut.completion.valid, 1)
        ctx.set(dut.look.valid, 1)
        row = 0
        for _ in range(2000):
            taken, looked = ctx.get(dut.completion.ready), ctx.get(dut.look.ready)
            row = 0 if taken else row + 1
            waits.add(row)
            await ctx.tick()
            if taken:
                ctx.set(dut.completion.p, {"hdr": rng.randrange(4) << 40, "first": 1, "last": 1})
            if looked:
                ctx.set(dut.look.payload, rng.randrange(4))

    simulate(dut, testbench)
    assert waits == {0, 1, 2, 3}
