"""DMA through the whole block. The bench checks every address, byte and completion."""

import random

import pytest

from iovirt_sim.platform import iodir_inval_ddt, iofence, iotinval_gvma
from iovirt_sim.tables import PTE

pytestmark = pytest.mark.slow

TINY = pytest.param("tiny", marks=pytest.mark.xdist_group("verilated_tiny"))
DEFAULT = pytest.param("default", marks=pytest.mark.xdist_group("verilated_default"))
BOTH = pytest.mark.parametrize("preset", [TINY, DEFAULT])
ONLY_TINY = pytest.mark.parametrize("preset", [TINY])

A, B, C = 0x0100, 0x0201, 0x1F07
#: Frames of 2 MiB and more are above those of 4 KiB.
SIZES = {1: 1 << 21, 2: 1 << 30}


def both_ways(system, rid, iova, length, spa, **more):
    """Write, and read back."""
    system.dma(rid, iova, length, spa, write=True, seed=iova ^ spa, **more)
    system.dma(rid, iova, length, spa, write=False, **more)


@pytest.mark.parametrize("preset, levels", [
    pytest.param(name, levels, marks=pytest.mark.xdist_group(f"verilated_{name}"))
    for name, most in (("tiny", 2), ("default", 3)) for levels in range(1, most + 1)])
def test_directory_of_every_depth_finds_each_device(make_system, preset, levels):
    system = make_system(preset, levels=levels)
    devices = {1: (0x00, 0x05, 0x7F), 2: (0x0000, 0x0085, 0xFF7F, 0x1234),
               3: (0x000000, 0x00FFFF, 0x010001, 0xFF0185)}[levels]
    for n, device in enumerate(devices):
        system.device(device, 1 + n, {0x1000: n})
    for n, device in enumerate(devices):
        both_ways(system, device & 0xFFFF, 0x1010, 100, system.frame(n) + 0x10,
                  segment=device >> 16)
    system.program.wait()
    system.run()
    assert system.sim.statistics()["transfers_checked"] == 2 * len(devices)
    assert system.faults() == []


