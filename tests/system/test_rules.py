"""The rules S1 to S12 that apply to what is built (docs/architecture.md), on the whole block."""

from collections import Counter

import pytest

from iovirt_sim.platform import iodir_inval_ddt, iofence, iotinval_gvma
from iovirt_sim.tables import PTE
from iovirt_sim.tlp import Status, Tlp

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("verilated_tiny")]

A, B, C = 0x0100, 0x0201, 0x1F07
IOVA = 0x40_0000
OLD, NEW = 0x1000, 0x2000   # frames of 4 KiB; multiples of 2 MiB


def word(n):
    """Return a payload that tells which write it comes from."""
    return (0xC0DE_0000 | n).to_bytes(4, "little")


def change_leaf(system, *, level=0, napot=False, target=NEW):
    """Let the page at IOVA be another one, or none."""
    domain = system.platform.domain(1)
    if target is None:
        domain.unmap(IOVA, level=level)
    else:
        domain.map(IOVA, system.frame(target), level=level, napot=napot)


def change_device(system):
    """Let the device use another domain, which maps the IOVA elsewhere."""
    system.map(2, IOVA, NEW)
    system.platform.attach(A, 2)


#: What changes, the first mapping, and the command that makes it known.
CHANGES = {
    "page":      (change_leaf, {}, iotinval_gvma(gscid=1, iova=IOVA)),
    "unmapped":  (lambda s: change_leaf(s, target=None), {}, iotinval_gvma(gscid=1, iova=IOVA)),
    "napot":     (lambda s: change_leaf(s, napot=True), {"napot": True},
                  iotinval_gvma(gscid=1, iova=IOVA + 0xF000)),
    "superpage": (lambda s: change_leaf(s, level=1), {"level": 1},
                  iotinval_gvma(gscid=1, iova=IOVA + 0x1F_F000)),
    "domain":    (change_leaf, {}, iotinval_gvma(gscid=1)),
    "all":       (change_leaf, {}, iotinval_gvma()),
    "device":    (change_device, {}, iodir_inval_ddt(A)),
    "devices":   (change_device, {}, iodir_inval_ddt()),
}


@pytest.mark.parametrize("latency", [1, 60])
@pytest.mark.parametrize("what", CHANGES)
def test_s01_no_access_after_fence(system, what, latency):
    """Traffic never stops; from the end of the fence on, nothing reaches the old page."""
    change, kind, command = CHANGES[what]
    system.sim.set(seed=latency, rx_stall=215, table_latency=latency, dma_latency=latency,
                   dma_write_latency=3 * latency, dma_jitter=latency)
    system.platform.attach(A, 1)
    system.platform.domain(1).map(IOVA, system.frame(OLD), **kind)
    p = system.program
    for frame in (OLD, NEW):
        p.allow(system.frame(frame), 4096)
    reads = {}

    def traffic(first, count):
        for n in range(first, first + count):
            system.tlp(Tlp.write(IOVA + 4 * n, word(n), rid=A, tag=n % 256))
            reads[n] = system.tlp(Tlp.read(IOVA + 4 * n, 4, rid=A, tag=n))

    traffic(0, 1)
    p.wait()
    traffic(1, 59)
    p.run(100)
    change(system)
    system.platform.command(command)
    system.platform.command(iofence())
    p.wait_commands()
    p.mark()
    p.forbid(system.frame(OLD), 4096)
    traffic(60, 20)
    p.wait()
    p.read_memory(system.frame(OLD), 40)
    p.read_memory(system.frame(NEW), 40)
    events = system.run()

    old, new = ([value >> 32 * half & 0xFFFFFFFF for value in event.values for half in (0, 1)]
                for event in events if event.kind == "memory")
    landed_old = [n for n in range(80) if old[n] == 0xC0DE_0000 | n]
    landed_new = [n for n in range(80) if new[n] == 0xC0DE_0000 | n]
    assert landed_old and 0 in landed_old, "the test must begin with the old page"
    if what == "unmapped":
        assert landed_new == []
        for n in range(60, 80):
            assert system.completions(events, reads[n])[0].status == Status.UR
    else:
        assert sorted(landed_old + landed_new) == list(range(80))
        assert min(landed_new) < 60, "traffic must run while the fence does"
        assert set(range(60, 80)) <= set(landed_new)
        for n in range(60, 80):   # each read comes after the write of the same word
            answer, = system.completions(events, reads[n])
            assert answer.payload == word(n)


