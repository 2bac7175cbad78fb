"""Commands of NVM Express at the corners of the rules, judged by the patcher."""

import itertools
import random

import pytest

from iovirt.vf.share_layouts import Kind

from .patch_bench import Read, World, expected, run


def command(opcode, flags=0, *, prp1=0x5000, prp2=0x6000, slba=100, blocks=8, cdw10=None, kind=0,
            more=0):
    entry = bytearray(random.Random(prp1).randbytes(64))
    entry[:2] = opcode, flags
    entry[24:32], entry[32:40] = prp1.to_bytes(8, "little"), prp2.to_bytes(8, "little")
    entry[40:48] = slba.to_bytes(8, "little")
    entry[48:51] = (blocks - 1 | more << 16).to_bytes(3, "little")
    if cdw10 is not None:
        entry[40:44] = cdw10.to_bytes(4, "little")
    if flags >> 6 == 1:
        entry[36:40] = 0, 0, 0, kind
    return bytes(entry)


HIGH = 0xFEDC_BA98_0000_0000
PRP = [command(2, prp1=HIGH | 0x5000 + low, prp2=HIGH | 0x6000 + at, blocks=blocks)
       for low, at, blocks in itertools.product(
           (0, 4, 0xFFC, 0x203), (0, 0xF00, 0xFF8, 0x7),
           (1, 8, 9, 16, 17, 256, 264, 265, 2048, 2049))]
OFFSET = [command(1, blocks=blocks, slba=slba) for blocks, slba in (
    (8, 4992), (8, 4993), (1, (1 << 64) - 1), (2, (1 << 64) - 1), (1, 4999), (1, 5000))]
RANGES = [command(9, prp1=0x5000 + low, cdw10=count - 1)
          for low, count in itertools.product((0, 8, 0x10, 0xFF0), (1, 2, 255, 256, 257))]
SGL = [command(opcode, 0x40, prp1=HIGH | 0x5000 + low, prp2=length, kind=kind)
       for opcode, low, length, kind in itertools.product(
           (2, 9), (0, 8, 0xFF0, 0xF), (0, 16, 24, 32, 4096, 4080, 65536 + 16),
           (0x00, 0x20, 0x30, 0x10))]
FLAGS = [command(opcode, flags) for opcode, flags in itertools.product(
    (0, 1, 2, 4, 5, 8, 9, 12, 0x7F, 0x80), (0, 1, 3, 0x04, 0x40, 0x80, 0xC0))]
MORE = [command(opcode, flags, more=1 << bit) for opcode, flags, bit in itertools.product(
    (0, 1, 2, 5, 8, 9), (0, 0x40), range(8))]


@pytest.mark.parametrize("width, commands, most", [
    (256, PRP, 1.0), (512, RANGES + OFFSET, 1.0), (256, SGL, .9), (128, FLAGS, .9), (64, MORE, .9)])
def test_commands_at_the_corners_come_out_as_the_interpreter_says(width, commands, most):
    world = World(("nvme_prp",))
    reads = []
    for at in range(0, len(commands), 64):
        some = commands[at:at + 64]
        page = b"".join(some + [bytes(64)] * (64 - len(some)))
        reads.append(Read(world.slots["nvme_prp"], Kind.RING, page, 0, 16 * len(some) - 1))
    run(world, reads, width, free=.9 if width == 512 else 1)
    for read in reads:
        read.denials.clear()
        expected(world, read)
    replaced = sum(len(read.denials) for read in reads)
    assert 0 < replaced < most * len(commands)


def test_last_slot_of_a_list_is_poison_where_the_template_says_so():
    world = World(("nvme_prp_list",))
    (place,) = world.slots.values()
    pages = random.Random(7).randbytes(4096)
    reads = [Read(place, Kind.PRP_LIST, pages, first, last) for first, last in
             ((960, 1023), (1022, 1023), (0, 1), (1, 40), (1022, 1022))]
    run(world, reads, 256)
    word, opcodes = world.words[place]
    barred = World(("nvme_prp_list",))
    barred.table[place].fields["last_slot"] = 0
    barred.words[place] = word & ~(1 << 18), opcodes
    run(barred, [Read(place, Kind.PRP_LIST, pages, 960, 1023)], 64)
