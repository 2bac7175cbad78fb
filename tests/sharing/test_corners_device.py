"""Corner cases C10..C15: doorbells, completions, faults, opcodes, resets, network devices."""

import pytest
from tests.sharing.attack_tools import READ, WRITE, breaches, fetch, own

from iovirt_sim.models.sharing.driver import LinuxDriver, command
from iovirt_sim.models.sharing.nvme import Options

#: Opcodes about which the templates of the model and of the library do not differ.
COMPARED = set(range(256)) - {0, 9, 12, 0x60, 0x70}


def test_c10_doorbells_that_move_a_tail_backwards_or_stand_still(make):
    world = make(options=Options(hang=True))
    ring = world.scheduler.doorbell
    assert ring(1, 0x1008, 15) and ring(1, 0x1008, 15)
    assert not ring(1, 0x1008, 14) and not ring(1, 0x1008, 16)
    world.guests[1].state = "quarantine"
    assert not ring(1, 0x1008, 15)


def test_c10_doorbell_in_a_frozen_guest(make):
    def attack(*off):
        world = make(*off, options=Options(hang=True))
        world.guests[1].state = "freeze"
        world.scheduler.doorbell(1, 0x1008, 5)
        world.scheduler.step()
        return world.pair(1).in_flight

    assert attack() == 0
    assert attack("freeze") == 5


@pytest.mark.parametrize(("offset", "size"), [
    (0x1008, 1), (0x1008, 2), (0x1008, 8), pytest.param(0x100a, 4, id="unaligned")])
def test_c10_doorbells_of_odd_sizes(make, offset, size):
    def attack(*off):
        world = make(*off, options=Options(hang=True))
        return world.scheduler.doorbell(1, offset, 3, size=size), world.pair(1).requested

    assert attack() == (False, 0)
    if size == 8:       # bytes that are not written have no value in hardware
        assert attack("doorbell") == (True, 3)


def test_c10_full_lap_and_value_beyond_the_ring(make):
    def attack(*off):
        world = make(*off, options=Options(hang=True))
        return world.scheduler.doorbell(1, 0x1008, world.depth)

    assert not attack()
    assert attack("tail")


def test_c11_guest_that_never_drains_its_completions_holds_nothing_up(make):
    def attack(*off):
        world = make(*off, cq_depth=8)
        for _ in range(12):
            first = world.pair(1).submission.first
            world.scheduler.doorbell(1, 0x1008, (first - 1) % world.depth)
            world.scheduler.step()
            world.device.step()
        works = LinuxDriver(world, 2).write(0, 8) == 0
        return works, "completion held by the device" in breaches(world)

    assert attack() == (True, False)
    assert attack("cq_space")[1]


@pytest.mark.parametrize("page", [3, 8])
def test_c12_unmapped_list_or_buffer_only_stops_its_guest(make, page):
    def attack(*off):
        world = make(*off)
        world.guests[1].memory.unmapped.add(page)
        world.submit(1, command(WRITE, count=128, prp1=0x3000, prp2=0x8000))
        fatal = world.guests[1].fatal, world.guests[1].state
        if world.device.dead:
            return fatal, False
        return fatal, LinuxDriver(world, 2).write(0, 8) == 0

    assert attack() == ((True, "freeze"), True)
    assert not attack("contain")[1]


@pytest.mark.slow
@pytest.mark.xdist_group("verilated_weak")
@pytest.mark.parametrize("side", [0, 1])
def test_c12_unmapped_ring_only_stops_its_guest(rtl, side):
    world = rtl()
    world.guests[1].rings[2 + side].unmapped.add(0)
    world.submit(1, command(READ, prp1=0x3000))
    assert not world.device.dead and world.guests[1].fatal
    assert LinuxDriver(world, 2).write(0, 8) == 0


@pytest.mark.parametrize("psdt", [0, 0x40])
def test_c13_exactly_the_allowed_opcodes_pass(make, psdt):
    def passed(*off):
        world = make(*off, depth=512, cq_depth=512, options=Options(hang=True))
        return {entry.value[0] for entry in sweep(world, [
            command(opcode, flags=psdt, identifier=opcode, namespace=1) for opcode in range(256)])}

    found = passed()
    assert found & COMPARED == ({1, 2, 5} if psdt else {1, 2, 5, 8})
    assert found < passed("opcode")


def sweep(world, entries):
    """Return what the device gets of entries that are not replaced, some at a time."""
    kept = []
    for n in range(0, len(entries), 32):
        part = entries[n:n + 32]
        got = fetch(world, 1, *part)
        for entry, sent in zip(got, part, strict=True):
            assert entry.value[2:4] == sent[2:4], "the identifier must stay"
            if entry.number(4, 4) != 0xffff_fffe:
                kept.append(entry)
        complete(world, n, len(part))
    return kept


def complete(world, first, count):
    """Write completions and let the guest take them."""
    base = world.ring_address(1, 3)
    for n in range(first, first + count):
        world.root.write(base + 16 * (n % world.cq_depth), bytes(14) + b"\1\0")
    world.drain(1)


@pytest.mark.parametrize("flags", range(0, 256, 17))
def test_c13_fused_and_reserved_flags_are_refused(make, flags):
    entry, = fetch(make(), 1, command(READ, flags=flags, identifier=0xbeef))
    assert (entry.number(4, 4) == 0xffff_fffe) == (flags & 0xc3 not in (0, 0x40))
    assert entry.number(2, 2) == 0xbeef


def test_c14_nothing_of_a_hung_command_reaches_the_next_owner(make):
    def attack(*off):
        world = make(*off, options=Options(hang=True))
        world.submit(1, command(READ, prp1=0x3000))
        ring, buffer = world.ring_address(1, 3), own(world, 1, 0x3000)
        world.reset(1)
        world.guests[1].memory.write(0x3000, b"mine")
        late = world.root.write(ring, bytes(14) + b"\1\0"), world.root.write(buffer, b"late")
        return late, world.root.read(buffer, 4).value, world.pair(1).unread

    assert attack() == ((False, False), bytes(4), 0)
    late, data, _ = attack("key")
    assert late[1] and data == b"late"


def test_c14_the_next_owner_works_at_once(make):
    world = make(options=Options(payload=True, hang=True))
    world.submit(1, command(READ, prp1=0x3000))
    world.reset(1)
    world.device.options = Options(payload=True)
    driver = LinuxDriver(world, 1)
    assert driver.write(0, 8) == 0 and driver.check(0, 8) and not world.guests[1].fatal
