"""Bad input of every kind: the clear answer, the record, and that others go on unharmed."""

import pytest

from iovirt_sim.platform import COMMANDS, FAULTS, iofence
from iovirt_sim.system import ErrorRecord, Fault
from iovirt_sim.tables import PTE
from iovirt_sim.tlp import Kind, Pasid, Status, Tlp
from iovirt_sim.verilated import CheckFailed

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("verilated_tiny")]

GOOD, BAD, OTHER = 0x0100, 0x0208, 0x0500
IOVA = 0x40_0000
SLVERR = 2
PAGE = 4096


@pytest.fixture
def system(make_system):
    """Return a system with a good device, whose page is frame 0, and a bad one with frame 16."""
    system = make_system()
    system.device(GOOD, 1, {IOVA: 0})
    system.device(BAD, 2, {IOVA: 16})
    system.run()
    system.turn = 0
    return system


def good_traffic(system, count=10):
    """Append DMA of the good device."""
    for _ in range(count):
        at = 64 * (system.turn % 64)
        system.dma(GOOD, IOVA + at, 60, system.frame(0) + at, write=True, seed=system.turn)
        system.dma(GOOD, IOVA + at, 60, system.frame(0) + at, write=False)
        system.turn += 1


def among_good_traffic(system, bad):
    """Run ``bad`` between DMA of the good device; return what it returned, and the events.

    All of the good DMA must be done, during and after.
    """
    before = system.sim.statistics()["transfers_checked"]
    good_traffic(system)
    result = bad()
    good_traffic(system)
    system.program.wait()
    events = system.run()
    good_traffic(system)
    system.program.wait()
    system.run()
    assert system.sim.statistics()["transfers_checked"] >= before + 60
    return result, events


def answers(system, events, op):
    """Return the statuses of the completions of an operation."""
    return [answer.status for answer in system.completions(events, op)]


# Devices and directories


def test_unknown_device_is_refused_and_recorded(system):
    among_good_traffic(system, lambda: (system.denied(OTHER, IOVA + 8),
                                        system.denied(OTHER, IOVA + 16, write=True, length=200)))
    faults = system.faults(2)
    assert sorted(faults, key=lambda fault: fault.ttyp) == [
        Fault(258, OTHER, IOVA + 8, 2), Fault(258, OTHER, IOVA + 16, 3)]


def test_device_id_out_of_range_is_refused_and_recorded(system):
    among_good_traffic(system, lambda: (system.denied(BAD, IOVA, segment=1),
                                        system.denied(BAD, IOVA, segment=255, write=True)))
    assert sorted((fault.cause, fault.device_id) for fault in system.faults(2)) == [
        (260, 0x01_0000 | BAD), (260, 0xFF_0000 | BAD)]


def test_device_id_above_a_directory_of_one_level_is_refused(make_system):
    system = make_system(levels=1)
    system.device(0x7F, 1, {IOVA: 0})
    system.denied(0x80, IOVA)
    system.dma(0x7F, IOVA, 64, system.frame(0), write=True)
    system.program.wait()
    system.run()
    assert system.faults(1) == [Fault(260, 0x80, IOVA, 2)]


@pytest.mark.parametrize("context, cause", [
    ({"tc": 0}, 258), ({"tc": 1 | 1 << 12}, 259), ({"tc": 1 | 1 << 1}, 259),
    ({"iohgatp": 5 << 60}, 259), ({"iohgatp": 8 << 60 | 1}, 259), ({"fsc": 8 << 60}, 259),
    ({"ta": 1}, 259)])
def test_bad_device_context_is_refused_and_recorded(system, context, cause):
    platform = system.platform
    platform.builder.device_context(platform.directory, platform.levels, OTHER, **context)
    among_good_traffic(system, lambda: system.denied(OTHER, IOVA))
    assert system.faults(1) == [Fault(cause, OTHER, IOVA, 2)]


