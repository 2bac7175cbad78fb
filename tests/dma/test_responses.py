# amaranth: UnusedElaboratable=no

import random

from amaranth import *
from amaranth.lib import wiring

from iovirt.dma.order import WriteOrder
from iovirt.dma.responses import WriteResponses
from iovirt_sim.harness import simulate
from iovirt_sim.streams import receive, send


class CountedResponses(wiring.Component):
    """Responses, with their counts."""

    def __init__(self, *, classes, number_width, outstanding, id_width):
        self.responses = WriteResponses(classes=classes, number_width=number_width,
                                        outstanding=outstanding, id_width=id_width)
        self.order = WriteOrder(classes=classes, width=number_width)
        super().__init__({name: member for name, member in self.responses.signature.members.items()
                          if name != "respond"})

    def elaborate(self, platform):
        m = Module()
        m.submodules.responses = responses = self.responses
        m.submodules.order = self.order
        for name in self.signature.members:
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(responses, name))
        wiring.connect(m, responses.respond, self.order.respond)
        return m


def test_each_response_retires_its_write_and_failures_are_recorded():
    rng = random.Random(7)
    dut = CountedResponses(classes=2, number_width=6, outstanding=8, id_width=2)
    waiting, number = [[], []], [0, 0]
    retired, expected, errors, recorded, dropped = [], [], [], [], 12

    async def writer(ctx):
        port = dut.open
        for n in range(60):
            while all(len(queue) == 8 for queue in waiting):
                await ctx.tick()
            order = rng.choice([order for order in range(2) if len(waiting[order]) < 8])
            ctx.set(port.en, 1)
            ctx.set(port.order, order)
            ctx.set(port.number, number[order] % 64)
            epoch = rng.randrange(2)
            ctx.set(port.data, {"epoch": epoch, "turn": 1 - epoch, "rid": n, "segment": 3,
                                "address": 0x1000 + n})
            await ctx.tick()
            ctx.set(port.en, 0)
            number[order] += 1
            waiting[order].append((n, epoch))

    async def responder(ctx):
        for _ in range(60):
            while not any(waiting):
                await ctx.tick()
            order = rng.choice([order for order in range(2) if waiting[order]])
            n, epoch = waiting[order][0]
            resp = rng.choice([0, 0, 2, 3])
            expected.append(epoch)
            if resp:
                errors.append((n, 0x1000 + n))
            await send(ctx, dut.i, [{"id": order, "resp": resp}])
            waiting[order].pop(0)
        while len(retired) < 60 + dropped or len(recorded) < len(errors):
            await ctx.tick()

    async def drops(ctx):
        await send(ctx, dut.dropped, [{"epoch": 1}] * dropped, gap=lambda: rng.choice([0, 3]))

    async def log(ctx):
        while True:
            (got,), = await receive(ctx, dut.error, 1, gap=lambda: rng.choice([0, 6]))
            assert (got.cause.value, got.segment) == (7, 3)
            recorded.append((got.rid, got.address))

    async def watch(ctx):
        port, drop, end = dut.retire, dut.dropped, dut.finish
        async for _, _, valid, epoch, other, ended, turn in ctx.tick().sample(
                port.valid, port.epoch, drop.valid & drop.ready, end.valid, end.turn):
            assert valid == ended
            if valid:
                assert turn == 1 - epoch
                retired.append((epoch, bool(other)))

    simulate(dut, writer, responder, drops, background=[log, watch])
    assert [epoch for epoch, other in retired if not other] == expected
    assert sum(other for _, other in retired) == dropped
    assert recorded == errors
