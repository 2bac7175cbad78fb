# amaranth: UnusedElaboratable=no

import random

import pytest
from amaranth import *
from amaranth.lib import wiring

from iovirt.dma.order import WriteOrder
from iovirt.dma.order_gate import OrderGate
from iovirt_sim.harness import simulate
from iovirt_sim.streams import receive, send


class CountedGate(wiring.Component):
    """A gate, with the counts it asks."""

    def __init__(self, *, slots, classes, width, in_order=False):
        self.width = width
        self.gate  = OrderGate(slots=slots, classes=classes, number_width=width, in_order=in_order)
        self.order = WriteOrder(classes=classes, width=width)
        members    = self.gate.signature.members
        super().__init__({"i": members["i"], "o": members["o"]})

    def elaborate(self, platform):
        m = Module()
        m.submodules.gate = gate = self.gate
        m.submodules.order = self.order
        wiring.connect(m, wiring.flipped(self.i), gate.i)
        wiring.connect(m, gate.o, wiring.flipped(self.o))
        wiring.connect(m, gate.ask, self.order.ask[1])
        return m


@pytest.mark.parametrize("slots, width, in_order", [(4, 6, False), (16, 7, False), (4, 6, True),
                                                    (5, 6, True), (16, 7, True)])
def test_what_waits_goes_when_its_writes_are_done_and_not_before(slots, width, in_order):
    rng  = random.Random(slots)
    dut  = CountedGate(slots=slots, classes=4, width=width, in_order=in_order)
    done, most, needs, out = [0] * 4, [0] * 4, {}, []

    async def producer(ctx):
        for _ in range(80):
            while len(needs) == slots:
                await ctx.tick()
            slot  = rng.choice([slot for slot in range(slots) if slot not in needs])
            order = rng.randrange(4)
            # Numbers of a class never fall.
            most[order] = max(most[order], done[order] + rng.choice([0, 0, 3, 10]))
            needs[slot] = order, most[order], not in_order and rng.random() < 0.2
            await send(ctx, dut.i, [{"slot": slot, "order": order, "denied": int(needs[slot][2]),
                                     "number": needs[slot][1] % (1 << width)}])
        while needs:
            await ctx.tick()

    async def consumer(ctx):
        while True:
            (slot,), = await receive(ctx, dut.o, 1, gap=lambda: rng.choice([0, 0, 4, 30]))
            order, number, denied = needs[slot]
            assert denied or done[order] >= number, f"slot passed {number - done[order]} writes"
            if in_order:
                assert slot == next(key for key, entry in needs.items() if entry[0] == order), \
                    "the order of a class was not kept"
            del needs[slot]
            out.append(slot)

    async def memory(ctx):
        port = dut.order.respond
        while True:
            order, comes = rng.randrange(4), rng.random() < 0.6
            ctx.set(port.order, order)
            ctx.set(port.en, comes)
            await ctx.tick()
            done[order] += comes

    simulate(dut, producer, background=[memory, consumer])
    assert len(out) == 80 and max(done) > 1 << width - 2


def test_those_of_a_class_that_waited_leave_in_order_and_behind_another_class():
    dut = CountedGate(slots=8, classes=2, width=7, in_order=True)
    got = []

    async def testbench(ctx):
        await send(ctx, dut.i, [{"slot": n, "order": n == 4, "number": 9 * (n != 4)}
                                for n in range(8)])
        ctx.set(dut.order.respond.en, 1)
        ctx.set(dut.o.ready, 1)
        for clock in range(40):
            ctx.set(dut.order.respond.en, clock < 9)
            _, _, valid, slot = await ctx.tick().sample(dut.o.valid, dut.o.payload)
            got.extend([(slot, clock)] * valid)

    simulate(dut, testbench, deadline=200)
    assert [slot for slot, _ in got] == [4, 0, 1, 2, 3, 5, 6, 7]
    assert got[-1][1] < 30


@pytest.mark.parametrize("in_order", [False, True])
def test_those_that_need_not_wait_go_one_per_clock(in_order):
    dut = CountedGate(slots=16, classes=2, width=7, in_order=in_order)
    clocks = []

    async def producer(ctx):
        await send(ctx, dut.i, [{"slot": n, "order": n // 6 % 2} for n in range(16)])

    async def consumer(ctx):
        ctx.set(dut.o.ready, 1)
        for clock in range(30):
            _, _, valid = await ctx.tick().sample(dut.o.valid)
            clocks.extend([clock] * valid)

    simulate(dut, producer, consumer, deadline=60)
    assert clocks == list(range(clocks[0], clocks[0] + 16))


def test_waiting_reads_do_not_stop_others():
    dut = CountedGate(slots=8, classes=2, width=7)
    got = []

    async def producer(ctx):
        await send(ctx, dut.i, [{"slot": n, "order": 0, "number": 5} for n in range(4)])
        await send(ctx, dut.i, [{"slot": n, "order": 1} for n in range(4, 8)])

    async def consumer(ctx):
        got.extend(slot for slot, in await receive(ctx, dut.o, 4))

    simulate(dut, producer, consumer, deadline=60)
    assert got == [4, 5, 6, 7]


def test_read_goes_at_once_when_later_writes_are_done_too():
    dut = CountedGate(slots=8, classes=2, width=7)

    async def testbench(ctx):
        ctx.set(dut.order.respond.en, 1)
        await ctx.tick().repeat(9)
        ctx.set(dut.order.respond.en, 0)
        await send(ctx, dut.i, [{"slot": 3, "number": 2}])
        assert (await receive(ctx, dut.o, 1))[0][0] == 3

    simulate(dut, testbench, deadline=40)


def test_denied_read_does_not_wait():
    dut = CountedGate(slots=8, classes=2, width=7)

    async def testbench(ctx):
        await send(ctx, dut.i, [{"slot": 3, "number": 5, "denied": 1}])
        assert (await receive(ctx, dut.o, 1))[0][0] == 3

    simulate(dut, testbench, deadline=40)
