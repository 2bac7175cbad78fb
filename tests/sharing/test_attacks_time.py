"""Attacks A13..A15, A18, A19, A23: on shares, resets, faults, tables; on the model and hardware."""

import pytest
from tests.sharing.attack_tools import READ, WRITE, breaches, device, foreign, own, ready

from iovirt_sim.models.sharing.driver import LinuxDriver, command
from iovirt_sim.models.sharing.nvme import Options

TOP = 1 << 40


def rate(world, colour, **limits):
    """Set weight and rates of a guest, in either world."""
    if hasattr(world, "driver"):
        world.rate(colour, **limits)
        return
    account = world.scheduler.accounts[colour]
    account.weight = limits.get("weight", 1)
    account.rate = limits.get("commands", 0) / 2


def granted(world, colour):
    """Return how many commands a guest was granted."""
    if hasattr(world, "driver"):
        return world.driver.statistics(colour)["commands"]
    return world.scheduler.accounts[colour].granted


def flood(world, turns, colours=(1, 2)):
    """Let guests ask for as much as they can, and the device take as much as it gets."""
    for _ in range(turns):
        for colour in colours:
            first = world.pair(colour).submission.first
            world.scheduler.doorbell(colour, 0x1008, (first - 1) % world.depth)
            world.drain(colour)
        world.scheduler.step(8)
        world.device.step()


def test_a13_one_guest_starves_another(make):
    def shares(*off, weights=(1, 1)):
        world = make(*off, depth=64)
        device(world, burst=8)
        if hasattr(world, "driver"):
            world.driver.scheduler(most=8, burst=2, quantum=2)
        for colour, weight in zip((1, 2), weights, strict=True):
            rate(world, colour, weight=weight)
        flood(world, 25)
        counts = [granted(world, colour) for colour in (1, 2)]
        return counts[1] / sum(counts)

    assert abs(shares() - 1 / 2) < .05
    assert abs(shares(weights=(3, 1)) - 1 / 4) < .1
    assert shares("fair") < .2


def test_a13_command_floods_are_limited_by_tokens(make):
    def count(*off):
        world = make(*off)
        rate(world, 1, commands=1, command_burst=1)
        flood(world, 40, (1,))
        return granted(world, 1)

    limited = count()
    assert 1 <= limited and 3 * limited < count("buckets")


def test_a13_completions_that_are_never_read_hold_nobody_up(make):
    def attack(*off):
        world = make(*off, cq_depth=8)
        for _ in range(12):
            first = world.pair(1).submission.first
            world.scheduler.doorbell(1, 0x1008, (first - 1) % world.depth)
            world.scheduler.step()
            world.device.step()
        works = LinuxDriver(world, 2).write(0, 8) == 0
        return works, breaches(world)

    assert attack() == (True, set())
    assert "completion held by the device" in attack("cq_space")[1]


def test_a14_late_dma_of_the_old_owner(make):
    def attack(*off):
        world = make(*off)
        late = own(world, 1, 0x4000)
        world.reset(1)
        done = world.root.write(late, b"late")
        return done, world.guests[1].memory.load(0x4000, 4) == b"late", world.guests[1].state

    assert attack() == (False, False, "run")
    assert attack("key") == (True, True, "run")


def test_a14_late_completion_of_the_old_owner(make):
    def attack(*off):
        world = make(*off, options=Options(payload=True, hang=True))
        ring = world.ring_address(1, 3)
        world.submit(1, command(READ, prp1=0x3000))
        world.reset(1)
        ready(world, 1, command(READ, prp1=0x3000))     # the new owner has one in flight
        world.root.write(ring, bytes(14) + b"\1\0")
        return world.pair(1).unread

    assert attack() == 0
    assert attack("key") == 1


@pytest.mark.slow
@pytest.mark.xdist_group("verilated_weak")
def test_a14_dma_while_the_guest_is_off(rtl):
    def attack(*off):
        world = rtl(*off)
        world.guests[1].state = "quarantine"
        world.guests[1].memory.write(0x4000, b"mine")
        return world.root.write(own(world, 1, 0x4000), b"late")

    assert not attack()
    assert attack("state")


