"""ipsr and the interrupt wires against a plain-Python model."""

import random

import pytest

from iovirt.remap.interrupts import Interrupts
from iovirt_sim.harness import simulate

BITS = ("cie", "cqmf", "cmd_to", "cmd_ill", "fence_w_ip", "fie", "fqmf", "fqof", "new_record")


def test_parameter_errors():
    with pytest.raises(ValueError,
                       match=r"^Number of vectors must be 1, 2, 4, 8 or 16, not 3$"):
        Interrupts(vectors=3)


@pytest.mark.parametrize(("vectors", "bits"), [(1, 0), (2, 1), (4, 2), (8, 3), (16, 4)])
def test_writable_bits_of_icvec(vectors, bits):
    assert Interrupts(vectors=vectors).vector_bits == bits


@pytest.mark.parametrize("cause", ["cqmf", "cmd_to", "cmd_ill", "fence_w_ip"])
def test_condition_that_holds_sets_cip_again_after_a_clear(cause):
    dut = Interrupts()

    async def testbench(ctx):
        ctx.set(dut.civ, 2)
        ctx.set(getattr(dut, cause), 1)
        await ctx.tick().repeat(3)
        assert ctx.get(dut.ipsr) == 0  # cie is 0
        ctx.set(dut.cie, 1)
        await ctx.tick().repeat(2)
        assert (ctx.get(dut.ipsr), ctx.get(dut.wsi)) == (1, 0b0100)
        ctx.set(dut.clear, 1)
        await ctx.tick()
        ctx.set(dut.clear, 0)
        assert ctx.get(dut.ipsr) == 1
        ctx.set(getattr(dut, cause), 0)
        await ctx.tick()
        assert ctx.get(dut.ipsr) == 1  # sticky
        ctx.set(dut.clear, 1)
        await ctx.tick()
        assert ctx.get(dut.ipsr) == 0
        await ctx.tick()
        assert ctx.get(dut.wsi) == 0

    simulate(dut, testbench)


def test_record_sets_fip_once():
    dut = Interrupts()

    async def testbench(ctx):
        ctx.set(dut.fiv, 3)
        ctx.set(dut.fie, 1)
        ctx.set(dut.new_record, 1)
        await ctx.tick()
        ctx.set(dut.new_record, 0)
        await ctx.tick()
        assert (ctx.get(dut.ipsr), ctx.get(dut.wsi)) == (2, 0b1000)
        ctx.set(dut.clear, 2)
        await ctx.tick().repeat(3)
        assert (ctx.get(dut.ipsr), ctx.get(dut.wsi)) == (0, 0)

    simulate(dut, testbench)


@pytest.mark.parametrize("vectors", [1, 2, 4, 16])
def test_random_events_against_a_model(vectors):
    dut = Interrupts(vectors=vectors)
    rng = random.Random(vectors)

    async def testbench(ctx):
        pending, wires = 0, 0
        for _ in range(400):
            v = {name: rng.random() < 0.2 for name in BITS}
            v["cie"], v["fie"] = rng.random() < 0.7, rng.random() < 0.7
            clear, civ, fiv = rng.getrandbits(4), rng.randrange(16), rng.randrange(16)
            for name, value in v.items():
                ctx.set(getattr(dut, name), value)
            ctx.set(dut.clear, clear)
            ctx.set(dut.civ, civ)
            ctx.set(dut.fiv, fiv)
            wires = ((pending & 1) << civ % vectors) | ((pending >> 1) << fiv % vectors)
            cip = v["cie"] and (v["cqmf"] or v["cmd_to"] or v["cmd_ill"] or v["fence_w_ip"])
            fip = v["fie"] and (v["fqmf"] or v["fqof"] or v["new_record"])
            pending = pending & ~clear | cip | fip << 1
            await ctx.tick()
            assert (ctx.get(dut.ipsr), ctx.get(dut.wsi)) == (pending, wires)

    simulate(dut, testbench)
