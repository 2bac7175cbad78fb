"""A whole system of the model: guests, a shared device, the root complex, and a scheduler."""

import random

from .address import AddressLayout
from .layout import KINDS
from .memory import Memory
from .nvme import Nvme
from .root import Root
from .scheduler import Pair, Scheduler
from .tables import Guest, Monitor, Queue
from .templates import NUMBERS, build

__all__ = ["World"]

BLOCKS = 1 << 20        # of each guest


class World:
    """Guests 1..n with a queue pair each, on one NVMe device.

    Parameters
    ----------
    memory : makes the memory of a colour; default: honest pages, in `guests[n].memory`.
    ring : makes the pinned memory of a colour's submission ring.
    off : defences that are switched off.
    """

    def __init__(self, *, guests=2, seed=1, options=None, off=frozenset(), layout=None, depth=16,
                 cq_depth=None, last_slot=1, memory=None, ring=None, namespaces=False):
        self.rng = rng = random.Random(seed)
        self.layout, self.monitor = layout or AddressLayout(), Monitor()
        self.depth, self.cq_depth, self.queues, self.guests = depth, cq_depth or depth, {}, {}
        self.msi = bytearray(4096)
        self.secret = bytearray(b"manager!" * 512)
        self.root = Root(layout=self.layout, guests=self.guests, queues=self.queues, off=off,
                         templates=build(last_slot), monitor=self.monitor,
                         manager={0xfee0_0000: self.msi, 0: self.secret})
        self.device = Nvme(self.root, rng, options,
                           namespaces=tuple(range(1, guests + 1)) if namespaces else (1,))
        self.scheduler = Scheduler(guests=self.guests, device=self.device, monitor=self.monitor,
                                   off=off)
        for colour in range(1, guests + 1):
            space = colour if namespaces else 1
            first = 4096 if namespaces else 4096 + (colour - 1) * BLOCKS
            parameters = (space, 0, first, BLOCKS, 7, 1500, *[0] * 10)
            guest = Guest(colour, self.new_key(), memory(self, colour) if memory else Memory(),
                          parameters)
            self.guests[colour] = guest
            guest.rings[2 * colour] = ring(self, colour) if ring else Memory()
            guest.rings[2 * colour + 1] = Memory()
            self.attach(colour)

    def new_key(self):
        """Return a key that no address of another generation has."""
        width = self.layout.key[1]
        low = self.layout.entries
        return self.rng.randrange(1, 1 << width - low) << low

    def ring_address(self, colour, index):
        """Return the address that the manager gives the device for a ring."""
        return self.layout.pack(self.guests[colour].key, colour, KINDS["ring"],
                                index << self.layout.ring)

    def attach(self, colour):
        """Create the queue pair of a guest, as its manager does."""
        submission = Queue(colour, NUMBERS["nvme_prp"], self.depth)
        completion = Queue(colour, NUMBERS["nvme_cq"], self.cq_depth)
        self.queues[2 * colour], self.queues[2 * colour + 1] = submission, completion
        self.device.create(colour, self.ring_address(colour, 2 * colour), self.depth,
                           self.ring_address(colour, 2 * colour + 1), self.cq_depth, colour)
        self.scheduler.add(Pair(colour, colour, submission, completion))

    def pair(self, colour):
        """Return the queue pair of a guest."""
        return self.scheduler.pairs[colour, 1]

    def submit(self, colour, *entries):
        """Put entries into the ring of a guest, ring its doorbell, and let all of it happen."""
        tail = self.pair(colour).requested
        for entry in entries:
            self.guests[colour].rings[2 * colour].write(64 * tail, entry)
            tail = (tail + 1) % self.depth
        self.scheduler.doorbell(colour, 0x1008, tail)
        self.run()
        done = [status for number, _, status in self.device.executed if number == colour]
        return done[-len(entries):]

    def run(self, rounds=16):
        """Let scheduler and device work; guests drain their completions."""
        for _ in range(rounds):
            granted = self.scheduler.step()
            worked = self.device.step()
            for colour in self.guests:
                self.drain(colour)
            if not granted and not worked:
                return

    def drain(self, colour):
        """Ring the completion doorbell of a guest for everything that arrived."""
        pair = self.pair(colour)
        if pair.unread:
            self.scheduler.doorbell(colour, 0x100c, (pair.head + pair.unread) % self.cq_depth)

    def reset(self, colour):
        """Give the colour to a new guest: new key, new memory, new queues. Return the old guest."""
        old = self.guests[colour]
        self.guests[colour] = Guest(colour, self.new_key(), Memory(), old.parameters,
                                    {2 * colour: Memory(), 2 * colour + 1: Memory()})
        self.attach(colour)
        return old
