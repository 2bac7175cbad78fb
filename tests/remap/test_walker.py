# amaranth: UnusedElaboratable=no

import random

import pytest
from amaranth import *
from amaranth.back import verilog

from iovirt.config import PRESETS, RemapConfig
from iovirt.remap.walker import Walker
from iovirt_sim.harness import simulate
from iovirt_sim.models.translate import Capabilities, Request
from iovirt_sim.tables import PTE
from iovirt_sim.walk_tables import ScatteredTables, TableMemory
from iovirt_sim.walks import WalkBench

MODES = ("Sv39x4", "Sv48x4", "Sv57x4")


def make(seed, *, walks=4, levels=3, modes=3, table_width=128, slot_width=3, pas=46, gap=None,
         pointers=4, **agent):
    """Return a walker with tables, its bench and its memory agent."""
    rng = random.Random(seed)
    remap = RemapConfig(walks=walks, second_stage=MODES[:modes], physical_address_bits=pas,
                        pointers=pointers)
    dut = Walker(slot_width=slot_width, table_width=table_width, remap=remap)
    tables = ScatteredTables(rng, Capabilities(pas, remap.second_stage), levels=levels)
    bench = WalkBench(dut, tables, rng, gap=gap or (lambda: 0))
    agent.setdefault("latency", lambda: rng.choice([3, 10, 40]))
    return dut, tables, bench, TableMemory(tables.words, rng, data_width=table_width, **agent)


class Resettable(Elaboratable):
    """``dut`` in a clock domain that ``reset`` resets; has the ports of ``dut``."""

    def __init__(self, dut, reset):
        self.dut, self.reset, self.signature = dut, reset, dut.signature

    def __getattr__(self, name):
        return getattr(self.dut, name)

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = domain = ClockDomain()
        m.d.comb += domain.rst.eq(self.reset)
        m.submodules.dut = self.dut
        return m


def run(dut, bench, memory, testbench, *, also=(), reset=None, deadline=20_000):
    ready = {}

    async def main(ctx):
        ctx.set(dut.ddtp, {"mode": bench.tables.ddtp & 0xF, "ppn": bench.tables.ddtp >> 10})
        await testbench(ctx)
        await bench.drain(ctx)
        await ctx.tick().repeat(60)
        ready["done"] = True

    async def serve(ctx):
        await memory.serve(ctx, dut.read, dut.beats)

    simulate(dut if reset is None else Resettable(dut, reset), main,
             background=[serve, *bench.watchers(), *also], deadline=deadline)
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


def populate(tables, bench, rng, *, devices=6, pages=10):
    """Map pages at random; return addresses worth asking for, by device."""
    wanted = {}
    for number in range(devices):
        device = rng.randrange(1 << (7, 16, 24)[tables.levels - 1])
        stage = tables.second_stage(rng.choice(tables.caps.second_stage),
                                    gscid=number << 4 | rng.randrange(16))
        tables.device(device, iohgatp=stage.iohgatp if rng.random() < 0.85 else 0,
                      tc=1 | rng.choice([0, 0, 1 << 4, 1 << 5]))
        wanted[device] = [rng.randrange(1 << tables.caps.pas + 1)]
        for _ in range(pages):
            gpa = rng.choice([0, rng.randrange(1 << 12 + 9 * stage.levels + 2)])
            gpa = gpa >> 21 << 21 | rng.randrange(1 << 21)
            flags = PTE.V | rng.choice([0xDE, 0xDE, 0xDE, 0xD6, 0xD2, 0x5E, 0xD8])
            level = rng.choice([0, 0, 0, 0, 1, 1, 2, stage.levels - 1])
            spa = rng.randrange(tables.caps.limit)
            wanted[device].append(gpa)
            if level == 0 and rng.random() < 0.3:
                stage.map(gpa & -1 << 16, spa & -1 << 16, flags=flags, napot=True)
            elif level:
                size = 12 + 9 * level
                stage.map(gpa & -1 << size, spa & -1 << size, level=level, flags=flags)
            else:
                for _ in range(rng.randrange(1, 9)):
                    near = gpa & -1 << 15 | rng.randrange(1 << 15)
                    wanted[device].append(near)
                    stage.map(near & -1 << 12, rng.randrange(tables.caps.limit) & -1 << 12,
                              flags=flags)
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
    wanted = populate(tables, bench, rng)
    tables.damage(defects)

    async def testbench(ctx):
        for _ in range(70):
            await bench.send(ctx, request_of(rng, wanted), known=rng.random() < 0.5,
                             prefetch=rng.random() < 0.2)
            await ctx.tick().repeat(rng.choice([1, 1, 1, 30]))

    run(dut, bench, memory, testbench)
    causes = {answer.cause for _, answer in bench.answers}
    assert None in causes and bench.contexts and len(causes) > 3


