"""Set-up of interrupts: windows, remap table, event queues; and what devices send."""

from dataclasses import dataclass

from iovirt_sim.tlp import Kind, Tlp

from .registers import Registers

__all__ = ["FORWARDS", "MESSAGES", "NOTICES", "RINGS", "Entry", "InterruptDriver"]

#: Where rings, notifications, and forwarded interrupts are in memory.
RINGS, RINGS_END, NOTICES, FORWARDS = 0x40_0000, 0x100_0000, 0x30_0000, 0x38_0000

#: Entries of the message table, behind the remap table.
MESSAGES = {"inta": 0, "intb": 1, "intc": 2, "intd": 3, "err_cor": 4, "err_nonfatal": 5,
            "err_fatal": 6, "pm_pme": 7, "fault": 8, "pio_error": 9}
CODES = {"err_cor": 0x30, "err_nonfatal": 0x31, "err_fatal": 0x33, "pm_pme": 0x18}
INTX_ASSERT, INTX_DEASSERT = 0x20, 0x24
ROUTING_ROOT, ROUTING_LOCAL = 0, 4

(BASE_LOW, BASE_HIGH, CONTROL, MODERATION, NOTIFY_LOW, NOTIFY_HIGH, NOTIFY_DATA, NOTIFY_KIND,
 STATUS, ACCEPTED, TAIL, HEAD, ARM, DROPPED, FORGED, LOST) = range(0, 64, 4)
G_HEAD, G_ARM, G_MASK, G_TAIL, G_STATUS, G_SIZE = range(0, 48, 8)
RUN, BUSY, ERROR = 1, 2, 4
DELIVERY = {"queue": 0, "posted": 1, "forward": 2}


@dataclass(frozen=True)
class Entry:
    """Entry of the remap table or of the message table."""

    rid:      int = 0
    queue:    int = 0
    valid:    bool = True
    delivery: str = "queue"
    cookie:   int = 0
    guest:    int = 0
    priority: int = 0
    rid_mask: int = 0
    segment:  int = 0
    suspend:  bool = False
    urgent:   bool = False
    merge:    bool = False
    multi:    bool = False
    limit:    int = 0
    address:  int = 0
    data:     int = 0

    def words(self):
        """Return the four doublewords."""
        flags = (self.valid | DELIVERY[self.delivery] << 1 | self.suspend << 3 | self.urgent << 4
                 | self.merge << 5 | self.multi << 6 | self.priority << 8)
        return (flags | self.rid << 16 | self.rid_mask << 32 | self.segment << 48,
                self.cookie | self.guest << 32 | self.queue << 48,
                self.address, self.data | self.limit << 32)


