"""What the shipped templates let through, judged by the model of the patcher."""

import functools
import itertools
import random

import pytest

from iovirt.vf.encoding import encode_opcodes, encode_template
from iovirt.vf.library import load_templates
from iovirt_sim.models.sharing.address import AddressLayout
from iovirt_sim.models.sharing.data import Owner
from iovirt_sim.models.sharing.layout import KINDS
from iovirt_sim.models.sharing.template import Template

LAYOUT = AddressLayout()
#: Parameters of the guest, by the start of a template's name.
PARAMETERS = {"nvme": (7, 0, 1 << 40, 5000), "e1000e_tx": (1460, 0), "e1000e_tx_vlan": (0x123, 1)}


def owner(name):
    """Return the guest whose device this is."""
    known = [PARAMETERS[start] for start in PARAMETERS if name.startswith(start)]
    return Owner(LAYOUT, colour=9, key=0xABC, parameters=(*(known or [()])[-1], *[0] * 16))


POISON = owner("").poison


@functools.cache
def compiled(name):
    """Return the table of a template and those that it refers to."""
    templates = load_templates([name])
    places = {template.name: place for place, template in enumerate(templates)}
    return [Template(encode_template(template, places), encode_opcodes(template))
            for template in templates]


def patch(name, entry):
    """Return (the patched entry as a number, whether it was replaced)."""
    table = compiled(name)
    entry = entry.to_bytes(table[0].size, "little")
    other = table[0].other(entry)
    data, replaced = (table[0] if other is None else table[other]).patch(entry, owner(name))
    return int.from_bytes(data.value, "little"), replaced


def place(**fields):
    """Build an entry of ``at_bit = number`` pairs, such as ``b64 = 3``."""
    return sum(value << int(key[1:]) for key, value in fields.items())


def take(entry, byte, size):
    return entry >> 8 * byte & (1 << 8 * size) - 1


def kind(address):
    return LAYOUT.take(address, "kind")


def sqe(opcode, flags=0, *, prp1=0x5000, prp2=0x6000, slba=100, blocks=8, cdw10=None, rest=0):
    entry = place(b0=opcode, b8=flags, b16=0xBEEF, b32=99, b192=prp1, b256=prp2, b320=slba,
                  b384=blocks - 1) | rest
    return entry if cdw10 is None else entry & ~(0xFFFF_FFFF << 320) | cdw10 << 320


def test_exactly_the_allowed_commands_of_an_nvme_pass():
    passed = set()
    for opcode, fuse, psdt in itertools.product(range(256), range(4), range(4)):
        # CDW10 is 8 ranges, and a block number; SGL1 is a data block of 128 bytes.
        for reserved in (0, 5, 15):
            flags = fuse | reserved << 2 | psdt << 6
            entry = sqe(opcode, flags, slba=7, prp2=128 if psdt == 1 else 0x6000)
            value, replaced = patch("nvme_prp", entry)
            assert take(value, 2, 2) == 0xBEEF
            assert take(value, 4, 4) == (0xFFFF_FFFE if replaced else 7)
            if replaced:
                assert take(value, 0, 2) == 0x60 and take(value, 24, 8) == POISON
                assert take(value, 40, 8) == (1 << 64) - 1 and take(value, 48, 16) == 0
            else:
                passed.add((opcode, fuse, psdt))
    assert passed == ({(opcode, 0, 0) for opcode in (0x00, 0x01, 0x02, 0x05, 0x08, 0x09)}
                      | {(opcode, 0, 1) for opcode in (0x01, 0x02, 0x05, 0x09)})


@pytest.mark.parametrize("opcode, bits", [
    (opcode, 1 << n) for opcode in (0x01, 0x02, 0x05, 0x08) for n in range(8)] + [(0x08, 0xFF)])
def test_commands_for_more_than_their_blocks_are_refused(opcode, bits):
    # Bit 7 with Write Zeroes: the whole namespace. The others: directives, command extensions.
    assert not patch("nvme_prp", sqe(opcode))[1]
    assert patch("nvme_prp", sqe(opcode, rest=place(b400=bits)))[1]


@pytest.mark.parametrize("opcode", [0x01, 0x02, 0x05, 0x08])
def test_flags_of_blocks_stay(opcode):
    # LR, FUA, PRINFO, DEAC, STC.
    value, replaced = patch("nvme_prp", sqe(opcode, rest=place(b408=0xFF)))
    assert not replaced and take(value, 51, 1) == 0xFF


