"""Attacks A1..A23 on the model, each with a twin that succeeds without the defence it aims at.

A12 (forged requester, event queues), A16, A17, A18 (link), A20, A21 and A22 are about parts that
this model does not have; they are attacks on the hardware.
"""

from iovirt_sim.models.sharing.address import AddressLayout
from iovirt_sim.models.sharing.campaign import run
from iovirt_sim.models.sharing.driver import LinuxDriver, command
from iovirt_sim.models.sharing.layout import KINDS
from iovirt_sim.models.sharing.nvme import Options
from iovirt_sim.models.sharing.tables import defences_off
from iovirt_sim.models.sharing.world import BLOCKS, World

READ, WRITE = 2, 1


def world_without(*off, **more):
    return World(off=defences_off(*off), **more)


def foreign(world, colour, offset, kind="data"):
    """The worst case: a pointer of another guest with the right key."""
    return world.layout.pack(world.guests[colour].key, colour, KINDS[kind], offset)


def breaches(world):
    return set(world.monitor.breaches)


def test_a01_pointer_with_the_colour_of_another_guest():
    def attack(*off):
        world = world_without(*off)
        world.submit(1, command(READ, prp1=foreign(world, 2, 0x5000)))
        return breaches(world)

    assert not attack()
    assert "foreign memory" in attack("colour")


def test_a02_pointer_to_the_interrupt_window():
    def attack(*off):
        world = world_without(*off, options=Options(payload=True))
        world.submit(1, command(READ, prp1=0xfee0_0000))
        return breaches(world)

    assert not attack()
    assert "interrupt" in attack("colour")
    assert "interrupt" in attack("manager")     # comparing only the offset would suffice for it


def test_a03_pointer_to_memory_of_the_manager():
    def attack(*off):
        world = world_without(*off)
        world.submit(1, command(WRITE, prp1=0))
        return breaches(world)

    assert not attack()
    assert "manager memory" in attack("colour")


def test_a04_entry_modified_between_two_looks_at_it():
    safe = run(300, seed=4, options={"pieces": 32})
    assert not safe.monitor.breaches
    twin = run(300, seed=4, options={"pieces": 32}, off=("once",))
    assert "raw pointer" in twin.monitor.breaches


def test_a05_entry_crossing_requests_of_any_size():
    for pieces in (4, 8, 16, 32):
        assert not run(100, seed=5, options={"pieces": pieces}).monitor.breaches
    assert run(300, seed=5, options={"pieces": 16}, off=("once",)).monitor.breaches


def test_a06_prp_list_chained_to_itself():
    def attack(*off):
        world = world_without(*off)
        memory = world.guests[1].memory
        for slot in range(512):
            memory.write(0x8000 + 8 * slot, (0x8000).to_bytes(8, "little"))
        world.submit(1, command(READ, count=8 * 64, prp2=0x8f00))
        return breaches(world)

    assert not attack()
    assert "raw pointer" in attack("chaining")


def test_a07_prp_list_that_is_rewritten_between_its_pieces():
    def attack(*off):
        world = world_without(*off, options=Options(lists=64))
        memory = world.guests[1].memory

        def rewrite(memory):
            memory.pages[8][:] = world.rng.randbytes(4096)

        memory.hooks[8] = rewrite
        world.submit(1, command(READ, count=1024, prp2=0x8000))
        return breaches(world)

    assert not attack()
    assert "raw pointer" in attack("colour")


def test_a08_doorbells_of_others_and_out_of_range():
    world = world_without()
    ring = world.scheduler.doorbell
    assert not ring(1, 0x1008, 3, page=2)                   # page of another guest
    assert not ring(1, 0x1010, 3)                           # queue that it does not have
    assert not ring(1, 0x1008, world.depth)                 # out of range
    assert not any(ring(1, 0x1008, 3, size=size) for size in (1, 2, 8))
    assert not ring(1, 0x100a, 3)
    assert ring(1, 0x1008, 3)
    assert not ring(1, 0x1008, 2)                           # backwards
    assert not ring(1, 0x100c, 1)                           # nothing completed yet
    for _ in range(1000):
        ring(1, 0x1008, world.rng.getrandbits(32))          # a storm only moves one number
    world.run()
    assert not breaches(world)


def test_a08_doorbells_pass_without_the_checks():
    world = world_without("doorbell")
    assert world.scheduler.doorbell(1, 0x1008, 3, page=2)
    assert "foreign doorbell" in breaches(world)
    world = world_without("tail")
    world.scheduler.doorbell(1, 0x1008, world.depth + 5)
    world.run()
    assert "illegal doorbell" in breaches(world)


def test_a09_opcodes_that_are_not_allowed():
    def attack(*off):
        world = world_without(*off)
        states = world.submit(1, command(0x80), command(0x19), command(2, flags=1))
        return breaches(world), states

    assert attack() == (set(), [1, 1, 1])
    assert "device-wide command" in attack("opcode")[0]


def test_a10_blocks_that_wrap_around_past_the_limit():
    def attack(*off):
        world = world_without(*off)
        top = 1 << 64
        for block, count in ((BLOCKS, 1), (BLOCKS - 1, 2), (top - 1, 2), (top - 4096, 4)):
            world.submit(1, command(WRITE, block=block, count=count))
        return breaches(world)

    assert not attack()
    assert "foreign block" in attack("range")
    assert "foreign block" in attack("range65")


