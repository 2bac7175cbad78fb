"""A campaign on the hardware: rounds of commands of hostile and of honest guests."""

from functools import partial

from tests.sharing.rtl_batch import BatchRoot
from tests.sharing.rtl_world import BAR, DOORBELLS, RID, RtlWorld

from iovirt_sim.models.sharing.driver import READ, WRITE, LinuxDriver
from iovirt_sim.models.sharing.hostile import HostileRing, hostile_memory
from iovirt_sim.models.sharing.nvme import Nvme, Options
from iovirt_sim.models.sharing.nvme_commands import execute

__all__ = ["CampaignWorld"]

#: Data of honest guests is made of this, and nobody else may see it.
SIGNATURE = b"\x7eH0nest\x81"


class Honest(LinuxDriver):
    """A guest whose data is its signature; it compares all that it reads."""

    def commands(self, count, depth):
        """Return entries, and what to do with each when it is done."""
        made = []
        for _ in range(count):
            block, size = 64 * self.random.randrange(16), self.random.choice((1, 8, 9, 24))
            if self.random.random() < .5 or block not in self.blocks:
                data = b"".join(SIGNATURE + self.random.randbytes(8) for _ in range(32 * size))
                entry, _ = self.transfer(WRITE, block, size, data)
                made.append((entry, partial(self._written, block, data)))
            else:
                size = len(self.blocks[block]) // 512
                entry, buffer = self.transfer(READ, block, size)
                made.append((entry, partial(self._read, block, buffer, self.blocks[block])))
            self.pages = self.pages or list(range(16, 1024))
        return made[:depth]

    def _written(self, block, data):
        self.blocks[block] = data

    def _read(self, block, buffer, wanted):
        if self._move(*buffer, length=len(wanted)) != wanted:
            self.world.monitor.breach("honest guest read other data")


class CampaignWorld(RtlWorld):
    """Guests 1 to ``hostile`` attack, the others are honest.

    ``options`` are of the device for hostile guests; it reads ``whole`` entries at once.
    """

    def __init__(self, sim, *, hostile, guests, options, sgl=.1, whole=8, **more):
        super().__init__(sim, guests=guests, depth=64, **more)
        self.root = BatchRoot(self, RID)
        self.whole, self.executed = whole, []
        self.honest = {colour: Honest(self, colour) for colour in range(hostile + 1, guests + 1)}
        self.devices = {}
        for colour, guest in self.guests.items():
            device = Nvme(self.root, self.rng, Options(payload=True))
            if colour not in self.honest:
                device = Nvme(self.root, self.rng, options)
                guest.fresh = hostile_memory(self, colour)
                guest.hostile[2 * colour] = HostileRing(self, colour, sgl)
            self.devices[colour] = device
        for colour, device in self.devices.items():
            self.device = device
            self.create(colour)
        self.driver.scheduler(most=4095, burst=64, quantum=64)

    def _request(self, values):
        """Give each device its doorbells."""
        number = (((values[2] >> 32 if not values[1] >> 61 & 1 else values[2]) - BAR - DOORBELLS)
                  // 8)
        self.device = self.devices.get(number, self.device)
        super()._request(values)

    def round(self, count):
        """Let every guest issue up to ``count`` commands, and the devices execute them."""
        plans = {}
        for colour in self.guests:
            tail = self.pair(colour).requested
            made = self.honest[colour].commands(count, count) if colour in self.honest else []
            for n, (entry, _) in enumerate(made):
                self.guests[colour].rings[2 * colour].write(64 * ((tail + n) % 64), entry)
            plans[colour] = [done for _, done in made]
            if colour not in self.honest:
                self._odd_doorbells(colour)
            self.driver.ring_doorbell(colour, 1, (self.pair(colour).requested + count) % 64)
        self.scheduler.step(100 + 40 * len(self.guests))
        entries = self._fetch()
        jobs = [partial(execute, self.devices[colour], colour, entry)
                for colour, found in entries.items() for entry in found]
        states = iter(self.root.batch.run(jobs))
        completions = []
        for colour, found in entries.items():
            for n, entry in enumerate(found):
                status = next(states)
                self.executed.append((colour, status))
                completions.append((colour, entry, status))
                if plans[colour] and n < len(plans[colour]):
                    if status:
                        self.monitor.breach("honest guest got an error")
                    else:
                        plans[colour][n]()
        self._complete(completions)
        self._recover()

    def _odd_doorbells(self, colour):
        for _ in range(2):
            self.driver.ring_doorbell(colour, self.rng.choice((1, 1, 2)), self.rng.getrandbits(32),
                                      self.rng.choice((0, 0, 1)), size=self.rng.choice((4, 4, 2)))

    def _fetch(self):
        """Read what was granted, and perhaps more."""
        wanted = []
        for colour, device in self.devices.items():
            ring = device.submission[colour]
            room, head = (ring.tail - ring.head) % ring.depth, ring.head
            while room:
                part = min(room, self.whole, ring.depth - head)
                wanted.append((colour, head, part))
                head, room = (head + part) % ring.depth, room - part
        reads = self.root.batch.run([
            partial(self.root.read, self.devices[colour].submission[colour].base + 64 * head,
                    64 * part, colour) for colour, head, part in wanted])
        entries = {colour: [] for colour in self.devices}
        for (colour, _, part), data in zip(wanted, reads, strict=True):
            entries[colour] += [data[64 * n:64 * n + 64] for n in range(part)]
            ring = self.devices[colour].submission[colour]
            ring.head = (ring.head + part) % ring.depth
        return entries

    def _complete(self, completions):
        """Write completions, and let the guests take them."""
        jobs = []
        for colour, entry, status in completions:
            ring = self.devices[colour].completion[colour]
            words = 0, colour, entry.number(2, 2), status << 1 | ring.phase
            data = bytes(8) + b"".join(word.to_bytes(2, "little") for word in words)
            jobs.append(partial(self.root.write, ring.base + 16 * ring.tail, data, colour))
            ring.tail = (ring.tail + 1) % ring.depth
            ring.phase ^= ring.tail == 0
        self.root.batch.run(jobs)
        for colour in self.guests:
            self.driver.ring_doorbell(colour, 1, self.devices[colour].completion[colour].tail, 1)
        self.system.program.run(100)
        self.run_program()

    def _recover(self):
        """Let frozen guests try again, as a manager does when they have reset."""
        for colour in self.guests:
            if colour not in self.honest:
                self.driver.set_state(colour, "run")
            elif self.guests[colour].fatal:
                self.monitor.breach("honest guest was frozen")

    def leaked(self):
        """Return whether a signature is in the memory or in the blocks of a hostile guest."""
        for colour, guest in self.guests.items():
            if colour in self.honest:
                continue
            memory = guest.memory.load(0, 4096 * 64)
            blocks = b"".join(self.devices[colour].disk.values())
            if SIGNATURE in memory or SIGNATURE in blocks:
                return True
        return False
