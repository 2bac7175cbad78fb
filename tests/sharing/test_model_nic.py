"""The ring NIC on the model: descriptors of the e1000e family."""

from iovirt_sim.models.sharing.layout import KINDS
from iovirt_sim.models.sharing.memory import Memory
from iovirt_sim.models.sharing.nic import Nic
from iovirt_sim.models.sharing.tables import Queue, defences_off
from iovirt_sim.models.sharing.templates import NUMBERS
from iovirt_sim.models.sharing.world import World


def nic_world(*off):
    """Give guests 1 and 2 transmit ring 10 + n and receive ring 20 + n."""
    world = World(off=defences_off(*off))
    nic = Nic(world.root)
    for colour, guest in world.guests.items():
        for index, name in ((10 + colour, "nic_tx"), (20 + colour, "nic_rx")):
            world.queues[index] = Queue(colour, NUMBERS[name], 64)
            guest.rings[index] = Memory()
            nic.create(colour, world.ring_address(colour, index), 64, colour, name == "nic_rx")
    return world, nic


def descriptor(pointer, length=0, command=0, kind=0, special=0):
    """Return a transmit descriptor; `command` 0x20 is an extended one of type `kind`."""
    return (pointer.to_bytes(8, "little") + length.to_bytes(2, "little")
            + bytes([kind << 4, command, 0, 0]) + special.to_bytes(2, "little"))


def send(world, nic, *entries, colour=1):
    for n, entry in enumerate(entries):
        world.guests[colour].rings[10 + colour].write(16 * n, entry)
    world.queues[10 + colour].granted = len(entries)
    nic.doorbell(colour, len(entries))
    nic.step()


def foreign(world, colour, offset):
    return world.layout.pack(world.guests[colour].key, colour, KINDS["data"], offset)


def test_a01_transmit_descriptor_with_the_colour_of_another_guest():
    for off, found in (((), 0), (("colour",), 1)):
        world, nic = nic_world(*off)
        world.guests[2].memory.write(0x5000, b"secret")
        send(world, nic, descriptor(foreign(world, 2, 0x5000), 6))
        assert bool(world.monitor.breaches["foreign memory"]) == found
        assert (nic.sent[0][1] == b"secret") == found


def test_c15_context_descriptors_pass_unchanged_bit_for_bit():
    world, nic = nic_world()
    context = bytes(range(1, 9)) + bytes([9, 9, 0x0f, 0x20, 1, 2]) + (1460).to_bytes(2, "little")
    send(world, nic, context, descriptor(0x3000, 4, 0x20, 1), descriptor(0x3000, 4))
    assert nic.contexts == [context]
    assert [tag for _, _, tag in nic.sent] == [7, 7]        # the guest's VLAN tag is forced
    assert not world.monitor.breaches


def test_c15_context_with_too_large_segments_is_replaced():
    world, nic = nic_world()
    send(world, nic, bytes(8) + bytes([0, 0, 0, 0x20, 0, 0]) + (1501).to_bytes(2, "little"))
    assert not nic.contexts and world.monitor.records["replaced"] == 1


def test_c15_packet_split_patches_all_four_addresses():
    for off, found in (((), 0), (("colour",), 4)):
        world, nic = nic_world(*off)
        world.guests[1].rings[21].write(0, b"".join(
            foreign(world, 2, 0x1000 * n).to_bytes(8, "little") for n in range(1, 5)))
        world.queues[21].granted = 1
        nic.deliver(1, [b"head", b"one", b"two", b"three"])
        assert world.monitor.breaches["foreign memory"] == found
        assert world.guests[1 + bool(found)].memory.load(0x4000, 5) == b"three"


def test_c08_length_at_the_top_of_the_window_meets_the_guard():
    world, nic = nic_world()
    send(world, nic, descriptor((1 << 40) - 4, 0xffff))
    assert world.monitor.records["guard"] and world.guests[1].fatal
    assert not world.monitor.breaches
    assert set(nic.sent[0][1]) == {0}


def test_a04_descriptors_are_fetched_once_and_not_past_the_grant():
    world, nic = nic_world()
    for n in range(8):
        world.guests[1].rings[11].write(16 * n, descriptor(0x3000, 4))
    world.queues[11].granted = 4
    nic.doorbell(1, 8)
    nic.step()
    assert len(nic.sent) == 4 and world.monitor.records["replaced"] == 4