def test_s01_fence_waits_for_the_response_of_each_earlier_write(system):
    system.sim.set(dma_write_latency=3000)
    system.device(A, 1, {IOVA: OLD})
    system.device(B, 1)
    p = system.program
    for rid in (A, B):
        for n in range(3):
            system.dma(rid, IOVA + 64 * n + (rid & 1) * 2048, 64,
                       system.frame(OLD) + 64 * n + (rid & 1) * 2048, write=True, report=True)
    p.wait(sent=True)
    system.platform.command((2, 0))   # neither PR nor PW is set; it waits all the same
    p.wait_commands()
    p.mark()
    events = system.run()
    fence = next(event.values[0] for event in events if event.kind == "mark")
    done = [event.values[3] for event in events if event.kind == "transfer"]
    assert len(done) == 6 and max(done) <= fence
    assert fence > 3000


def test_s01_fence_waits_for_the_data_of_each_earlier_read(system):
    system.device(A, 1, {IOVA: OLD})
    system.dma(A, IOVA, 4, system.frame(OLD), write=False)
    system.program.wait()
    system.run()
    system.sim.set(dma_latency=3000)
    p = system.program
    for n in range(4):
        system.dma(A, IOVA + 512 * n, 512, system.frame(OLD) + 512 * n, write=False, report=True)
    p.wait(sent=True)
    clock = p.mark()
    system.platform.fence()
    p.mark()
    p.wait()
    start, end = (event.values[0] for event in system.run() if event.kind == "mark")
    assert clock and end - start > 2900


def test_s01_fence_ends_while_traffic_goes_on(system):
    system.sim.set(dma_latency=100, dma_write_latency=100, table_latency=100, mrrs=4096)
    devices = (A, B, C)
    for n, rid in enumerate(devices):
        system.device(rid, 1 + n, {IOVA + 0x1000 * k: OLD + 16 * n + k for k in range(16)})
    p = system.program

    def traffic(count):
        for n in range(count):
            page = n // 3 % 16
            system.dma(devices[n % 3], IOVA + 0x1000 * page, 1024,
                       system.frame(OLD + 16 * (n % 3) + page), write=n % 2 == 0, report=True)

    for _ in range(5):
        traffic(100)
        system.platform.command(iofence())
        p.wait_commands(report=True)
        p.mark()
    p.wait()
    events = system.run()
    waits = [event.values[2] for event in events if event.kind == "commands"]
    marks = [event.values[0] for event in events if event.kind == "mark"]
    done = [event.values[3] for event in events if event.kind == "transfer"]
    assert len(waits) == 5 and max(waits) < 3000
    for fence in marks:
        assert any(clock > fence for clock in done), "traffic must be running"
    assert system.counter("fences") == 5


def test_s02_denied_after_reset(make_system):
    system = make_system(bring_up=False)
    for n in range(5):
        system.denied(A + n, IOVA + 4 * n)
        system.denied(A + n, IOVA + 4 * n, write=True, length=200)
    system.program.wait()
    system.program.run(500)
    system.run()
    assert system.sim.statistics()["table_reads"] == 0
    assert system.counter("faults_lost") == system.counter("error_fault_lost") == 10
    assert system.error().cause == "fault_lost"


def test_s02_denied_while_translation_is_off(system):
    system.device(A, 1, {IOVA: OLD})
    system.dma(A, IOVA, 64, system.frame(OLD), write=True)
    system.program.wait()
    system.run()
    system.write("ddtp", 0)
    system.poll("ddtp", 1 << 4, 0)
    system.denied(A, IOVA)
    system.denied(A, IOVA, write=True)
    system.program.wait()
    system.run()
    assert [fault.cause for fault in system.faults(2)] == [256, 256]


