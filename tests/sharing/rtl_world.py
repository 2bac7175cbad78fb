"""The world of the model with the hardware in the middle: its registers, its memory, TLPs.

Devices and guests are those of `iovirt_sim.models.sharing`, so that an attack is one text for both.
"""

import random

from tests.sharing.rtl_root import INTERRUPTS, SETTLE, Memory, RtlRoot

from iovirt import preset
from iovirt.vf.encoding import encode_opcodes, encode_template
from iovirt.vf.library import load_templates
from iovirt.vf.share_layouts import Weaken
from iovirt_sim.drivers import Entry, PairEntry, Rates
from iovirt_sim.models.sharing.address import AddressLayout
from iovirt_sim.models.sharing.hostile import hostile_memory
from iovirt_sim.models.sharing.layout import TABLE
from iovirt_sim.models.sharing.nvme import Nvme, Options
from iovirt_sim.models.sharing.tables import Monitor
from iovirt_sim.models.sharing.world import BLOCKS, World
from iovirt_sim.system import System
from iovirt_sim.tlp import Kind, Tlp

__all__ = ["CONFIG", "RID", "RtlWorld", "weakness"]

CONFIG = preset("tiny").replace(name="shared", vf={
    "enable": True, "guests": 8, "pairs": 16, "functions": 2, "headers": True})
#: The shared function, its doorbells, and device IDs of guests and of their rings.
RID, BAR = 0x0100, 0xC000_0000
GUEST_DEVICE, RING_DEVICE = 0x4000, 0x5000
MANAGER_DOMAIN, GUEST_DOMAIN, RING_DOMAIN = 1, 0x10, 0x20
MANAGER_FRAME, RING_FRAME = 0x2_0000, 0x1_0000
DOORBELLS = 0x1000


def weakness(*names):
    """Return the word that switches these defences off."""
    return Weaken.const(dict.fromkeys(names, 1)).as_bits()


class RtlGuest:
    """A guest, as the model has it; `state` and `fatal` are in the hardware.

    `fresh` gives new contents of its memory at every read, `hostile` of rings by their number.
    """

    def __init__(self, world, colour, key, memory, parameters, rings):
        self.world, self.colour, self.key = world, colour, key
        self.memory, self.parameters, self.rings = memory, parameters, rings
        self.fresh, self.hostile = None, {}

    @property
    def blocks(self):
        return range(self.parameters[2], self.parameters[2] + self.parameters[3])

    @property
    def state(self):
        return self.world.driver.state(self.colour)[0]

    @state.setter
    def state(self, state):
        self.world.driver.set_state(self.colour, state)

    @property
    def fatal(self):
        return self.world.driver.state(self.colour)[1]

    @fatal.setter
    def fatal(self, fatal):
        self.world.driver.set_state(self.colour, self.state, fatal=fatal)


class RtlPair:
    """A queue pair, as the model has it."""

    def __init__(self, driver, number):
        self.driver, self.number = driver, number

    def __getattr__(self, name):
        return getattr(self.driver.pair_state(self.number), name)

    @property
    def submission(self):
        return self


class RtlScheduler:
    """Doorbells of guests go in, and those of the device come out."""

    def __init__(self, world):
        self.world = world

    def doorbell(self, colour, offset, value, size=4):
        """Let a guest write to its page; tell whether the hardware accepted it."""
        world, driver = self.world, self.world.driver
        before = driver.statistics(colour)["doorbells"]
        at = driver.aperture + driver.region * colour + offset
        world.system.program.pio_write(at, (value & (1 << 8 * size) - 1).to_bytes(size, "little"),
                                       expect="any")
        world.finish()
        return driver.statistics(colour)["doorbells"] != before

    def step(self, clocks=200):
        """Let the scheduler work; tell how many doorbells the device got."""
        before = self.world.rung
        self.world.system.program.run(clocks)
        self.world.run_program()
        return self.world.rung - before


