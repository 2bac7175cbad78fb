"""The invalidator: order of its steps, and that walks are held throughout."""

import random

import pytest

from iovirt.remap.invalidate import Invalidator
from iovirt_sim.harness import simulate
from iovirt_sim.streams import send


def op(number):
    rng = random.Random(number)
    return {"kind": rng.getrandbits(1), "gv": rng.getrandbits(1), "av": rng.getrandbits(1),
            "gscid": number, "iova": rng.getrandbits(52), "dv": rng.getrandbits(1),
            "device_id": rng.getrandbits(24)}


@pytest.mark.parametrize("slow", [0, 6])
def test_steps_come_in_order_under_hold(slow):
    dut = Invalidator()
    rng = random.Random(slow)
    ops = [op(n) for n in range(25)]
    log = []
    done = False

    async def software(ctx):
        nonlocal done
        await send(ctx, dut.op, ops, gap=lambda: rng.randint(0, slow))
        await ctx.tick().repeat(2)
        assert not ctx.get(dut.hold)
        done = True

    def part(name, stream):
        async def testbench(ctx):
            while not done:
                ctx.set(stream.ready, rng.randint(0, slow) == 0)
                _, _, valid, ready, payload, hold = await ctx.tick().sample(
                    stream.valid, stream.ready, stream.payload, dut.hold & dut.stop)
                if valid and ready:
                    assert hold
                    log.append((name, payload.gscid))
        return testbench

    async def holds(ctx):
        # The miss file lets what is on its way pass before it says that nothing is.
        while not done:
            _, _, hold = await ctx.tick().sample(dut.hold)
            ctx.set(dut.held, hold and (ctx.get(dut.held) or rng.randint(0, slow) == 0))

    async def watch(ctx):
        held = False
        while not done:
            _, _, forget, hold, stop, valid, ready, payload, now = await ctx.tick().sample(
                dut.forget_contexts, dut.hold, dut.stop, dut.op.valid, dut.op.ready,
                dut.op.payload, dut.held)
            assert held or not stop, "walks are stopped only when none is on its way"
            held = now
            if forget:
                assert hold and stop
                log.append(("forget", payload.gscid))
            if valid and ready:
                assert hold
                log.append(("done", payload.gscid))

    simulate(dut, software, part("walker", dut.walker), part("lookup", dut.lookup), watch,
             holds)
    steps = [(name, entry["gscid"]) for entry in ops
             for name in ("walker", "lookup", *["forget"] * entry["kind"], "done")]
    assert log == steps


def test_page_invalidation_takes_four_clocks_beside_the_sweeps():
    dut = Invalidator()

    async def testbench(ctx):
        ctx.set(dut.walker.ready, 1)
        ctx.set(dut.lookup.ready, 1)
        ctx.set(dut.held, 1)
        ctx.set(dut.op.payload, {**op(1), "kind": 0})
        ctx.set(dut.op.valid, 1)
        for clock in range(5):
            assert ctx.get(dut.op.ready) == (clock == 4)
            await ctx.tick()

    simulate(dut, testbench)