@pytest.mark.parametrize("entry", [
    0, PTE.V | PTE.W | PTE.U | PTE.A | PTE.D, PTE.DATA & ~PTE.U, PTE.DATA & ~PTE.A,
    PTE.DATA | 1 << 54, PTE.DATA | 1 << 61, PTE.DATA | PTE.N, PTE.V])
def test_bad_page_is_refused_and_recorded(system, entry):
    domain = system.platform.domain(2)
    system.platform.memory[domain.slot(IOVA + PAGE)] = system.frame(17) >> 12 << 10 | entry
    among_good_traffic(system, lambda: system.denied(BAD, IOVA + PAGE + 0x40))
    at = IOVA + PAGE + 0x40
    assert system.faults(1) == [Fault(21, BAD, at, 2, at)]


def test_device_whose_faults_are_not_reported_is_refused_all_the_same(system):
    platform, dtf = system.platform, 1 << 4
    platform.builder.device_context(platform.directory, platform.levels, BAD, tc=1 | dtf,
                                    iohgatp=platform.domain(2).iohgatp)
    among_good_traffic(system, lambda: [system.denied(BAD, IOVA + PAGE, write=write)
                                        for write in (False, True)])
    system.program.run(500)
    system.run()
    assert system.faults() == [] and system.counter("faults_lost") == 0


def test_process_id_is_refused_and_recorded(system):
    prefix = Pasid(0x12345, priv=True).pack()
    among_good_traffic(system, lambda: system.denied(BAD, IOVA, prefix=prefix))
    fault, = system.faults(1)
    assert (fault.cause, fault.device_id, fault.pid) == (260, BAD, 0x12345)


@pytest.mark.parametrize("at", [1, 2])
def test_translated_and_translation_requests_are_refused(system, at):
    tlp = Tlp(Kind.MRD, rid=BAD, tag=9, address=IOVA, length=2, last_be=15, at=at)
    op, events = among_good_traffic(system, lambda: system.tlp(tlp))
    assert answers(system, events, op) == [Status.UR]
    fault, = system.faults(1)
    assert (fault.cause, fault.ttyp) == (260, 8 if at == 1 else 6)


def test_disabled_engine_refuses_all(system):
    system.write("ddtp", 0)
    system.poll("ddtp", 1 << 4, 0)
    for rid in (GOOD, BAD):
        system.denied(rid, IOVA)
        system.denied(rid, IOVA, write=True)
    system.program.wait()
    system.run()
    assert [fault.cause for fault in system.faults(4)] == [256] * 4
    system.write("ddtp", system.platform.directory >> 12 << 10 | system.platform.levels + 1)
    system.poll("ddtp", 1 << 4, 0)
    among_good_traffic(system, lambda: None)


# TLPs


def malformed():
    """Return TLPs that break a rule, as (header, Dwords, prefix)."""
    def raw(tlp, dwords=None, header=lambda bits: bits, prefix=None):
        bits, payload, _ = tlp.pack()
        return header(bits), len(payload) // 4 if dwords is None else dwords, prefix

    write = Tlp(Kind.MWR, rid=BAD, address=IOVA, length=4, last_be=15, payload=bytes(16))
    read = Tlp.read(IOVA, 64, rid=BAD, tag=7)
    return {
        "undefined type":     raw(read, header=lambda h: h | 0x1F << 120),
        "undefined format":   raw(read, header=lambda h: h | 0x7 << 125),
        "short payload":      raw(write, 3),
        "long payload":       raw(write, 5),
        "no payload":         raw(write, 0),
        "long by a beat":     raw(write, 20),
        "above mps":          raw(Tlp(Kind.MWR, rid=BAD, address=IOVA, length=65, last_be=15,
                                      payload=bytes(260))),
        "write across 4 KiB": raw(Tlp(Kind.MWR, rid=BAD, address=IOVA + 4088, length=4,
                                      last_be=15, payload=bytes(16))),
        "read across 4 KiB":  raw(Tlp(Kind.MRD, rid=BAD, address=IOVA + 4092, length=2,
                                      last_be=15)),
        "last BE of one DW":  raw(Tlp(Kind.MRD, rid=BAD, address=IOVA, last_be=1)),
        "no last BE":         raw(Tlp(Kind.MRD, rid=BAD, address=IOVA, length=3)),
        "no first BE":        raw(Tlp(Kind.MRD, rid=BAD, address=IOVA, length=3, first_be=0,
                                      last_be=15)),
        "hole":               raw(Tlp(Kind.MRD, rid=BAD, address=IOVA, length=3, first_be=5,
                                      last_be=15)),
        "unknown prefix":     raw(read, prefix=0x90 << 24),
        "I/O of two Dwords":  raw(Tlp(Kind.IORD, rid=BAD, length=2, last_be=15)),
        "configuration, TC":  raw(Tlp(Kind.CFGRD0, rid=BAD, tc=3)),
        "odd atomic":         raw(Tlp(Kind.FETCHADD, rid=BAD, address=IOVA, length=3,
                                      payload=bytes(12))),
    }


