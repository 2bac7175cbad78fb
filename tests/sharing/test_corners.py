"""Corner cases C1..C9 of what guests write, each with a twin in which one defence is off.

On the model and on the hardware; what the device gets of an entry or a list is looked at directly.
"""

import pytest
from tests.sharing.attack_tools import (
    DSM,
    READ,
    WRITE,
    Mixed,
    Snapshots,
    breaches,
    device,
    fetch,
    foreign,
    hostile_ring,
    own,
    ready,
)

from iovirt_sim.models.sharing.driver import LinuxDriver, command
from iovirt_sim.models.sharing.layout import KINDS
from iovirt_sim.models.sharing.nvme import Options
from iovirt_sim.models.sharing.world import BLOCKS

LIST, DATA, POISON = KINDS["prp_list"], KINDS["data"], KINDS["poison"]
ENDS = [(0, 8, POISON), (0, 9, DATA), (0, 16, DATA), (0, 17, LIST), (4, 8, DATA), (4, 15, DATA),
        (4, 16, LIST), (0xffc, 1, DATA), (0xffc, 8, DATA), (0xffc, 9, LIST), (3, 8, POISON),
        (0xfff, 9, LIST)]


def kinds(world, *entries):
    """Return the kinds of both pointers of each entry; None for a replaced one."""
    result = []
    for entry in fetch(world, 1, *entries):
        both = tuple(world.layout.unpack(entry.pointer(at)[0]).kind for at in (24, 32))
        result.append(None if entry.number(4, 4) == 0xffff_fffe else both)
    return result


def test_c01_lengths_at_page_ends(make):
    def attack(*off):
        world = make(*off, depth=64)
        return kinds(world, *[command(READ, count=count, prp1=offset) for offset, count, _ in ENDS])

    right = [(DATA, second) for _, _, second in ENDS]
    assert attack() == right
    without = attack("prp1_offset")
    assert without[6] == without[9] == (DATA, DATA) != right[6]     # a list that passes as data


@pytest.mark.parametrize(("pages", "last_slot", "passes"), [
    (32, 1, True), (33, 1, False), (31, 0, True), (32, 0, False)])
def test_c02_list_at_3840_uses_slot_511_but_no_link(make, pages, last_slot, passes):
    entry = command(READ, count=8 * (pages + 1), prp2=3840)
    found, = kinds(make(last_slot=last_slot), entry)
    assert (found is not None) == passes
    found, = kinds(make("chaining", last_slot=last_slot), entry)
    assert found == (DATA, LIST)


def test_c02_slot_511_is_patched_like_the_others(make):
    def attack(*off):
        world = make(*off)
        world.guests[1].memory.write(0x8f00, (0x6000).to_bytes(8, "little") * 31
                                     + foreign(world, 2, 0x5000).to_bytes(8, "little"))
        world.submit(1, command(READ, count=8 * 33, prp2=0x8f00))
        return breaches(world)

    assert not attack()
    assert "foreign memory" in attack("slot_511")


def test_c02_device_that_always_links_at_slot_511(make):
    def attack(last_slot):
        world = make(last_slot=last_slot)
        device(world, always_link=True)
        slots = [0x6000] * 31 + [0x5000]
        world.guests[1].memory.write(0x8f00, b"".join(s.to_bytes(8, "little") for s in slots))
        world.guests[1].memory.write(0x5000, foreign(world, 2, 0x5000).to_bytes(8, "little") * 512)
        world.submit(1, command(READ, count=8 * 33, prp2=0x8f00))
        return breaches(world)

    # For such a device the template must say that slot 511 is never data.
    assert not attack(0)
    assert "foreign memory" in attack(1)


def test_c02_linux_reads_back_lists_of_every_shape(make):
    world = make(options=Options(payload=True, lists=64), depth=8)
    drivers = [LinuxDriver(world, colour) for colour in (1, 2)]
    for count in (1, 9, 17, 33):
        for driver in drivers:
            assert driver.write(count, count) == 0
    assert all(driver.check(count, count) for driver in drivers for count in (1, 9, 17, 33))
    assert not breaches(world) and not world.guests[1].fatal


def test_c03_list_at_the_last_slot_of_a_page(make):
    entries = command(READ, count=17, prp2=0xff8), command(READ, count=9, prp2=0xff8)
    assert kinds(make(), *entries) == [None, (DATA, DATA)]
    assert kinds(make("chaining"), *entries) == [(DATA, LIST), (DATA, DATA)]


def test_c04_low_bits_and_colours_of_list_entries_are_forced(make):
    def attack(*off):
        world = make(*off)
        bad = foreign(world, 2, 0x5fff, "ring")
        world.guests[1].memory.write(0x8000, bad.to_bytes(8, "little"))
        pointer, _ = world.root.read(own(world, 1, 0x8000, "prp_list"), 8).pointer(0)
        return pointer ^ own(world, 1, 0x5000)

    assert attack() == 0
    assert attack("low_bits") == 0xfff
    assert attack("colour") >> 41 and attack("colour") & 0xfff == 0xfff


