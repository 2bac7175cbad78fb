"""A whole system for tests: the block in Verilator, its memory, its software, its devices."""

from dataclasses import dataclass

from .drivers import InterruptDriver, PioDriver, Registers, SharingDriver
from .platform import FAULTS, FQH, FQT, Platform, iotinval_gvma
from .tables import PTE
from .tlp import Tlp
from .verilated import Program, Record, Timeout

__all__ = ["COUNTERS", "ERRORS", "REGISTERS", "ErrorRecord", "Fault", "System"]

PAGE = 4096
FAULT_BYTES = 32

#: Offsets of registers (RISC-V IOMMU 1.0, 6; registers of our own from 0x1000).
REGISTERS = {
    "capabilities": 0x0, "fctl": 0x8, "ddtp": 0x10, "cqb": 0x18, "cqh": 0x20, "cqt": 0x24,
    "fqb": 0x28, "fqh": FQH, "fqt": FQT, "cqcsr": 0x48, "fqcsr": 0x4C, "ipsr": 0x54,
    "tr_req_iova": 0x258, "tr_req_ctl": 0x260, "tr_response": 0x268, "icvec": 0x2F8,
    "magic": 0x1000, "features": 0x2000, "status": 0x2004, "device_control": 0x2008,
    "root_port": 0x2010, "error_status": 0x2100, "error_record": 0x2108, "error_address": 0x2110,
}
WIDE = {"capabilities", "ddtp", "cqb", "fqb", "tr_req_iova", "tr_req_ctl", "tr_response", "icvec",
        "magic", "root_port", "error_record", "error_address"}

ERRORS = ("none", "malformed", "unsupported", "nullified", "bus_range", "poisoned_write",
          "unexpected_completion", "memory_write_error", "memory_read_poison",
          "memory_read_abort", "unhandled_message", "fault_lost", "msi_denied", "msi_ecc",
          "msi_write_error", "queue_stopped", "peer_denied", "pio_timeout", "pio_unsupported",
          "pio_abort", "pio_poison", "pio_link_down", "pio_no_target", "pio_retry",
          "completion_mismatch", "completion_late", "share_key", "share_address", "share_entry",
          "share_doorbell", "share_completion", "share_table")
COUNTERS = ("requests", "hits", "misses", "walks", "prefetch_walks", "table_reads", "faults",
            "faults_lost", "invalidations", "fences", "fence_clocks", "reads", "writes",
            *(f"error_{name}" for name in ERRORS[1:15]), "errors_lost",
            *(f"error_{name}" for name in ERRORS[15:26]), "interrupts", "events_dropped",
            "heads_forged", "irt_corrected", "records", "notifications", "pio_reads", "pio_writes",
            "pio_absent", "pio_masked", *(f"error_{name}" for name in ERRORS[26:]), "commands",
            "commands_completed", "shared_lost", "guests_frozen")


@dataclass(frozen=True)
class Fault:
    """A record of the fault queue."""

    cause:     int
    device_id: int
    iova:      int
    ttyp:      int
    gpa:       int = 0
    pid:       int | None = None

    @classmethod
    def of(cls, words):
        """Return the record that four 64-bit words are."""
        head, custom, iova, gpa = words
        if custom:
            raise ValueError(f"Word 1 of a record must be 0, not {custom:#x}")
        pid = head >> 12 & 0xFFFFF if head >> 32 & 1 else None
        return cls(head & 0xFFF, head >> 40, iova, head >> 34 & 0x3F, gpa, pid)


@dataclass(frozen=True)
class ErrorRecord:
    """The first error in the error log."""

    cause:   str
    rid:     int
    address: int
    segment: int = 0