@pytest.mark.parametrize("kind", malformed())
def test_malformed_tlp_is_dropped_and_recorded(system, kind):
    header, dwords, prefix = malformed()[kind]

    def bad():
        for _ in range(5):
            system.program.tlp(header, range(dwords), prefix=prefix, answered=False)

    among_good_traffic(system, bad)
    assert system.error().cause == "malformed"
    assert system.counter("error_malformed") == 5
    assert system.faults() == []
    system.dma(BAD, IOVA, 64, system.frame(16), write=True)   # it may still work
    system.program.wait()
    system.run()


UNSUPPORTED = {
    "I/O read":           Tlp(Kind.IORD, address=0x80),
    "I/O write":          Tlp(Kind.IOWR, address=0x80, payload=bytes(4)),
    "configuration read": Tlp(Kind.CFGRD0, cid=0x0100, address=0x10),
    "configuration 1":    Tlp(Kind.CFGWR1, cid=0x0200, address=0x10, payload=bytes(4)),
    "locked read":        Tlp(Kind.MRDLK, address=IOVA),
    "fetch and add":      Tlp(Kind.FETCHADD, address=IOVA, payload=bytes(4), first_be=0),
    "swap":               Tlp(Kind.SWAP, address=IOVA, length=2, payload=bytes(8), first_be=0),
    "compare and swap":   Tlp(Kind.CAS, address=IOVA, length=4, payload=bytes(16), first_be=0),
    "deferrable write":   Tlp(Kind.DMWR, address=IOVA, length=2, last_be=15, payload=bytes(8)),
    "AT = 11":            Tlp(Kind.MRD, address=IOVA, at=3),
}


@pytest.mark.parametrize("kind", UNSUPPORTED)
def test_request_that_nobody_serves_is_answered_ur(system, kind):
    tlp = Tlp(**{**UNSUPPORTED[kind].__dict__, "rid": BAD, "tag": 0x2A})
    op, events = among_good_traffic(system, lambda: system.tlp(tlp))
    answer, = system.completions(events, op)
    assert (answer.status, answer.rid, answer.tag) == (Status.UR, BAD, 0x2A)
    record = system.error()
    assert (record.cause, record.rid) == ("unsupported", BAD)
    assert system.counter("error_unsupported") == 1


def test_poisoned_write_is_dropped_and_recorded(system):
    tlp = Tlp.write(IOVA + 4, bytes(100), rid=BAD, ep=True)
    among_good_traffic(system, lambda: system.tlp(tlp))
    assert system.error() == ErrorRecord("poisoned_write", BAD, IOVA + 4)