@BOTH
def test_pages_of_every_size_are_translated(make_system, preset):
    system = make_system(preset)
    domain = system.platform.domain(1)
    system.device(A, 1)
    pages = [(0x5000, 0x1000, {}), (0x8_0000, 0x1_0000, {"napot": True})]
    pages += [(0x40_0000, SIZES[1], {"level": 1}), (0x8000_0000, SIZES[2], {"level": 2})]
    if system.platform.mode == "Sv48x4":
        pages.append((1 << 39, 1 << 39, {"level": 3}))
    for n, (iova, size, how) in enumerate(pages):
        domain.map(iova, system.frame(n + 3, size), **how)
    for n, (iova, size, _) in enumerate(pages):
        for offset in (0, 0xFC3, size // 2 + 5, size - 300):
            offset = min(offset, size - 300)
            both_ways(system, A, iova + offset, 300, system.frame(n + 3, size) + offset)
    for iova, size, _ in pages:   # just outside
        system.denied(A, iova - 4)
        system.denied(A, iova + size, write=True)
    system.program.wait()
    system.run()
    assert {fault.cause for fault in system.faults(2 * len(pages))} == {21, 23}


@BOTH
def test_domains_map_the_same_address_to_different_pages(make_system, preset):
    system = make_system(preset)
    for n in range(12):   # more devices than the tiny context cache holds
        system.device(A + n, n % 4, {0x7000 + 0x1000 * k: 16 * (n % 4) + k for k in range(4)})
    for turn in range(3):
        for n in range(12):
            frame = system.frame(16 * (n % 4) + turn)
            both_ways(system, A + n, 0x7000 + 0x1000 * turn + 64 * n, 60, frame + 64 * n)
    system.program.wait()
    system.run()
    assert system.faults() == []


@ONLY_TINY
def test_all_byte_enables_of_one_and_two_dwords(make_system, preset):
    system = make_system(preset)
    system.device(A, 1, {0x1000: 0})
    count = 0
    for first in range(16):
        for last in range(16):
            if bool(first) != bool(last) and last:
                continue
            length = 8 if last else 4
            offset = count * 8 % 4096
            for write in (True, False):
                system.dma(A, 0x1000 + offset, length, system.frame(0) + offset, write=write,
                           enables=(first, last), seed=count)
            count += 1
    system.program.wait()
    system.run()
    assert count == 15 * 15 + 16


@BOTH
def test_every_length_and_alignment(make_system, preset):
    system = make_system(preset)
    system.sim.set(mrrs=4096)
    system.device(A, 1, {0x1000: 0, 0x2000: 9})
    rng = random.Random(5)
    cases = [(length, rng.randrange(4096 - length + 1)) for length in
             [*range(1, 140), 255, 256, 257, 511, 512, 1023, 4000, 4093, 4095]]
    cases += [(200, offset) for offset in range(160)]
    for n, (length, offset) in enumerate(cases):
        page = n % 2
        both_ways(system, A, 0x1000 + 0x1000 * page + offset, length,
                  system.frame(9 * page) + offset)
        if page:   # reads that overlap could not be told from each other
            system.program.wait()
    system.run()
    assert system.faults() == []


@BOTH
def test_read_of_4_kib(make_system, preset):
    system = make_system(preset)
    system.sim.set(mrrs=4096)
    system.device(A, 1, {0x1000 * n: n for n in range(4)})
    for n in range(4):
        system.dma(A, 0x1000 * n, 4096, system.frame(n), write=False)
    system.program.wait()
    system.run()
    statistics = system.sim.statistics()
    assert statistics["read_bytes"] == 4 * 4096
    assert statistics["completions"] == 4 * 4096 // 256


@ONLY_TINY
@pytest.mark.parametrize("code, mps", [(0, 128), (1, 256)])
def test_completions_keep_the_payload_size_and_writes_above_it_are_malformed(
        make_system, preset, code, mps):
    system = make_system(preset)
    system.write("device_control", code)
    system.sim.set(mps=mps, mrrs=4096, rcb=128)
    system.device(A, 1, {0x1000: 0})
    for offset in (0, 4, 60, 127, 130):
        both_ways(system, A, 0x1000 + offset, 2000, system.frame(0) + offset)
    system.program.wait()
    system.run()
    system.sim.set(mps=512)
    system.dma(A, 0x1000, mps + 4, 0, write=True, expect="ur")
    system.program.wait()
    system.run()
    assert system.error().cause == "malformed"


@ONLY_TINY
def test_largest_payload_is_what_was_built(make_system, preset):
    system = make_system(preset)
    system.write("device_control", 5)
    assert system.read("device_control") == 1


@ONLY_TINY
@pytest.mark.parametrize("mrrs", [128, 1024])
def test_read_request_sizes(make_system, preset, mrrs):
    system = make_system(preset)
    system.sim.set(mrrs=mrrs)
    system.device(A, 1, {0x1000 * n: n for n in range(3)})
    for offset in (0, 3, 100):
        system.dma(A, offset, 3 * 4096 - 100, system.frame(0) + offset, write=False)
    system.program.wait()
    system.run()
    assert system.sim.statistics()["read_bytes"] == 3 * (3 * 4096 - 100)


@ONLY_TINY
def test_zero_length_read_comes_after_the_writes_before_it(make_system, preset):
    system = make_system(preset)
    system.sim.set(dma_write_latency=400, dma_latency=1)
    system.device(A, 1, {0x1000: 0, 0x2000: 1})
    system.dma(A, 0x1000, 4, system.frame(0), write=False)
    system.program.wait()
    for n in range(4):
        system.dma(A, 0x1000 + 256 * n, 256, system.frame(0) + 256 * n, write=True, report=True)
    system.dma(A, 0x2000, 4, system.frame(1), write=False, enables=(0, 0), report=True)
    system.program.wait()
    done = [event.values[3] for event in system.run() if event.kind == "transfer"]
    assert len(done) == 5 and done[-1] > max(done[:-1])


@BOTH
def test_addresses_above_4_gib_use_long_headers(make_system, preset):
    system = make_system(preset)
    top = 1 << (41 if system.platform.mode == "Sv39x4" else 50)
    pages = {0xFFFF_F000: 0, 0x1_0000_0000: 1, 0x7F_FFFF_F000: 2, top - 0x1000: 3}
    system.device(A, 1, pages)
    for iova, number in pages.items():
        both_ways(system, A, iova + 8, 200, system.frame(number) + 8)
    system.dma(A, 0xFFFF_FF00, 512, system.frame(0) + 0xF00, write=True)   # both header forms
    system.denied(A, top, write=True)
    system.denied(A, top)
    system.program.wait()
    system.run()
    assert [(fault.cause, fault.iova) for fault in system.faults(2)] == [(23, top), (21, top)]


@ONLY_TINY
def test_traffic_class_and_attributes_come_back_in_completions(make_system, preset):
    system = make_system(preset)
    system.device(A, 1, {0x1000: 0})
    for tc in range(8):
        for attr in range(8):
            both_ways(system, A, 0x1000 + 64 * tc + 8 * attr, 8,
                      system.frame(0) + 64 * tc + 8 * attr, tc=tc, attr=attr)
    system.program.wait()
    system.run()
    assert system.sim.statistics()["transfers_checked"] == 128


class Claims:
    """Bytes in use, in units of 64, so that the bench can tell whose access it sees.

    Two sources never write the same bytes; nobody reads the same bytes twice before `release`.
    """

    def __init__(self):
        self.writer, self.readers = {}, set()

    def claim(self, rid, spa, length, write):
        """Return whether the access may be made."""
        units = range(spa // 64, (spa + length - 1) // 64 + 1)
        if write:
            if any(self.writer.get(unit, rid) != rid for unit in units):
                return False
            self.writer.update(dict.fromkeys(units, rid))
        else:
            if not self.readers.isdisjoint(units):
                return False
            self.readers.update(units)
        return True

    def release(self):
        """Nothing is under way."""
        self.__init__()


def random_traffic(system, seed, count):
    """Append DMA of six devices in three domains; return how many accesses are denied."""
    rng = random.Random(seed)
    devices = [(A, 1), (B, 1), (C, 2), (C + 1, 2), (0x3000, 3), (0x3001, 3)]
    frames, claims, denied = {}, Claims(), 0
    for device, gscid in devices:
        system.device(device, gscid)
    for gscid in (1, 2, 3):
        for page in rng.sample(range(64), 40):
            frames[gscid, page] = len(frames)
            system.map(gscid, page << 12, frames[gscid, page],
                       flags=PTE.DATA & ~PTE.W if page % 8 == 7 else PTE.DATA)
    for n in range(count):
        more = {"seed": n, "tc": rng.choice([0, 0, 3]), "attr": rng.choice([0, 0, 1, 2, 4, 6])}
        for _ in range(20):
            rid, gscid = rng.choice(devices)
            page, write = rng.choice([rng.randrange(64), n // 8 % 64]), rng.random() < 0.5
            length = rng.choice([1, 4, 7, 32, 64, 64, 128, 256, rng.randint(1, 4096)])
            offset = rng.randrange(4096 - length + 1)
            number = frames.get((gscid, page))
            if number is None or (write and page % 8 == 7):
                system.denied(rid, (page << 12) + offset, write=write, length=min(length, 100),
                              **more)
                denied += 1
                break
            spa = system.frame(number) + offset
            if claims.claim(rid, spa, length, write):
                system.dma(rid, (page << 12) + offset, length, spa, write=write, **more)
                break
        else:
            system.program.wait()
            claims.release()
    system.program.wait()
    return denied


LOADS = {
    "fast":    {"table_latency": 1, "table_write_latency": 1, "dma_latency": 1,
                "dma_write_latency": 1},
    "slow":    {"table_latency": 200, "dma_latency": 200, "dma_write_latency": 200,
                "tx_stall": 30},
    "jitter":  {"table_jitter": 200, "dma_jitter": 200, "table_reorder": 1, "dma_reorder": 1,
                "dma_latency": 1, "dma_write_latency": 1, "table_latency": 1},
    "stalled": {"table_stall": 100, "dma_stall": 150, "rx_stall": 100, "tx_stall": 150,
                "table_jitter": 9, "dma_jitter": 30, "table_reorder": 1, "dma_reorder": 1,
                "mrrs": 4096},
}


@BOTH
@pytest.mark.parametrize("load", LOADS)
def test_random_traffic(make_system, preset, load):
    system = make_system(preset)
    system.sim.set(seed=7, **LOADS[load])
    denied = random_traffic(system, load, 600)
    system.run()
    statistics = system.sim.statistics()
    assert statistics["transfers_checked"] > 450 and denied > 100
    system.program.run(5000)   # the last records may still be under way
    system.run()
    assert system.counter("faults") + system.counter("faults_lost") == denied


@BOTH
def test_random_traffic_while_software_invalidates(make_system, preset):
    """Nothing changes in the tables, so nothing may change for the devices."""
    system = make_system(preset)
    system.sim.set(seed=11, table_jitter=60, dma_jitter=60, table_reorder=1)
    rng = random.Random(11)
    only_dma = system.dma

    def dma(*arguments, **more):
        if rng.random() < 0.3:
            system.platform.command(rng.choice([
                iotinval_gvma(), iotinval_gvma(gscid=rng.randint(1, 3)), iofence(),
                iotinval_gvma(gscid=rng.randint(1, 3), iova=rng.randrange(64) << 12),
                iodir_inval_ddt(), iodir_inval_ddt(rng.choice([A, B, C]))]))
        return only_dma(*arguments, **more)

    system.dma = dma
    random_traffic(system, 11, 500)
    system.platform.fence()
    system.run()
    assert system.counter("invalidations") > 50 and system.counter("fences") > 10


@BOTH
@pytest.mark.parametrize("seed", range(2))
def test_driver_that_maps_and_unmaps(make_system, preset, seed):
    """Strict: unmap, invalidate, fence, and the frame is never seen again through that page."""
    system = make_system(preset)
    rng = random.Random(seed)
    system.sim.set(seed=seed, table_jitter=40, dma_jitter=40, dma_reorder=1, table_reorder=1)
    devices = {1: (A, B), 2: (C, 0x2000)}
    for gscid, members in devices.items():
        for device in members:
            system.device(device, gscid)
    mapped, fresh = {}, iter(range(1000))
    for n in range(400):
        gscid, page = rng.randint(1, 2), rng.choice([rng.randrange(24), rng.randrange(4)])
        iova, rid = page << 12, rng.choice(devices[gscid])
        if (gscid, page) not in mapped:
            if rng.random() < 0.3:
                system.denied(rid, iova, write=rng.random() < 0.5)
                system.program.wait()
            # No invalidation: what is not there is not cached. Denied writes may still be under
            # way, and take the new page as well.
            system.platform.fence()
            mapped[gscid, page] = next(fresh)
            system.map(gscid, iova, mapped[gscid, page])
        elif rng.random() < 0.3:
            system.program.wait()
            system.platform.domain(gscid).unmap(iova)
            system.platform.command(iotinval_gvma(gscid=gscid, iova=iova))
            system.platform.fence()
            del mapped[gscid, page]
            system.denied(rid, iova, write=rng.random() < 0.5)
            system.program.wait()
        else:
            spa = system.frame(mapped[gscid, page])
            half = devices[gscid].index(rid) * 2048   # for the bench to tell devices apart
            both_ways(system, rid, iova + half + n % 256, 700, spa + half + n % 256)
            system.program.wait()
    system.run()
    assert system.sim.statistics()["transfers_checked"] > 300


@ONLY_TINY
@pytest.mark.parametrize("port", ["table_stall", "dma_stall", "rx_stall", "tx_stall"])
def test_one_port_that_stalls_most_of_the_time(make_system, preset, port):
    system = make_system(preset)
    system.sim.set(**{port: 230})
    random_traffic(system, port, 150)
    system.run()
    assert system.sim.statistics()["transfers_checked"] > 80


@ONLY_TINY
def test_prefetch_does_not_change_what_is_accessed(make_system, preset):
    walks = []
    for enable in (0, 1):
        system = make_system(preset)
        system.write("features", enable)
        system.device(A, 1, {0x1000 * n: 63 - n for n in range(64)})
        for n in range(64):
            both_ways(system, A, 0x1000 * n, 1024, system.frame(63 - n))
        system.program.wait()
        system.run()
        walks.append(system.counter("prefetch_walks"))
    assert walks[0] == 0 and walks[1] > 0


@ONLY_TINY
def test_more_reads_than_the_block_holds(make_system, preset):
    system = make_system(preset)
    system.sim.set(dma_latency=300, np_limit=64)   # a core that does not count credits, too
    system.device(A, 1, {0x1000: 0})
    for n in range(100):
        system.dma(A, 0x1000 + 4 * n, 4, system.frame(0) + 4 * n, write=False)
    system.program.wait()
    system.run()
    assert system.sim.statistics()["transfers_checked"] == 100