def one_page(tables, *, mode="Sv48x4", gpa=0x5000_3000, device=0x123, gscid=7, tc=1):
    """Map a page and its neighbours for a device; return the stage."""
    stage = tables.second_stage(mode, gscid=gscid)
    tables.device(device, iohgatp=stage.iohgatp, tc=tc)
    for n in range(8):
        stage.map((gpa & -1 << 15) + (n << 12), (0x10 + 3 * n) << 12)
    return stage


def test_known_context_and_pointer_leave_one_read():
    dut, tables, bench, memory = make(1, latency=lambda: 5)
    stage = one_page(tables)
    request = Request(0x123, 0x5000_3008)

    async def testbench(ctx):
        await bench.send(ctx, request)
        await bench.drain(ctx)
        assert [size for _, size in memory.reads] == [8, 8, 32, 8, 8, 8, 64]
        memory.reads.clear()
        await bench.send(ctx, Request(0x123, 0x5000_9010, write=True), known=True)
        await bench.drain(ctx)
        assert memory.reads == [(stage.slot(0x5000_8000), 64)]

    run(dut, bench, memory, testbench)
    assert bench.lines[0] == (0x123, 0x5000_3000 >> 15, [True] * 8)


def test_error_in_a_line_leaves_out_only_its_beat():
    dut, tables, bench, memory = make(2, table_width=128)
    stage = one_page(tables)
    tables.words.bad.append((stage.slot(0x5000_3000), 8, "poison"))

    async def testbench(ctx):
        await bench.send(ctx, Request(0x123, 0x5000_2000))
        await bench.drain(ctx)
        assert memory.reads[-1] == (stage.slot(0x5000_2000), 8)
        await bench.send(ctx, Request(0x123, 0x5000_3000))
        await bench.drain(ctx)
        await bench.send(ctx, Request(0x123, 0x5000_7000))

    run(dut, bench, memory, testbench)
    assert [answer.cause for _, answer in bench.answers] == [None, 274, None]
    valid = [True, True, True, False, True, True, True, True]
    assert bench.lines == [(0x123, 0x5000_0000 >> 15, valid),
                           (0x123, 0x5000_0000 >> 15, [True, True, False, False] + [True] * 4)]


@pytest.mark.parametrize("mode, at, iova, cause", [
    (0, "untranslated", 0x1000, 256), (0, "ats", 0x1000, 256), (5, "untranslated", 0, 256),
    (1, "untranslated", 0x123456, None), (1, "translated", 0x1000, 260), (1, "ats", 0, 260),
    (1, "untranslated", 1 << 46, 5),
])
def test_off_and_bare_need_no_read(mode, at, iova, cause):
    dut, tables, bench, memory = make(3)
    tables.ddtp = mode if mode < 5 else 0

    async def testbench(ctx):
        ctx.set(dut.ddtp, {"mode": mode})
        await bench.send(ctx, Request(0x123, iova, at=at, pv=True, pid=5))

    run(dut, bench, memory, testbench)
    assert bench.answers[0][1].cause == cause and not memory.reads


def test_dtf_silences_only_translation_faults():
    dut, tables, bench, memory = make(4)
    one_page(tables, tc=1 | 1 << 4)
    records = []
    bench.record = lambda request, answer: records.append(answer.cause)

    async def testbench(ctx):
        for iova in 0x7000_0000, 1 << 60:
            await bench.send(ctx, Request(0x123, iova), known=iova == 1 << 60)
        await bench.send(ctx, Request(0x123, 0x5000_0000, at="ats"))

    run(dut, bench, memory, testbench)
    assert sorted(records) == [21, 21, 260] and not bench.faults


