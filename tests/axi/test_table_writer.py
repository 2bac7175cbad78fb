"""The write half of the table port: rate, latency, independence of its channels, and tags."""

import random

import pytest

from iovirt.axi import TablePort, TableWriter
from iovirt_sim.harness import simulate
from iovirt_sim.streams import receive, send
from iovirt_sim.table_memory import TableMemory

from .test_table_port import write_client


def make(**changes):
    return TableWriter(**{"clients": 2, "data_width": 128, "address_width": 40, "tag_width": 3,
                          **changes})


@pytest.mark.parametrize(("widths", "message"), [
    ((1,), r"Tag widths must be 2, one for each client, not \(1,\)"),
    ((1, -1), "Tag width must be an integer of at least 0, not -1"),
    ("12", "Tag width must be an integer of at least 0, not '12'"),
])
def test_tag_widths_are_checked(widths, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        make(tag_width=widths)


@pytest.mark.parametrize(("data_width", "size_log2", "beats"), [
    (64, 5, 4), (64, 4, 2), (64, 3, 1), (128, 5, 2), (128, 4, 1), (256, 5, 1), (256, 2, 1),
    (512, 5, 1)])
def test_one_beat_per_clock_of_one_client_or_of_two(data_width, size_log2, beats):
    for clients in (1, 2):
        dut    = TablePort(readers=1, writers=clients, data_width=data_width, address_width=40,
                           read_tag_width=0, write_tag_width=3)
        memory = TableMemory(latency=(5, 5))
        left   = [clients]
        busy   = []

        def done(left=left, memory=memory):
            left[0] -= 1
            if not left[0]:
                memory.stop()

        async def watch(ctx, dut=dut, busy=busy):
            async for _, _, valid, ready in ctx.tick().sample(dut.bus.wvalid, dut.bus.wready):
                busy.append(valid and ready)

        def requests(client):
            return [(0x1000 * client + (n << size_log2), size_log2, n, n % 8) for n in range(100)]

        simulate(dut, memory.serve_axi_writes(dut.bus),
                 *(write_client(dut, memory, n, requests(n), random.Random(0), 0.0, done)
                   for n in range(clients)), background=[watch])
        first, last = busy.index(1), len(busy) - busy[::-1].index(1)
        # A single client offers its next request in the clock after the one before is taken.
        assert sum(busy[first:last]) == last - first == 100 * clients * beats


def test_a_write_is_out_two_clocks_after_its_request():
    dut = make(tag_width=(3, 1))

    async def testbench(ctx):
        ctx.set(dut.request[1].payload, {"address": 0x44, "size_log2": 2, "data": 0x1234, "tag": 1})
        ctx.set(dut.request[1].valid, 1)
        await ctx.tick().until(dut.request[1].ready)
        ctx.set(dut.request[1].valid, 0)
        assert not ctx.get(dut.address.valid)
        await ctx.tick()
        assert ctx.get(dut.address.valid)
        assert ctx.get(dut.beats.valid)
        assert ctx.get(dut.address.p) == {"id": 1 << 3 | 1, "addr": 0x44, "len": 0, "size": 2}
        assert ctx.get(dut.beats.p) == {"data": sum(0x1234 << 32 * n for n in range(4)),
                                        "strb": 0xF0, "last": 1}

    simulate(dut, testbench)


@pytest.mark.parametrize("slow", ["address", "beats"])
def test_neither_channel_waits_for_the_other(slow):
    dut = make(clients=1)
    fast = "beats" if slow == "address" else "address"

    async def client(ctx):
        await send(ctx, dut.request[0], [{"address": 16 * n, "size_log2": 4, "data": n, "tag": n}
                                         for n in range(8)])

    async def observe(ctx):
        # Three writes leave on one channel while the other stands still.
        await receive(ctx, getattr(dut, fast), 3)
        assert ctx.get(getattr(dut, slow).valid)
        transfers = await receive(ctx, getattr(dut, slow), 8)
        numbers = [(what.id if slow == "address" else what.data) for what, in transfers]
        assert numbers == list(range(8))

    async def rest(ctx):
        await ctx.tick().repeat(20)
        await receive(ctx, getattr(dut, fast), 5)

    simulate(dut, client, observe, rest)


def test_clients_with_tags_of_different_widths_get_their_own():
    dut = make(clients=3, tag_width=(0, 5, 2))
    sent = [[(n, t) for t in range(1 << width)] for n, width in enumerate(dut.tag_widths)]
    got  = [[], [], []]

    def client(n):
        async def testbench(ctx):
            await send(ctx, dut.request[n], [
                {"address": 0x1000 * n + 8 * tag, "size_log2": 3, "data": 0, "tag": tag}
                for _, tag in sent[n]])
        return testbench

    async def memory(ctx):
        for address, in await receive(ctx, dut.address, 37):
            assert address.id >> 5 == address.addr >> 12
            await send(ctx, dut.acknowledge, [{"id": address.id, "resp": 0}])

    async def drain(ctx):
        await receive(ctx, dut.beats, 37)

    def answers(n):
        async def testbench(ctx):
            got[n] += [(n, what.tag) for what, in
                       await receive(ctx, dut.response[n], len(sent[n]))]
        return testbench

    simulate(dut, memory, drain, *(client(n) for n in range(3)), *(answers(n) for n in range(3)))
    assert got == sent
