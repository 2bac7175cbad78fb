"""What system software does with the block: tables in memory, queues, translation switched on."""

from iovirt_sim.tables import TableBuilder

from .bench import Words

__all__ = ["Hypervisor"]

FCTL, DDTP, CQB, CQT, CQH, FQB, FQH, FQT, CQCSR, FQCSR = 8, 16, 24, 36, 32, 40, 48, 52, 72, 76
ENABLE, ON, BUSY = 1, 1 << 16, 1 << 17
DDTP_BUSY = 1 << 4
COMMANDS, FAULTS, TABLES, TABLES_END = 0x10_0000, 0x20_0000, 0x100_0000, 0x4000_0000
RING_LOG2, FAULT_BYTES = 6, 32


class Hypervisor:
    """Gives devices address spaces of their own.

    Parameters
    ----------
    bench : :class:`.bench.Bench`
    """

    def __init__(self, bench):
        self.bench   = bench
        remap        = bench.config.remap
        self.levels  = remap.ddt_levels
        self.mode    = remap.second_stage[-1]
        self.builder = TableBuilder(Words(bench.memory), base=TABLES, limit=TABLES_END)
        self.directory = self.builder.directory(self.levels)
        self.tail    = 0
        self.domains = 0
        self.frames  = 0

    async def start(self):
        """Switch on the command queue, the fault queue and translation."""
        bench = self.bench
        await bench.write(FCTL, 2, 4)
        for base, index, at in ((FQB, FQH, FAULTS), (CQB, CQT, COMMANDS)):
            await bench.write(base, at >> 12 << 10 | RING_LOG2 - 1)
            await bench.write(index, 0, 4)
        for register in (FQCSR, CQCSR):
            await bench.write(register, ENABLE, 4)
            await bench.poll(register, mask=ON | BUSY, value=ON)
        await bench.write(DDTP, self.directory >> 12 << 10 | self.levels + 1)
        await bench.poll(DDTP, mask=DDTP_BUSY, value=0, size=8)

    def attach(self, rid):
        """Give the device ``rid`` an address space of its own and return it."""
        self.domains += 1
        space = self.builder.second_stage(self.mode, gscid=self.domains)
        self.builder.device_context(self.directory, self.levels, rid, iohgatp=space.iohgatp)
        return space

    def frame(self):
        """Return the address of a fresh page in the upper half of memory."""
        self.frames += 1
        half = self.bench.config.remap.physical_address_bits - 1
        scattered = self.frames * 0x9E37_79B1 % (1 << half - 12)
        return (1 << half - 12 | scattered) << 12

    async def command(self, *commands):
        """Queue commands, and wait until they are done."""
        for words in commands:
            for n, word in enumerate(words):
                self.bench.memory.write(COMMANDS + 16 * self.tail + 8 * n,
                                        word.to_bytes(8, "little"))
            self.tail = (self.tail + 1) % (1 << RING_LOG2)
        await self.bench.write(CQT, self.tail, 4)
        await self.bench.poll(CQH, mask=0xFFFF, value=self.tail)

    async def faults(self, least=0):
        """Return the fault records as (cause, device_id, iova); wait for so many at least."""
        while (count := await self.bench.read(FQT, 4)) < least:
            pass
        records = []
        for n in range(count):
            words = self.bench.memory.read(FAULTS + FAULT_BYTES * n, FAULT_BYTES)
            records.append((int.from_bytes(words[:8], "little") & 0xFFF,
                            int.from_bytes(words[5:8], "little"),
                            int.from_bytes(words[16:24], "little")))
        return records
