"""Corner case C15: descriptors of a network device on the hardware."""

import pytest
from tests.sharing.attack_tools import foreign, own
from tests.sharing.rtl_world import DOORBELLS

from iovirt.vf.library import load_templates
from iovirt_sim.drivers import PairEntry

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("verilated_weak")]

LARGEST = 1460


def network(rtl, template, entry_bytes, *off):
    """Return a world in which the queue of guest 1 is a ring of descriptors."""
    world = rtl(*off, templates=("nvme_prp", "e1000e_tx", "e1000e_rx_split"))
    values = [0] * 4
    for used in load_templates([template]):
        if "mss" in used.parameters:
            values[used.parameters["mss"]] = LARGEST
    world.driver.parameters(1, values)
    world.driver.pair(1, PairEntry(1, world.slots[template], 64, paired=False, device_writes=True,
                                   entry_bytes=entry_bytes, tail=DOORBELLS + 8))
    return world


def fetched(world, *entries):
    """Return what the device gets of descriptors."""
    size = len(entries[0])
    world.guests[1].rings[2].write(0, b"".join(entries))
    world.scheduler.doorbell(1, 0x1008, len(entries))
    world.scheduler.step()
    data = world.root.read(world.ring_address(1, 2), size * len(entries))
    return [data.value[size * n:size * n + size] for n in range(len(entries))]


def transmit(pointer, length=0, flags=0, kind=0, special=0):
    """Return a transmit descriptor; ``flags`` 0x20 is an extended one of type ``kind``."""
    return (pointer.to_bytes(8, "little") + length.to_bytes(2, "little")
            + bytes([kind << 4, flags, 0, 0]) + special.to_bytes(2, "little"))


def test_c15_context_descriptor_is_unchanged_bit_for_bit(rtl):
    world = network(rtl, "e1000e_tx", 16)
    context = bytes(range(1, 9)) + bytes([9, 9, 0x0f, 0x20, 1, 2]) + LARGEST.to_bytes(2, "little")
    data = transmit(foreign(world, 2, 0x5000), 4, 0x20, 1)
    first, second = fetched(world, context, data)
    assert first == context
    assert second == own(world, 1, 0x5000).to_bytes(8, "little") + data[8:]


def test_c15_data_descriptor_with_the_colour_of_another_guest(rtl):
    def attack(*off):
        world = network(rtl, "e1000e_tx", 16, *off)
        entry, = fetched(world, transmit(foreign(world, 2, 0x5000), 6))
        return int.from_bytes(entry[:8], "little") == foreign(world, 2, 0x5000)

    assert not attack()
    assert attack("colour")


def test_c15_context_with_too_large_segments_is_replaced(rtl):
    world = network(rtl, "e1000e_tx", 16)
    context = bytes(8) + bytes([0, 0, 0, 0x20, 0, 0]) + (LARGEST + 1).to_bytes(2, "little")
    entry, = fetched(world, context)
    assert entry != context
    assert world.layout.unpack(int.from_bytes(entry[:8], "little")).guard


def test_c15_all_four_addresses_of_packet_split(rtl):
    def attack(*off):
        world = network(rtl, "e1000e_rx_split", 32, *off)
        wanted = b"".join(foreign(world, 2, 0x1000 * n).to_bytes(8, "little") for n in range(1, 5))
        entry, = fetched(world, wanted)
        made = b"".join(own(world, 1, 0x1000 * n).to_bytes(8, "little") for n in range(1, 5))
        return entry == made, entry == wanted

    assert attack() == (True, False)
    assert attack("colour") == (False, True)


def test_c15_device_writes_back_into_its_ring(rtl):
    world = network(rtl, "e1000e_tx", 16)
    fetched(world, transmit(0x3000, 4))
    world.root.write(world.ring_address(1, 2) + 12, b"\1")
    assert world.guests[1].rings[2].load(12, 1) == b"\1" and not world.guests[1].fatal
