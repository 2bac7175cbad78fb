"""What devices and cores do in the tests of interrupts and of programmed I/O."""

import random

from iovirt_sim.drivers import Entry, endpoint

__all__ = ["BAR", "FIRST", "HIGH", "LOW", "PER_SOURCE", "SECOND", "SIZE", "SLOW", "SOURCES",
           "TARGETS", "accesses", "cores", "interrupts", "storm", "write"]

SOURCES = (0x0100, 0x0201, 0x1F07, 0x3000)
PER_SOURCE = 4
SLOW = {
    "fast":      {"dma_latency": 1, "dma_write_latency": 1, "table_latency": 1,
                  "table_write_latency": 1},
    "slow":      {"dma_write_latency": 400, "table_write_latency": 3, "table_latency": 100},
    "reordered": {"dma_write_latency": 1, "dma_jitter": 300, "dma_reorder": 1, "table_jitter": 60,
                  "table_reorder": 1, "dma_stall": 60, "table_stall": 90, "rx_stall": 60},
}

#: Windows of cores; where they are on PCIe; two devices and their BARs.
LOW, HIGH, SIZE = 0x20_0000_0000, 0x24_0000_0000, 1 << 20
TARGETS = (0xC000_0000, 0x80_0000_0000)
FIRST, SECOND = 0x0100, 0x0108
BAR = 0x1_0000


def interrupts(system):
    """Return a driver with four sources, each with its domain, four entries, and two pages.

    Source n has queue n % 2.
    """
    driver = system.interrupts()
    driver.open_windows()
    for n, rid in enumerate(SOURCES):
        system.device(rid, 1 + n, {0x1000: 2 * n, 0x2000: 2 * n + 1})
        for index in range(PER_SOURCE * n, PER_SOURCE * (n + 1)):
            driver.entry(index, Entry(rid=rid, queue=n % 2, cookie=0xC000 + index, guest=7 + n))
    return driver


def write(system, n, at, length=8):
    """Let source ``n`` write into its page."""
    system.dma(SOURCES[n], 0x1000 + at, length, system.frame(2 * n) + at, write=True, seed=at)


def storm(system, irq, count, *, seed=1, gap=0, writes=0.5):
    """Let the sources write and interrupt at random."""
    rng = random.Random(seed)
    for k in range(count):
        n = rng.randrange(len(SOURCES))
        if rng.random() < writes:
            write(system, n, rng.randrange(500) * 8, rng.choice([4, 8, 64]))
        irq.msi(SOURCES[n], PER_SOURCE * n + rng.randrange(PER_SOURCE), 0x1_0000 + k)
        if gap and rng.random() < 0.3:
            system.program.run(rng.randrange(gap))
    system.program.wait()


def cores(system):
    """Return a driver with two devices, each with a BAR that a window of its own reaches."""
    driver = system.pio()
    driver.wait_ready()
    driver.open_ecam()
    driver.open_port(1, 4)
    driver.connect(0, endpoint(0, bars={0: BAR}, at={0: TARGETS[0]}, bus=1))
    driver.connect(1, endpoint(8, bars={0: BAR}, wide=(0,), at={0: TARGETS[1]}, bus=1))
    driver.open_window(0, LOW, SIZE, TARGETS[0], guest=1)
    driver.open_window(1, HIGH, SIZE, TARGETS[1], guest=2)
    system.run()
    return driver


def accesses(system, seed, count, *, ids=8, span=BAR):
    """Append reads and writes of all sizes; those under way together do not overlap."""
    rng = random.Random(seed)
    lanes = system.config.pio.data_width // 8
    taken, program = set(), system.program
    for _ in range(count):
        base = rng.choice((LOW, HIGH))
        size = rng.choice([n for n in (1, 2, 4, 8, 16, 32, 64) if n <= lanes])
        beats = rng.choice([1, 1, 1, 2, 5, 16])
        at = rng.randrange(span)
        if beats == 1 or rng.random() < 0.7:
            at &= -size
        beats = min(beats, (4096 - at % 4096) // size or 1)
        units = {(base, n) for n in range(at // 64, (at + beats * size) // 64 + 1)}
        if units & taken:
            program.wait()
            taken = set()
        taken |= units
        number = rng.randrange(ids)
        total = (at & -size) + beats * size - at
        if rng.random() < 0.5:
            program.pio_read(base + at, size, beats=beats, id=number, report=False)
        else:
            strobes = None if rng.random() < 0.7 else rng.getrandbits(total)
            program.pio_write(base + at, rng.randbytes(total), size=size, id=number,
                              strobes=strobes)
    program.wait()
