"""Odd and malicious devices: confined to their guests, and harmless to the counts."""

import pytest

from iovirt_sim.models.sharing.driver import LinuxDriver, command
from iovirt_sim.models.sharing.layout import KINDS
from iovirt_sim.models.sharing.nvme import Options
from iovirt_sim.models.sharing.world import World


def test_completions_without_a_command_are_not_counted():
    world = World()
    base = world.ring_address(1, 3)
    for slot in (0, 0, 5, 1):
        world.root.write(base + 16 * slot, bytes(16))
    assert world.pair(1).unread == world.pair(1).in_flight == 0
    assert world.monitor.records["odd completion"] == 4
    assert not world.scheduler.doorbell(1, 0x100c, 1)


def test_completions_in_two_pieces_count_once():
    world = World(options=Options(split_cqe=True, payload=True))
    driver = LinuxDriver(world, 1)
    assert [driver.write(8 * n, 8) for n in range(40)] == [0] * 40
    assert world.pair(1).in_flight == world.pair(1).unread == 0
    assert all(driver.check(8 * n, 8) for n in range(40))


@pytest.mark.parametrize("kind", ["prp_list", "typed_list", "range_list", "poison"])
def test_writes_to_lists_and_poison_are_dropped(kind):
    world = World()
    guest = world.guests[1]
    address = world.layout.pack(guest.key, 1, KINDS[kind], 0x8000)
    assert not world.root.write(address, b"x" * 8)
    assert guest.memory.load(0x8000, 8) == bytes(8) and guest.fatal


def test_writes_to_a_submission_ring_are_dropped():
    world = World()
    assert not world.root.write(world.ring_address(1, 2), b"x" * 64)
    assert world.guests[1].rings[2].load(0, 64) == bytes(64)


def test_a_device_that_guesses_keys_freezes_nobody():
    world = World()
    for _ in range(1000):
        colour, key = world.rng.randrange(1, 256), world.rng.getrandbits(12)
        if world.guests.get(colour) is None or key != world.guests[colour].key:
            address = world.layout.pack(key, colour, world.rng.randrange(8), 0x3000)
            assert not any(world.root.read(address, 8).pointer(0)[:1]) or world.layout.unpack(
                world.root.read(address, 8).pointer(0)[0]).guard
            assert not world.root.write(address, b"x")
    assert all(guest.state == "run" and not guest.fatal for guest in world.guests.values())


def test_bytes_are_paid_after_the_fetch_and_debt_stops_grants():
    world = World(depth=64, options=Options(burst=8))
    for colour in (1, 2):
        world.scheduler.accounts[colour].byte_rate = 1 << 16
    sizes = {1: 2048, 2: 8}
    for colour, count in sizes.items():
        ring = world.guests[colour].rings[2 * colour]
        for slot in range(64):
            ring.write(64 * slot, command(2, count=count, prp2=0x8000))
    moved = dict.fromkeys(sizes, 0)
    for _ in range(200):
        for colour in sizes:
            first = world.pair(colour).submission.first
            world.scheduler.doorbell(colour, 0x1008, (first - 1) % 64)
        world.run(rounds=1)
    for number, _, status in world.device.executed:
        moved[number] += sizes[number] << 9 if status == 0 else 0
    assert moved[1] <= 200 * (1 << 16) + 64 * (1 << 20)     # debt is bounded by the window
    assert moved[2] >= .8 * min(200 * (1 << 16), 200 * 8 * 4096)


def test_a_completion_written_twice_counts_once():
    world = World(options=Options(hang=True))
    world.submit(1, *[command(0)] * 3)
    base = world.ring_address(1, 3)
    for slot in (0, 0, 0, 2):
        world.root.write(base + 16 * slot, bytes(16))
    assert (world.pair(1).in_flight, world.pair(1).unread) == (2, 1)


def test_commands_in_flight_stay_below_the_depth_even_if_completions_have_room():
    world = World(options=Options(hang=True), depth=16, cq_depth=64)
    for _ in range(20):
        first = world.pair(1).submission.first
        world.scheduler.doorbell(1, 0x1008, (first - 1) % 16)
        world.run(rounds=2)
    assert world.pair(1).in_flight == 15
