import pytest

from iovirt.irq.notify import Notifier
from iovirt_sim.harness import simulate

from .test_front_rules import Resettable

QUEUES = 4


def make(**changes):
    return Notifier(**{"queues": QUEUES, "queue_width": 2, "address_width": 40, "tag_width": 3,
                       "wires": 2, **changes})


@pytest.mark.parametrize("changes, message", [
    ({"wires": 33}, "Number of wires must be an integer in 1..32, not 33"),
    ({"tag_width": 1}, "Tag width must be an integer of at least 2, that of queue numbers, not 1"),
])
def test_parameters_are_checked(changes, message):
    with pytest.raises(ValueError, match=message):
        make(**changes)


async def notify(ctx, dut, queue):
    """Let a queue notify; return the address and data written, or None."""
    ctx.set(dut.notify.payload, queue)
    ctx.set(dut.notify.valid, 1)
    await ctx.tick().until(dut.notify.ready)
    ctx.set(dut.notify.valid, 0)
    for _ in range(10):
        if ctx.get(dut.request.valid):
            written = ctx.get(dut.request.p)
            return written.address, written.data
        if ctx.get(dut.notified.valid):
            assert ctx.get(dut.notified.p.queue) == queue
            return None
        await ctx.tick()
    raise AssertionError("neither written nor done")


@pytest.mark.parametrize("wait", [1, QUEUES])
def test_nothing_that_was_set_before_a_reset_is_left(wait):
    dut = Resettable(make())

    async def testbench(ctx):
        ctx.set(dut.notified.ready, 1)
        await ctx.tick().repeat(QUEUES)
        ctx.set(dut.set.en, 1)
        for queue in range(QUEUES):
            for word, data in enumerate((0x1000, 0x12, 77, 1)):
                ctx.set(dut.set.queue, queue)
                ctx.set(dut.set.word, word)
                ctx.set(dut.set.data, data)
                await ctx.tick()
        ctx.set(dut.set.en, 0)
        ctx.set(dut.request.ready, 1)
        for queue in range(QUEUES):
            assert await notify(ctx, dut, queue) == (0x12_0000_1000, 77)
            await ctx.tick()
        ctx.set(dut.reset, 1)
        await ctx.tick()
        ctx.set(dut.reset, 0)
        await ctx.tick().repeat(wait)
        for queue in reversed(range(QUEUES)):
            assert await notify(ctx, dut, queue) is None
            await ctx.tick()

    simulate(dut, testbench)
