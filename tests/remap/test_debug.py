"""The debug unit: requests as the registers say, answers as the engine says."""

import random

import pytest

from iovirt.remap.debug import DebugUnit
from iovirt_sim.harness import simulate


def test_parameter_errors():
    with pytest.raises(ValueError, match=r"^Address width must be an integer in 32\.\.56, not 8$"):
        DebugUnit(address_width=8)


def test_random_requests_and_answers():
    dut = DebugUnit(address_width=46)
    rng = random.Random(0)

    async def testbench(ctx):
        for _ in range(200):
            fields = {"vpn": rng.getrandbits(52), "priv": rng.getrandbits(1),
                      "exe": rng.getrandbits(1), "nw": rng.getrandbits(1),
                      "pid": rng.getrandbits(20), "pv": rng.getrandbits(1),
                      "device_id": rng.getrandbits(24)}
            before = ctx.get(dut.fault), ctx.get(dut.ppn)
            for name, value in fields.items():
                ctx.set(getattr(dut, name), value)
            ctx.set(dut.go, 1)
            assert not ctx.get(dut.busy)
            await ctx.tick()
            assert ctx.get(dut.busy)
            # Go and other values do not matter while busy.
            ctx.set(dut.vpn, rng.getrandbits(52))
            ctx.set(dut.nw, rng.getrandbits(1))
            for _ in range(rng.randrange(4)):
                await ctx.tick()
            ctx.set(dut.request.ready, 1)
            access, = await ctx.tick().sample(dut.request.payload).until(dut.request.valid)
            ctx.set(dut.request.ready, 0)
            ctx.set(dut.go, 0)
            pv = fields["pv"]
            assert access == {
                "device_id": fields["device_id"], "pv": pv, "pid": fields["pid"] * pv,
                "priv": fields["priv"] & pv, "exec": fields["exe"] & fields["nw"],
                "write": not fields["nw"], "at": 0, "iova": fields["vpn"] << 12}
            for _ in range(rng.randrange(4)):
                assert ctx.get(dut.busy) and not ctx.get(dut.request.valid)
                assert (ctx.get(dut.fault), ctx.get(dut.ppn)) == before
                await ctx.tick()
            ok, ppn = rng.getrandbits(1), rng.getrandbits(34)
            ctx.set(dut.response.payload, {"ok": ok, "ppn": ppn})
            ctx.set(dut.response.valid, 1)
            assert ctx.get(dut.response.ready)
            await ctx.tick()
            ctx.set(dut.response.valid, 0)
            assert not ctx.get(dut.busy)
            assert (ctx.get(dut.fault), ctx.get(dut.ppn)) == (not ok, ppn * ok)

    simulate(dut, testbench)
