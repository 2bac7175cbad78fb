"""Tables as the architecture lays them out."""

import pytest

from iovirt_sim.tables import PTE, TableBuilder


def build():
    memory = {}
    return memory, TableBuilder(memory, base=0x10000, limit=0x100000)


def walk(memory, root, levels, gpa):
    """Follow pointers; return the leaf entry and its level."""
    table = root
    for level in range(levels - 1, -1, -1):
        bits = 11 if level == levels - 1 else 9
        entry = memory.get(table + (gpa >> 12 + 9 * level & (1 << bits) - 1) * 8, 0)
        if not entry & PTE.V:
            return 0, level
        if entry & (PTE.R | PTE.W | PTE.X):
            return entry, level
        table = entry >> 10 << 12
    raise AssertionError("no leaf")


@pytest.mark.parametrize("mode, levels, gpa", [
    ("Sv39x4", 3, 0x1ff_ffff_f000),
    ("Sv48x4", 4, 0x3_ffff_ffff_f000),
    ("Sv57x4", 5, 0xfff0_0000_0000),
])
def test_walk_finds_what_was_mapped(mode, levels, gpa):
    memory, builder = build()
    stage = builder.second_stage(mode, gscid=3)
    stage.map(gpa, 0x1234_5000)
    assert walk(memory, stage.root, levels, gpa) == (0x1234_5000 >> 2 | PTE.DATA, 0)
    assert walk(memory, stage.root, levels, gpa ^ 0x1000)[0] == 0
    assert stage.iohgatp == levels + 5 << 60 | 3 << 44 | stage.root >> 12
    stage.unmap(gpa)
    assert walk(memory, stage.root, levels, gpa) == (0, 0)


def test_superpage_is_a_leaf_above_the_last_level():
    memory, builder = build()
    stage = builder.second_stage("Sv39x4", gscid=1)
    stage.map(0x4020_0000, 0x8060_0000, level=1)
    assert walk(memory, stage.root, 3, 0x4020_1000) == (0x8060_0000 >> 2 | PTE.DATA, 1)


def test_napot_page_fills_sixteen_entries():
    memory, builder = build()
    stage = builder.second_stage("Sv39x4", gscid=1)
    stage.map(0x1_0000, 0x9_0000, napot=True)
    entries = {walk(memory, stage.root, 3, 0x1_0000 + n * 4096) for n in range(16)}
    assert entries == {((0x9_0000 >> 12 | 8) << 10 | PTE.DATA | PTE.N, 0)}


@pytest.mark.parametrize("levels, device", [(1, 0x7f), (2, 0xabcd), (3, 0x12abcd)])
def test_context_is_where_the_walk_looks(levels, device):
    memory, builder = build()
    directory = builder.directory(levels)
    address = builder.device_context(directory, levels, device, iohgatp=5)
    table = directory
    for shift, mask in ((16, 0xff), (7, 0x1ff))[3 - levels:]:
        table = memory[table + (device >> shift & mask) * 8] >> 10 << 12
    assert address == table + (device & 0x7f) * 32
    assert [memory[address + n] for n in (0, 8, 16, 24)] == [1, 5, 0, 0]


def test_wrong_use_is_refused():
    _, builder = build()
    directory = builder.directory(1)
    with pytest.raises(ValueError, match="Device must fit 1 levels of the directory, not 0x80"):
        builder.device_context(directory, 1, 0x80)
    with pytest.raises(ValueError, match="Levels must be 1, 2 or 3, not 4"):
        builder.directory(4)
    stage = builder.second_stage("Sv39x4", gscid=1)
    with pytest.raises(ValueError, match="Guest address must fit 3 levels, not 0x20000000000"):
        stage.map(1 << 41, 0)
    with pytest.raises(ValueError, match="Addresses must be multiples of 0x200000"):
        stage.map(0x1000, 0, level=1)
    with pytest.raises(MemoryError, match="Tables must fit below 0x100000"):
        builder.allocate(1000)
