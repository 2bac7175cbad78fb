"""What the tests of attacks and of corner cases share."""

from iovirt_sim.models.sharing.layout import KINDS
from iovirt_sim.models.sharing.nvme import Nvme, Options

__all__ = ["DSM", "FLUSH", "READ", "WRITE", "Mixed", "Snapshots", "breaches", "device", "fetch",
           "foreign", "hostile_ring", "own", "ready"]

FLUSH, WRITE, READ, DSM = 0, 1, 2, 9


def foreign(world, colour, offset, kind="data"):
    """Return the worst pointer: of another guest, with its right key."""
    return world.layout.pack(world.guests[colour].key, colour, KINDS[kind], offset)


own = foreign


def breaches(world):
    """Return what the monitor has seen that must not happen."""
    return set(world.monitor.breaches)


def ready(world, colour, *entries):
    """Put entries into the ring of a guest and let them be granted; the device does nothing yet."""
    tail = world.pair(colour).requested
    for entry in entries:
        world.guests[colour].rings[2 * colour].write(64 * tail, entry)
        tail = (tail + 1) % world.depth
    world.scheduler.doorbell(colour, 0x1008, tail)
    world.scheduler.step()


def fetch(world, colour, *entries):
    """Return what the device gets of entries, all read at once."""
    first = world.pair(colour).requested
    ready(world, colour, *entries)
    data = world.root.read(world.ring_address(colour, 2 * colour) + 64 * first, 64 * len(entries))
    return [data[64 * n:64 * n + 64] for n in range(len(entries))]


class Snapshots:
    """A ring that shows another entry at each look; the last one stays."""

    def __init__(self, *entries):
        self.entries = list(entries)

    def read(self, offset, length, kind=0):
        entry = self.entries.pop(0) if len(self.entries) > 1 else self.entries[0]
        lead = offset % 64
        return (entry * (length // 64 + 2))[lead:lead + length]

    def write(self, offset, data):
        """Forget the data."""


def hostile_ring(world, colour, ring):
    """Let a guest have a ring that changes."""
    if hasattr(world, "driver"):
        world.guests[colour].hostile[2 * colour] = ring
    else:
        world.guests[colour].rings[2 * colour] = ring


class Mixed(Nvme):
    """A device that reads each entry twice, and takes half of it from each."""

    def _fetch(self, ring, index):
        first, second = super()._fetch(ring, index), super()._fetch(ring, index)
        return first[:32].join(second[32:])


def device(world, kind=Nvme, **options):
    """Give a world another device, with its queues."""
    world.device = kind(world.root, world.rng, Options(payload=True, **options),
                        namespaces=world.device.namespaces)
    world.scheduler.device = world.device
    for colour in world.guests:
        world.device.create(colour, world.ring_address(colour, 2 * colour), world.depth,
                            world.ring_address(colour, 2 * colour + 1), world.cq_depth, colour)
    return world.device
