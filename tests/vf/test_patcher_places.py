"""Templates whose bytes that decide, and lists, are at unusual places."""

import random

import pytest

from iovirt.vf.share_layouts import Kind
from iovirt_sim.models.sharing.layout import TABLE

from .patch_bench import Read, World, run

TOP = """
title       = "Ring"
handler     = "ring"
entry_bytes = 64
once        = true
"""

#: Three selectors in one doubleword, the opcode in another.
APART = TOP + """
[opcode]
byte = 12
[opcode.classes]
data  = [1]
plain = [2]
[replace]
opcode = 0
""" + "".join(f"""
[[selector]]
name  = "s{n}"
byte  = {n}
mask  = 1
value = 0
""" for n in range(3)) + "".join(f"""
[[class]]
name   = "{name}"
opcode = "{name}"
when   = ["s0", "s1", "s2"]
[[address]]
name    = "{name}"
byte    = 24
classes = ["{name}"]
rule    = "{name}"
""" for name in ("data", "plain"))

#: The same, and a length whose doubleword decides too.
THREE = APART.replace("byte  = 2\n", "byte  = 50\n") + """
[parameters]
lba = 2
[[value]]
name      = "lba"
byte      = 40
width     = 64
op        = "range"
parameter = "lba"
classes   = ["data"]
length    = { byte = 48, form = "low16" }
"""

#: Two pointers, and an alternative that has its list where the first of them is.
MAIN = TOP + """
last_slot   = true
alternative = "other"
[[selector]]
name  = "prp"
byte  = 1
mask  = 0xC0
value = 0
[[class]]
name = "data"
when = ["prp"]
[[address]]
name       = "prp1"
byte       = 24
classes    = ["data"]
rule       = "data"
length     = { byte = 48, form = "low16", zero_based = true, shift = "queue" }
max_length = 1048576
[[address]]
name       = "prp2"
byte       = 32
classes    = ["data"]
rule       = "prp2"
reference  = "prp1"
child      = "nvme_prp_list"
aligned_to = 8
length     = { byte = 48, form = "low16", zero_based = true, shift = "queue" }
"""
OTHER = TOP + """
[[selector]]
name  = "block"
byte  = 39
value = 0
[[class]]
name = "block"
when = ["block"]
[[class]]
name = "segment"
[[address]]
name    = "block"
byte    = 24
classes = ["block"]
rule    = "data"
[[address]]
name       = "segment"
byte       = 24
classes    = ["segment"]
rule       = "typed_list"
child      = "nvme_sgl_segment"
aligned_to = 8
length     = { byte = 32, form = "full32" }
max_length = 4096
"""


#: Entries of 8 bytes: a page has 512 of them.
EIGHT = TOP.replace("64", "8") + """
[[class]]
name = "all"
[[address]]
name    = "buffer"
byte    = 0
classes = ["all"]
rule    = "data"
"""


def entries(choice, **bytes_):
    """Yield entries that have one of the given numbers at each place."""
    while True:
        entry = bytearray(choice.randbytes(64))
        for name, numbers in bytes_.items():
            entry[int(name[1:])] = choice.choice(numbers)
        yield bytes(entry)


def judge(world, name, choice, **bytes_):
    """Compare a page of entries with what the interpreter makes of them."""
    source = entries(choice, **bytes_)
    page = b"".join(next(source) for _ in range(64))
    run(world, [Read(world.slots[name], Kind.RING, page, 0, 1023)], 256)


@pytest.mark.parametrize("text", [APART, THREE])
def test_opcode_is_read_where_it_is(text, tmp_path):
    (tmp_path / "ring.toml").write_text(text)
    low = (0, 0, 0, 1)
    judge(World([tmp_path / "ring.toml"]), "ring", random.Random(1), b0=low, b1=low, b2=low,
          b12=(1, 2, 3), b44=(0,), b45=(0,), b46=(0,), b47=(0,), b50=low)


def test_list_of_an_alternative_is_judged_by_its_own_pointer(tmp_path):
    (tmp_path / "ring.toml").write_text(MAIN)
    (tmp_path / "other.toml").write_text(OTHER)
    judge(World([tmp_path / "ring.toml"]), "ring", random.Random(2), b1=(0x40,), b39=(0, 0x20),
          b24=(0, 8, 16, 24), b25=(0, 0xF, 0xFF), b32=(0x10, 0x40), b33=(0,), b34=(0,), b35=(0,))


@pytest.mark.parametrize("field, number", [("entry_size", 1), ("handler", 2), ("valid", 0)])
def test_alternative_of_other_entries_is_not_used(field, number):
    world = World(("nvme_prp",))
    place = world.slots["nvme_sgl"]
    word, opcodes = world.words[place]
    low, width = TABLE[field]
    world.words[place] = word & ~((1 << width) - 1 << low) | number << low, opcodes
    read = Read(world.slots["nvme_prp"], Kind.RING, bytes((2, 0x40)) + bytes(62) + bytes(4032),
                0, 15)
    poison = world.owner(read).poison
    got    = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.vf.patch_bench.check", lambda *args: got.extend(args[3]))
        read.denials.append((0, read.colour))
        run(world, [read], 512)
    assert got == [sum(poison << 64 * n for n in range(8))]


@pytest.mark.parametrize("width", [64, 512])
def test_entries_beyond_the_window_are_refused_however_many_a_read_has(width, tmp_path):
    (tmp_path / "ring.toml").write_text(EIGHT)
    page = random.Random(3).randbytes(4096)
    run(World([tmp_path / "ring.toml"]), [Read(0, Kind.RING, page, 0, 1023)], width)
