# amaranth: UnusedElaboratable=no

import random

import pytest

from iovirt.remap.admission import Admission
from iovirt_sim.harness import simulate
from iovirt_sim.streams import receive, send

NAMES = ("replay", "debug", "request", "probe")


@pytest.mark.parametrize("parameters, message", [
    ({"id_width": 0, "slot_width": 1}, r"^Width of id must be an integer of at least 1, not 0$"),
    ({"id_width": 1, "slot_width": "2"},
     r"^Width of slot must be an integer of at least 1, not '2'$"),
])
def test_wrong_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        Admission(**parameters)


def payload(name, number):
    """Make the payload number ``number`` of an input; its IOVA tells both."""
    access = {"iova": NAMES.index(name) << 32 | number, "device_id": number}
    if name == "debug":
        return access
    if name == "request":
        return {"access": access, "source": number, "id": number % 16}
    return {"access": access, name: 1, "slot": number % 8}


@pytest.mark.parametrize("seed", range(4))
def test_everything_enters_once_and_in_order(seed):
    rng, count, entered = random.Random(seed), 40, []
    dut = Admission(id_width=4, slot_width=3)
    gap = lambda: rng.choice([0, 0, 0, 2, 7])

    def producer(name):
        async def testbench(ctx):
            await send(ctx, getattr(dut, name), [payload(name, n) for n in range(count)], gap=gap)
        return testbench

    async def consumer(ctx):
        entered.extend(await receive(ctx, dut.o, 4 * count, also=[dut.entered, dut.accepted],
                                     gap=lambda: rng.choice([0, 0, 1])))

    async def room(ctx):
        while True:
            ctx.set(dut.room, rng.randint(0, 2) > 0)
            await ctx.tick()

    simulate(dut, consumer, *map(producer, NAMES), background=[room])
    for number, name in enumerate(NAMES):
        mine = [(p, new, accepted) for p, new, accepted in entered
                if p.access.iova >> 32 == number]
        assert [p.access.iova & 0xFFFF for p, *_ in mine] == list(range(count))
        for p, new, accepted in mine:
            assert (p.replay, p.probe, p.debug) == (name == "replay", name == "probe",
                                                    name == "debug")
            assert new == (name in ("debug", "request")) and accepted == (name == "request")


def test_replays_go_first_and_probes_last():
    dut, order = Admission(id_width=4, slot_width=3), []

    async def testbench(ctx):
        ctx.set(dut.room, 1)
        for name in NAMES:
            ctx.set(getattr(dut, name).payload, payload(name, 1))
            ctx.set(getattr(dut, name).valid, 1)
        ctx.set(dut.o.ready, 1)
        for name in NAMES:
            order.append(ctx.get(dut.o.p.access.iova) >> 32)
            _, _, taken = await ctx.tick().sample(getattr(dut, name).ready)
            assert taken
            ctx.set(getattr(dut, name).valid, 0)

    simulate(dut, testbench)
    assert order == [0, 1, 2, 3]


def test_epoch_is_that_of_the_clock_of_acceptance():
    dut = Admission(id_width=4, slot_width=3)

    async def testbench(ctx):
        ctx.set(dut.room, 1)
        ctx.set(dut.request.valid, 1)
        ctx.set(dut.o.ready, 1)
        for epoch in 0, 1, 1, 0:
            ctx.set(dut.epoch, epoch)
            assert ctx.get(dut.o.p.epoch) == epoch
            await ctx.tick()

    simulate(dut, testbench)


def test_new_requests_wait_for_room():
    dut = Admission(id_width=4, slot_width=3)

    async def testbench(ctx):
        ctx.set(dut.o.ready, 1)
        ctx.set(dut.request.valid, 1)
        ctx.set(dut.debug.valid, 1)
        assert not ctx.get(dut.o.valid)
        ctx.set(dut.probe.payload, payload("probe", 0))
        ctx.set(dut.probe.valid, 1)
        assert ctx.get(dut.o.valid) and ctx.get(dut.o.p.probe) and not ctx.get(dut.entered)
        ctx.set(dut.room, 1)
        assert ctx.get(dut.o.p.debug) and ctx.get(dut.entered) and not ctx.get(dut.accepted)

    simulate(dut, testbench)
