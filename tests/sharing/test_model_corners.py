"""Corner cases C1..C15 on the model."""

import pytest

from iovirt_sim.models.sharing.driver import LinuxDriver, command
from iovirt_sim.models.sharing.layout import KINDS
from iovirt_sim.models.sharing.nvme import Options
from iovirt_sim.models.sharing.tables import defences_off
from iovirt_sim.models.sharing.world import BLOCKS, World

READ, WRITE, DSM = 2, 1, 9
LIST, DATA, POISON = KINDS["prp_list"], KINDS["data"], KINDS["poison"]


def patched(entry, last_slot=1, **more):
    world = World(last_slot=last_slot, **more)
    owner = world.root._owner(world.guests[1])
    return world, *world.root.templates[0].patch(entry, owner)


def kinds(entry, **more):
    """Return the kinds of both PRPs, or None if the entry was replaced."""
    world, result, bad = patched(entry, **more)
    return None if bad else tuple(world.layout.unpack(result.pointer(at)[0]).kind
                                  for at in (24, 32))


@pytest.mark.parametrize(("offset", "count", "second"), [
    (0, 8, POISON), (0, 9, DATA), (0, 16, DATA), (0, 17, LIST),
    (4, 8, DATA), (4, 15, DATA), (4, 16, LIST),
    (0xffc, 1, DATA), (0xffc, 8, DATA), (0xffc, 9, LIST), (3, 8, POISON), (0xfff, 9, LIST),
])
def test_c01_lengths_at_page_ends(offset, count, second):
    assert kinds(command(READ, count=count, prp1=offset)) == (DATA, second)


@pytest.mark.parametrize(("pages", "last_slot", "passes"), [
    (32, 1, True), (33, 1, False), (31, 0, True), (32, 0, False)])
def test_c02_list_at_3840_uses_slot_511_but_no_link(pages, last_slot, passes):
    entry = command(READ, count=8 * (pages + 1), prp2=3840)
    assert (kinds(entry, last_slot=last_slot) is not None) == passes


def test_c02_linux_reads_back_lists_of_every_shape():
    world = World(options=Options(payload=True, lists=64), depth=8)
    drivers = [LinuxDriver(world, colour) for colour in (1, 2)]
    for count in (1, 8, 9, 16, 17, 100, 257, 264, 400):
        for driver in drivers:
            assert driver.write(count, count) == 0
    for count in (1, 9, 17, 100, 264, 400):
        assert all(driver.check(count, count) for driver in drivers)
    assert not world.monitor.breaches and not world.monitor.records


def test_c03_list_at_the_last_slot_of_a_page():
    assert kinds(command(READ, count=17, prp2=0xff8)) is None
    assert kinds(command(READ, count=9, prp2=0xff8)) == (DATA, DATA)


def test_c04_low_bits_and_colours_of_list_entries_are_forced():
    world = World()
    foreign = world.layout.pack(world.guests[2].key, 2, DATA, 0x5fff)
    world.guests[1].memory.write(0x8000, foreign.to_bytes(8, "little"))
    address = world.layout.pack(world.guests[1].key, 1, LIST, 0x8000)
    pointer, raw = world.root.read(address, 8).pointer(0)
    assert pointer == world.layout.pack(world.guests[1].key, 1, DATA, 0x5000) and not raw


@pytest.mark.parametrize("start", [0, 4, 0xff4])
def test_c05_parts_of_a_list_are_the_parts_of_the_whole(start):
    world = World()
    world.guests[1].memory.write(0x8000, world.rng.randbytes(4096))
    address = world.layout.pack(world.guests[1].key, 1, LIST, 0x8000)
    whole = world.root.read(address, 4096)
    assert world.root.read(address + start, 12) == whole[start:start + 12]


