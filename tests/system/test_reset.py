"""Reset at any time: the block comes back as new, and denies everything."""

import random

import pytest

from iovirt_sim.system import COUNTERS, REGISTERS

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("verilated_tiny")]

A, B = 0x0100, 0x0201
IOVA = 0x40_0000


def restart(system):
    """Switch the block on as at first, on the same tables."""
    system.platform.bring_up()
    system.run()


def registers(system):
    """Return the value of every register and counter."""
    # The time runs, and parts of the interrupt and I/O blocks get ready after this.
    others = [name for name, register in system.registers.names.items()
              if register.page > 3 and name not in ("irq_time", "pio_status")]
    return {**{name: system.read(name) for name in (*REGISTERS, *others)},
            **{name: system.counter(name) for name in COUNTERS}}


@pytest.mark.parametrize("clocks", [20, 150, 333, 700, 1500])
def test_reset_in_the_middle_of_traffic(system, clocks):
    rng = random.Random(clocks)
    system.sim.set(table_jitter=50, dma_jitter=50, dma_reorder=1, table_reorder=1)
    pages = {IOVA + 0x1000 * n: n for n in range(16)}
    system.device(A, 1, pages)
    system.device(B, 1)
    areas = [(page, half) for page in range(16) for half in range(2)] * 3
    rng.shuffle(areas)
    for n, (page, half) in enumerate(areas):
        at = 0x1000 * page + 0x800 * half
        if n % 10 == 9:
            system.denied(A, n * 4, write=half > 0)
        else:   # one read of each area, so that the bench can tell them apart
            system.dma((A, B)[half], IOVA + at, 500, system.frame(page) + at % 0x1000,
                       write=(page, half) in areas[:n], seed=n)
    system.platform.command((2, 0))
    system.program.run(clocks)
    system.run()
    system.reset()

    # Nothing that was under way comes back, and all is denied.
    system.sim.clear_statistics()
    for rid in (A, B):
        system.denied(rid, IOVA)
        system.denied(rid, IOVA, write=True)
    system.program.wait()
    system.program.run(500)
    system.run()
    statistics = system.sim.statistics()
    assert statistics["completions"] == 2
    assert not (statistics["dma_reads"] or statistics["dma_writes"] or statistics["table_reads"])
    assert system.counter("faults_lost") == 4

    restart(system)
    for n, (iova, number) in enumerate(pages.items()):
        system.dma(A, iova, 600, system.frame(number), write=True, seed=n)
        system.dma(A, iova, 600, system.frame(number), write=False)
    system.program.wait()
    system.platform.fence()
    system.run()
    assert system.faults() == []


@pytest.mark.parametrize("what", ["page", "superpage", "device"])
def test_translation_of_before_a_reset_does_not_hit(system, what):
    """Tables change while the block is in reset; nobody invalidates anything."""
    level = 1 if what == "superpage" else 0
    size = 0x20_0000 if level else 0x1000
    domain, other = system.platform.domain(1), system.platform.domain(2)
    elsewhere = 0x8000_0000   # the first access after the reset: it makes the context known
    for space in (domain, other):
        space.map(elsewhere, system.frame(0))

    def pages(first):
        """Two in one line of the IOTLB; one in another line."""
        return {IOVA + size * n: system.frame(first + n, size) for n in (0, 1, 9)}

    for space, first in ((domain, 16), (other, 32)):
        for iova, spa in pages(first).items():
            space.map(iova, spa, level=level)
    system.platform.attach(A, 1)
    for iova, spa in pages(16).items():
        system.dma(A, iova, 256, spa, write=True)
    system.program.wait()
    system.run()
    system.reset()
    if what == "device":
        system.platform.attach(A, 2)
    else:
        for iova, spa in pages(32).items():
            domain.map(iova, spa, level=level)
    restart(system)
    system.dma(A, elsewhere, 4, system.frame(0), write=False)
    system.program.wait()
    for iova, spa in pages(32).items():
        system.dma(A, iova, 256, spa, write=True)
        system.dma(A, iova, 256, spa, write=False)
        system.program.wait()
    system.run()


def test_reset_gives_all_registers_and_counters_their_first_values(make_system):
    system = make_system(bring_up=False)
    first = registers(system)
    restart(system)
    system.write("icvec", 0x21)
    system.write("root_port", 0x1234 << 32 | 0x0201)
    system.write("features", 0)
    system.device(A, 1, {IOVA: 0})
    system.dma(A, IOVA, 64, system.frame(0), write=True)
    system.denied(B, IOVA)
    system.program.tlp(0xFF << 120, answered=False)
    system.program.wait()
    system.platform.fence()
    system.run()
    system.faults(1)
    used = registers(system)
    assert sum(used[name] != first[name] for name in first) > 15
    system.reset()
    assert registers(system) == first
    assert system.sim.wsi() == 0


def test_requests_wait_while_the_tables_are_cleared(system):
    system.device(A, 1, {IOVA: 0})
    for n in range(4):
        system.dma(A, IOVA + 64 * n, 64, system.frame(0) + 64 * n, write=True)
    system.program.wait()
    system.run()
    system.sim.reset()   # not waiting for `ready`
    for n in range(4):
        system.denied(A, IOVA + 64 * n)
        system.denied(A, IOVA + 64 * n, write=True)
    system.program.wait()
    system.program.poll_csr(REGISTERS["status"], mask=1, value=1, size=4, timeout=2000)
    system.program.run(200)
    system.run()
    assert system.counter("faults_lost") == 8
    assert system.sim.statistics()["dma_writes"] == 4


def test_many_resets_in_a_row(system):
    system.device(A, 1, {IOVA: 0})
    for n in range(20):
        system.sim.reset(1 + n % 3)
        system.sim.step(n)
    system.reset()
    restart(system)
    system.dma(A, IOVA, 1000, system.frame(0), write=True)
    system.program.wait()
    system.run()
