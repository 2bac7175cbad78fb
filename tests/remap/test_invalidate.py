"""The invalidator: order of its steps, and that walks are held throughout."""

import random

import pytest

from iovirt.remap.invalidate import Invalidator
from iovirt_sim.harness import simulate
from iovirt_sim.streams import send


def test_parameter_errors():
    with pytest.raises(ValueError,
                       match=r"^Settling time must be an integer of at least 1, not 0$"):
        Invalidator(settle=0)


def op(number):
    rng = random.Random(number)
    return {"kind": rng.getrandbits(1), "gv": rng.getrandbits(1), "av": rng.getrandbits(1),
            "gscid": number, "iova": rng.getrandbits(52), "dv": rng.getrandbits(1),
            "device_id": rng.getrandbits(24)}


@pytest.mark.parametrize("settle", [1, 4, 5])
@pytest.mark.parametrize("slow", [0, 6])
def test_steps_come_in_order_under_hold(settle, slow):
    dut = Invalidator(settle=settle)
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
                    stream.valid, stream.ready, stream.payload, dut.hold)
                if valid and ready:
                    assert hold
                    log.append((name, payload.gscid))
        return testbench

    async def watch(ctx):
        clock = swept = 0
        while not done:
            _, _, forget, hold, valid, ready, payload, lookup = await ctx.tick().sample(
                dut.forget_contexts, dut.hold, dut.op.valid, dut.op.ready, dut.op.payload,
                dut.lookup.valid & dut.lookup.ready)
            clock += 1
            if lookup:
                swept = clock
            if forget:
                assert hold and clock - swept > settle
                log.append(("forget", payload.gscid))
            if valid and ready:
                assert hold
                log.append(("done", payload.gscid))

    simulate(dut, software, part("walker", dut.walker), part("lookup", dut.lookup), watch)
    steps = [(name, entry["gscid"]) for entry in ops
             for name in ("walker", "lookup", *["forget"] * entry["kind"], "done")]
    assert log == steps


def test_page_invalidation_takes_three_clocks_beside_the_sweeps():
    dut = Invalidator()

    async def testbench(ctx):
        ctx.set(dut.walker.ready, 1)
        ctx.set(dut.lookup.ready, 1)
        ctx.set(dut.op.payload, {**op(1), "kind": 0})
        ctx.set(dut.op.valid, 1)
        for clock in range(4):
            assert ctx.get(dut.op.ready) == (clock == 3)
            await ctx.tick()

    simulate(dut, testbench)