def test_nullified_tlps_are_dropped_and_recorded(system):
    def bad():
        system.tlp(Tlp.write(IOVA, bytes(100), rid=BAD), nullify=True)
        system.tlp(Tlp.read(IOVA, 100, rid=BAD), nullify=True, answered=False)

    among_good_traffic(system, bad)
    assert system.error() == ErrorRecord("nullified", BAD, IOVA)
    assert system.counter("error_nullified") == 2


def test_completion_that_nobody_waits_for_is_recorded(system):
    def bad():
        system.tlp(Tlp(Kind.CPL, rid=0x0042, cid=BAD, byte_count=4, status=Status.UR))
        system.tlp(Tlp(Kind.CPLD, rid=0x0042, cid=BAD, byte_count=16, length=4, payload=bytes(16)))

    among_good_traffic(system, bad)
    assert system.error().cause == "unexpected_completion"
    assert system.counter("error_unexpected_completion") == 2


def test_message_that_nobody_handles_is_recorded(system):
    def bad():
        system.tlp(Tlp(Kind.MSG, rid=BAD, code=0x31, routing=0))
        system.tlp(Tlp(Kind.MSGD, rid=BAD, code=0x50, routing=4, length=1, payload=bytes(4)))

    among_good_traffic(system, bad)
    record = system.error()
    assert (record.cause, record.rid) == ("unhandled_message", BAD)
    assert system.counter("error_unhandled_message") == 2


def test_error_log_keeps_the_first_error_and_counts_all(system):
    for n in range(30):
        system.tlp(Tlp(Kind.MSG, rid=BAD + n, code=0x31))
    system.program.wait()
    system.run()
    good_traffic(system)
    system.program.wait()
    system.run()
    assert system.read("error_status") == 3
    assert system.error().rid == BAD
    assert system.read("error_status") == 0
    assert system.counter("error_unhandled_message") == 30


# Memory


@pytest.mark.parametrize("write", [False, True])
@pytest.mark.parametrize("kind, of_table, of_directory", [
    ("access", {False: 5, True: 7}, 257), ("poison", {False: 274, True: 274}, 268)])
def test_table_read_that_fails_is_recorded(system, kind, of_table, of_directory, write):
    domain, p = system.platform.domain(2), system.program
    p.fail(domain.slot(IOVA), 8, kind)

    def bad():
        for n in range(3):
            system.denied(BAD, IOVA + 64 * n, write=write, length=8)

    among_good_traffic(system, bad)
    assert [fault.cause for fault in system.faults(3)] == [of_table[write]] * 3
    # The next line is not harmed, and neither is this one after a repair.
    system.map(2, IOVA + 16 * PAGE, 18)
    system.dma(BAD, IOVA + 16 * PAGE, 64, system.frame(18), write=write)
    system.program.fail(domain.slot(IOVA), 8, "none")
    system.program.wait()
    system.dma(BAD, IOVA, 64, system.frame(16), write=write)
    system.program.wait()
    system.run()
    assert system.faults() == []

    context = system.platform.builder.device_context(system.platform.directory,
                                                     system.platform.levels, OTHER)
    system.program.fail(context, 8, kind)
    among_good_traffic(system, lambda: system.denied(OTHER, IOVA, write=write))
    assert [fault.cause for fault in system.faults(1)] == [of_directory]


@pytest.mark.parametrize("kind", ["access", "poison"])
def test_failing_neighbour_of_a_table_entry_harms_nobody_else(system, kind):
    domain = system.platform.domain(2)
    system.map(2, IOVA + PAGE, 17)
    system.program.fail(domain.slot(IOVA + PAGE), 8, kind)
    among_good_traffic(system, lambda: system.dma(BAD, IOVA, 64, system.frame(16), write=False))
    assert system.faults() == []
    among_good_traffic(system, lambda: system.denied(BAD, IOVA + PAGE))
    assert len(system.faults(1)) == 1


@pytest.mark.parametrize("kind, status, poisoned, cause", [
    ("access", 4, False, "memory_read_abort"), ("poison", 0, True, "memory_read_poison")])