@pytest.mark.parametrize("start", [0, 4, 0xff4])
def test_c05_parts_of_a_list_are_the_parts_of_the_whole(make, start):
    world = make()
    world.guests[1].memory.write(0x8000, world.rng.randbytes(4096))
    address = own(world, 1, 0x8000, "prp_list")
    whole = world.root.read(address, 4096)
    assert world.root.read(address + start, 12).value == whole.value[start:start + 12]


def test_c05_list_that_is_the_ring_itself(make):
    """A guest maps its ring as data, too: entries are patched as slots when read as a list."""
    def attack(*off):
        world = make(*off)
        # Bytes 40..47, a block number, are slot 5 of a list that is at the ring.
        entry = command(READ, count=17, prp2=0x8028, block=foreign(world, 2, 0x5000))
        ring = entry * 64 if hasattr(world, "driver") else entry
        world.guests[1].memory.write(0x8000, ring)
        pointer, _ = world.root.read(own(world, 1, 0x8028, "prp_list"), 8).pointer(0)
        return pointer == own(world, 1, 0x5000), pointer == foreign(world, 2, 0x5000)

    assert attack() == (True, False)
    assert attack("colour") == (False, True)


def opcodes(data):
    return [data.value[at] for at in range(0, len(data.value), 64)]


def test_c06_each_entry_is_fetched_once_and_only_if_granted(make):
    def attack(*off):
        world = make(*off, options=Options(hang=True))
        ready(world, 1, *[command(0, identifier=n) for n in range(3)])
        for n in range(3, 8):
            world.guests[1].rings[2].write(64 * n, command(0, identifier=n))
        base = world.ring_address(1, 2)
        looks = [opcodes(world.root.read(base, 512)) for _ in range(2)]
        return [[opcode == 0 for opcode in look].count(True) for look in looks]

    assert attack() == [3, 0]
    assert attack("once")[1] >= 3
    assert attack("window")[0] == 8


def test_c06_entry_that_changes_between_two_fetches(make):
    def attack(*off):
        world = make(*off)
        device(world, Mixed)
        one, two = (command(READ, count=16, prp1=at, prp2=0x8000) for at in (0x3e00, 0x3000))
        world.guests[1].memory.write(0x8000, foreign(world, 2, 0x5000).to_bytes(8, "little") * 2)
        hostile_ring(world, 1, Snapshots(one, two))
        return world.submit(1, one), breaches(world)

    status, found = attack()
    assert status != [0] and not found
    assert attack("once")[1]


def test_c06_fetch_that_goes_beyond_the_end_of_the_ring(make):
    world = make(options=Options(hang=True))
    base = world.ring_address(1, 2)
    world.root.read(base + 64 * (world.depth - 1), 65)
    assert world.guests[1].fatal and world.guests[1].state == "freeze"
    assert not world.guests[2].fatal


def test_c07_range_cut_by_a_read_of_8_bytes(make):
    def attack(*off):
        world = make(*off, options=Options(lists=8))
        looks = [0]

        def look(memory):
            looks[0] += 1
            size, block = (BLOCKS, 0) if looks[0] == 1 else (1, BLOCKS - 1)
            memory.write(0x8000, bytes(4) + size.to_bytes(4, "little")
                         + block.to_bytes(8, "little"))

        world.guests[1].memory.hooks[8] = look
        world.submit(1, command(DSM, prp1=0x8000, words=((10, 0), (11, 4))))
        return breaches(world)

    assert not attack()
    assert "foreign block" in attack("halves")


def test_c07_segments_must_end_in_their_page(make):
    def attack(*off):
        world = make(*off)
        world.submit(1, command(READ, flags=0x40, prp1=0x8ff8, words=((8, 32), (9, 0x30 << 24))))
        return world.device.executed[-1][2]

    assert attack() == 1
    assert attack("typed_page") != 1


def test_c07_half_a_descriptor_at_the_end_of_a_page_is_poison(make):
    world = make()
    data = world.root.read(own(world, 1, 0x8ff0, "typed_list_8"), 16)
    assert world.layout.unpack(data.pointer(8)[0]).guard


def test_c08_length_of_4_gib_at_the_top_of_the_window(make):
    def attack(*off):
        world = make(*off)
        top = (1 << 40) - 512
        world.guests[1].memory.write(0, b"start of the window")
        world.submit(1, command(READ, flags=0x40, prp1=top, count=2,
                                words=((8, 0xffff_ffff), (9, 0))))
        return (world.guests[1].memory.load(0, 19) != b"start of the window",
                world.guests[1].fatal, breaches(world))

    assert attack() == (False, True, set())
    assert attack("guard") == (True, False, set())


def test_c09_blocks_at_the_limit(make):
    cases = [(BLOCKS - 1, 1, 0), (BLOCKS - 1, 2, 1), (BLOCKS, 1, 1), ((1 << 64) - 1, 1, 1),
             ((1 << 64) - 1, 2, 1), (0, 1, 0)]

    def attack(*off):
        world = make(*off)
        return [world.submit(2, command(WRITE, block=block, count=count))[0]
                for block, count, _ in cases], breaches(world)

    assert attack() == ([status for _, _, status in cases], set())
    # 2^64 - 1 and 2 blocks: the sum wraps around, to one less than the first block of the guest.
    assert "foreign block" in attack("range65")[1]
    assert "foreign block" in attack("range")[1]
