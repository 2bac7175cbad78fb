# amaranth: UnusedElaboratable=no

import random

import pytest

from iovirt.vf.doorbell_writer import DoorbellWriter
from iovirt_sim.harness import simulate
from iovirt_sim.streams import receive, send

RID = 0x0108


@pytest.mark.parametrize("change, message", [
    ({"data_width": 32}, "Data width must be 64, 128, 256 or 512, not 32"),
    ({"functions": 5}, "Number of functions must be an integer in 1..4, not 5"),
    ({"sources": 0}, "Number of sources must be an integer of at least 1, not 0"),
])
def test_wrong_parameters(change, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        DoorbellWriter(**{"data_width": 64, "functions": 2, **change})


def header(address):
    """Return the header of a write of one Dword (PCIe Base 4.0, 2.2.7)."""
    wide = address >> 32 != 0
    words = [(3 if wide else 2) << 29 | 1, RID << 16 | 0x0f, *(
        [address >> 32, address & 0xffffffff] if wide else [address, 0])]
    return sum(word << 96 - 32 * n for n, word in enumerate(words))


@pytest.mark.parametrize("data_width, functions, stalls", [(64, 1, 0), (256, 4, 2)])
def test_doorbells_become_writes_in_the_order_of_their_source(data_width, functions, stalls):
    rng = random.Random(data_width)
    dut = DoorbellWriter(data_width=data_width, functions=functions)
    bars = [0xfffff000, 0x12_3456_7000, 0xfe00_0000, 0xffff_ffff_0000_0000][:functions]
    rings = [[{"function": rng.randrange(functions), "tail": rng.choice([0, 0x400, 0x3fffff]),
               "value": 1000 * n + k} for k in range(40)] for n in range(2)]
    # Function 2 is not valid.
    expected = [[(header(bars[ring["function"]] + 4 * ring["tail"]), ring["value"])
                 for ring in source if ring["function"] != 2] for source in rings]

    async def setup(ctx):
        ctx.set(dut.requester_id, RID)
        for n, bar in enumerate(bars):
            ctx.set(dut.functions[n], {"valid": n != 2, "bar": bar})

    def source(n):
        async def testbench(ctx):
            await send(ctx, dut.i[n], rings[n], gap=lambda: rng.choice([0, 0, 1]))
        return testbench

    async def sink(ctx):
        got = [[], []]
        transfers = await receive(ctx, dut.tx, sum(map(len, expected)),
                                  gap=lambda: rng.randint(0, stalls))
        for (beat,) in transfers:
            assert (beat.strb, beat.first, beat.last) == (1, 1, 1)
            got[beat.data // 1000].append((beat.hdr, beat.data))
        assert got == expected

    simulate(dut, setup, source(0), source(1), sink)


def test_a_source_that_never_rests_does_not_hold_up_the_other():
    dut = DoorbellWriter(data_width=64, functions=1)

    def source(n):
        async def testbench(ctx):
            ctx.set(dut.functions[0].valid, 1)
            await send(ctx, dut.i[n], [{"function": 0, "tail": 0, "value": n}] * 50)
        return testbench

    async def sink(ctx):
        transfers = await receive(ctx, dut.tx, 60)
        assert abs(sum(beat.data for beat, in transfers) - 30) <= 1

    simulate(dut, sink, background=[source(0), source(1)])
