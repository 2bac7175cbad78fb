# amaranth: UnusedElaboratable=no

import random

import pytest
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from iovirt.stream import CreditQueue
from iovirt_sim.harness import simulate
from iovirt_sim.streams import receive, send


class Pipeline(wiring.Component):
    """A pipeline of ``stages`` registers that cannot stop, in front of a queue."""

    def __init__(self, *, stages, depth):
        self.stages, self.depth = stages, depth
        super().__init__({
            "i":     In(stream.Signature(8)),
            "o":     Out(stream.Signature(8)),
            "level": Out(range(depth + 1)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.queue = queue = CreditQueue(8, depth=self.depth)
        valid, payload = queue.reserve, self.i.payload
        m.d.comb += [self.i.ready.eq(queue.free), valid.eq(self.i.valid & queue.free)]
        for _ in range(self.stages):
            stage_valid, stage = Signal(), Signal(8)
            m.d.sync += [stage_valid.eq(valid), stage.eq(payload)]
            valid, payload = stage_valid, stage
        m.d.comb += [queue.i.valid.eq(valid), queue.i.payload.eq(payload),
                     self.level.eq(queue.level)]
        wiring.connect(m, queue.o, wiring.flipped(self.o))
        return m


@pytest.mark.parametrize("depth", [0, "4"])
def test_wrong_depth(depth):
    with pytest.raises(ValueError, match=rf"^Depth of queue must be an integer of at least 1, "
                                         rf"not {depth!r}$"):
        CreditQueue(8, depth=depth)


@pytest.mark.parametrize("stages, depth", [(0, 1), (2, 1), (2, 3), (2, 4), (3, 8)])
def test_every_result_arrives_once_and_in_order(stages, depth):
    rng  = random.Random(depth)
    gap  = lambda: rng.choice([0, 0, 0, 1, 6])
    sent = [rng.randrange(256) for _ in range(150)]
    dut  = Pipeline(stages=stages, depth=depth)
    received = []

    async def producer(ctx):
        await send(ctx, dut.i, sent, gap=gap)

    async def consumer(ctx):
        received.extend(await receive(ctx, dut.o, len(sent), also=[dut.level], gap=gap))

    simulate(dut, producer, consumer)
    assert [payload for payload, level in received] == sent
    assert all(1 <= level <= depth for payload, level in received)


@pytest.mark.parametrize("stages", [1, 2, 5])
def test_as_many_places_as_cycles_of_latency_and_one_give_full_rate(stages):
    dut = Pipeline(stages=stages, depth=stages + 2)

    async def testbench(ctx):
        ctx.set(dut.i.valid, 1)
        await ctx.tick().repeat(9)  # the consumer stalls; then it takes one per cycle
        ctx.set(dut.o.ready, 1)
        for _ in range(40):
            _, _, valid = await ctx.tick().sample(dut.o.valid)
            assert valid

    simulate(dut, testbench)
