import random

from iovirt.pcie.msi_window import MsiWindow
from iovirt_sim.harness import simulate

MSI = {"address": 0, "len_m1": 0, "first_be": 15, "at": 0, "pv": 0, "write": 1}
BASE_32, BASE_64 = 0xfee0_0000, 0x12_3456_0000


async def classify(ctx, dut, **changes):
    for name, value in (MSI | changes).items():
        ctx.set(getattr(dut, name), value)
    await ctx.delay(0)
    return ctx.get(dut.inside), ctx.get(dut.msi)


async def enable(ctx, dut):
    for name, value in ("base_32", BASE_32 >> 16), ("base_64", BASE_64 >> 16):
        ctx.set(getattr(dut, name), value)
    ctx.set(dut.enable_32, 1)
    ctx.set(dut.enable_64, 1)
    await ctx.tick()


def test_nothing_is_inside_unless_the_window_is_on():
    dut = MsiWindow()

    async def testbench(ctx):
        await ctx.tick()
        assert await classify(ctx, dut, address=0) == (0, 0)
        await enable(ctx, dut)
        ctx.set(dut.enable_32, 0)
        assert await classify(ctx, dut, address=BASE_32) == (0, 0)
        assert await classify(ctx, dut, address=BASE_64) == (1, 1)

    simulate(dut, testbench)


def test_only_well_formed_writes_are_interrupts():
    dut = MsiWindow()

    async def testbench(ctx):
        await enable(ctx, dut)
        for base in BASE_32, BASE_64:
            address = base + 0x1234
            assert await classify(ctx, dut, address=address) == (1, 1)
            for change in ({"write": 0}, {"len_m1": 1}, {"at": 1}, {"at": 2}, {"pv": 1},
                           *({"first_be": enables} for enables in range(15))):
                assert await classify(ctx, dut, address=address, **change) == (1, 0), change

    simulate(dut, testbench)


def test_any_overlap_is_inside():
    dut = MsiWindow()
    rng = random.Random(1)

    async def testbench(ctx):
        await enable(ctx, dut)
        for _ in range(1500):
            base    = rng.choice([BASE_32, BASE_64, BASE_64 + (1 << 32), BASE_32 + (1 << 32)])
            length  = rng.choice([1, 2, 31, 1023, 1024, rng.randint(1, 1024)])
            address = base + rng.choice([-4 * length, -4 * length + 4, -4, 0, 0xfffc, 0x10000,
                                         4 * rng.randint(-1100, 17000)])
            last    = address + 4 * length - 1
            inside  = any(address < window + 0x10000 and last >= window
                          for window in (BASE_32, BASE_64))
            found = await classify(ctx, dut, address=address, len_m1=length - 1)
            assert found == (inside, inside and length == 1), hex(address)

    simulate(dut, testbench)