class RtlWorld(World):
    """Guests 1..n with a queue pair each, on one NVMe device, behind the hardware.

    Parameters are those of the model's `World`; ``off`` are defences.
    """

    def __init__(self, sim, *, guests=2, seed=1, options=None, off=(), depth=16, cq_depth=None,
                 last_slot=1, namespaces=False, hostile=None, templates=("nvme_prp",)):
        self.rng = random.Random(seed)
        self.layout, self.monitor = AddressLayout(), Monitor()
        self.depth, self.cq_depth, self.guests, self.rung = depth, cq_depth or depth, {}, 0
        sim.set(weaken=0)
        sim.clear_memory()
        self.system = System(sim, CONFIG)
        self.driver = self.system.sharing()
        self.driver.wait_ready()
        self._manager()
        self.slots, lists = self._templates(templates, last_slot)
        self.driver.open()
        self.driver.function(0, RID, bar=BAR, lists=lists)
        self.driver.open_pages()
        self.driver.scheduler()
        self.root = RtlRoot(self, RID)
        self.device = Nvme(self.root, self.rng, options or Options(payload=True),
                           namespaces=tuple(range(1, guests + 1)) if namespaces else (1,))
        self.scheduler = RtlScheduler(self)
        for colour in range(1, guests + 1):
            space = colour if namespaces else 1
            first = 4096 if namespaces else 4096 + (colour - 1) * BLOCKS
            self._guest(colour, (space, 0, first, BLOCKS))
            if hostile:
                self.guests[colour].fresh = hostile_memory(self, colour)
                self.guests[colour].hostile[2 * colour] = hostile(self, colour)
        self.run_program()
        self._listen(sim)
        sim.set(weaken=weakness(*off))

    def _templates(self, names, last_slot):
        """Load templates; without ``last_slot``, slot 511 of a list is never data."""
        slots, lists = self.driver.load(list(names))
        if not last_slot:
            low, _ = TABLE["last_slot"]
            templates = {template.name: template for template in load_templates(list(names))}
            for name in ("nvme_prp", "nvme_prp_list"):
                template = templates[name]
                self.driver.template(slots[name], encode_template(template, slots) & ~(1 << low),
                                     encode_opcodes(template))
        return slots, lists

    def _manager(self):
        """Set up what is the manager's: its memory, its interrupts, the port."""
        system = self.system
        pio = system.pio()
        pio.wait_ready()
        pio.open_ecam()
        pio.open_port(1, 4)
        system.platform.attach(RID, MANAGER_DOMAIN)
        self.manager_memory = Memory(system, MANAGER_DOMAIN, MANAGER_FRAME, pages=16, ring=True)
        self.interrupts = system.interrupts()
        self.interrupts.open_windows(INTERRUPTS)
        self.interrupts.queue(0)
        self.interrupts.entry(0, Entry(rid=RID, queue=0))
        system.program.tolerate(0)
        system.program.allow(1 << system.platform.half, 1 << system.platform.half)

    def _guest(self, colour, parameters):
        """Make a guest, its memory, and its queue pair."""
        system = self.system
        system.platform.attach(GUEST_DEVICE + colour, GUEST_DOMAIN + colour)
        system.platform.attach(RING_DEVICE + colour, RING_DOMAIN + colour)
        memory = Memory(system, GUEST_DOMAIN + colour, 0x1000 * colour)
        rings = {2 * colour + side: Memory(
            system, RING_DOMAIN + colour, RING_FRAME + 64 * (2 * colour + side), pages=4,
            base=self.driver.addresses.ring_offset(colour, side), ring=True) for side in (0, 1)}
        self.guests[colour] = RtlGuest(self, colour, self.new_key(), memory, parameters, rings)
        self.attach(colour)
        self._enter(colour)

    def _enter(self, colour, **more):
        guest = self.guests[colour]
        self.driver.guest(colour, key=guest.key, device_id=GUEST_DEVICE + colour,
                          ring_device_id=RING_DEVICE + colour, first_pair=colour,
                          parameters=guest.parameters, domain=GUEST_DOMAIN + colour, **more)

    def attach(self, colour):
        """Create the queue pair of a guest, in the hardware and at the device."""
        self.driver.pair(colour, PairEntry(colour, self.slots["nvme_prp"], self.depth,
                                           self.cq_depth, tail=DOORBELLS + 8 * colour))
        self.create(colour)

    def create(self, colour):
        """Create the queue pair of a guest at the device, as its manager does."""
        self.device.create(colour, self.ring_address(colour, 2 * colour), self.depth,
                           self.ring_address(colour, 2 * colour + 1), self.cq_depth, colour)

    def rate(self, colour, **limits):
        """Set weight and limits of a guest."""
        self.driver.rate(colour, Rates(**limits))

    def pair(self, colour):
        """Return the queue pair of a guest."""
        return RtlPair(self.driver, colour)

    def run_program(self):
        """Run the program; return its events."""
        return self.system.run()

    def finish(self):
        """Let accesses of cores end; the manager refuses what waits for it. Return the events."""
        self.system.program.run(SETTLE)
        events = self.run_program()
        while self.driver.mailbox():
            self.driver.refuse()
            self.system.program.run(SETTLE)
            events += self.run_program()
        self.system.program.wait()
        return events + self.run_program()

    def look(self, colour, offset):
        """Return what a guest reads in its page."""
        at = self.driver.aperture + self.driver.region * colour + offset
        op = self.system.program.pio_read(at, 4, expect="any")
        answer, = (event for event in self.finish() if event.kind == "pio" and event.op == op)
        return answer.values[7] & 0xffff_ffff

    def lend_ring(self, colour, index):
        """Map a ring of another guest for the rings of this one, as a careless hypervisor does."""
        ring = self.guests[index // 2].rings[index]
        stage = self.system.platform.domain(RING_DOMAIN + colour)
        for page in range(ring.pages):
            stage.map(ring.base + 4096 * page, ring.spa(4096 * page))

    def _listen(self, sim):
        """Hand the device its doorbells, whatever the simulation is run for."""
        run = sim.run

        def listening(program):
            events = run(program)
            for event in events:
                if event.kind == "tlp" and event.op is None:
                    self._request(event.values)
            return events

        sim.run = listening

    def _request(self, values):
        """Take a request to the device."""
        _, high, low, _, _, *words = values
        tlp = Tlp.unpack(high << 64 | low)
        number, odd = divmod(tlp.address - BAR - DOORBELLS, 8)
        if tlp.kind is not Kind.MWR or tlp.length != 1 or number not in self.device.submission:
            self.monitor.breach("illegal request")
            return
        self.rung += 1
        (self.device.completion_doorbell if odd else self.device.doorbell)(
            number, words[0] & 0xffff_ffff)

    def reset(self, colour, *, bound=2000):
        """Give the colour to a new guest. Return the old guest, and how the reset went."""
        old, key = self.guests[colour], self.new_key()
        self.run_program()
        self.guests[colour] = RtlGuest(self, colour, key, old.memory, old.parameters, old.rings)
        self.last_reset = self.driver.reset_guest(colour, key, bound=bound,
                                                  queues=lambda: self.create(colour))
        return old
