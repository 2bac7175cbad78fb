import random

import pytest
from amaranth import ClockDomain, Module, Signal
from amaranth.lib import wiring

from iovirt.pio.answer_order import AnswerOrder, class_of
from iovirt_sim.harness import simulate


@pytest.mark.parametrize("parameters, match", [
    ({"class_width": 0, "slots": 4}, "Width of class must be an integer of at least 1, not 0"),
    ({"class_width": 2, "slots": 6}, "Number of slots must be a power of two of at least 2, not 6"),
    ({"class_width": 2, "slots": "4"}, "Number of slots must be a power of two of at least 2"),
])
def test_parameters_are_checked(parameters, match):
    with pytest.raises(ValueError, match=match):
        AnswerOrder(**parameters)


def test_ids_of_up_to_8_bits_are_classes_of_their_own():
    assert len(class_of(Signal(6))) == 6
    assert len(class_of(Signal(13))) == 8


class Traffic:
    """Takes, finishes and puts slots at random, and checks the order of each class."""

    def __init__(self, dut, rng, *, count, take=.8, finish=.8, put=.8):
        self.dut, self.rng, self.count = dut, rng, count
        self.odds = {"take": take, "finish": finish, "put": put}
        self.open, self.queues, self.running, self.parked = {}, {}, [], []
        self.taken = self.gone = 0

    async def run(self, ctx, until=None):
        dut, rng, looked, chance = self.dut, self.rng, None, self._chance
        finishing = None
        ctx.set(dut.free.ready, 0)
        while self.gone < (until or self.count):
            # The choice for this clock was made with what is known now: `head` and `free`.
            takes = (looked is not None and ctx.get(dut.free.valid) and chance("take")
                     and self.taken < self.count)
            if takes:
                taken = {"slot": ctx.get(dut.free.payload.slot),
                         "turn": ctx.get(dut.free.payload.turn), "head": ctx.get(dut.head)}
                assert taken["slot"] not in self.open, "a slot was given twice"
                ctx.set(dut.take.token, taken)
            ctx.set(dut.take.en, takes)
            ctx.set(dut.free.ready, takes)
            if finishing is None and self.running and chance("finish"):
                finishing = self.running.pop(rng.randrange(len(self.running)))
                ctx.set(dut.finish.payload, finishing[1])
            ctx.set(dut.finish.valid, finishing is not None)
            puts = bool(self.parked) and chance("put")
            if puts:
                token = self.parked.pop(rng.randrange(len(self.parked)))
                ctx.set(dut.put.token, token)
                del self.open[token["slot"]]
            ctx.set(dut.put.en, puts)
            following = rng.randrange(1 << dut.class_width)
            ctx.set(dut.look, following)
            goes, gone, accepted = await self._tick(ctx)
            if takes:
                self.taken += 1
                self.running.append((looked, taken))
                self.queues.setdefault(looked, []).append(taken["slot"])
                self.open[taken["slot"]] = looked
            if finishing is not None and accepted:
                finishing = None
            if goes:
                self._went(gone)
            looked = following

    async def _tick(self, ctx):
        dut = self.dut
        _, _, goes, slot, turn, head, accepted = await ctx.tick().sample(
            dut.o.valid, dut.o.payload.slot, dut.o.payload.turn, dut.o.payload.head,
            dut.finish.ready)
        return goes, {"slot": slot, "turn": turn, "head": head}, accepted

    def _chance(self, what):
        return self.rng.random() < self.odds[what]

    def _went(self, token):
        queue = self.queues[self.open[token["slot"]]]
        assert queue[0] == token["slot"], "an access passed an earlier one of its class"
        queue.pop(0)
        assert all(entry["slot"] != token["slot"] for _, entry in self.running), "not finished"
        self.parked.append(token)
        self.gone += 1


@pytest.mark.parametrize("class_width, slots, odds", [
    (1, 2, {}), (1, 16, {"finish": .4}), (3, 8, {"put": .3}), (4, 4, {"take": 1, "finish": 1}),
    (2, 32, {"finish": .3, "take": 1})])
def test_each_class_goes_in_order_and_every_slot_goes_once(class_width, slots, odds):
    traffic = Traffic(AnswerOrder(class_width=class_width, slots=slots),
                      random.Random(slots + class_width), count=250, **odds)
    simulate(traffic.dut, traffic.run, deadline=8000)
    assert traffic.gone == traffic.taken == 250 and not traffic.running


class Resettable(wiring.Component):
    """An order of answers whose reset can be pulled."""

    def __init__(self, **parameters):
        self.order = AnswerOrder(**parameters)
        self.class_width = self.order.class_width
        self.domain = ClockDomain("sync")
        super().__init__(dict(self.order.signature.members))

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = self.domain
        m.submodules.order = self.order
        wiring.connect(m, wiring.flipped(self), self.order)
        return m


def test_order_is_right_after_a_reset_in_the_middle():
    dut, gone = Resettable(class_width=2, slots=8), []

    async def testbench(ctx):
        for seed in range(4):
            traffic = Traffic(dut, random.Random(seed), count=60 + seed, put=.5)
            await traffic.run(ctx, until=40)
            gone.append(traffic.gone)
            for signal in (dut.take.en, dut.put.en, dut.finish.valid):
                ctx.set(signal, 0)
            ctx.set(dut.domain.rst, 1)
            await ctx.tick()
            ctx.set(dut.domain.rst, 0)

    simulate(dut, testbench)
    assert all(40 <= count < 60 for count in gone)


@pytest.mark.parametrize("classes, clocks", [(4, 70), (1, 140)])
def test_rate_is_one_per_clock_and_one_per_two_clocks_within_a_class(classes, clocks):
    dut = AnswerOrder(class_width=3, slots=64)

    async def testbench(ctx):
        await ctx.tick().until(dut.free.valid)
        tokens = []
        for n in range(64):
            ctx.set(dut.take.en, 0)
            ctx.set(dut.free.ready, 0)
            ctx.set(dut.look, n % classes)
            await ctx.tick()
            tokens.append({"slot": ctx.get(dut.free.payload.slot), "head": ctx.get(dut.head),
                           "turn": ctx.get(dut.free.payload.turn)})
            ctx.set(dut.take.token, tokens[-1])
            ctx.set(dut.take.en, 1)
            ctx.set(dut.free.ready, 1)
            await ctx.tick()
        ctx.set(dut.take.en, 0)
        ctx.set(dut.free.ready, 0)
        for token in tokens:
            ctx.set(dut.finish.payload, token)
            ctx.set(dut.finish.valid, 1)
            await ctx.tick().until(dut.finish.ready)
        ctx.set(dut.finish.valid, 0)

    times = []

    async def watch(ctx):
        clock = 0
        async for _, _, goes in ctx.tick().sample(dut.o.valid):
            clock += 1
            if goes:
                times.append(clock)

    async def wait(ctx):
        while len(times) < 64:
            await ctx.tick()

    simulate(dut, testbench, wait, background=[watch])
    assert times[-1] - times[0] <= clocks