@pytest.mark.parametrize("opcode, kinds, moved", [
    (0x00, ("poison", "poison"), False), (0x01, ("data", "data"), True),
    (0x02, ("data", "data"), True), (0x05, ("data", "data"), True),
    (0x08, ("poison", "poison"), True), (0x09, ("range_list", "poison"), False),
])
def test_nvme_commands_get_the_pointers_of_their_kind(opcode, kinds, moved):
    junk = place(b64=(1 << 64) - 1, b128=0x1234, b432=0xFFFF)
    # Eight ranges from offset 0, or 4 KiB + 512 B of data.
    value, replaced = patch("nvme_prp", sqe(opcode, blocks=9, slba=7, rest=junk))
    assert not replaced
    assert [kind(take(value, byte, 8)) for byte in (24, 32)] == [KINDS[name] for name in kinds]
    assert take(value, 16, 8) == POISON
    assert take(value, 8, 8) == 0 and take(value, 54, 2) == 0
    assert take(value, 40, 8) == 7 + (moved << 40)


@pytest.mark.parametrize("prp1, blocks, expected", [
    (0x5000, 8, "poison"), (0x5000, 9, "data"), (0x5000, 16, "data"), (0x5000, 17, "prp_list"),
    (0x5004, 8, "data"), (0x5004, 16, "prp_list"), (0x5FFC, 8, "data"), (0x5FFC, 9, "prp_list"),
])
def test_prp2_is_what_length_and_offset_make_it(prp1, blocks, expected):
    value, replaced = patch("nvme_prp", sqe(2, prp1=prp1, prp2=0x6FF0, blocks=blocks))
    assert not replaced and kind(take(value, 32, 8)) == KINDS[expected]
    assert take(value, 24, 8) & 0xFFFF == prp1


@pytest.mark.parametrize("slba, blocks, passes", [
    (4992, 8, True), (4993, 8, False), (0, 5000, False), ((1 << 64) - 1, 1, False),
    ((1 << 64) - 1, 2, False), (0, 2048, True), (0, 2049, False),
])
def test_blocks_stay_in_the_range_of_the_guest(slba, blocks, passes):
    # 2048 blocks of 512 bytes are the largest transfer.
    assert patch("nvme_prp", sqe(1, slba=slba, blocks=blocks))[1] == (not passes)


@pytest.mark.parametrize("prp1, count, passes", [
    (0x5000, 256, True), (0x5010, 256, False), (0x5FF0, 1, True), (0x5FF0, 2, False),
])
def test_ranges_are_in_one_page(prp1, count, passes):
    assert patch("nvme_prp", sqe(9, prp1=prp1, cdw10=count - 1))[1] == (not passes)
    assert patch("nvme_sgl", sqe(9, 0x40, prp1=prp1, prp2=16 * count))[1] == (not passes)


@pytest.mark.parametrize("kind_byte, length, expected", [
    (0x00, 4096, "data"), (0x20, 160, "typed_list"), (0x30, 160, "typed_list"),
    (0x20, 8192, None), (0x20, 24, None), (0x20, 0, None), (0x10, 4096, None), (0x01, 4096, None),
    (0x40, 4096, None), (0x50, 4096, None), (0xF0, 4096, None), (0x21, 160, None),
])
def test_sgl_in_a_command_is_judged_by_its_type(kind_byte, length, expected):
    entry = sqe(2, 0x40, prp2=length, rest=place(b312=kind_byte))
    value, replaced = patch("nvme_prp", entry)
    assert replaced == (expected is None)
    assert kind(take(value, 24, 8)) == KINDS[expected or "poison"]


@pytest.mark.parametrize("kind_byte", range(256))
def test_sgl_segment_is_judged_by_its_types(kind_byte):
    allowed = {0x00: "data", 0x10: "poison", 0x20: "typed_list_8", 0x30: "typed_list_8"}
    value, replaced = patch("nvme_sgl_segment", place(b0=0x5008, b64=160, b120=kind_byte))
    assert replaced == (kind_byte not in allowed)
    assert kind(take(value, 0, 8)) == KINDS[allowed.get(kind_byte, "poison")]
    assert take(value, 8, 8) == (0 if replaced else 160 | kind_byte << 56)
    assert patch("nvme_sgl_segment", place(b64=160, b112=1, b120=kind_byte))[1]


