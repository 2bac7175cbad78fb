# amaranth: UnusedElaboratable=no

import random

import pytest

from iovirt.pcie.completer import Completer
from iovirt.pcie.layouts import CompletionStatus
from iovirt_sim.harness import simulate
from iovirt_sim.streams import receive, send
from iovirt_sim.tlp import Kind, Status, Tlp


@pytest.mark.parametrize("arguments, error, message", [
    ({"data_width": 8, "ports": 1}, ValueError, r"^Data width must be 64, 128, 256 or 512, not 8$"),
    ({"data_width": 64, "ports": 0}, ValueError, r"^Number of ports must be at least 1, not 0$"),
    ({"data_width": 64, "ports": None}, TypeError, r"^Number of ports must be an integer, not N"),
])
def test_wrong_parameters(arguments, error, message):
    with pytest.raises(error, match=message):
        Completer(**arguments)


@pytest.mark.parametrize("ports", [1, 2, 3])
def test_every_request_becomes_its_completion(ports):
    rng  = random.Random(ports)
    gap  = lambda: rng.choice([0, 0, 1, 3])
    dut  = Completer(data_width=64, ports=ports)
    sent = [[{"rid": port << 8 | n, "tag": rng.getrandbits(10), "tc": rng.getrandbits(3),
              "attr": rng.getrandbits(3), "status": rng.choice(list(CompletionStatus)),
              "byte_count": rng.choice([1, 4, 4095, 4096]), "lower_addr": rng.getrandbits(7)}
             for n in range(20)] for port in range(ports)]
    seen = []

    def producer(port):
        async def testbench(ctx):
            await send(ctx, dut.request[port], sent[port], gap=gap)
        return testbench

    async def consumer(ctx):
        ctx.set(dut.rid, 0x0108)
        for payload, in await receive(ctx, dut.o, 20 * ports, gap=gap):
            assert (payload.first, payload.last, payload.strb) == (1, 1, 0)
            seen.append(payload.hdr)

    simulate(dut, consumer, *map(producer, range(ports)))
    for port in range(ports):
        want = [Tlp(Kind.CPL, **{**request, "status": Status(request["status"].value)}, cid=0x0108)
                for request in sent[port]]
        assert [hdr for hdr in seen if hdr >> 56 & 0xFF == port] == [tlp.pack()[0] for tlp in want]


def test_one_completion_per_clock():
    dut = Completer(data_width=64, ports=2)
    requests = [{"rid": n, "status": CompletionStatus.UR} for n in range(8)]

    async def producer(ctx):
        await send(ctx, dut.request[1], requests)

    async def consumer(ctx):
        ctx.set(dut.o.ready, 1)
        valid = [(await ctx.tick().sample(dut.o.valid))[2] for _ in range(10)]
        assert valid == [0] + [1] * 8 + [0]

    simulate(dut, producer, consumer)