def test_s02_nothing_reaches_memory_once_off_has_taken_effect(system):
    """Translation goes off in the middle of traffic."""
    system.sim.set(rx_stall=200, dma_write_latency=300, dma_latency=200)
    system.device(A, 1, {IOVA: OLD})
    p = system.program
    p.allow(system.frame(OLD), 4096)
    reads = []
    for n in range(60):
        system.tlp(Tlp.write(IOVA + 4 * n, word(n), rid=A))
        reads.append(system.tlp(Tlp.read(IOVA + 4 * n, 4, rid=A, tag=n)))
    p.run(400)
    p.write_csr(16, 0)
    p.poll_csr(16, mask=1 << 4, value=0)
    p.forbid(system.frame(OLD), 4096)
    p.wait()
    events = system.run()
    statuses = [system.completions(events, op)[0].status for op in reads]
    assert statuses[0] == Status.SC and statuses[-1] == Status.UR
    assert statuses == sorted(statuses), "there is one moment in which it goes off"


def test_s02_requesters_outside_the_bus_range_are_denied(system):
    buses = {0x00FF: False, 0x0100: True, 0x02FF: True, 0x0300: False, 0xFF00: False}
    for rid in buses:
        system.device(rid, 1, {IOVA: OLD})
    port = system.pio()   # the buses are in the header of the port
    port.wait_ready()
    port.open_ecam()
    port.open_port(1, 2)
    port.set("root_port", check=1)
    for rid, allowed in buses.items():
        for write in (True, False):
            if allowed:
                system.dma(rid, IOVA, 32, system.frame(OLD), write=write)
            else:
                system.denied(rid, IOVA, write=write)
    system.program.wait()
    system.run()
    record = system.error()
    assert (record.cause, record.rid, record.address) == ("bus_range", 0x00FF, IOVA)
    assert system.counter("error_bus_range") == 6
    assert system.faults() == []


@pytest.mark.parametrize("bits", ["root", "leaf"])
def test_s02_addresses_beyond_the_physical_width_are_denied(system, bits):
    width = system.config.remap.physical_address_bits
    system.device(A, 1, {IOVA: OLD})
    domain = system.platform.domain(1)
    if bits == "leaf":
        entry = (1 << width | system.frame(OLD)) >> 12 << 10 | PTE.DATA
        system.platform.memory[domain.slot(IOVA)] = entry
    else:
        system.platform.builder.device_context(
            system.platform.directory, system.platform.levels, A,
            iohgatp=domain.iohgatp | 1 << width - 12)
    system.denied(A, IOVA)
    system.denied(A, IOVA, write=True)
    system.program.wait()
    system.run()
    assert sorted(fault.cause for fault in system.faults(2)) == [5, 7]


@pytest.mark.parametrize("block, unblock", [
    ({"fc_header": 0}, {"fc_header": 255}), ({"fc_data": 0}, {"fc_data": 4095}),
    ({"tx_stall": 256}, {"tx_stall": 0})])
def test_s05_posted_progress_while_reads_are_blocked(system, block, unblock):
    """No completion leaves; all non-posted buffers are full; writes go on, fences too."""
    system.device(A, 1, {IOVA: OLD, IOVA + 0x1000: OLD + 1})
    system.device(B, 2, {IOVA: NEW})
    system.sim.set(**block)
    for n in range(system.config.pcie.np_credits):
        if n % 2:
            system.dma(A, IOVA + 64 * n, 64, system.frame(OLD) + 64 * n, write=False, group=1)
        else:
            system.denied(C, IOVA + 64 * n, group=1)
    for n in range(100):
        system.dma(A, IOVA + 0x1000 + 32 * n, 32, system.frame(OLD + 1) + 32 * n, write=True,
                   group=2)
        system.dma(B, IOVA + 32 * n, 32, system.frame(NEW) + 32 * n, write=True, group=2)
    system.program.wait(group=2)
    system.platform.fence()
    system.run()
    statistics = system.sim.statistics()
    assert statistics["writes"] == 200
    # A refusal carries no data.
    assert statistics["completions"] == (system.config.pcie.np_credits // 2 if "fc_data" in block
                                         else 0)
    system.sim.set(**unblock)
    system.program.wait()
    system.run()
    assert system.sim.statistics()["reads"] == system.config.pcie.np_credits