def test_c06_each_entry_is_fetched_once_and_only_if_granted():
    world = World()
    world.guests[1].rings[2].write(0, b"".join(command(0, identifier=n) for n in range(8)))
    world.pair(1).submission.granted = 3
    base = world.ring_address(1, 2)

    def opcodes(data):
        return [data.value[at] for at in range(0, len(data.value), 64)]

    assert opcodes(world.root.read(base, 512)) == [0, 0, 0] + [0x70] * 5
    assert opcodes(world.root.read(base, 512)) == [0x70] * 8
    world.pair(1).submission.granted = 5
    halves = [world.root.read(base + at, 32).value[0] for at in (192, 224)]
    assert halves[0] == 0 and world.root.read(base + 256, 64).value[0] == 0
    world.root.read(base + 64 * 15, 65)                     # past the end of the ring
    assert world.monitor.records["ring depth"] and world.guests[1].fatal


def segment_world(descriptor, *off):
    """Return the status and breaches when halves of a segment's second descriptor disagree."""
    world = World(off=defences_off(*off), options=Options(lists=64))
    memory = world.guests[1].memory
    looks = [0]

    def look(memory):
        looks[0] += 1
        kind = descriptor if looks[0] > 1 else 0
        for at in (56, 72):
            size = 64
            memory.write(0x8000 + at, (0x3000).to_bytes(8, "little")
                         + size.to_bytes(4, "little") + bytes(3) + bytes([kind]))

    memory.hooks[8] = look
    memory.write(0x3000, b"".join(world.layout.pack(world.guests[2].key, 2, DATA, 0).to_bytes(
        8, "little") + (64).to_bytes(8, "little") for _ in range(4)))
    world.submit(1, command(READ, flags=0x40, prp1=0x8038,
                            words=((8, 16), (9, 0x30 << 24))))
    return world.monitor.breaches


def test_c07_descriptor_cut_by_a_read_of_64_bytes():
    # The address is patched as data in one read, the type says segment in the next one.
    assert not segment_world(0x30)
    assert segment_world(0x30, "halves")["foreign memory"]


def test_c07_range_cut_by_a_read_of_8_bytes():
    def attack(*off):
        world = World(off=defences_off(*off), options=Options(lists=8))
        looks = [0]

        def look(memory):
            looks[0] += 1
            size, block = (BLOCKS, 0) if looks[0] == 1 else (1, BLOCKS - 1)
            memory.write(0x8000, bytes(4) + size.to_bytes(4, "little")
                         + block.to_bytes(8, "little"))

        world.guests[1].memory.hooks[8] = look
        world.submit(1, command(DSM, prp1=0x8000, words=((10, 0), (11, 4))))
        return world.monitor.breaches

    assert not attack()
    assert attack("halves")["foreign block"]


def test_c07_segments_must_end_in_their_page():
    def attack(*off):
        world = World(off=defences_off(*off))
        world.submit(1, command(READ, flags=0x40, prp1=0x8ff8, words=((8, 32), (9, 0x30 << 24))))
        return world

    assert attack().device.executed[-1][2] == 1
    assert attack("typed_page").device.executed[-1][2] != 1
    world = World()
    address = world.layout.pack(world.guests[1].key, 1, KINDS["typed_list_8"], 0x8ff0)
    assert not world.root.read(address, 16).pointer(8)[1]   # half an entry at the end is poison


def test_c09_blocks_at_the_limit():
    world = World()
    cases = [(BLOCKS - 1, 1, 0), (BLOCKS - 1, 2, 1), (BLOCKS, 1, 1), ((1 << 64) - 1, 1, 1),
             ((1 << 64) - 1, 2, 1), (0, 1, 0)]
    for block, count, status in cases:
        assert world.submit(2, command(READ, block=block, count=count)) == [status]
    assert not world.monitor.breaches


def test_c10_doorbells_that_move_a_tail_backwards_or_stand_still():
    world = World()
    ring = world.scheduler.doorbell
    assert ring(1, 0x1008, 15) and ring(1, 0x1008, 15)
    assert not ring(1, 0x1008, 14) and not ring(1, 0x1008, 16)
    world.guests[1].state = "freeze"
    ring(1, 0x1008, 15)
    assert world.scheduler.step() == 0
    world.guests[1].state = "quarantine"
    assert not ring(1, 0x1008, 15)


