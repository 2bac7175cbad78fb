# amaranth: UnusedElaboratable=no

import random

import pytest

from iovirt.dma.completions import Completions
from iovirt_sim.harness import simulate
from iovirt_sim.streams import receive, send
from iovirt_sim.tlp import Kind, Status, Tlp

LANES, ROWS, PIECES = 4, 8, 8


def word(piece, dword):
    """What lies in a buffer at a Dword counted from the start of its first row."""
    return piece << 16 | dword % (LANES * ROWS)


async def memory(ctx, dut):
    port = dut.payload
    async for _, _, en, slot, row, bump in ctx.tick().sample(port.en, port.slot, port.row,
                                                             port.bump):
        if en:
            ctx.set(port.data, sum(
                word(slot, (row + (bump >> lane & 1)) * LANES + lane) << 32 * lane
                for lane in range(LANES)))


@pytest.mark.parametrize("seed, gaps", [(1, [0]), (2, [0, 0, 1, 4])])
def test_completions_are_packed_and_failures_recorded(seed, gaps):
    rng = random.Random(seed)
    dut = Completions(lanes=LANES, rows=ROWS, pieces=PIECES)
    expected, errors, recorded, freed, sent = [], [], [], [], []

    async def producer(ctx):
        ctx.set(dut.completer_id, 0xBEEF)
        for n in range(40):
            piece, first = n % PIECES, rng.randrange(LANES)
            length = rng.choice([1, 3, 4, 5, LANES * ROWS - first,
                                 rng.randrange(1, LANES * ROWS - first + 1)])
            fields = {"rid": rng.randrange(1 << 16), "tag": rng.randrange(1024),
                      "tc": rng.randrange(8), "attr": rng.randrange(8),
                      "byte_count": rng.choice([1, 4096, 4 * length]),
                      "lower_addr": rng.randrange(128)}
            status = {"piece": piece, "poison": int(rng.random() < 0.2),
                      "abort": int(rng.random() < 0.2), "drop": int(rng.random() < 0.2)}
            while len(freed) + PIECES <= n:
                await ctx.tick()
            ctx.set(dut.record.slot, piece)
            ctx.set(dut.record.data, {**fields, "segment": 9, "address": n, "length_dw": length,
                                      "first_lane": first})
            ctx.set(dut.record.en, 1)
            await ctx.tick()
            ctx.set(dut.record.en, 0)
            if not status["drop"]:
                if status["abort"] or status["poison"]:
                    errors.append((9 if status["abort"] else 8, 9, fields["rid"], n))
                payload = b"".join(word(piece, first + d).to_bytes(4, "little")
                                   for d in range(length))
                expected.append(Tlp(Kind.CPL, status=Status.CA, cid=0xBEEF, length=1024, **fields)
                                if status["abort"] else
                                Tlp(Kind.CPLD, cid=0xBEEF, length=length, payload=payload,
                                    ep=bool(status["poison"]), **fields))
            sent.append(piece)
            await send(ctx, dut.i, [status])
        while len(freed) < len(sent) or len(recorded) < len(errors) or expected:
            await ctx.tick()

    async def consumer(ctx):
        beats = []
        while True:
            (beat,), = await receive(ctx, dut.o, 1, gap=lambda: rng.choice(gaps))
            assert bool(beat.first) == (not beats)
            beats.append({name: getattr(beat, name) for name in ("data", "strb", "hdr")})
            if beat.last:
                assert Tlp.from_beats(beats, 32 * LANES) == expected.pop(0)
                beats = []

    async def log(ctx):
        while True:
            (got,), = await receive(ctx, dut.error, 1, gap=lambda: rng.choice(gaps))
            recorded.append((got.cause.value, got.segment, got.rid, got.address))

    async def watch(ctx):
        async for _, _, en, slot in ctx.tick().sample(dut.put.en, dut.put.slot):
            if en:
                freed.append(slot)

    async def memory_of_dut(ctx):
        await memory(ctx, dut)

    simulate(dut, producer, background=[consumer, log, watch, memory_of_dut])
    assert freed == sent and recorded == errors
