# amaranth: UnusedElaboratable=no

import random

import pytest

from iovirt.dma.completions import Completions
from iovirt_sim.harness import simulate
from iovirt_sim.streams import receive, send
from iovirt_sim.tlp import Kind, Status, Tlp

LANES, ROWS, PIECES, READS = 4, 8, 8, 4


def word(piece, dword):
    """What lies in a buffer at a Dword counted from the start of its first row."""
    return (piece + 1) << 16 | dword % (LANES * ROWS)


def payload_of(piece, job):
    """What is to be sent of a piece."""
    words = [word(piece, job["first_lane"] + n) for n in range(job["length_dw"])]
    if job["carried"]:
        words[:2] = [job["rest"] & 0xFFFFFFFF, job["rest"] >> 32][:len(words)]
    return bytes(4 * len(words)) if job["zero"] else b"".join(
        value.to_bytes(4, "little") for value in words)


def make_jobs(rng, count):
    """Pieces of mixed reads; what is carried belongs to the piece of the same read before."""
    jobs, kept = [], {}
    for n in range(count):
        slot    = rng.randrange(READS)
        carried = slot in kept and rng.random() < 0.7
        first   = 0 if carried else rng.randrange(LANES)
        length  = rng.choice([1, 2, 3, 4, 5, LANES * ROWS - first,
                              rng.randrange(1, LANES * ROWS - first + 1)])
        hide    = rng.random() < 0.7
        jobs.append({"slot": slot, "carried": carried, "rest": kept.get(slot), "first_lane": first,
                     "length_dw": length, "zero": hide and rng.random() < 0.2, "hide": hide,
                     "poison": rng.random() < 0.2, "abort": rng.random() < 0.2, "tag": n})
        kept[slot] = jobs[-1]["carry"] = rng.getrandbits(64)
    return jobs


@pytest.mark.parametrize("seed, gaps", [(1, [0]), (2, [0, 0, 1, 4])])
def test_failures_are_hidden_and_divided_entries_put_together(seed, gaps):
    rng = random.Random(seed)
    dut = Completions(lanes=LANES, rows=ROWS, pieces=PIECES, reads=READS)
    jobs, freed, recorded, done = make_jobs(rng, 60), [], [], []

    async def producer(ctx):
        for n, job in enumerate(jobs):
            piece = n % PIECES
            while len(freed) + PIECES <= n:
                await ctx.tick()
            for port, data in ((dut.carry, job["carry"]), (dut.record, {
                    name: int(job[name]) for name in ("slot", "carried", "first_lane",
                                                      "length_dw", "tag")} | {"address": n})):
                ctx.set(port.slot, piece)
                ctx.set(port.data, data)
                ctx.set(port.en, 1)
            await ctx.tick()
            ctx.set(dut.carry.en, 0)
            ctx.set(dut.record.en, 0)
            await send(ctx, dut.i, [{"piece": piece} | {
                name: int(job[name]) for name in ("poison", "abort", "hide", "zero")}])
        while len(done) < len(jobs) or len(freed) < len(jobs):
            await ctx.tick()

    async def consumer(ctx):
        beats = []
        while True:
            (beat,), = await receive(ctx, dut.o, 1, gap=lambda: rng.choice(gaps))
            beats.append({name: getattr(beat, name) for name in ("data", "strb", "hdr")})
            if beat.last:
                n, got = len(done), Tlp.from_beats(beats, 32 * LANES)
                job, beats = jobs[n], []
                if job["abort"] and not job["hide"]:
                    assert (got.kind, got.status, got.tag) == (Kind.CPL, Status.CA, n)
                else:
                    assert (got.kind, got.status, got.tag) == (Kind.CPLD, Status.SC, n)
                    assert got.ep == (job["poison"] and not job["abort"] and not job["hide"])
                    assert got.payload == payload_of(n % PIECES, job), f"piece {n}: {job}"
                done.append(n)

    async def log(ctx):
        while True:
            (got,), = await receive(ctx, dut.error, 1, gap=lambda: rng.choice(gaps))
            recorded.append((got.cause.name, got.address))

    async def memory_and_slots(ctx):
        port = dut.payload
        async for _, _, en, slot, row, bump, put, free in ctx.tick().sample(
                port.en, port.slot, port.row, port.bump, dut.put.en, dut.put.slot):
            if en:
                ctx.set(port.data, sum(
                    word(slot, (row + (bump >> lane & 1)) * LANES + lane) << 32 * lane
                    for lane in range(LANES)))
            if put:
                freed.append(free)

    simulate(dut, producer, background=[consumer, log, memory_and_slots])
    assert recorded == [("MEMORY_READ_ABORT" if job["abort"] else "MEMORY_READ_POISON", n)
                        for n, job in enumerate(jobs) if job["abort"] or job["poison"]]