def test_c11_a_guest_that_never_drains_its_completions_holds_nothing_up():
    def attack(*off):
        world = World(off=defences_off(*off), cq_depth=8)
        for _ in range(20):
            first = world.pair(1).submission.first
            world.scheduler.doorbell(1, 0x1008, (first - 1) % world.depth)
            world.scheduler.step()
            world.device.step()
        return world

    world = attack()
    assert not world.monitor.breaches
    assert LinuxDriver(world, 2).write(0, 8) == 0
    assert attack("cq_space").monitor.breaches["completion held by the device"]


@pytest.mark.parametrize("page", [3, 8])
def test_c12_unmapped_list_or_buffer_only_stops_its_guest(page):
    world = World()
    world.guests[1].memory.unmapped.add(page)
    world.submit(1, command(WRITE, count=1024, prp1=0x3000, prp2=0x8000))
    assert not world.device.dead and world.monitor.records["fault"]
    assert world.guests[1].fatal and world.guests[1].state == "freeze"
    assert LinuxDriver(world, 2).write(0, 8) == 0


def test_c13_exactly_the_allowed_opcodes_pass():
    world = World()
    owner = world.root._owner(world.guests[1])
    passed = set()
    for opcode in range(256):
        for flags in range(256):
            entry = command(opcode, flags=flags, identifier=0xbeef)
            template = world.root.templates[0]
            if template.other(entry) is not None:
                template = world.root.templates[1]
            result, bad = template.patch(entry, owner)
            assert result.number(2, 2) == 0xbeef
            if bad:
                assert result.value[0] == 0x70 and result.number(4, 4) == 0xffff_fffe
            else:
                passed.add((opcode, flags & 0xc3))
    plain = {(opcode, 0) for opcode in (0, 1, 2, 5, 8, 9, 12)}
    assert passed == plain | {(opcode, 0x40) for opcode in (1, 2, 5)}


def test_c14_nothing_of_a_hung_command_reaches_the_next_owner():
    world = World(options=Options(hang=True))
    world.submit(1, command(READ, prp1=0x3000))
    ring, buffer = world.ring_address(1, 3), world.layout.pack(world.guests[1].key, 1, DATA, 0x3000)
    world.reset(1)
    before = world.pair(1).unread
    assert not world.root.write(ring, bytes(16)) and not world.root.write(buffer, b"late")
    assert world.root.read(buffer, 8).value == bytes(8)
    assert world.pair(1).unread == before and not world.guests[1].fatal
    world.device.options = Options(payload=True)
    assert LinuxDriver(world, 1).write(0, 8) == 0


def test_c14_reset_between_the_read_and_the_patch_does_not_lend_the_new_key():
    world = World()
    old = world.guests[1]
    address = world.layout.pack(old.key, 1, LIST, 0x8000)
    old.memory.hooks[8] = lambda memory: world.reset(1)
    pointer, _ = world.root.read(address, 8).pointer(0)
    assert world.layout.unpack(pointer).key == old.key != world.guests[1].key


def test_c06_kept_entries_serve_devices_that_fetch_by_halves():
    def attack(keep, pieces):
        world = World(options=Options(pieces=pieces))
        world.root.templates[0].partial = "keep" if keep else "widen"
        return world.submit(1, *[command(READ, prp1=0x3000)] * 5), world.monitor.breaches

    assert attack(True, 32) == ([0] * 5, {})
    assert attack(True, 8) == ([0] * 5, {})
    assert 0 not in attack(False, 32)[0]


def test_c13_transfers_above_the_limit_are_denied_with_both_descriptors():
    for flags in (0, 0x40):
        world = World()
        states = [world.submit(1, command(READ, count=count, flags=flags,
                                          prp2=0 if flags else 0x8000))
                  for count in (2048, 2049)]
        assert states == [[0], [1]]