def test_prefetches_leave_walks_for_demand_and_are_silent():
    dut, tables, bench, memory = make(5, walks=4, latency=lambda: 200)
    one_page(tables)

    async def testbench(ctx):
        for n in range(3):
            await bench.send(ctx, Request(0x123, 0x6000_0000 + (n << 21)), prefetch=True)
        for _ in range(20):
            await ctx.tick()
            assert not ctx.get(dut.prefetch.ready)
        assert not ctx.get(dut.spare)
        await bench.send(ctx, Request(0x123, 0x5000_0000))

    run(dut, bench, memory, testbench)
    assert len(bench.answers) == 1


def test_hold_keeps_walks_from_starting():
    dut, tables, bench, memory = make(6)
    one_page(tables)

    async def testbench(ctx):
        ctx.set(dut.hold, 1)
        for _ in range(30):
            await ctx.tick()
            assert not ctx.get(dut.walk.ready) and not ctx.get(dut.prefetch.ready)
        ctx.set(dut.hold, 0)
        await bench.send(ctx, Request(0x123, 0x5000_0000))

    run(dut, bench, memory, testbench)


@pytest.mark.parametrize("latency, walks, clocks", [(20, 8, 11), (100, 16, 11)])
def test_lines_are_found_at_one_in_eleven_clocks(latency, walks, clocks):
    dut, tables, bench, memory = make(7, walks=walks, slot_width=4, pointers=64, mixed=False,
                                      table_width=256, latency=lambda: latency)
    stage = one_page(tables)
    for n in range(40):
        stage.map(0x4000_0000 + (n << 15), n << 12)
    ends, clock = [], [0]

    async def testbench(ctx):
        await bench.send(ctx, Request(0x123, 0x4000_0000))
        await bench.drain(ctx)
        for n in range(40):
            await bench.send(ctx, Request(0x123, 0x4000_0000 + (n << 15)), known=True)

    async def count(ctx):
        async for _, _, valid, ready in ctx.tick().sample(dut.done.valid, dut.done.ready):
            clock[0] += 1
            if valid and ready:
                ends.append(clock[0])

    run(dut, bench, memory, testbench, also=[count])
    steady = ends[-31:]
    assert steady[-1] - steady[0] <= clocks * 30


def test_times_are_those_of_the_contract():
    dut, tables, bench, memory = make(8, latency=lambda: 5, mixed=False)
    one_page(tables)
    events = []

    async def testbench(ctx):
        await bench.send(ctx, Request(0x123, 0x5000_0000))
        await bench.drain(ctx)
        events.clear()
        await bench.send(ctx, Request(0x123, 0x5000_0000), known=True)

    async def note(ctx):
        clock = 0
        names = {"walk": dut.walk, "read": dut.read, "beats": dut.beats, "done": dut.done}
        flags = [flag for port in names.values() for flag in (port.valid, port.ready)]
        async for _, _, *values in ctx.tick().sample(*flags):
            clock += 1
            for name, valid, ready in zip(names, values[::2], values[1::2], strict=True):
                if valid and ready:
                    events.append((name, clock))

    run(dut, bench, memory, testbench, also=[note])
    walk, read, *beats, done = events
    assert (walk[0], read[0], beats[-1][0], done[0]) == ("walk", "read", "beats", "done")
    assert read[1] - walk[1] == 6
    assert done[1] - beats[-1][1] == 17


def test_reset_in_the_middle_of_walks():
    dut, tables, bench, memory = make(9)
    one_page(tables)
    reset = Signal()

    async def testbench(ctx):
        for _ in range(3):
            for n in range(4):
                await bench.send(ctx, Request(0x123, 0x5000_0000 + (n << 12)))
            await ctx.tick().repeat(bench.rng.randrange(40, 80))
            ctx.set(reset, 1)
            await ctx.tick()
            ctx.set(reset, 0)
            bench.free.extend(bench.running)
            bench.running.clear()
            bench.faults.clear()
            bench.partial.clear()
        for n in range(8):
            await bench.send(ctx, Request(0x123, 0x5000_0000 + (n << 12)))

    run(dut, bench, memory, testbench, reset=reset)
    assert len(bench.answers) >= 8


def test_exports_verilog():
    remap = PRESETS["tiny"].remap
    text = verilog.convert(Walker(slot_width=3, table_width=64, remap=remap), name="walker")
    assert "module walker(" in text