def test_s05_writes_do_not_wait_for_slow_reads_of_memory(system):
    system.device(A, 1, {IOVA: OLD, IOVA + 0x1000: OLD + 1})
    system.dma(A, IOVA + 0x1000, 4, system.frame(OLD + 1), write=True)
    system.program.wait()
    system.run()
    system.sim.set(dma_latency=20_000)
    for n in range(system.config.pcie.np_credits):
        system.dma(A, IOVA + 256 * n, 256, system.frame(OLD) + 256 * n, write=False, group=1)
    system.program.mark()
    for n in range(20):
        system.dma(A, IOVA + 0x1000 + 64 * n, 64, system.frame(OLD + 1) + 64 * n, write=True,
                   group=2)
    system.program.wait(group=2)
    system.program.mark()
    system.program.wait()
    start, end = (event.values[0] for event in system.run() if event.kind == "mark")
    assert end - start < 2000


def test_s05_a_device_that_misses_does_not_stop_others(system):
    system.device(A, 1, {IOVA + 0x1_0000 * n: OLD + n for n in range(4)})
    system.device(B, 2, {IOVA: NEW})
    system.dma(B, IOVA, 64, system.frame(NEW), write=True)
    system.program.wait()
    system.run()
    system.sim.set(table_latency=5000)
    for n in range(2):
        system.dma(A, IOVA + 0x1_0000 * n, 64, system.frame(OLD + n), write=n == 0, group=1)
    system.program.mark()
    for n in range(20):
        system.dma(B, IOVA + 64 * n, 64, system.frame(NEW) + 64 * n, write=n % 2 == 0, group=2)
    system.program.wait(group=2)
    system.program.mark()
    system.program.wait()
    start, end = (event.values[0] for event in system.run() if event.kind == "mark")
    assert end - start < 2000


def test_s05_a_storm_of_denied_accesses_does_not_stop_others(system):
    system.device(A, 1, {IOVA: OLD})
    for n in range(100):
        system.denied(B, IOVA + 0x1000 * n, write=n % 3 > 0)
        system.dma(A, IOVA + 32 * n, 32, system.frame(OLD) + 32 * n, write=n % 2 == 0)
    system.program.wait()
    system.run()
    assert len(system.faults(100)) == 100


def test_s11_each_denied_access_is_answered_and_recorded(system):
    read_only = PTE.DATA & ~PTE.W
    system.device(A, 1, {IOVA: OLD})
    system.map(1, IOVA + 0x1000, OLD + 1, flags=read_only)
    system.device(B, 2)
    wanted = Counter()
    for n in range(60):
        rid, iova, write, cause = [
            (A, IOVA + 0x1000 + 4 * n, True, 23), (A, IOVA + 0x8000 + 4 * n, False, 21),
            (B, IOVA + 4 * n, n % 8 > 4, 23 if n % 8 > 4 else 21), (C, 4 * n, False, 258)][n % 4]
        system.denied(rid, iova, write=write)
        wanted[cause, rid, iova, 3 if write else 2] += 1
    system.program.wait()
    system.run()
    statistics = system.sim.statistics()
    records = Counter((fault.cause, fault.device_id, fault.iova, fault.ttyp)
                      for fault in system.faults(60))
    assert records == wanted
    assert statistics["denied"] == 60
    assert statistics["completions"] == sum(n for key, n in wanted.items() if key[3] == 2)


