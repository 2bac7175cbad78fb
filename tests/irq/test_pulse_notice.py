import random

import pytest

from iovirt.irq.layouts import MessageKind
from iovirt.irq.pulse_notice import PulseNotice
from iovirt_sim.harness import simulate


def test_kind_must_be_one():
    with pytest.raises(ValueError, match="is not a valid MessageKind"):
        PulseNotice(kind=12)


@pytest.mark.parametrize("seed", range(4))
def test_each_event_is_counted_once_and_the_first_is_named(seed):
    rng    = random.Random(seed)
    dut    = PulseNotice(kind=MessageKind.FAULT)
    events = []
    told   = []

    async def feed(ctx):
        for _ in range(300):
            fires, device = rng.random() < .3, rng.getrandbits(24)
            ctx.set(dut.event, fires)
            ctx.set(dut.device_id, device)
            await ctx.tick()
            if fires:
                events.append(device)
        ctx.set(dut.event, 0)

    async def take(ctx):
        for _ in range(400):
            ctx.set(dut.o.ready, rng.random() < .2)
            _, _, valid, ready, notice = await ctx.tick().sample(dut.o.valid, dut.o.ready,
                                                                 dut.o.payload)
            if valid and ready:
                assert notice.kind == MessageKind.FAULT
                told.append((notice.segment << 16 | notice.rid, notice.data))

    simulate(dut, feed, take)
    assert sum(count for _, count in told) == len(events)
    place = 0
    for device, count in told:
        assert device == events[place]
        place += count
