# amaranth: UnusedElaboratable=no

from iovirt.pcie.layouts import ErrorCause
from iovirt.pio.record_queue import RecordQueue
from iovirt_sim.harness import simulate
from iovirt_sim.streams import receive


def test_record_without_place_is_counted():
    dut = RecordQueue()
    count, lost = RecordQueue.DEPTH + 5, []

    async def producer(ctx):
        for n in range(count):
            ctx.set(dut.i.payload, {"cause": ErrorCause.PIO_TIMEOUT, "tag": n})
            ctx.set(dut.i.valid, 1)
            await ctx.tick()
        ctx.set(dut.i.valid, 0)
        await ctx.tick().repeat(3)
        got = [record.tag for record, in await receive(ctx, dut.o, count - sum(lost))]
        assert got == list(range(count - sum(lost)))
        await ctx.tick().repeat(3)
        assert not ctx.get(dut.o.valid)

    async def counter(ctx):
        async for _, _, one in ctx.tick().sample(dut.lost):
            lost.append(one)

    simulate(dut, producer, background=[counter])
    assert 0 < sum(lost) <= 5