def test_s12_a_read_waits_for_the_earlier_writes_of_its_source(system):
    system.sim.set(dma_write_latency=800, dma_latency=1)
    system.device(A, 1, {IOVA: OLD})
    system.device(B, 1)
    for rid in (A, B):   # the context of each is known then
        system.dma(rid, IOVA, 4, system.frame(OLD), write=False)
    system.program.wait()
    write = system.dma(A, IOVA, 64, system.frame(OLD), write=True, report=True)
    read = system.dma(A, IOVA, 64, system.frame(OLD), write=False, report=True)
    other = system.dma(B, IOVA + 128, 64, system.frame(OLD) + 128, write=False, report=True)
    system.program.wait()
    at = {event.op: event.values for event in system.run() if event.kind == "transfer"}
    written = at[write][3]
    assert at[read][2] >= written
    assert at[other][2] < written, "a read of another source does not wait"


@pytest.mark.parametrize("seed", range(3))
def test_s12_writes_of_a_source_reach_memory_in_order(system, seed):
    """Sources write the same words many times; the last value of each source stays."""
    system.sim.set(seed=seed, dma_jitter=200, dma_reorder=1, dma_stall=60)
    sources = (A, B, C)
    for rid in sources:
        system.device(rid, 1, {IOVA: OLD, IOVA + 0x1000: OLD + 1})
    system.program.allow(system.frame(OLD), 0x2000)
    for n in range(240):
        source = n % 3
        at = 0x1000 * (n // 3 % 2) + 256 * source + 4 * (n // 6 % 4)
        system.tlp(Tlp.write(IOVA + at, word(n), rid=sources[source]))
        system.tlp(Tlp.write(IOVA + at + 128, word(n) * 16, rid=sources[source]))
    system.program.wait(sent=True)
    system.platform.fence()
    system.run()
    last = {}
    for n in range(240):
        last[0x1000 * (n // 3 % 2) + 256 * (n % 3) + 4 * (n // 6 % 4)] = n
    assert len(last) == 24
    for at, n in last.items():
        value = system.sim.read_memory(system.frame(OLD) + at & ~7)[0] >> 8 * (at & 4)
        assert value & 0xFFFFFFFF == 0xC0DE_0000 | n


def test_s12_reads_are_answered_in_address_order_within_a_request(system):
    """And in any order between requests: slow pieces of one do not delay the others."""
    system.sim.set(seed=2, mrrs=512, dma_jitter=400, dma_reorder=1, dma_latency=1)
    system.device(A, 1, {IOVA + 0x1000 * n: OLD + n for n in range(5)})
    for n in range(40):
        length = (512, 64)[n % 2]
        system.dma(A, IOVA + 512 * n, length, system.frame(OLD) + 512 * n, write=False, report=True)
    system.program.wait()
    ops = [event.op for event in system.run() if event.kind == "transfer"]
    assert len(ops) == 40 and ops != sorted(ops)


@pytest.mark.parametrize("how", ["nullified", "poisoned"])
def test_s12_write_that_is_taken_back_or_poisoned_never_reaches_memory(system, how):
    system.device(A, 1, {IOVA: OLD})
    tlp = Tlp.write(IOVA, bytes(range(200)), rid=A, ep=how == "poisoned")
    for n in range(20):
        system.dma(A, IOVA + 256 + 16 * n, 16, system.frame(OLD) + 256 + 16 * n, write=True)
        system.tlp(tlp, nullify=how == "nullified")
    system.program.wait()
    system.platform.fence()
    system.run()
    assert system.sim.statistics()["dma_writes"] == 20
    name = "nullified" if how == "nullified" else "poisoned_write"
    assert system.counter(f"error_{name}") == 20
    record = system.error()
    assert (record.cause, record.rid, record.address) == (name, A, IOVA)


def test_s12_an_abort_in_the_middle_ends_the_request(system):
    """Good pieces come first, then one CA; the bench checks the byte counts."""
    system.sim.set(mrrs=2048)
    system.device(A, 1, {IOVA: OLD})
    system.program.fail(system.frame(OLD) + 600, 8, "access")
    op = system.dma(A, IOVA, 2048, system.frame(OLD), write=False, report=True)
    system.program.wait()
    answers = [event.values[0] & 7 for event in system.run() if event.op == op]
    assert answers == [4]
    assert system.sim.statistics()["completions"] == 3   # 256, 256, CA
    assert system.error().cause == "memory_read_abort"
