"""Attacks A1..A11 through what guests write, each with a twin in which one defence is off.

On the model and on the hardware: what a guest writes is the same, the device is the same.
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
)

from iovirt_sim.models.sharing.campaign import play
from iovirt_sim.models.sharing.driver import command
from iovirt_sim.models.sharing.hostile import HostileRing
from iovirt_sim.models.sharing.nvme import Nvme, Options
from iovirt_sim.models.sharing.world import BLOCKS

INTERRUPTS = 0xfee0_0000
SECRET = b"what only guest 2 may know......" * 16


def test_a01_pointer_with_the_colour_of_another_guest(make):
    def attack(*off):
        world = make(*off)
        world.guests[2].memory.write(0x5000, SECRET)
        world.submit(1, command(WRITE, prp1=foreign(world, 2, 0x5000)),
                     command(READ, block=8, prp1=foreign(world, 2, 0x5000)))
        stolen = world.device.disk[world.guests[1].blocks.start] == SECRET
        broken = world.guests[2].memory.load(0x5000, len(SECRET)) != SECRET
        return stolen, broken, "foreign memory" in breaches(world)

    assert attack() == (False, False, False)
    assert attack("colour") == (True, True, True)


def test_a02_pointer_to_the_interrupt_window(make):
    def attack(*off):
        world = make(*off)
        # The last 4 of 4096 bytes go to the second page: a doubleword, as interrupts are.
        world.submit(1, command(READ, count=8, prp1=own(world, 1, 0x3004), prp2=INTERRUPTS))
        return breaches(world)

    assert not attack()
    assert "interrupt" in attack("colour")


@pytest.mark.parametrize("defence", ["colour", "manager"])
def test_a03_pointer_to_memory_of_the_manager(make, defence):
    def attack(*off):
        world = make(*off)
        world.submit(1, command(WRITE, prp1=0))
        if hasattr(world, "driver"):
            secret = world.manager_memory.load(0, 512)
        else:
            secret = bytes(world.secret[:512])
        return world.device.disk.get(world.guests[1].blocks.start) == secret

    assert not attack()
    assert attack(defence)


def test_a04_entry_modified_between_two_looks_at_it(make):
    def attack(*off):
        world = make(*off)
        device(world, Mixed)
        one = command(READ, count=16, prp1=0x3e00, prp2=0x8000)
        two = command(READ, count=16, prp1=0x3000, prp2=0x8000)
        world.guests[1].memory.write(0x8000, foreign(world, 2, 0x5000).to_bytes(8, "little") * 2)
        hostile_ring(world, 1, Snapshots(one, two))
        world.submit(1, one)
        return breaches(world)

    # The device takes the offset of one, and the second pointer, made for none, of the other.
    assert not attack()
    assert {"raw pointer", "foreign memory"} <= attack("once")


@pytest.mark.parametrize("pieces", [4, 16, 32])
def test_a05_entry_read_in_pieces_of_any_size(make, pieces):
    world = make()
    device(world, pieces=pieces)
    hostile_ring(world, 1, HostileRing(world, 1, .2))
    assert not play(world, 20).monitor.breaches


def test_a05_descriptor_that_straddles_two_reads(make):
    def attack(*off):
        world = make(*off)
        device(world, lists=64)
        memory, looks = world.guests[1].memory, [0]

        def look(memory):
            looks[0] += 1
            for at in (56, 72):
                kind = bytes([0x30 if looks[0] > 1 else 0])
                memory.write(0x8000 + at, (0x3000).to_bytes(8, "little")
                             + (64).to_bytes(7, "little") + kind)

        memory.hooks[8] = look
        memory.write(0x3000, (foreign(world, 2, 0).to_bytes(8, "little")
                              + (64).to_bytes(8, "little")) * 4)
        world.submit(1, command(READ, flags=0x40, prp1=0x8038, words=((8, 16), (9, 0x30 << 24))))
        return breaches(world)

    # The first half was patched as data, the second says that it is a segment.
    assert not attack()
    assert "foreign memory" in attack("halves")


def test_a06_list_that_is_chained_to_itself(make):
    def attack(*off):
        world = make(*off)
        world.guests[1].memory.write(0x8000, (0x8000).to_bytes(8, "little") * 512)
        return world.submit(1, command(READ, count=8 * 64, prp2=0x8f00)), breaches(world)

    assert attack() == ([1], set())
    assert "raw pointer" in attack("chaining")[1]


def test_a07_list_that_is_rewritten_between_its_pieces(make):
    def attack(*off):
        world = make(*off)
        device(world, lists=64)
        memory = world.guests[1].memory

        def rewrite(memory):
            memory.write(0x8000, b"".join(
                foreign(world, 2, world.rng.randrange(1, 64) << 12).to_bytes(8, "little")
                for _ in range(16)))

        memory.hooks[8] = rewrite
        world.submit(1, command(READ, count=8 * 13, prp1=own(world, 1, 0x3000),
                                prp2=own(world, 1, 0x8000, "prp_list")))
        return breaches(world)

    assert not attack()
    assert "foreign memory" in attack("colour")


def test_a08_doorbells_out_of_range(make):
    world = make()
    ring = world.scheduler.doorbell
    assert not ring(1, 0x1010, 3)                           # queue that it does not have
    assert not ring(1, 0x1008, world.depth)
    assert not any(ring(1, 0x1008, 3, size=size) for size in (1, 2, 8))
    assert not ring(1, 0x100a, 3)
    assert ring(1, 0x1008, 3)
    assert not ring(1, 0x1008, 2)                           # backwards
    assert not ring(1, 0x100c, 1)                           # nothing completed yet
    for _ in range(50):
        ring(1, 0x1008, world.rng.getrandbits(32))          # a storm only moves one number
    world.run()
    assert not breaches(world)


@pytest.mark.slow
@pytest.mark.xdist_group("verilated_weak")
def test_a08_doorbell_of_a_queue_of_another_guest(rtl):
    def attack(*off):
        world = rtl(*off, options=Options(hang=True))
        world.scheduler.doorbell(1, 0x1010, 3)
        return world.pair(2).requested

    assert attack() == 0
    assert attack("page_count") == 3


@pytest.mark.parametrize("value", [21, 2])
def test_a08_tails_beyond_the_ring_and_backwards(make, value):
    def attack(*off):
        world = make(*off, options=Options(hang=True))
        assert world.scheduler.doorbell(1, 0x1008, 3)
        world.scheduler.step()
        return world.scheduler.doorbell(1, 0x1008, value)

    assert not attack()
    assert attack("tail")


def test_a09_opcodes_that_are_not_allowed(make):
    def attack(*off):
        world = make(*off)
        return world.submit(1, command(0x80), command(0x19), command(2, flags=1)), breaches(world)

    assert attack() == ([1, 1, 1], set())
    assert "device-wide command" in attack("opcode")[1]


@pytest.mark.parametrize("defence", ["range", "range65"])
def test_a10_blocks_that_wrap_around_past_the_limit(make, defence):
    def attack(*off):
        world = make(*off)
        top = 1 << 64
        wrong = [(BLOCKS, 1), (BLOCKS - 1, 2)] if defence == "range" else []
        for block, count in (*wrong, (top - 1, 2), (top - 4096, 4)):
            world.submit(1, command(WRITE, block=block, count=count))
        return breaches(world)

    assert not attack()
    assert "foreign block" in attack(defence)


def test_a10_namespace_of_another_guest(make):
    def attack(*off):
        world = make(*off, namespaces=True)
        world.submit(1, command(WRITE, namespace=2))
        return breaches(world)

    assert not attack()
    assert "foreign namespace" in attack("nsid")


def test_a10_ranges_of_blocks_beyond_the_limit(make):
    def attack(*off):
        world = make(*off)
        world.guests[1].memory.write(0x8000, bytes(4) + (2).to_bytes(4, "little")
                                     + (BLOCKS - 1).to_bytes(8, "little"))
        world.submit(1, command(DSM, prp1=0x8000, words=((10, 0), (11, 4))))
        return breaches(world)

    assert not attack()
    assert "foreign block" in attack("range")


class Metadata(Nvme):
    """A device that uses the metadata pointer, whatever the command says."""

    def _fetch(self, ring, index):
        entry = super()._fetch(ring, index)
        self.fetch(entry.pointer(16)[0], 8, ring.issuer, False)
        return entry


def test_a11_metadata_pointer_as_hidden_pointer(make):
    def attack(*off):
        world = make(*off)
        device(world, Metadata)
        world.submit(1, command(READ, metadata=foreign(world, 2, 0x1000), prp1=0x3000))
        return breaches(world)

    assert not attack()
    assert "foreign memory" in attack("mptr")


def test_a11_descriptors_of_types_that_are_not_allowed(make):
    world = make()
    for kind in (0x40, 0x50, 0xf0, 0x01, 0x21):
        entry = command(READ, flags=0x40, words=((8, 16), (9, kind << 24)))
        assert world.submit(1, entry) == [1]
    assert not breaches(world)


def test_a11_segment_that_passes_as_data(make):
    def attack(*off):
        world = make(*off)
        memory = world.guests[1].memory
        # A segment, the only descriptor of which is a segment, the only one of which is data.
        for at, target, kind in ((0x8000, 0x9000, 0x30), (0x9000, foreign(world, 2, 0x5000), 0)):
            memory.write(at, target.to_bytes(8, "little") + (16 if kind else 512).to_bytes(
                7, "little") + bytes([kind]))
        world.submit(1, command(READ, flags=0x40, prp1=0x8000, words=((8, 16), (9, 0x30 << 24))))
        return breaches(world)

    assert not attack()
    assert {"raw pointer", "foreign memory"} <= attack("typed_type")


def test_a11_replaced_entries_keep_their_identifier_and_nothing_else(make):
    entry, = fetch(make(), 1, command(0x80, identifier=0xbeef, prp1=0x3000, block=5))
    assert entry.value[0] != 0x80 and entry.number(2, 2) == 0xbeef
    assert entry.number(4, 4) == 0xffff_fffe and entry.number(40, 8) == (1 << 64) - 1