def test_a11_metadata_and_descriptors_as_hidden_pointers():
    world = world_without()
    entry = command(READ, metadata=foreign(world, 2, 0x1000), prp1=0x3000)
    patched, _ = _patched(world, entry)
    assert world.root.read(patched.pointer(16)[0], 8, 1).value == bytes(8)     # poison
    twin = world_without("mptr")
    patched, _ = _patched(twin, command(READ, metadata=foreign(twin, 2, 0x1000)))
    twin.root.read(*patched.pointer(16)[:1], 8, 1)
    assert "foreign memory" in breaches(twin) and "foreign memory" not in breaches(world)
    world = world_without()
    for kind in (0x40, 0x50, 0xf0, 0x01, 0x21):
        entry = command(READ, flags=0x40, words=((8, 16), (9, kind << 24)))
        assert world.submit(1, entry) == [1]
    twins = (run(400, seed=seed, sgl=1.0, off=("typed_type",)) for seed in range(8))
    assert any("raw pointer" in twin.monitor.breaches for twin in twins)


def _patched(world, entry):
    owner = world.root._owner(world.guests[1])
    return world.root.templates[0].patch(entry, owner)


def test_a12_interrupt_by_a_dma_write_of_a_guest():
    world, twin = world_without(), world_without("colour")
    for each in (world, twin):
        each.submit(1, command(READ, prp1=0xfee0_0100))
    assert "interrupt" not in breaches(world)
    assert "interrupt" in breaches(twin)


def test_a13_one_guest_starves_another():
    def shares(*off, weights=(1, 1)):
        world = world_without(*off, depth=64, options=Options(burst=8))
        for colour, weight in zip((1, 2), weights, strict=True):
            world.scheduler.accounts[colour].weight = weight
        for _ in range(300):
            for colour in (1, 2):
                first = world.pair(colour).submission.first
                world.scheduler.doorbell(colour, 0x1008, (first - 1) % world.depth)
                world.drain(colour)
            world.scheduler.step(limit=8)
            world.device.step()
        counts = [world.scheduler.accounts[colour].granted for colour in (1, 2)]
        return counts[1] / sum(counts)

    assert abs(shares() - 1 / 2) < .01
    assert abs(shares(weights=(3, 1)) - 1 / 4) < .1
    assert shares("fair") < .1


def test_a13_command_floods_are_limited_by_tokens():
    def granted(*off):
        world = world_without(*off)
        world.scheduler.accounts[1].rate = .5
        for _ in range(100):
            first = world.pair(1).submission.first
            world.scheduler.doorbell(1, 0x1008, (first - 1) % world.depth)
            world.run(rounds=1)
        return world.scheduler.accounts[1].granted

    assert granted() <= 52
    assert granted("buckets") > 300


def test_a14_late_dma_of_the_old_owner_of_a_colour():
    def attack(*off):
        world = world_without(*off)
        late = foreign(world, 1, 0x4000)
        world.reset(1)
        return world.root.write(late, b"late"), world

    done, world = attack()
    assert not done
    assert world.guests[1].memory.load(0x4000, 4) == bytes(4)
    assert world.guests[1].state == "run"           # the new owner is not frozen for it
    done, world = attack("key")
    assert done and world.guests[1].memory.load(0x4000, 4) == b"late"


def test_a15_ring_that_was_given_to_another_guest():
    def attack(*off):
        world = world_without(*off)
        own = world.layout.pack(world.guests[1].key, 1, KINDS["ring"], 4 << world.layout.ring)
        world.root.read(own, 64)
        return breaches(world)

    assert not attack()
    assert "foreign ring" in attack("owner")


def test_a18_fault_in_the_middle_of_a_command():
    def attack(*off):
        world = world_without(*off)
        world.guests[1].memory.unmapped.add(8)
        world.submit(1, command(WRITE, count=1024, prp2=0x8000))
        works = LinuxDriver(world, 2).write(0, 8) == 0 if not world.device.dead else False
        return breaches(world), works, world.guests[1].fatal

    assert attack() == (set(), True, True)
    assert attack("contain")[:2] == ({"fatal device"}, False)


def test_a19_guest_reads_nothing_of_others_in_contained_answers():
    world = world_without()
    world.guests[2].memory.write(0x1000, b"secret!!")
    address = world.layout.pack(0, 2, KINDS["data"], 0x1000)
    assert world.root.read(address, 8, 1).value == bytes(8)
    twin = world_without("key")
    assert twin.root.read(twin.layout.pack(0, 2, KINDS["data"], 0x1000), 8, 1) is not None
    assert "foreign memory" in breaches(twin) and "foreign memory" not in breaches(world)


class Unguarded(AddressLayout):
    """A layout whose guard is elsewhere, so that the offset carries into the colour."""

    def __post_init__(self):
        pass


def test_a23_length_carries_out_of_the_window():
    def attack(*off, layout=None):
        world = world_without(*off, layout=layout, options=Options(payload=True))
        top = (1 << 40) - 4096
        world.submit(1, command(WRITE, flags=0x40, prp1=top, count=64,
                                words=((8, 0xffff_ffff), (9, 0))))
        return world

    world = attack()
    assert not breaches(world)
    assert world.monitor.records["guard"] and world.guests[1].fatal
    unguarded = Unguarded(colour=(40, 8), kind=(48, 3), key=(51, 12), guard=(63, 1))
    assert not breaches(attack(layout=unguarded))           # the key is a second line of defence
    assert "foreign memory" in breaches(attack("key", layout=unguarded))
