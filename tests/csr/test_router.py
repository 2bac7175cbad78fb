import random

import pytest

from iovirt.csr.router import PageRouter, aligned_blocks
from iovirt_sim.harness import simulate


@pytest.mark.parametrize("pages, blocks", [
    (range(768, 1024), [(768, 8)]), (range(128, 145), [(128, 4), (144, 0)]),
    (range(544, 548), [(544, 2)]), (range(3, 13), [(3, 0), (4, 2), (8, 2), (12, 0)]),
    ([0, 1, 2, 4, 5, 6], [(0, 1), (2, 0), (4, 1), (6, 0)]), ([], []),
])
def test_pages_are_few_comparisons(pages, blocks):
    assert aligned_blocks(pages) == blocks


def test_each_page_goes_to_the_one_who_serves_it():
    rng   = random.Random(5)
    owner = [rng.choice((-1, 0, 1, 2)) for _ in range(16)] + [0] * 9 + [1] * 23 + [-1] + [2] * 15
    dut   = PageRouter(data_width=32, address_width=18, pages=[
        [page for page, n in enumerate(owner) if n == port] for port in range(3)])

    async def testbench(ctx):
        ctx.set(dut.i.response.ready, 1)
        for page, n in enumerate(owner):
            ctx.set(dut.i.request.p.address, page << 12)
            ctx.set(dut.i.request.valid, 1)
            await ctx.tick()
            assert [ctx.get(o.request.valid) for o in dut.o] == [port == n for port in range(3)]
            for o in dut.o:
                ctx.set(o.request.ready, 1)
            assert ctx.get(dut.i.request.ready)
            await ctx.tick()
            ctx.set(dut.i.request.valid, 0)
            for port, o in enumerate(dut.o):
                ctx.set(o.request.ready, 0)
                ctx.set(o.response.valid, port == n)
            error, = await ctx.tick().sample(dut.i.response.p.error).until(dut.i.response.valid)
            assert error == (n < 0)
            for o in dut.o:
                ctx.set(o.response.valid, 0)

    simulate(dut, testbench)
