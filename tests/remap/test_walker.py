# amaranth: UnusedElaboratable=no

import random

import pytest
from amaranth.back import verilog

from iovirt.config import PRESETS, RemapConfig
from iovirt.remap.walker import Walker
from iovirt_sim.harness import simulate
from iovirt_sim.models.translate import Request
from iovirt_sim.tables import DEFECTS, TableBuilder, TableMemory
from iovirt_sim.walks import WalkBench

MODES = ("Sv39x4", "Sv48x4", "Sv57x4")


def make(seed, *, walks=4, levels=3, modes=3, table_width=128, slot_width=3, pas=46, gap=None,
         pointers=4, **agent):
    """Return a walker with tables, its bench and its memory agent."""
    rng = random.Random(seed)
    remap = RemapConfig(walks=walks, second_stage=MODES[:modes], physical_address_bits=pas,
                        pointers=pointers)
    dut = Walker(slot_width=slot_width, table_width=table_width, remap=remap)
    tables = TableBuilder(rng)
    bench = WalkBench(dut, tables, rng, **({"gap": gap} if gap else {}))
    tables.caps = bench.caps
    tables.directory_root(levels)
    agent.setdefault("latency", lambda: rng.choice([3, 10, 40]))
    return dut, tables, bench, TableMemory(tables.memory, rng, data_width=table_width, **agent)


def run(dut, bench, memory, testbench, deadline=20_000):
    ready = {}

    async def main(ctx):
        ctx.set(dut.ddtp, {"mode": bench.tables.ddtp & 0xF, "ppn": bench.tables.ddtp >> 10})
        await testbench(ctx)
        await bench.drain(ctx)
        await ctx.tick().repeat(60)
        ready["done"] = True

    async def serve(ctx):
        await memory.serve(ctx, dut.read, dut.beats)

    simulate(dut, main, background=[serve, *bench.watchers()], deadline=deadline)
    assert ready and not bench.faults


@pytest.mark.parametrize("parameters, error, message", [
    ({"slot_width": 0}, ValueError,
     r"^Width of a slot number must be an integer of at least 1, not 0$"),
    ({"table_width": 32}, ValueError, r"^Table width must be 64, 128, 256 or 512, not 32$"),
    ({"remap": None}, TypeError, r"^Configuration must be a RemapConfig, not None$"),
])
def test_wrong_parameters(parameters, error, message):
    right = {"slot_width": 3, "table_width": 128, "remap": RemapConfig()}
    with pytest.raises(error, match=message):
        Walker(**right | parameters)


def gpa_of(rng, iohgatp):
    """Return a random address below the limit of the mode, in few regions."""
    levels = (iohgatp >> 60) - 8 + 3
    region = rng.choice([0, rng.randrange(1 << 12 + 9 * levels + 2 - 21)]) << 21
    return region | rng.randrange(1 << 21)


def populate(tables, bench, rng, *, devices=6, pages=10, defects=0.0):
    """Fill the tables at random; return addresses worth asking for, by device."""
    modes = list(tables.caps.modes())
    levels = (tables.ddtp & 0xF) - 1
    wanted = {}
    for number in range(devices):
        device = rng.randrange(1 << (7, 16, 24)[levels - 1])
        iohgatp = tables.stage(rng.choice(modes), number << 4 | rng.randrange(16))
        if rng.random() < 0.15:
            iohgatp &= (1 << 60) - 1
        tables.device(device, iohgatp=iohgatp, tc=1 | rng.choice([0, 0, 1 << 4, 1 << 5]))
        wanted[device] = [rng.randrange(1 << tables.caps.pas + 1)]
        if not iohgatp >> 60:
            continue
        for _ in range(pages):
            gpa = gpa_of(rng, iohgatp)
            flags = rng.choice([0xDF, 0xDF, 0xDF, 0xD7, 0xD3, 0x5F, 0xD9])
            top = (iohgatp >> 60) - 8 + 2
            level = rng.choice([0, 0, 0, 0, 1, 1, 2, top])
            wanted[device].append(gpa)
            if level:
                tables.map(iohgatp, gpa, level=level, flags=flags)
            elif rng.random() < 0.3:
                tables.map(iohgatp, gpa, flags=flags, napot=True)
            else:
                for _ in range(rng.randrange(1, 9)):
                    near = gpa & ~0x7FFF | rng.randrange(1 << 15)
                    wanted[device].append(near)
                    tables.map(iohgatp, near, flags=flags)
    words = tables.memory.words
    for place in tables.entries + tables.directory:
        if rng.random() < defects:
            clear, toggle = rng.choice(list(DEFECTS.values()))
            if place in tables.directory:
                clear, toggle = rng.choice([(1, 0), (0, 1 << rng.randrange(64)), (0xF << 60, 0)])
            words[place] = words[place] & ~clear ^ toggle
        if rng.random() < defects / 2:
            tables.memory.bad.append((place, 8, rng.choice(["access", "poison"])))
    bench.devices = list(wanted)
    return wanted


def request_of(rng, wanted):
    device = rng.choice(list(wanted))
    iova = rng.choice(wanted[device])
    iova = rng.choice([iova, iova, iova ^ 1 << rng.randrange(64), iova ^ rng.randrange(1 << 16)])
    if rng.random() < 0.05:
        device = device ^ 1 << rng.randrange(24)
    pv = rng.random() < 0.2
    at = rng.choice(["untranslated"] * 12 + ["ats", "translated"])
    return Request(device, iova, write=rng.random() < 0.4, exec=rng.random() < 0.3, at=at, pv=pv,
                   pid=rng.randrange(1 << 20) if pv else 0, priv=pv and rng.random() < 0.5)


SHAPES = [
    {"walks": 2, "levels": 1, "modes": 1, "table_width": 64, "pas": 40},
    {"walks": 4, "levels": 2, "modes": 2, "table_width": 128},
    {"walks": 5, "levels": 3, "modes": 3, "table_width": 256, "pas": 56, "pointers": 8},
    {"walks": 8, "levels": 3, "modes": 3, "table_width": 512, "pas": 36, "slot_width": 4},
]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape['table_width']}-bit")
@pytest.mark.parametrize("defects, stalls", [(0.02, True), (0.1, False)])
def test_answers_fills_and_faults_are_those_of_the_model(shape, defects, stalls):
    seed = f"{shape} {defects} {stalls}"
    rng  = random.Random(seed)
    gap  = (lambda: rng.choice([0, 0, 3, 20])) if stalls else lambda: 0
    dut, tables, bench, memory = make(seed, gap=gap, **shape,
                                      accept=lambda: not stalls or rng.random() < 0.5)
    wanted = populate(tables, bench, rng, defects=defects)

    async def testbench(ctx):
        for _ in range(70):
            await bench.send(ctx, request_of(rng, wanted), known=rng.random() < 0.5,
                             prefetch=rng.random() < 0.2)
            await ctx.tick().repeat(rng.choice([1, 1, 1, 30]))

    run(dut, bench, memory, testbench)
    causes = {answer.cause for _, answer in bench.answers}
    assert None in causes and bench.contexts and len(causes) > 3
