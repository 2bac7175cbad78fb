import random

from iovirt.irq.messages import MessageSorter
from iovirt_sim.harness import simulate
from iovirt_sim.streams import receive, send

ERRORS = {0x30: 4, 0x31: 5, 0x33: 6, 0x18: 7}
ASSERT_A, ASSERT_C, DEASSERT_A = 0x20, 0x22, 0x24


def message(code, rid):
    """A message as the data path hands it over, with noise beside its code."""
    return {"kind": 2, "segment": rid & 7, "rid": rid, "offset": 0xFF, "data": 0xABCD_0000 | code}


def seen(transfers):
    return [(what.kind.value, what.segment, what.rid, what.data) for what, *_ in transfers]


def test_interrupts_become_notices_and_all_else_is_dropped():
    rng   = random.Random(1)
    dut   = MessageSorter()
    codes = [rng.choice([*range(0x20, 0x28), *ERRORS, 0x04, 0x10, 0x32, 0x7e, 0x28])
             for _ in range(300)]
    levels, notices = [0] * 4, []
    for rid, code in enumerate(codes):
        if 0x20 <= code < 0x28:
            level = int(code < 0x24)
            if levels[code & 3] != level:
                levels[code & 3] = level
                notices.append((code & 3, rid & 7, rid, level))
        elif code in ERRORS:
            notices.append((ERRORS[code], rid & 7, rid, 0))

    async def sender(ctx):
        await send(ctx, dut.i, [message(code, rid) for rid, code in enumerate(codes)],
                   gap=lambda: rng.choice([0, 2]))
        await ctx.tick()
        assert ctx.get(dut.level) == sum(level << pin for pin, level in enumerate(levels))

    async def notice(ctx):
        found = await receive(ctx, dut.notice, len(notices), gap=lambda: rng.choice([0, 1]))
        assert seen(found) == notices

    simulate(dut, sender, notice)


def test_link_down_deasserts_the_pins_that_were_asserted():
    dut = MessageSorter()

    async def sender(ctx):
        await send(ctx, dut.i, [message(ASSERT_A, 1), message(ASSERT_C, 2)])
        ctx.set(dut.clear, 1)
        await ctx.tick()
        ctx.set(dut.clear, 0)
        assert (ctx.get(dut.level), ctx.get(dut.settled)) == (0, 0)
        # What comes now waits for the news of the pins.
        await send(ctx, dut.i, [message(ASSERT_A, 3)])
        await ctx.tick()
        assert (ctx.get(dut.level), ctx.get(dut.settled)) == (1, 1)

    async def notice(ctx):
        found = seen(await receive(ctx, dut.notice, 5, gap=lambda: 3))
        assert found == [(0, 1, 1, 1), (2, 2, 2, 1), (0, 0, 0, 0), (2, 0, 0, 0), (0, 3, 3, 1)]

    simulate(dut, sender, notice)


def test_levels_of_a_pin_alternate_whenever_the_link_goes_down():
    rng  = random.Random(2)
    dut  = MessageSorter()
    last = [0] * 4
    done = False

    async def sender(ctx):
        nonlocal done
        await send(ctx, dut.i, [message(rng.choice([*range(0x20, 0x28), 0x30]), n)
                                for n in range(400)], gap=lambda: rng.choice([0, 0, 1]))
        done = True

    async def link(ctx):
        while not done:
            ctx.set(dut.clear, rng.random() < 0.1)
            await ctx.tick()
        ctx.set(dut.clear, 1)
        await ctx.tick().repeat(40)
        assert last == [0] * 4, "software believes that a pin is asserted"

    async def notice(ctx):
        async for _, _, valid, ready, what in ctx.tick().sample(
                dut.notice.valid, dut.notice.ready, dut.notice.payload):
            if valid and ready and (pin := what.kind.value) < 4:
                assert what.data != last[pin]
                last[pin] = what.data
            ctx.set(dut.notice.ready, rng.random() < 0.7)

    simulate(dut, sender, link, background=[notice])
