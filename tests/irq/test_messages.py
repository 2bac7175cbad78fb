import random

from iovirt.irq.messages import MessageSorter
from iovirt_sim.harness import simulate
from iovirt_sim.streams import receive, send

ERRORS = {0x30: 4, 0x31: 5, 0x33: 6, 0x18: 7}


def message(code, rid):
    """A message header: code in bits 71:64, requester in bits 95:80."""
    return {"hdr": code << 64 | rid << 80, "segment": rid & 7, "pv": 0, "pid": 0, "priv": 0,
            "exec": 0, "data": 0}


def test_interrupts_become_notices_and_all_else_is_handed_on():
    rng   = random.Random(1)
    dut   = MessageSorter()
    codes = [rng.choice([*range(0x20, 0x28), *ERRORS, 0x04, 0x10, 0x32, 0x7e, 0x28])
             for _ in range(300)]
    levels, notices, others = [0] * 4, [], []
    for rid, code in enumerate(codes):
        if 0x20 <= code < 0x28:
            level = int(code < 0x24)
            if levels[code & 3] != level:
                levels[code & 3] = level
                notices.append((code & 3, rid & 7, rid, level))
        elif code in ERRORS:
            notices.append((ERRORS[code], rid & 7, rid, 0))
        else:
            others.append((code, rid))
    seen = []

    async def sender(ctx):
        await send(ctx, dut.i, [message(code, rid) for rid, code in enumerate(codes)],
                   gap=lambda: rng.choice([0, 2]))
        await ctx.tick()
        assert ctx.get(dut.level) == sum(level << pin for pin, level in enumerate(levels))
        ctx.set(dut.clear, 1)
        await ctx.tick()
        assert ctx.get(dut.level) == 0

    async def notice(ctx):
        for what, in await receive(ctx, dut.notice, len(notices), gap=lambda: rng.choice([0, 1])):
            seen.append((what.kind.value, what.segment, what.rid, what.data))

    async def other(ctx):
        found = await receive(ctx, dut.o, len(others), gap=lambda: rng.choice([0, 1]))
        found = [(what.hdr >> 64 & 0xff, what.hdr >> 80 & 0xffff) for what, in found]
        assert found == others

    simulate(dut, sender, notice, other)
    assert seen == notices