@pytest.mark.parametrize("slba, blocks, passes", [
    (0, 5000, True), (0, 5001, False), (5000, 0, True), (4999, 1, True),
    ((1 << 64) - 1, 1, False),
])
def test_ranges_of_dataset_management_move_with_the_guest(slba, blocks, passes):
    value, replaced = patch("nvme_dsm_ranges", place(b0=3, b32=blocks, b64=slba))
    assert replaced == (not passes)
    assert value == (place(b0=3, b32=blocks, b64=slba + (1 << 40)) if passes
                     else ((1 << 64) - 1) << 64)


# Network adapters

EXTENDED, VLE, TSE, EOP = 1 << 93, 1 << 94, 1 << 90, 1 << 88


@pytest.mark.parametrize("name", ["e1000e_tx", "e1000e_tx_vlan"])
def test_context_descriptor_stays_bit_for_bit(name):
    choice = random.Random(1)
    fixed = 0xF << 84 | TSE | 0xFFFF << 112
    for _ in range(1000):
        entry = choice.getrandbits(128) & ~fixed | EXTENDED | 1460 << 112
        assert patch(name, entry) == (entry, False)


@pytest.mark.parametrize("name", ["e1000e_tx", "e1000e_tx_vlan"])
@pytest.mark.parametrize("dtyp", range(16))
@pytest.mark.parametrize("extended", [0, EXTENDED])
def test_transmit_descriptor_is_judged_by_its_type(name, dtyp, extended):
    entry = place(b0=0xFEDC_BA98_1234_5678, b64=60, b84=dtyp) | extended | EOP
    value, replaced = patch(name, entry)
    assert replaced == bool(extended and dtyp > 1)
    if replaced:
        assert value >> 64 == (0xFFFE << 48 if name == "e1000e_tx_vlan" else 0)
        assert take(value, 0, 8) == POISON
    elif not (extended and dtyp == 0):
        address = LAYOUT.unpack(take(value, 0, 8))
        assert (address.colour, address.key, address.kind, address.guard) == (9, 0xABC, 0, 0)
        assert address.offset == 0x98_1234_5678


def test_tags_are_refused_or_those_of_the_guest():
    for extended in (0, EXTENDED | 1 << 84):
        entry = place(b0=0x5000, b64=60, b112=0x0FFF) | extended
        assert not patch("e1000e_tx", entry)[1]
        assert patch("e1000e_tx", entry | VLE)[1]
        for tagged in (0, VLE):
            value, replaced = patch("e1000e_tx_vlan", entry | tagged)
            assert not replaced and value & VLE and value >> 112 == 0x123


def test_segments_are_bounded_or_refused():
    context = EXTENDED | TSE
    assert not patch("e1000e_tx", context | 1460 << 112)[1]
    assert patch("e1000e_tx", context | 1461 << 112)[1]
    assert patch("e1000e_tx_vlan", context | 1460 << 112)[1]
    assert patch("e1000e_tx_vlan", context | 1 << 84)[1]


@pytest.mark.parametrize("name, count", [("e1000e_rx", 1), ("e1000e_rx_split", 4)])
def test_every_receive_buffer_is_of_the_guest(name, count):
    value, replaced = patch(name, sum(0xFFF0_0000_0000_5000 << 64 * n for n in range(count)))
    assert not replaced
    for n in range(count):
        address = LAYOUT.unpack(take(value, 8 * n, 8))
        assert (address.colour, address.kind, address.offset) == (9, KINDS["data"], 0x5000)


def test_completion_queue_reads_as_zeros():
    assert patch("nvme_cq", (1 << 128) - 1) == (0, True)


@pytest.mark.parametrize("flags", [*range(9), 0x10, 0x80, 0x100])
def test_virtio_descriptor_is_judged_by_its_flags(flags):
    value, replaced = patch("virtio_desc", place(b0=0x5000, b64=64, b96=flags, b112=3))
    expected = {0: "data", 1: "data", 2: "data", 3: "data", 4: "typed_list"}.get(flags, "poison")
    assert replaced == (flags > 4) and kind(take(value, 0, 8)) == KINDS[expected]
