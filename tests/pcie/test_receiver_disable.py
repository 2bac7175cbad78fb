"""Bus Master Enable of the port: ``dma_disable``."""

import random

import pytest

from iovirt.config import PcieConfig
from iovirt.pcie.layouts import ErrorCause
from iovirt.pcie.receiver import Receiver
from iovirt_sim.tlp import Kind, Tlp

from .receiver_bench import by_tlp, receive


def receiver():
    return Receiver(data_width=64, pcie=PcieConfig(np_credits=8))


def test_memory_requests_are_unsupported_and_all_else_passes():
    tlps = [Tlp.write(0x1000, bytes(16), rid=1), Tlp.read(0x2000, 4, rid=2),
            Tlp(Kind.CPLD, rid=3, cid=4, byte_count=4, payload=bytes(4)),
            Tlp(Kind.MSG, rid=5, code=0x20)]
    seen, released = receive(receiver(), [tlp.beats(64) for tlp in tlps], clocks=50,
                             dma_disable=1, max_payload=1)
    assert not seen["write"] and not seen["read"]
    assert [request["rid"] for request in seen["unsupported"]] == [2] and released == 1
    assert len(by_tlp(seen["completion"])) == 1 and len(seen["message"]) == 1
    assert [(record["cause"], record["rid"]) for record in seen["error"]] == [
        (ErrorCause.UNSUPPORTED.value, 1), (ErrorCause.UNSUPPORTED.value, 2)]


@pytest.mark.parametrize("seed", range(3))
def test_a_write_that_has_begun_ends_as_it_began(seed):
    rng, dut = random.Random(seed), receiver()
    packets  = [list(Tlp.write(0x1000 * n, bytes(8 * rng.randrange(1, 17)), rid=n).beats(64))
                for n in range(1, 120)]
    starts   = []

    async def toggle(ctx):
        while True:
            if rng.random() < .1:
                ctx.set(dut.dma_disable, rng.randrange(2))
            await ctx.tick()

    async def watch(ctx):
        while True:
            _, _, posted = await ctx.tick().sample(dut.posted)
            starts.extend([1] * posted)

    seen, _ = receive(dut, packets, gap=lambda: rng.choice([0, 0, 3]),
                      stall=lambda: rng.choice([0, 0, 2]), clocks=100, background=[toggle, watch],
                      max_payload=1)
    writes = by_tlp(seen["write"])
    sent   = {n: len(packet) for n, packet in enumerate(packets, 1)}
    passed = [group[0]["header"]["rid"] for group in writes]
    assert 20 < len(passed) < 100 and len(starts) == len(passed)
    for group, rid in zip(writes, passed, strict=True):
        assert group[0]["first"] and group[-1]["last"] and not group[-1]["abort"]
        assert len(group) == sent[rid]
    refused = [record["rid"] for record in seen["error"]]
    assert sorted(passed + refused) == sorted(sent)
