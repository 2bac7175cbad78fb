"""Interrupts of a trace, and what a driver does when one comes: it reads and writes the device."""

from .drivers import Entry, InterruptDriver, PioDriver, endpoint
from .traces import TraceError

__all__ = ["TraceIo"]

#: The device of which the driver reads the status, and to which it writes a doorbell.
DEVICE, SIZE, TARGET = 0x0100, 0x1_0000, 0xC000_0000
WINDOW, STATUS, DOORBELL = 0x20_0000_0000, 0x0, 0x1000
QUEUE_LOG2 = 8


class TraceIo:
    """What the rows of interrupts become, on hardware that has interrupts and programmed I/O.

    Each interrupt is sent to the entry of its row; its data is the number of the row, so that each
    record can be told from the others. It must come as a record of the queue of its device, after
    the DMA before it. A core then reads a register of a device, and writes another one.
    """

    def __init__(self, platform, sim, *, slow=False):
        names = {port["name"] for port in sim.description["ports"]}
        self.platform, self.sim, self.config = platform, sim, platform.config
        self.interrupts = InterruptDriver(self) if "irq_wires" in names and not slow else None
        self.pio        = PioDriver(self) if "pio__arvalid" in names and not slow else None
        self.queues     = {}
        self.base       = WINDOW & (1 << self.config.pio.address_width) - 1

    @property
    def program(self):
        """The program of the platform."""
        return self.platform.program

    def run(self):
        """Execute the program."""
        return self.sim.run(self.platform.take())

    def start(self):
        """Switch on what there is."""
        if self.interrupts:
            self.interrupts.open_windows()
        if self.pio:
            self.pio.wait_ready()
            self.pio.open_ecam()
            self.pio.open_port(DEVICE >> 8, 0xFF)
            self.pio.connect(0, endpoint(0, bars={0: SIZE}, at={0: TARGET}, bus=DEVICE >> 8))
            self.pio.open_window(0, self.base, SIZE, TARGET)

    def msi(self, row, path):
        """Send the interrupt of a row."""
        if not self.interrupts:
            return
        driver = self.interrupts
        if row.index >= driver.entries:
            raise TraceError(f"{path}, line {row.seq + 1}: p1 must be below {driver.entries}, the "
                             f"entries of this configuration, not {row.index}")
        if row.rid not in self.queues:
            self.queues[row.rid] = len(self.queues) % self.config.irq.queues
            if len(self.queues) <= self.config.irq.queues:
                driver.queue(self.queues[row.rid], QUEUE_LOG2, report=False)
        entry = driver.table.get(row.index)
        if entry is None or entry.rid != row.rid:
            self.program.wait()
            driver.entry(row.index, Entry(rid=row.rid, queue=self.queues[row.rid],
                                          cookie=row.index))
        driver.msi(row.rid, row.index, row.seq)
        if self.pio:
            at = self.base + 8 * (row.seq % 256)   # no two under way alike
            self.program.pio_read(at + STATUS, 4, id=row.index % 4, report=False)
            self.program.pio_write(at + DOORBELL, row.seq.to_bytes(4, "little"))

    def report(self, counts):
        """Return what the replay's report says of it."""
        result = {}
        if self.interrupts:
            result["interrupts"] = {
                "sent": counts["signals"], "recorded": counts["interrupts"],
                "behind_dma": counts["interrupts_ordered"], "records": counts["records"],
                "notifications": counts["notifications"],
                "clocks_to_record": _mean(counts["record_clocks"], counts["records"])}
        if self.pio:
            result["programmed_io"] = {
                "reads": counts["pio_reads"], "writes": counts["pio_writes"],
                "bytes_checked": counts["pio_bytes_checked"],
                "order_checked": counts["pio_order_checked"],
                "clocks": _mean(counts["pio_clocks"], counts["pio_reads"] + counts["pio_writes"])}
        return result


def _mean(part, whole):
    return round(part / whole, 2) if whole else None
