# amaranth: UnusedElaboratable=no

import random

from iovirt.dma.answers import Answers
from iovirt.dma.layouts import ticket
from iovirt_sim.harness import simulate
from iovirt_sim.streams import receive


def test_results_are_taken_at_once_and_writes_counted_in_order():
    rng = random.Random(5)
    dut = Answers(writes=8, reads=8, classes=2, number_width=8, address_width=40)
    count, counted = [0], []
    writes, reads = [], []

    def result(slot, read):
        order, nothing, ok = rng.randrange(2), rng.random() < 0.2, rng.random() < 0.8
        payload = {"ok": int(ok), "ca": rng.randrange(2), "ppn": rng.getrandbits(28),
                   "epoch": rng.randrange(2),
                   "id": ticket(slots=8, classes=2).const({
                       "slot": slot, "order": order, "nothing": int(nothing),
                       "read": int(read)}).as_value().value}
        goes = ok and not nothing
        if read:
            reads.append((slot, order, count[0], not ok))
        else:
            writes.append((slot, goes, payload["ppn"], payload["epoch"], order, count[0]))
            count[0] += goes
        return payload

    async def producer(ctx):
        mixture = [(slot, read) for read in (False, True) for slot in range(8)]
        rng.shuffle(mixture)
        for slot, read in mixture:
            ctx.set(dut.i.payload, result(slot, read))
            ctx.set(dut.i.valid, 1)
            assert ctx.get(dut.i.ready)
            await ctx.tick()
        ctx.set(dut.i.valid, 0)
        await ctx.tick().repeat(4)
        assert [slot for slot, in await receive(ctx, dut.write, 8)] == [
            slot for slot, *_ in writes]
        assert [(got.slot, got.order, got.number, bool(got.denied))
                for got, in await receive(ctx, dut.read, 8)] == reads

    async def counts(ctx):
        # The number is that of the clock: one count for both classes is enough here.
        n = 0
        async for _, _, en in ctx.tick().sample(dut.arrive.en):
            n += en
            ctx.set(dut.arrive.number, n)

    async def watch(ctx):
        port = dut.write_answer
        async for _, _, en, slot, kept in ctx.tick().sample(port.en, port.slot, port.data):
            if en:
                counted.append((slot, bool(kept.go), kept.ppn, kept.epoch, kept.order,
                                kept.number))

    simulate(dut, producer, background=[counts, watch])
    assert counted == writes