class System:
    """A block with tables and queues, switched on unless ``bring_up`` is False.

    Whatever is prepared (tables, commands, DMA) is appended to :attr:`program` and executed by
    `run`. Data pages of tests are the frames 0, 1, ... of `frame`, tables are below them.
    """

    def __init__(self, sim, config, *, mode=None, levels=None, bring_up=True, queue=None):
        self.sim, self.config = sim, config
        self.registers = Registers(config)
        self.platform = Platform(config, mode=mode, levels=levels)
        self.fault_entries = 1024
        sim.set(np_limit=config.pcie.np_credits, mps=config.pcie.max_payload_bytes)
        self.reset()
        if bring_up:
            self.platform.bring_up()
            self.run()

    def reset(self):
        """Reset the block and wait until it is ready; memory stays."""
        self.sim.reset()
        self.sim.poll_csr(REGISTERS["status"], mask=1, value=1, size=4)
        self.fault_head = 0

    def interrupts(self):
        """Return a driver of the interrupt block."""
        return InterruptDriver(self)

    def pio(self, **options):
        """Return a driver of programmed I/O."""
        return PioDriver(self, **options)

    def sharing(self, **options):
        """Return a driver of the sharing block."""
        return SharingDriver(self, **options)

    # What is prepared

    @property
    def program(self) -> Program:
        """The program so far."""
        return self.platform.program

    def run(self):
        """Execute the program; return its events."""
        return self.sim.run(self.platform.take())

    def frame(self, number, size=PAGE):
        """Return the address of a data page of ``size`` bytes."""
        return (1 << self.platform.half) + number * size

    def device(self, device_id, gscid, pages=None, **flags):
        """Attach a device to a domain and map ``pages``, {IOVA: frame number}."""
        self.platform.attach(device_id, gscid)
        for iova, number in (pages or {}).items():
            self.map(gscid, iova, number, **flags)

    def map(self, gscid, iova, number, *, flags=PTE.DATA):
        """Map a page of 4 KiB to a frame."""
        self.platform.domain(gscid).map(iova, self.frame(number), flags=flags)

    def invalidate(self, gscid=None, iova=None):
        """Queue IOTINVAL.GVMA."""
        self.platform.command(iotinval_gvma(gscid=gscid, iova=iova))

    def dma(self, rid, iova, length, spa, *, write, **more):
        """Append DMA of a device."""
        return self.program.dma(rid=rid, iova=iova, length=length, write=write, spa=spa, **more)

    def denied(self, rid, iova, *, write=False, length=4, **more):
        """Append DMA that must be refused: a read answered UR, a write without effect."""
        return self.dma(rid, iova, length, 0, write=write, expect="ur", **more)

    def tlp(self, tlp, **more):
        """Append a TLP, a :class:`~iovirt_sim.tlp.Tlp`; return the number of the operation."""
        header, payload, prefix = tlp.pack()
        words = [int.from_bytes(payload[n:n + 4], "little") for n in range(0, len(payload), 4)]
        return self.program.tlp(header, words, prefix=prefix, **more)

    # What is looked at

    def read(self, name):
        """Return a register."""
        return self.sim.read_csr(*self._place(name))

    def write(self, name, value):
        """Write a register; return the AXI response."""
        offset, size = self._place(name)
        return self.sim.write_csr(offset, value, size)

    def poll(self, name, mask, value, **more):
        """Read a register until the bits under ``mask`` are ``value``."""
        offset, size = self._place(name)
        return self.sim.poll_csr(offset, mask=mask, value=value, size=size, **more)

    def _place(self, name):
        if name in REGISTERS:
            return REGISTERS[name], 8 if name in WIDE else 4
        return self.registers.offset(name), self.registers.size(name)

    def counter(self, name):
        """Return a counter."""
        return self.sim.read_csr(0x3000 + 8 * COUNTERS.index(name))

    def faults(self, count=None):
        """Return the new fault records and give their entries back.

        With ``count``, wait for that many.
        """
        if count is not None:
            tail = (self.fault_head + count) % self.fault_entries
            try:
                self.poll("fqt", 0xFFFF, tail, timeout=20_000)
            except Timeout as error:
                raise AssertionError(f"{count} fault records must come: {error}") from None
        tail = self.read("fqt")
        records = []
        while self.fault_head != tail:
            words = self.sim.read_memory(FAULTS + self.fault_head * FAULT_BYTES, 4)
            records.append(Fault.of(words))
            self.fault_head = (self.fault_head + 1) % self.fault_entries
        self.write("fqh", tail)
        return records

    def error(self):
        """Wait for the first error in the log, clear it and return it."""
        self.poll("error_status", 1, 1, timeout=20_000)
        record, address = self.read("error_record"), self.read("error_address")
        self.write("error_status", 1)
        return ErrorRecord(ERRORS[record & 0x1F], record >> 16 & 0xFFFF, address,
                           record >> 8 & 0xFF)

    @staticmethod
    def records(events):
        """Return the records of event queues among events of a run."""
        return [Record.of(event) for event in events if event.kind == "record"]

    @staticmethod
    def completions(events, op):
        """Return the completions that answered the TLP of operation ``op``."""
        answers = []
        for event in events:
            if event.kind == "tlp" and event.op == op:
                _, high, low, _, _, *words = event.values
                payload = b"".join(word.to_bytes(8, "little") for word in words)
                tlp = Tlp.unpack(high << 64 | low)
                answers.append(Tlp.unpack(high << 64 | low, payload[:4 * tlp.length]
                                          if tlp.kind.has_data else b""))
        return answers
