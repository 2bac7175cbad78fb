# amaranth: UnusedElaboratable=no

import random

import pytest

from iovirt.pio.cfg_mgmt import CfgMgmtPort
from iovirt_sim.harness import simulate

from .header_bench import access


@pytest.mark.parametrize("delays, same", [([0], True), ([0], False), ([0, 1, 7], True)])
def test_each_access_reaches_the_core_once_and_returns_what_it_says(delays, same):
    rng  = random.Random(len(delays))
    dut  = CfgMgmtPort()
    port = dut.cfg_mgmt
    seen, wanted = [], []

    async def core(ctx):
        while True:
            for _ in range(rng.choice(delays)):
                await ctx.tick()
            ctx.set(port.ready, 1)
            at_once = same and rng.random() < 0.5
            while not ctx.get(port.valid):
                await ctx.tick()
            what = [ctx.get(getattr(port, name)) for name in ("write", "address", "be", "data")]
            if not at_once:
                await ctx.tick()
                ctx.set(port.ready, 0)
                for _ in range(rng.choice(delays)):
                    await ctx.tick()
            ctx.set(port.read_data, sum(what))
            ctx.set(port.done, 1)
            await ctx.tick()
            ctx.set(port.done, 0)
            ctx.set(port.ready, 0)
            ctx.set(port.read_data, 0)
            seen.append(what)

    async def testbench(ctx):
        for _ in range(60):
            what = [rng.randrange(2), 4 * rng.randrange(1024), rng.randrange(16),
                    rng.randrange(1 << 31)]
            wanted.append(what)
            assert await access(ctx, dut.port, what[1], write=what[0], be=what[2],
                                data=what[3]) == sum(what)

    simulate(dut, testbench, background=[core])
    assert seen == wanted


def test_access_is_stable_until_the_core_takes_it():
    dut, offers = CfgMgmtPort(), []

    async def testbench(ctx):
        await access(ctx, dut.port, 0x18, write=1, data=5)

    async def core(ctx):
        for _ in range(12):
            await ctx.tick()
            if ctx.get(dut.cfg_mgmt.valid):
                offers.append((ctx.get(dut.cfg_mgmt.address), ctx.get(dut.cfg_mgmt.data)))
        ctx.set(dut.cfg_mgmt.ready, 1)
        ctx.set(dut.cfg_mgmt.done, 1)
        await ctx.tick()
        ctx.set(dut.cfg_mgmt.done, 0)

    simulate(dut, testbench, core)
    assert len(offers) >= 10 and set(offers) == {(0x18, 5)}