def test_memory_error_on_a_read_is_answered_and_recorded(system, kind, status, poisoned, cause):
    system.program.fail(system.frame(16) + 256, 64, kind)
    op, events = among_good_traffic(system, lambda: system.dma(
        BAD, IOVA + 128, 512, system.frame(16) + 128, write=False, report=True))
    flags, = (event.values[0] for event in events if event.op == op)
    assert (flags & 7, bool(flags & 8)) == (status, poisoned)
    record = system.error()
    assert (record.cause, record.rid) == (cause, BAD)
    assert system.frame(16) + 128 <= record.address < system.frame(16) + 640 or (
        IOVA + 128 <= record.address < IOVA + 640)
    assert system.counter(f"error_{cause}") >= 1


@pytest.mark.parametrize("kind", ["access", "poison"])
def test_memory_error_on_a_write_is_recorded(system, kind):
    system.program.fail(system.frame(16) + 256, 64, kind)
    among_good_traffic(system, lambda: system.dma(
        BAD, IOVA + 256, 64, system.frame(16) + 256, write=True))
    record = system.error()
    assert (record.cause, record.rid) == ("memory_write_error", BAD)
    assert system.counter("error_memory_write_error") == 1


# Registers and queues


def test_write_to_the_identification_page_answers_slverr(system):
    for offset in (0x1000, 0x1018, 0x1100, 0x1FF8):
        assert system.sim.write_csr(offset, 1) == SLVERR
    assert system.read("magic") == int.from_bytes(b"iovirt", "little")
    among_good_traffic(system, lambda: None)


def test_pages_that_nobody_serves_answer_slverr(system):
    served = {register.address >> 12 for register in system.registers.names.values()}
    served |= {first + n for first, count in system.registers.windows.values()
               for n in range(count)}
    nobody = sorted(set(range(0x110)) - served)
    assert len(nobody) > 200
    for page in nobody[:20] + nobody[-8:]:
        assert system.sim.write_csr(page << 12, 1) == SLVERR
        assert system.sim.access_csr(page << 12 | 8)[1] == SLVERR
    among_good_traffic(system, lambda: None)


def test_fault_queue_overflow_loses_records_and_nothing_else(system):
    system.write("fqcsr", 0)
    system.poll("fqcsr", 1 << 16 | 1 << 17, 0)
    system.write("fqb", FAULTS >> 12 << 10 | 2)   # 8 entries
    system.write("fqh", 0)
    system.write("fqcsr", 3)   # with interrupt
    system.poll("fqcsr", 1 << 16 | 1 << 17, 1 << 16)
    system.fault_entries = 8
    among_good_traffic(system, lambda: [system.denied(OTHER, IOVA + 4 * n) for n in range(20)])
    system.program.run(1000)
    system.run()
    assert system.read("fqcsr") & 0x300 == 0x200
    assert system.read("ipsr") & 2 and system.sim.wsi() == 1
    assert system.read("fqt") == 7
    assert system.counter("faults") == 7 and system.counter("faults_lost") == 13
    assert system.error().cause == "fault_lost"
    assert {fault.iova for fault in system.faults()} < {IOVA + 4 * n for n in range(20)}
    # Cleared, it goes on.
    system.write("fqcsr", 0x203)
    system.write("ipsr", 2)
    assert system.sim.wsi() == 0
    among_good_traffic(system, lambda: system.denied(OTHER, IOVA + 0x800))
    assert system.faults(1) == [Fault(258, OTHER, IOVA + 0x800, 2)]


