"""The table port against a memory that stalls, reorders and fails."""

import random

import pytest

from iovirt.axi import TablePort, TableReader, TableWriter
from iovirt_sim.harness import simulate
from iovirt_sim.table_memory import ACCESS, NONE, POISON, TableMemory

BAD = [(0x1_0000, 0x40, ACCESS), (0x1_0100, 8, POISON)]


def make(**changes):
    parameters = {"readers": 2, "writers": 2, "data_width": 128, "address_width": 40,
                  "read_tag_width": 2, "write_tag_width": 1}
    return TablePort(**{**parameters, **changes})


@pytest.mark.parametrize(("changes", "message"), [
    ({"readers": 0}, "Number of clients must be an integer of at least 1, not 0"),
    ({"writers": "2"}, "Number of clients must be an integer of at least 1, not '2'"),
    ({"data_width": 32}, "Data width must be 64, 128, 256 or 512, not 32"),
    ({"address_width": 65}, "Address width must be an integer in 13..64, not 65"),
    ({"read_tag_width": -1}, "Tag width must be an integer of at least 0, not -1"),
    ({"write_tag_width": 1.0}, "Tag width must be an integer of at least 0, not 1.0"),
    ({"cache": 16}, "AxCACHE must be an integer in 0..15, not 16"),
    ({"prot": 8}, "AxPROT must be an integer in 0..7, not 8"),
    ({"qos": None}, "AxQOS must be an integer in 0..15, not None"),
])
def test_parameter_errors(changes, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        make(**changes)


@pytest.mark.parametrize("component", [TableReader, TableWriter])
def test_halves_check_their_parameters(component):
    with pytest.raises(ValueError, match=r"^Data width must be 64, 128, 256 or 512, not 8$"):
        component(clients=1, data_width=8, address_width=40, tag_width=0)


def test_access_attributes_are_those_given():
    dut = make(cache=0b0110, prot=0b011, qos=5)

    async def testbench(ctx):
        await ctx.tick()
        for prefix in ("ar", "aw"):
            assert ctx.get(getattr(dut.bus, prefix + "cache")) == 0b0110
            assert ctx.get(getattr(dut.bus, prefix + "prot")) == 0b011
            assert ctx.get(getattr(dut.bus, prefix + "qos")) == 5
            assert ctx.get(getattr(dut.bus, prefix + "burst")) == 1
            assert ctx.get(getattr(dut.bus, prefix + "lock")) == 0

    simulate(dut, testbench)


def read_client(dut, memory, client, requests, rng, stall, done):
    """Return a testbench that issues ``requests`` and checks the beats of each."""
    step = dut.data_width // 8

    async def testbench(ctx):
        left, waiting = list(requests), {}
        stream, beats = dut.read_request[client], dut.read_beats[client]
        offered = False
        while left or waiting:
            if left and not offered and rng.random() >= stall:
                address, size_log2, tag = left[0]
                ctx.set(stream.payload, {"address": address, "size_log2": size_log2, "tag": tag})
                ctx.set(stream.valid, 1)
                offered = True
            ctx.set(beats.ready, rng.random() >= stall)
            _, _, taken, valid, beat, ready = await ctx.tick().sample(
                stream.ready, beats.valid, beats.payload, beats.ready)
            if offered and taken:
                address, size_log2, tag = left.pop(0)
                waiting.setdefault(tag, []).extend(_pieces(memory, address, 1 << size_log2, step))
                ctx.set(stream.valid, 0)
                offered = False
            if valid and ready:
                lane, size, value, error, last = waiting[beat.tag].pop(0)
                assert (beat.error.value, beat.last) == (error, last)
                assert (beat.data >> 8 * lane) & ((1 << 8 * size) - 1) == value
                if not waiting[beat.tag]:
                    del waiting[beat.tag]
        ctx.set(beats.ready, 0)
        done()
    return testbench


def _pieces(memory, address, size, step):
    piece = min(size, step)
    return [(at % step, piece, memory.load(at, piece), memory.error(at, piece),
             at + piece == address + size) for at in range(address, address + size, piece)]


def write_client(dut, memory, client, requests, rng, stall, done):
    """Return a testbench that issues ``requests`` and checks that a response means written."""
    async def testbench(ctx):
        left, waiting, offered = list(requests), {}, False
        stream, response = dut.write_request[client], dut.write_response[client]
        while left or waiting:
            if left and not offered and rng.random() >= stall:
                address, size_log2, data, tag = left[0]
                ctx.set(stream.payload, {"address": address, "size_log2": size_log2,
                                         "data": data, "tag": tag})
                ctx.set(stream.valid, 1)
                offered = True
            ctx.set(response.ready, rng.random() >= stall)
            _, _, taken, valid, answer, ready = await ctx.tick().sample(
                stream.ready, response.valid, response.payload, response.ready)
            if offered and taken:
                waiting.setdefault(left[0][3], []).append(left.pop(0))
                ctx.set(stream.valid, 0)
                offered = False
            if valid and ready:
                address, size_log2, data, tag = waiting[answer.tag].pop(0)
                size = 1 << size_log2
                error = memory.error(address, size)
                assert answer.error.value == error
                if error == NONE:
                    assert memory.load(address, size) == data & ((1 << 8 * size) - 1)
                if not waiting[tag]:
                    del waiting[tag]
        ctx.set(response.ready, 0)
        done()
    return testbench


@pytest.mark.parametrize("stall", [0.0, 0.4])
@pytest.mark.parametrize(("data_width", "clients"), [(64, 1), (128, 2), (256, 3), (512, 2)])
def test_every_client_gets_its_data_and_errors(data_width, clients, stall):
    dut = make(data_width=data_width, readers=clients, writers=clients)
    rng = random.Random(f"{data_width} {stall}")
    memory = TableMemory(seed=1, latency=(0, 12), stall=stall, bad=BAD)
    for address in range(0x1_0000 - 0x200, 0x1_0000 + 0x400, 8):
        memory.store(address, 8, rng.getrandbits(64))
    left = 2 * clients

    def done():
        nonlocal left
        left -= 1
        if not left:
            memory.stop()

    def reads():
        for _ in range(40):
            size_log2 = rng.randint(3, 6)
            yield ((0x1_0000 + rng.randrange(-0x200, 0x400)) >> size_log2 << size_log2,
                   size_log2, rng.randrange(4))

    def writes(client):
        for n in range(40):
            # Places of their own, and some that fail.
            size_log2 = rng.randint(2, 5)
            base = 0x2_0000 + 0x1000 * client + 32 * n if rng.random() < 0.8 else 0x1_0000
            yield base + (rng.randrange(32) >> size_log2 << size_log2), size_log2, \
                rng.getrandbits(256), rng.randrange(2)

    simulate(
        dut, memory.serve_axi_reads(dut.bus), memory.serve_axi_writes(dut.bus),
        *(read_client(dut, memory, n, list(reads()), rng, stall, done) for n in range(clients)),
        *(write_client(dut, memory, n, list(writes(n)), rng, stall, done) for n in range(clients)),
        deadline=6000)


def test_one_read_per_clock():
    dut = make(readers=1)
    memory = TableMemory(latency=(5, 5))
    clock = 0

    async def count(ctx):
        nonlocal clock
        while not memory.stopped:
            await ctx.tick()
            clock += 1

    requests = [(16 * n, 4, n % 4) for n in range(100)]
    client = read_client(dut, memory, 0, requests, random.Random(0), 0.0, memory.stop)
    simulate(dut, memory.serve_axi_reads(dut.bus), client, count)
    assert clock < 100 + 15


def test_a_read_is_out_one_clock_after_its_request():
    dut = make()

    async def testbench(ctx):
        ctx.set(dut.read_request[1].payload, {"address": 0x40, "size_log2": 3, "tag": 2})
        ctx.set(dut.read_request[1].valid, 1)
        await ctx.tick().until(dut.read_request[1].ready)
        ctx.set(dut.read_request[1].valid, 0)
        assert ctx.get(dut.bus.arvalid)
        assert ctx.get(dut.bus.arid) == 1 << 2 | 2
        assert (ctx.get(dut.bus.arsize), ctx.get(dut.bus.arlen)) == (3, 0)

    simulate(dut, testbench)
