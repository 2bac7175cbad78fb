"""A shared device without logic: what it would do is written into programs, to measure."""

from iovirt_sim.tlp import Kind, Tlp

from ..drivers import PairEntry, Rates
from ..models.sharing.driver import command
from ..system import System

__all__ = ["DEPTH", "Rig"]

RID, BAR, DOORBELLS = 0x0100, 0xC000_0000, 0x1000
OWN_DOMAIN, GUEST_DOMAIN, RING_DOMAIN = 1, 0x100, 0x300
GUEST_DEVICE, RING_DEVICE = 0x4000, 0x5000
DEPTH, PAGE, SUPERPAGE = 64, 4096, 2 << 20
#: Frames: each guest has 4 MiB of data from `DATA` on, and a page per ring from `RINGS` on.
DATA, RINGS, PAGES = 0x1000, 0x400, 1024
READ, WRITE = 2, 1


class Rig:
    """Guests 1 to ``guests`` with a queue pair of the same number on one device.

    Parameters
    ----------
    shared : False: all is the device's own, with the same traffic.
    """

    def __init__(self, sim, config, *, guests, shared=True, rates=None, **scheduler):
        sim.set(rx_stall=0, tx_stall=0, dma_jitter=0, table_jitter=0)
        sim.clear_memory()
        self.system, self.guests, self.shared = System(sim, config), guests, shared
        self.driver = driver = self.system.sharing()
        driver.wait_ready()
        self._port()
        slots, lists = driver.load(["nvme_prp"])
        driver.open()
        driver.open_pages()
        driver.scheduler(**{"most": 4095, "burst": 64, "quantum": 16, **scheduler})
        self.tails, self.reads = dict.fromkeys(range(1, guests + 1), 0), 0
        for guest in self.tails:
            self._memory(guest)
            driver.pair(guest, PairEntry(guest, slots["nvme_prp"], DEPTH, DEPTH,
                                         tail=DOORBELLS + 8 * guest))
            driver.guest(guest, key=0x100 + guest, device_id=GUEST_DEVICE + guest,
                         ring_device_id=RING_DEVICE + guest, first_pair=guest,
                         rates=(rates or {}).get(guest, Rates()),
                         parameters=(1, 0, 0, 1 << 30), domain=GUEST_DOMAIN + guest)
        if shared:
            driver.function(0, RID, bar=BAR, lists=lists)
        half = self.system.platform.half
        self.program.allow(1 << half, 1 << half)
        self.system.run()

    @property
    def program(self):
        """The program of the system."""
        return self.system.program

    def _port(self):
        pio = self.system.pio()
        pio.wait_ready()
        pio.open_ecam()
        pio.open_port(1, 4)
        self.system.platform.attach(RID, OWN_DOMAIN)

    def _memory(self, guest):
        """Map data and rings of a guest, for itself and for a device that is not shared."""
        system = self.system
        system.platform.attach(GUEST_DEVICE + guest, GUEST_DOMAIN + guest)
        system.platform.attach(RING_DEVICE + guest, RING_DOMAIN + guest)
        for n in range(PAGES // 512):
            frame = system.frame(DATA + guest * PAGES + 512 * n)
            for domain, base in ((GUEST_DOMAIN + guest, 0), (OWN_DOMAIN, self._bare(guest))):
                system.platform.domain(domain).map(base + n * SUPERPAGE, frame, level=1)
        for side in (0, 1):
            at = self.driver.addresses.ring_offset(guest, side)
            for domain in (RING_DOMAIN + guest, OWN_DOMAIN):
                system.platform.domain(domain).map(at, self.ring_frame(guest, side))

    def ring_frame(self, guest, side):
        """Return where a ring is in memory."""
        return self.system.frame(RINGS + 2 * guest + side)

    @staticmethod
    def _bare(guest):
        return (1 << 36) + guest * PAGES * PAGE

    def ring(self, guest, side, offset):
        """Return the address of a byte of a ring, for the device."""
        if self.shared:
            return self.driver.ring(guest, side, offset)
        return self.driver.addresses.ring_offset(guest, side, offset)

    def place(self, guest, kind, offset):
        """Return the address of a byte of a guest's data, for the device."""
        if self.shared:
            return self.driver.address(guest, kind, offset)
        return self._bare(guest) + offset

    # What guests do

    def prepare(self, guest, count, pages=1, opcode=READ):
        """Write commands of so many pages each into a ring; their list is in the last page."""
        for n in range(count):
            slot = (self.tails[guest] + n) % DEPTH
            entry = command(opcode, count=8 * pages, prp1=self._data(slot, pages), identifier=slot,
                            prp2=(PAGES - 1) * PAGE if pages > 2 else PAGE)
            words = [int.from_bytes(entry[at:at + 8], "little") for at in range(0, 64, 8)]
            self.program.write_memory(self.ring_frame(guest, 0) + 64 * slot, words)

    @staticmethod
    def _data(slot, pages):
        return slot * pages % (PAGES - pages - 1) * PAGE

    def ask(self, guest, count):
        """Ring the doorbell for more commands."""
        self.tails[guest] = (self.tails[guest] + count) % DEPTH
        self.driver.ring_doorbell(guest, 1, self.tails[guest])

    # What the device does

    def doorbells(self, events):
        """Return [(guest, tail)] of what came to the device."""
        found = []
        for event in events:
            if event.kind == "tlp" and event.op is None:
                _, high, low, _, _, *words = event.values
                tlp = Tlp.unpack(high << 64 | low)
                guest, odd = divmod(tlp.address - BAR - DOORBELLS, 8)
                if tlp.kind is Kind.MWR and not odd:
                    found.append((guest, words[0] & 0xffff_ffff))
        return found

    def fetch(self, guest, slot, count=1):
        """Append the read of entries; return the number of the operation."""
        return self._read(self.ring(guest, 0, 64 * slot), 64 * count)

    def _read(self, address, length):
        # Data have the tags below 256.
        self.reads += 1
        return self.system.tlp(Tlp.read(address, length, rid=RID, tag=256 + self.reads % 768))

    def complete(self, guest, slot):
        """Append the write of a completion."""
        self.system.tlp(Tlp.write(self.ring(guest, 1, 16 * slot), bytes(16), rid=RID))

    def move(self, guest, slot, pages, *, write):
        """Append the data of a command, and the read of its list."""
        if pages > 2:
            self._read(self.place(guest, "prp_list", (PAGES - 1) * PAGE), 8 * (pages - 1))
        at = self._data(slot, pages)
        spa = self.system.frame(DATA + guest * PAGES) + at
        self.system.dma(RID, self.place(guest, "data", at), pages * PAGE, spa, write=write,
                        seed=slot)
