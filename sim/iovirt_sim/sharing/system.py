"""Whole systems with an NVMe device and guests."""

from iovirt_sim.system import System

from .agent import report
from .device import Manager, NvmeDevice
from .events import Breach, Completion, DeviceDma, Mismatch, events_of
from .guests import Guest
from .nic import NicDevice, NicGuest

__all__ = ["NvmeSystem", "PlainNicSystem", "PlainSystem"]

PAGE, MEMORY = 4096, 1 << 26
WINDOW, BAR, RID = 0x20_0000_0000, 0xC000_0000, 0x0100
MONITOR = 0
#: What the monitor counts that is no breach.
ALLOWED = ("uses", "poison", "poisoned", "forged")


class NvmeSystem(System):
    """What systems with a device have in common. Frames of memory are handed out in order."""

    def __init__(self, sim, config, **options):
        super().__init__(sim, config, **options)
        self.frames = 0
        self.guests = {}
        self.cores  = self.pio()
        self.program.allow(self.frame(0), MEMORY)

    def take(self, pages):
        """Return the address of so many fresh frames, which follow each other."""
        first = self.frames
        self.frames += pages
        if self.frames * PAGE > MEMORY:
            raise MemoryError(f"Rings and buffers must fit {MEMORY:#x} bytes")
        return self.frame(first)

    def connect(self, gscid, iova, *, shared, rid=RID, **options):
        """Put the device behind the link, with memory of its manager at ``iova``."""
        memory = Manager(iova, self.take(3))
        self.platform.attach(rid, gscid)
        for n in range(3):
            self.map_page(gscid, iova + PAGE * n, memory.spa + PAGE * n)
        self.open_port()
        self.device_model = NvmeDevice(self, memory, window=WINDOW, bar=BAR, rid=rid,
                                       shared=shared, **options)
        return self.device_model

    def open_port(self):
        """Let cores reach what is behind the port."""
        self.cores.wait_ready()
        self.cores.open_ecam()
        self.cores.open_port(1, 1)
        self.cores.open_window(0, WINDOW, 1 << 16, BAR)

    def map_range(self, gscid, iova, pages):
        """Map fresh frames that follow each other; return the address of the first."""
        spa = self.take(pages)
        for n in range(pages):
            self.map_page(gscid, iova + PAGE * n, spa + PAGE * n)
        return spa

    def map_page(self, gscid, iova, spa):
        """Map a page."""
        self.platform.domain(gscid).map(iova, spa)

    def play(self, commands, *, stall=200_000, limit=1 << 62):
        """Let each guest do so many commands, and wait; return (events, numbers of stuck ones)."""
        for guest in self.guests.values():
            guest.go(commands)
        return self.wait(stall=stall, limit=limit)

    def wait(self, *, stall=200_000, limit=1 << 62):
        """Wait for the guests; return (events, numbers of those that are stuck)."""
        op = self.program.wait_guests(stall=stall, limit=limit)
        events = self.run()
        return events, next(e.values for e in events if e.op == op and e.kind == "agent")[1:]

    def monitor(self):
        """Return the counts of the monitor, as a dict."""
        return report(self, "monitor", MONITOR)

    def breaches(self):
        """Return the counts of the monitor that must be 0 and are not."""
        return {name: count for name, count in self.monitor().items()
                if count and name not in ALLOWED}

    @staticmethod
    def completions_of(events):
        """Return the completions that guests reported."""
        return events_of(Completion, events)

    @staticmethod
    def dma_of(events):
        """Return the accesses of the device, if it is traced."""
        return events_of(DeviceDma, events)

    @staticmethod
    def wrongs_of(events):
        """Return data that were wrong, and breaches."""
        return events_of(Mismatch, events) + events_of(Breach, events)


class PlainSystem(NvmeSystem):
    """A device that nobody shares: guests are drivers whose memory is mapped in one domain."""

    def __init__(self, sim, config, **options):
        super().__init__(sim, config)
        self.connect(1, 0x1000_0000, shared=False, **options)
        self.device_model.enable()

    def guest(self, number, *, pages=64, depth=64, cq_depth=None, kind="linux", vector=None,
              **options):
        """Create a queue pair of that number, and its driver."""
        cq_depth = cq_depth or depth
        base = 0x4000_0000 * number
        sq = self.map_range(1, base, -(-depth * 64 // PAGE))
        cq = self.map_range(1, base + 0x10_0000, -(-cq_depth * 16 // PAGE))
        data = [self.map_range(1, base + 0x20_0000 + PAGE * n, 1) for n in range(pages)]
        device = self.device_model
        device.create_pair(number, base, base + 0x10_0000, depth=depth, cq_depth=cq_depth,
                           guest=number, vector=vector)
        self.guests[number] = Guest(
            self, number, data, kind=kind, sq=sq, cq=cq, depth=depth, cq_depth=cq_depth,
            sq_doorbell=device.doorbell(number), cq_doorbell=device.doorbell(number, 1),
            gpa=base + 0x20_0000, core=number, sqid=number,
            **{"first_block": 0x1_0000 * number, **options})
        return self.guests[number]


class PlainNicSystem(NvmeSystem):
    """A NIC that nobody shares: guests are drivers whose memory is mapped in one domain."""

    def __init__(self, sim, config, **options):
        super().__init__(sim, config)
        self.platform.attach(RID, 1)
        self.open_port()
        self.device_model = NicDevice(self, window=WINDOW, bar=BAR, rid=RID, **options)

    def guest(self, number, *, depth=64, split=False, **options):
        """Switch on the rings of queue ``number - 1``, and make their driver."""
        base, device, queue = 0x4000_0000 * number, self.device_model, number - 1
        tx = self.map_range(1, base, -(-depth * 16 // PAGE))
        rx = self.map_range(1, base + 0x10_0000, -(-depth * 32 // PAGE))
        data = [self.map_range(1, base + 0x20_0000 + PAGE * n, 1) for n in range(2 * depth)]
        device.create(queue, tx=base, rx=base + 0x10_0000, depth=depth, guest=number, split=split)
        self.guests[number] = NicGuest(
            self, number, data, tx=tx, rx=rx, depth=depth, split=split, core=number,
            tx_doorbell=device.doorbell(queue), rx_doorbell=device.doorbell(queue, 1),
            gpa=base + 0x20_0000, **options)
        return self.guests[number]
