"""What the patcher promises, case by case."""

import random

import pytest

from iovirt.vf.parameter_store import ParameterStore
from iovirt.vf.parity_memory import ParityMemory
from iovirt.vf.patch_intake import PatchIntake
from iovirt.vf.patcher import Patcher
from iovirt.vf.share_layouts import Kind
from iovirt_sim.harness import simulate
from iovirt_sim.models.sharing.layout import TABLE

from .patch_bench import (
    GUESTS,
    OTHERS,
    PAGE,
    PARAMETERS,
    READS,
    Read,
    World,
    access,
    expected,
    run,
    set_up,
)
from .patch_random import likely_entry, random_read


def list_page(world, name, choice, *, phase=0):
    place = world.slots[name]
    page = bytearray(phase)
    while len(page) < PAGE:
        page += likely_entry(choice, world.table[place], world.words[place][1])
    return place, bytes(page[:PAGE])


@pytest.mark.parametrize("make, message", [
    (lambda: PatchIntake(data_width=96, reads=8), "Data width must be 64, 128, 256 or 512, not 96"),
    (lambda: PatchIntake(data_width=64, reads=1), "Number of reads must be .* at least 2, not 1"),
    (lambda: ParityMemory(words=3, data_width=64, address_width=16), "power of two .* not 3"),
    (lambda: ParityMemory(words=1024, data_width=64, address_width=12), "cover 8192 bytes"),
    (lambda: ParameterStore(guests=4, parameters=3, data_width=64, address_width=12),
     "Number of parameters must be a power of two of at least 2, not 3"),
])
def test_parameters_are_checked(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("width", [64, 256])
def test_pieces_are_patched_alike_wherever_they_are_cut(width):
    choice, world, reads = random.Random(width), World(), []
    for name, kind, phase in (("nvme_sgl_segment", Kind.TYPED_LIST_8, 8),
                              ("nvme_sgl_segment", Kind.TYPED_LIST, 0),
                              ("nvme_prp_list", Kind.PRP_LIST, 0),
                              ("nvme_prp", Kind.RING, 0)):
        place, page = list_page(world, name, choice, phase=phase)
        for first, last in ((17, 130), (900, 1023)):
            cuts = sorted({first, *range((first // 32 + 1) * 32, last, 32 * choice.choice((1, 2)))})
            pieces = tuple(zip(cuts, [cut - 1 for cut in cuts[1:]] + [last], strict=True))
            reads.append(Read(place, kind, page, first, last, pieces=pieces))
    run(world, reads, width, seed=width, free=.9)


@pytest.mark.parametrize("width", [64, 256])
def test_halves_of_descriptors_at_the_ends_of_a_page_are_poison(width):
    world = World(OTHERS)
    place, page = list_page(world, "nvme_sgl_segment", random.Random(3), phase=8)
    run(world, [Read(place, Kind.TYPED_LIST_8, page, first, last)
                for first, last in ((0, 1), (1022, 1023), (0, 5), (1000, 1023), (1, 2))], width)


def good_command(width):
    choice = random.Random(width)
    entry = bytearray(choice.randbytes(64))
    entry[:2] = 2, 0
    entry[40:48] = (100).to_bytes(8, "little")
    entry[48:51] = (7).to_bytes(3, "little")
    return bytes(entry)


@pytest.mark.parametrize("width, kind", [(64, Kind.RING), (128, Kind.RING), (256, Kind.RING),
                                         (512, Kind.RING), (256, Kind.PRP_LIST)])
def test_a_beat_leaves_per_clock(width, kind):
    world, clocks = World(), []
    place = world.slots["nvme_prp" if kind == Kind.RING else "nvme_prp_list"]
    page = good_command(width) * 64
    length = 64 * (8 if width == 512 else 4)
    run(world, [Read(place, kind, page, 0, length // 4 - 1) for _ in range(8)], width,
        clocks=clocks)
    first = clocks.index(True)
    last  = len(clocks) - 1 - clocks[::-1].index(True)
    beats = 8 * length * 8 // width
    # The bench needs a clock for each context, which the queues of short pieces do not cover.
    assert last - first + 1 <= beats + 8


@pytest.mark.parametrize("off", [
    ("colour",), ("low_bits", "prp1_offset", "chaining", "range65"),
    ("opcode", "typed_type", "halves", "slot_511", "nsid", "range"),
])
def test_a_defence_that_is_off_is_off_as_in_the_model(off):
    choice = random.Random(str(off))
    world  = World(off=off)
    run(world, [random_read(world, choice) for _ in range(16)], 128, seed=1)


def test_a_template_that_breaks_is_not_used_for_entries_that_wait():
    dut, world = patcher(64), World()
    table = dut._templates._words._table
    page, got = good_command(1), []

    async def source(ctx):
        await set_up(ctx, dut, world)
        ctx.set(dut.context.data, {"kind": Kind.RING, "colour": 1, "key": 5, "size_log2": 3,
                                   "first": 0, "last": 15, "allow": 1, "shift": 9})
        ctx.set(dut.context.en, 1)
        await ctx.tick()
        ctx.set(dut.context.en, 0)
        for n in range(8):
            ctx.set(dut.i.p, {"data": int.from_bytes(page[8 * n:8 * n + 8], "little"), "slot": 0,
                              "base": 2 * n, "first": n == 0, "last": n == 7})
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
        ctx.set(dut.i.valid, 0)
        # The verdict waits: nothing leaves. One bit says that PRP2 is an address.
        await ctx.tick().repeat(40)
        number, bit = divmod(TABLE["address1.enable"][0], 64)
        ctx.set(table.data[number], ctx.get(table.data[number]) ^ 1 << bit + bit // 8)
        await ctx.tick().repeat(200)
        ctx.set(dut.o.ready, 1)
        ctx.set(dut.charge.ready, 1)
        while len(got) < 8:
            (item,) = await ctx.tick().sample(dut.o.p).until(dut.o.valid)
            got.append(item.data)

    simulate(dut, source)
    poison = world.layout.poison(5, 1)
    assert got[0] & 0xFF == 2 and got[4:] == [poison] * 4


@pytest.mark.parametrize("width", [64, 512])
@pytest.mark.parametrize("name", ["nvme_prp", "e1000e_rx"])
def test_ring_of_which_nothing_is_known_has_no_address_of_the_manager(name, width):
    # The context of such a read tells no template, and no size of entries.
    world = World()
    read  = Read(0, Kind.RING, bytes(PAGE), 0, 63, replace=1, blank=1, allow=0)
    assert set(expected(world, read).values()) == {world.owner(read).poison.to_bytes(8, "little")}
    run(world, [read, Read(world.slots[name], Kind.RING, bytes(PAGE), 8, 41, replace=1, blank=1)],
        width)


def test_unused_pointer_passes_without_its_defence():
    world = World(off=("mptr",))
    page  = good_command(1) * 64
    run(world, [Read(world.slots["nvme_prp"], Kind.RING, page, 0, 31)], 256)
    assert page[16:24] != bytes(8)


def patcher(width=128):
    return Patcher(data_width=width, reads=READS, guests=GUESTS, parameters=PARAMETERS)


def test_windows_read_back_and_end():
    dut, world = patcher(), World()

    async def bench(ctx):
        await set_up(ctx, dut, world)
        for place, (word, opcodes) in enumerate(world.words):
            for n in range(0, 8, 3):
                part = lambda whole, n=n: whole >> 64 * n & (1 << 64) - 1
                assert await access(ctx, dut.templates, 128 * place + 8 * n) == (part(word), 0)
                assert await access(ctx, dut.templates, 128 * place + 64 + 8 * n) == (
                    part(opcodes), 0)
        for guest, values in enumerate(world.parameters):
            assert await access(ctx, dut.parameters, 8 * (4 * guest + 2)) == (values[2], 0)
        assert await access(ctx, dut.templates, 1024) == (0, 1)
        assert await access(ctx, dut.parameters, 8 * GUESTS * PARAMETERS, 5) == (0, 1)

    simulate(dut, bench)


@pytest.mark.parametrize("what", ["word", "map", "parameter"])
def test_a_wrong_parity_replaces_everything(what):
    dut, world = patcher(), World()
    table, at = {
        "word":      (dut._templates._words._table, 3),
        "map":       (dut._templates._words._table, 8),
        "parameter": (dut._parameters._words._table, PARAMETERS * 1 + 2),
    }[what]
    page, seen = good_command(1), []

    async def fetch(ctx):
        for base in range(0, 16, 4):
            ctx.set(dut.i.p, {"data": int.from_bytes(page[4 * base:4 * base + 16], "little"),
                              "slot": 0, "base": base, "first": base == 0, "last": base == 12})
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
        ctx.set(dut.i.valid, 0)
        data = 0
        ctx.set(dut.o.ready, 1)
        for n in range(4):
            (item,) = await ctx.tick().sample(dut.o.p).until(dut.o.valid)
            data |= item.data << 128 * n
        seen.append(data)

    async def bench(ctx):
        await set_up(ctx, dut, world)
        ctx.set(dut.charge.ready, 1)
        ctx.set(dut.context.data, {"kind": Kind.RING, "colour": 1, "key": 5, "size_log2": 3,
                                   "first": 0, "last": 15, "allow": 1})
        ctx.set(dut.context.en, 1)
        await ctx.tick()
        ctx.set(dut.context.en, 0)
        await fetch(ctx)
        ctx.set(table.data[at], ctx.get(table.data[at]) ^ 1 << 2)
        await ctx.tick().repeat(140)
        await fetch(ctx)
        _, error = await access(ctx, dut.parameters if what == "parameter" else dut.templates,
                                8 * at)
        assert error

    simulate(dut, bench)
    poison = world.layout.poison(5, 1)
    lanes  = [seen[1] >> 64 * n & (1 << 64) - 1 for n in range(8)]
    assert seen[0] & 0xFF == 2 and seen[0] >> 192 & (1 << 64) - 1 != poison
    if what == "word":
        assert lanes == [poison] * 8
    else:
        assert lanes[0] & 0xFF == 0x60 and lanes[2:5] == [poison] * 3