def test_a15_ring_of_another_guest(make):
    def attack(*off):
        world = make(*off, options=Options(hang=True))
        if hasattr(world, "driver"):
            world.lend_ring(1, 4)
        ready(world, 2, command(READ, identifier=0xbeef))
        address = world.layout.pack(world.guests[1].key, 1, 5, 4 << world.layout.ring)
        data = world.root.read(address, 64)
        return data.number(2, 2) == 0xbeef, world.guests[1].fatal

    assert attack() == (False, True)
    assert attack("owner") == (True, False)


@pytest.mark.slow
@pytest.mark.xdist_group("verilated_weak")
def test_a15_memory_behind_the_end_of_a_ring(rtl):
    def attack(*off):
        world = rtl(*off)
        end = 16 * world.cq_depth
        world.root.write(world.ring_address(1, 3) + end, b"x" * 16)
        return world.guests[1].rings[3].load(end, 16) == b"x" * 16, world.guests[1].fatal

    assert attack() == (False, True)
    assert attack("depth") == (True, False)


def test_a15_stale_address_of_a_ring_that_was_given_away(make):
    def attack(*off):
        world = make(*off)
        old = world.ring_address(1, 2)
        world.reset(1)
        ready(world, 1, command(READ, identifier=0xbeef))
        return world.root.read(old, 64).number(2, 2) == 0xbeef

    assert not attack()
    assert attack("key")


def test_a18_fault_in_the_middle_of_a_command(make):
    def attack(*off):
        world = make(*off)
        world.guests[1].memory.unmapped.add(8)
        world.submit(1, command(WRITE, count=128, prp2=0x8000))
        works = LinuxDriver(world, 2).write(0, 8) == 0 if not world.device.dead else False
        return breaches(world), works, world.guests[1].fatal

    assert attack() == (set(), True, True)
    assert attack("contain")[:2] == ({"fatal device"}, False)


def test_a18_device_that_hangs_is_no_reason_to_wait(make):
    world = make(options=Options(payload=True, hang=True))
    world.submit(1, command(READ, prp1=0x3000))
    world.reset(1)
    world.device.options = Options(payload=True)
    driver = LinuxDriver(world, 1)
    assert driver.write(0, 8) == 0 and driver.check(0, 8)
    assert not breaches(world)


def test_a19_contained_answers_tell_nothing_of_others(make):
    def attack(*off):
        world = make(*off)
        world.guests[2].memory.write(0x1000, b"secret!!")
        wrong = world.layout.pack(world.guests[2].key ^ 1, 2, 0, 0x1000)
        return world.root.read(wrong, 8, 1).value

    assert attack() == bytes(8)
    assert attack("key") == b"secret!!"


@pytest.mark.slow
@pytest.mark.xdist_group("verilated_weak")
def test_a19_shadows_of_doorbells_of_others_tell_nothing(rtl):
    def attack(*off):
        world = rtl(*off)
        world.scheduler.doorbell(2, 0x1008, 5)
        return world.look(1, 0x1010)

    assert attack() != 5
    assert attack("page_count") == 5


def test_a23_length_carries_out_of_the_window(make):
    def attack(*off):
        world = make(*off)
        own_start = world.guests[1].memory
        own_start.write(0, bytes(range(256)) * 16)
        world.submit(1, command(WRITE, flags=0x40, prp1=TOP - 4096, count=16,
                                words=((8, 0xffff_ffff), (9, 0))))
        first = world.guests[1].blocks.start
        beyond = b"".join(world.device.disk.get(first + n, bytes(512)) for n in range(8, 16))
        return beyond == bytes(range(256)) * 16, world.guests[1].fatal, breaches(world)

    assert attack() == (False, True, set())
    # The guard keeps the carry from all above it: without it, the access goes on in the window.
    assert attack("guard") == (True, False, set())


def test_a23_pointer_at_the_top_is_not_that_of_the_next_guest(make):
    world = make()
    assert foreign(world, 2, 0) >> 44 != own(world, 1, TOP - 4) + 4 >> 44
    world.guests[2].memory.write(0, b"secret!!")
    assert world.root.read(own(world, 1, TOP - 4) + 4, 8, 1).value == bytes(8)