class InterruptDriver:
    """Interrupts of one system. Everything is appended to its program unless it returns a value.

    Parameters
    ----------
    system : :class:`~iovirt_sim.system.System`, or anything with its ``config``, ``program``,
        ``sim`` and ``run``.
    """

    def __init__(self, system):
        self.system    = system
        self.config    = system.config
        self.registers = Registers(system.config)
        self.entries   = system.config.irq.entries
        self.windows   = {}
        self.table     = {}
        self.rings     = {}
        self.free      = RINGS

    @property
    def program(self):
        """The program of the system."""
        return self.system.program

    def set(self, name, **fields):
        """Write a register from its fields."""
        size = self.registers.size(name)
        return self.program.write_csr(self.registers.offset(name),
                                      self.registers.pack(name, **fields), size)

    def read(self, name):
        """Return a register as {field: content}, at once."""
        self.system.run()
        value = self.system.sim.read_csr(self.registers.offset(name), self.registers.size(name))
        return self.registers.unpack(name, value)

    # Set-up

    def open_windows(self, base=0xFEE0_0000, wide=0x4_0000_0000):
        """Switch the MSI windows on."""
        self.windows = {32: base, 64: wide}
        for width, address in self.windows.items():
            self.set(f"msi_window_{width}", enable=1, base=address)

    def entry(self, index, entry):
        """Put an :class:`Entry` into the remap table, or, by the name of a message, into that of
        messages.
        """
        index = self.index(index)
        at = self.registers.window("irt") + 32 * index
        self.table[index] = entry
        for n, word in enumerate(entry.words()):
            self.program.write_csr(at + 8 * n, word)

    def index(self, what):
        """Return the index of a table entry: a number, or the name of a message."""
        return self.entries + MESSAGES[what] if isinstance(what, str) else what

    def pending(self, index):
        """Return whether an interrupt of an entry is pending, at once."""
        self.system.run()
        at = self.registers.window("irt") + 32 * self.index(index) + 24
        return bool(self.system.sim.read_csr(at) >> 63)

    def queue(self, number, log2=6, *, service="msi", start=0, report=True, drop_new=False,
              once=False, holdoff=0, threshold=0, pause=1, burst=0xffff_ffff, wire=0,
              notify=None):
        """Set up an event queue that is drained, and its reader; see `Program.ring`."""
        base = self._place(number, log2)
        p, at = self.program, self.control(number)
        p.write_memory(base, self._empty(log2, start))
        kind = {"msi": 1, "wire": 2}.get(service, 0) if notify is None else notify
        notice = NOTICES + 64 * number
        control = RUN | drop_new << 1 | once << 2 | log2 << 8
        for offset, value in ((BASE_LOW, base & 0xffff_ffff), (BASE_HIGH, base >> 32),
                              (NOTIFY_LOW, notice), (NOTIFY_HIGH, 0), (NOTIFY_DATA, number),
                              (NOTIFY_KIND, kind | wire << 8),
                              (MODERATION, holdoff | threshold << 16), (TAIL, start),
                              (CONTROL, control)):
            p.write_csr(at + offset, value, 4)
        self.rings[number] = {"base": base, "log2": log2, "wire": wire, "report": report}
        self.serve(number, service, pause=pause, burst=burst, start=start)
        p.write_csr(self.page(number) + G_ARM, start, 4)

    def serve(self, number, service="msi", *, pause=1, burst=0xffff_ffff, start=None):
        """Change how the reader works: "manual", "poll", "msi", "wire"."""
        ring = self.rings[number]
        self.program.ring(
            number, ring["base"], ring["log2"], registers=self.page(number), service=service,
            notify=NOTICES + 64 * number if service == "msi" else 0, wire=ring["wire"],
            clear=self.registers.offset("irq_wires"), pause=pause, burst=burst,
            report=ring["report"], start=start)

    def control(self, number):
        """Return the offset of the hypervisor's registers of a queue."""
        return self.registers.window("queue") + 64 * number

    def page(self, number):
        """Return the offset of the page of its guest."""
        return self.registers.window("guest") + 4096 * number

    def word(self, number, offset):
        """Return a register of the hypervisor, at once."""
        self.system.run()
        return self.system.sim.read_csr(self.control(number) + offset, 4)

    def stop(self, number):
        """Disable a queue and wait until it is drained; its reader goes on."""
        self.program.write_csr(self.control(number) + CONTROL, self.rings[number]["log2"] << 8, 4)
        self.program.poll_csr(self.control(number) + STATUS, mask=RUN | BUSY, value=0, size=4)

    def _place(self, number, log2):
        size = 32 << log2
        if number in self.rings and self.rings[number]["log2"] == log2:
            return self.rings[number]["base"]
        base = -(-self.free // size) * size
        if base + size > RINGS_END:
            raise ValueError(f"Rings must fit {RINGS_END - RINGS:#x} bytes of memory")
        self.free = base + size
        return base

    @staticmethod
    def _empty(log2, start):
        """Return a ring in which no record shows: its phases are those of the lap before."""
        words, size = [], 1 << log2
        for slot in range(size):
            count = start + (slot - start) % size
            words += [0, 0, 0, (count >> log2 & 1) << 63]
        return words

    # What devices send

    def msi(self, rid, index, data=0, *, vector=None, wide=False, segment=0, expect="auto",
            group=0, **fields):
        """Let a device send an interrupt, and expect the record or the write of its entry.

        ``vector`` is sent in the low bits of the data, to the handle that allows several.
        ``expect`` "nothing" does not wait for any.
        """
        offset, target = index << 3, index
        if vector is not None:
            offset, data, target = offset | 4, data | vector, index + vector
        tlp = Tlp.write(self.windows[64 if wide else 32] + offset, data.to_bytes(4, "little"),
                        rid=rid, **fields)
        return self._send(tlp, target, data, expect, group, segment)

    def message(self, kind, rid, *, segment=0, expect="auto", group=0):
        """Let a device send an error or power-management message."""
        routing = ROUTING_ROOT
        tlp = Tlp(Kind.MSG, rid=rid, code=CODES[kind], routing=routing)
        return self._send(tlp, self.index(kind), None, expect, group, segment)

    def intx(self, pin, level, rid, *, segment=0, expect="auto", group=0):
        """Let a device change the level of a pin, "inta" to "intd"."""
        code = (INTX_ASSERT if level else INTX_DEASSERT) + MESSAGES[pin]
        tlp = Tlp(Kind.MSG, rid=rid, code=code, routing=ROUTING_LOCAL)
        return self._send(tlp, self.index(pin), int(level), expect, group, segment)

    def _send(self, tlp, index, data, expect, group, segment):
        header, payload, prefix = tlp.pack()
        words = [int.from_bytes(payload[n:n + 4], "little") for n in range(0, len(payload), 4)]
        entry = self.table.get(index)
        forward, wanted = None, index
        if expect == "nothing" or entry is None or not entry.valid:
            wanted = None
        elif entry.delivery == "forward":
            forward, wanted = (entry.address, entry.data), None
        return self.program.signal(header, words, rid=tlp.rid, index=wanted, data=data,
                                   forward=forward, group=group, segment=segment, prefix=prefix)

    def tolerate(self, *kinds):
        """Accept records of faults or of errors of programmed I/O."""
        for kind in kinds:
            self.program.tolerate(self.index(kind))
