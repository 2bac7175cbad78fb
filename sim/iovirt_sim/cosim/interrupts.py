"""What system software does with the interrupt block: remap table, event queues, records."""

import struct
from dataclasses import dataclass

__all__ = ["MSI_WINDOW", "Interrupts", "Record", "msi_address"]

PAGE = 0x1000
#: Where devices send interrupts to.
MSI_WINDOW = 0xFEE0_0000
ENTRY_BYTES, CONTROL_BYTES, RECORD_BYTES = 32, 64, 32
#: Offsets in the control block, and in the page of a queue (docs/registers.md).
BASE_LOW, BASE_HIGH, CONTROL, STATUS = 0x00, 0x04, 0x08, 0x20
HEAD, ARM, TAIL = 0x000, 0x008, 0x018
RUN = 1


@dataclass(frozen=True)
class Record:
    """An event record."""

    cookie: int
    count: int
    index: int
    rid: int
    guest: int
    data: int
    sequence: int
    time: int
    type: int
    phase: int

    @classmethod
    def unpack(cls, record):
        """Return the record in 32 bytes of memory."""
        cookie, count, index, rid = struct.unpack_from("<IHHH", record)
        guest, = struct.unpack_from("<H", record, 11)
        data, sequence, last = struct.unpack_from("<IIQ", record, 16)
        return cls(cookie, count, index, rid, guest, data, sequence, last & (1 << 56) - 1,
                   last >> 56 & 0x1F, last >> 63)


def msi_address(index, *, multi=False):
    """Return the address of an interrupt; with ``multi`` its data selects further entries."""
    return MSI_WINDOW + 8 * index + 4 * multi


class Interrupts:
    """Sets up delivery and reads records.

    Parameters
    ----------
    bench : :class:`.bench.Bench`
    """

    def __init__(self, bench):
        self.bench = bench
        windows = bench.map.windows
        self._table, self._control, self._page = (PAGE * windows[name][0]
                                                  for name in ("irt", "queue", "guest"))
        self._rings = {}   # queue: base, log2 of the size

    async def start(self):
        """Open the window for interrupts."""
        await self.bench.write(self.bench.address("msi_window_32"), MSI_WINDOW | 1)

    async def admit(self, index, rid, *, queue=None, forward=None, cookie=0, guest=0, multi=False):
        """Let ``rid`` raise interrupt ``index``: a record in ``queue``, or a write.

        ``forward`` is the address and the data of the write.
        """
        address, data = forward or (0, 0)
        words = (1 | bool(forward) << 2 | multi << 6 | rid << 16,
                 cookie | guest << 32 | (queue or 0) << 48, address, data)
        for n, word in enumerate(words):
            await self.bench.write(self._table + ENTRY_BYTES * index + 8 * n, word)

    async def run(self, queue, base, size_log2):
        """Switch a queue on, with a ring of ``2 ** size_log2`` records at ``base``."""
        control = self._control + CONTROL_BYTES * queue
        await self.bench.write(control + BASE_LOW, base & 0xFFFF_FFFF, 4)
        await self.bench.write(control + BASE_HIGH, base >> 32, 4)
        await self.bench.write(control + CONTROL, size_log2 << 8 | RUN, 4)
        await self.bench.poll(control + STATUS, mask=RUN, value=RUN)
        self._rings[queue] = base, size_log2

    def record(self, queue, count):
        """Return record ``count`` of a queue if it is there: its phase tells."""
        base, size_log2 = self._rings[queue]
        slot = base + RECORD_BYTES * (count % (1 << size_log2))
        record = Record.unpack(self.bench.memory.read(slot, RECORD_BYTES))
        return record if record.phase == 1 - (count >> size_log2 & 1) else None

    async def take(self, queue, count):
        """Wait for record ``count`` of a queue, give its place back, and return it."""
        await self.bench.until(lambda: self.record(queue, count))
        record = self.record(queue, count)
        while await self.bench.read(self._page + PAGE * queue + TAIL, 4) <= count:
            pass   # a head beyond the tail would be refused
        await self.bench.write(self._page + PAGE * queue + HEAD, count + 1, 4)
        return record
