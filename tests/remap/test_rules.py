# amaranth: UnusedElaboratable=no

import random

import pytest
from amaranth.sim import Simulator

from iovirt.remap.rules import ContextRules, PageRules, SecondStageRules
from iovirt_sim.models.translate import Capabilities, misconfigured

MODES = ("Sv39x4", "Sv48x4", "Sv57x4")
PAS   = 46


def judge(pte, level, page, *, write=False, exec=False):
    """Privileged ISA and Svnapot, without Svpbmt and Svrsw60t59b: "fault", "beyond" or
    (leaf, PPN of the page or of the next table).
    """
    v, r, w, x, u, _g, a, d = (pte >> n & 1 for n in range(8))
    ppn, high, n = pte >> 10 & (1 << 44) - 1, pte >> 54 & 0x1FF, pte >> 63
    if not v or (w and not r) or high:
        return "fault"
    leaf = bool(r or x)
    if not leaf:
        if level == 0 or a or d or u or n:
            return "fault"
    else:
        allowed = (w and d) if write else x if exec else r
        if not (allowed and u and a):
            return "fault"
        low = (1 << 9 * level) - 1
        if ppn & low or (n and (level or ppn & 15 != 8)):
            return "fault"
        low = 15 if n else low
        ppn = ppn & ~low | page & low
    return "beyond" if ppn >> PAS - 12 else (leaf, ppn)


def entries(rng, level):
    """Yield all combinations of the low bits, with none or a few of the others set."""
    for low in range(256):
        for high in (0, 1 << 63, 1 << rng.randrange(54, 63), 3 << rng.randrange(8, 62)):
            ppn = rng.choice([0, 8, rng.getrandbits(44) & -16 | 8, rng.getrandbits(34)])
            if rng.random() < 0.7:
                ppn = ppn >> 9 * level << 9 * level
            yield low | ppn << 10 ^ high


def evaluate(dut, testbench):
    async def run(ctx):
        await testbench(ctx)
    sim = Simulator(dut)
    sim.add_testbench(run)
    sim.run()


@pytest.mark.parametrize("level", range(5))
def test_second_stage_entries_are_judged_as_specified(level):
    rng, dut = random.Random(level), SecondStageRules(address_width=PAS, modes=MODES)
    seen = set()

    async def testbench(ctx):
        ctx.set(dut.level, level)
        for pte in entries(rng, level):
            page = rng.getrandbits(47)
            write, exec_ = rng.choice([(0, 0), (0, 1), (1, 0), (1, 1)])
            for port, value in ((dut.pte, pte), (dut.page, page), (dut.write, write),
                                (dut.exec, exec_)):
                ctx.set(port if port is not dut.pte else dut.pte.as_value(), value)
            await ctx.delay(1e-9)
            expected = judge(pte, level, page, write=write, exec=exec_)
            got = ("fault" if ctx.get(dut.fault) else "beyond" if ctx.get(dut.beyond)
                   else (bool(ctx.get(dut.leaf)), ctx.get(dut.ppn)))
            assert got == expected, f"{pte:#x} {page:#x} {write} {exec_}"
            seen.add(expected if isinstance(expected, str) else expected[0])

    evaluate(dut, testbench)
    assert seen == {"fault", "beyond", True, False} - ({False} if level == 0 else set())


def test_pages_are_kept_if_some_access_is_permitted():
    rng, dut = random.Random(9), PageRules(address_width=PAS)

    async def testbench(ctx):
        for pte in entries(rng, 0):
            ctx.set(dut.pte.as_value(), pte)
            await ctx.delay(1e-9)
            verdicts = [judge(pte, 0, 0, **kind) for kind in ({}, {"write": 1}, {"exec": 1})]
            rights = [isinstance(verdict, tuple) for verdict in verdicts]
            keep = any(rights) and not pte >> 63
            page = ctx.get(dut.o)
            assert page.valid == keep, f"{pte:#x}"
            if keep:
                assert [page.r, page.w, page.x] == rights
                assert page.ppn == pte >> 10 & (1 << PAS - 12) - 1

    evaluate(dut, testbench)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_device_contexts_are_judged_as_by_the_model(count):
    rng, dut = random.Random(count), ContextRules(modes=MODES[:count])
    caps = Capabilities(PAS, MODES[:count])

    async def testbench(ctx):
        ctx.set(dut.leaf, 1)
        for n in range(4 * 400):
            words = [1, rng.choice([0, 8 << 60, 9 << 60, 10 << 60, 11 << 60, 1 << 60]), 0, 0]
            if rng.random() < 0.5:
                words[0] |= 1 << 5
            number = n % 4
            words[number] ^= (1 << rng.randrange(64)) | rng.choice([0, 1 << rng.randrange(64)])
            ctx.set(dut.word, words[number])
            ctx.set(dut.number, number)
            await ctx.delay(1e-9)
            invalid = number == 0 and not words[0] & 1
            assert ctx.get(dut.invalid) == invalid
            others = [1, 0, 0, 0]
            others[number] = words[number]
            if not invalid:
                assert ctx.get(dut.misconfigured) == misconfigured(caps, others), words

    evaluate(dut, testbench)


def test_directory_entries_have_reserved_bits():
    dut = ContextRules(modes=MODES)

    async def testbench(ctx):
        for bit in range(64):
            ctx.set(dut.word, 1 ^ 1 << bit)
            await ctx.delay(1e-9)
            assert ctx.get(dut.invalid) == (bit == 0)
            assert ctx.get(dut.misconfigured) == (1 <= bit <= 9 or bit >= 54)

    evaluate(dut, testbench)


@pytest.mark.parametrize("component, parameters, message", [
    (SecondStageRules, {"address_width": 31, "modes": MODES},
     r"^Address width must be an integer in 32..56, not 31$"),
    (SecondStageRules, {"address_width": 46, "modes": ("Sv48x4",)},
     r"^Second-stage modes must be a prefix of Sv39x4, Sv48x4, Sv57x4, not \('Sv48x4',\)$"),
    (ContextRules, {"modes": ()}, r"^Second-stage modes must be a prefix"),
    (PageRules, {"address_width": "46"}, r"^Address width must be .*, not '46'$"),
])
def test_wrong_parameters(component, parameters, message):
    with pytest.raises(ValueError, match=message):
        component(**parameters)