@pytest.mark.parametrize("kind", ["access", "poison"])
def test_fault_queue_whose_memory_fails_says_so(system, kind):
    system.program.fail(FAULTS, 32, kind)
    among_good_traffic(system, lambda: [system.denied(OTHER, IOVA + 4 * n) for n in range(5)])
    system.program.run(1000)
    system.run()
    assert system.read("fqcsr") & 0x300 == 0x100
    assert system.read("fqt") == 0 and system.counter("faults_lost") == 5
    system.program.fail(FAULTS, 32, "none")
    system.run()
    system.write("fqcsr", 0x101)
    among_good_traffic(system, lambda: system.denied(OTHER, IOVA))
    assert system.faults(1) == [Fault(258, OTHER, IOVA, 2)]


@pytest.mark.parametrize("command", [
    (0, 0), (127, 0), (1 | 5 << 7, 0), (2 | 1 << 13 | 1 << 14, 0), (4, 0),
    (1 | 1 << 7 | 1 << 32, 0)], ids=lambda command: f"{command[0]:x}")
def test_bad_command_stops_the_queue_until_software_mends_it(system, command):
    sim, platform = system.sim, system.platform
    done = sim.command(*command)
    assert done.cqh == 0 and done.cqcsr & 0x700 == 0x400
    system.program.command(*iofence())
    among_good_traffic(system, lambda: system.program.run(300))
    assert system.read("cqh") == 0
    sim.write_memory(COMMANDS, iofence())   # it is fetched again
    system.write("cqcsr", 0x401)
    system.poll("cqh", 0xFFFF, 2, timeout=5000)
    platform.fence()
    system.run()


@pytest.mark.parametrize("kind", ["access", "poison"])
def test_command_queue_whose_memory_fails_says_so(system, kind):
    system.program.fail(COMMANDS, 16, kind)
    system.run()
    done = system.sim.command(*iofence())
    assert done.cqh == 0 and done.cqcsr & 0x700 == 0x100
    among_good_traffic(system, lambda: None)
    system.program.fail(COMMANDS, 16, "none")
    system.run()
    system.write("cqcsr", 0x101)
    system.poll("cqh", 0xFFFF, 1, timeout=5000)


def test_fence_that_cannot_write_its_data_says_so(system):
    target = 0x30_0000
    system.program.fail(target, 8, "access")
    system.run()
    low, high = (2 | 1 << 10 | 0x1234 << 32, target >> 2)
    done = system.sim.command(low, high)
    assert done.cqh == 0 and done.cqcsr & 0x700 == 0x100
    among_good_traffic(system, lambda: None)
    system.program.fail(target, 8, "none")
    system.run()
    system.write("cqcsr", 0x101)
    system.poll("cqh", 0xFFFF, 1, timeout=5000)
    assert system.sim.read_memory(target)[0] == 0x1234


# Both at once


def test_hostile_device_cannot_disturb_another(system):
    """Everything above, again and again, between the DMA of the good device."""
    bad = list(malformed().values())
    unserved = list(UNSUPPORTED.values())
    for n in range(150):
        header, dwords, prefix = bad[n % len(bad)]
        system.program.tlp(header, range(dwords), prefix=prefix, answered=False)
        system.tlp(Tlp(**{**unserved[n % len(unserved)].__dict__, "rid": BAD, "tag": 512 + n}))
        system.denied(BAD, IOVA + 16 * PAGE + 0x1000 * n, write=n % 2 > 0)
        system.denied(OTHER + n, IOVA, write=n % 3 > 0)
        system.tlp(Tlp.write(IOVA, bytes(64), rid=BAD, ep=True))
        system.tlp(Tlp.write(IOVA, bytes(64), rid=BAD), nullify=True)
        good_traffic(system, 1)
    system.program.wait()
    system.run()
    assert system.sim.statistics()["transfers_checked"] == 300
    assert system.counter("error_malformed") == 150
    assert system.counter("error_unsupported") == 150


def test_the_bench_notices_an_access_that_is_not_allowed(system):
    """So that the claims above mean something."""
    system.tlp(Tlp.write(IOVA, bytes(4), rid=BAD))
    system.program.wait()
    system.program.run(500)
    with pytest.raises(CheckFailed, match="belongs to no request"):
        system.run()
