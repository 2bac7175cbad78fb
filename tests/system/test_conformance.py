"""Conformance, one test per rule. docs/conformance.md lists them.

The first part bears the names of the public test suites of RISC-V IOMMUs, the second those of the
rules of the RISC-V Server SoC specification.
"""

import re
from pathlib import Path

import pytest

from iovirt_sim.platform import DDTP, iofence, iotinval_gvma
from iovirt_sim.tlp import Kind, Pasid, Status, Tlp

pytestmark = pytest.mark.slow

TINY = pytest.mark.xdist_group("verilated_tiny")
DEFAULT = pytest.mark.xdist_group("verilated_default")
BOTH = pytest.mark.parametrize("preset", [pytest.param("tiny", marks=TINY),
                                          pytest.param("default", marks=DEFAULT)])

A, B = 0x0100, 0x0201
IOVA = 0x40_0000
OFF, BARE, LEVEL1 = 0, 1, 2
CLEAR_AFTER_RESET = ("ddtp", "cqcsr", "fqcsr", "ipsr", "tr_req_ctl")


def both_ways(system, rid, iova, spa, length=100, **more):
    """Write, and read back."""
    system.dma(rid, iova, length, spa, write=True, seed=iova ^ spa, **more)
    system.dma(rid, iova, length, spa, write=False, **more)


def finish(system):
    """Execute what was prepared, to its end."""
    system.program.wait()
    return system.run()


def set_mode(system, mode):
    """Write ddtp and wait until that has taken effect."""
    system.write("ddtp", system.platform.directory >> 12 << 10 | mode)
    system.poll("ddtp", 1 << 4, 0)


# RISC-V IOMMU


@BOTH
def test_register_reset_values(make_system, preset):
    system = make_system(preset, bring_up=False)
    capabilities = system.read("capabilities")
    assert capabilities & 0xFF == 0x10                                   # version 1.0
    assert capabilities >> 17 & 7 == {"tiny": 1, "default": 3}[preset]   # Sv39x4, Sv48x4
    assert capabilities >> 28 & 3 == 1                                   # WSI only
    assert capabilities >> 31 & 1                                        # debug
    assert capabilities >> 32 & 0x3F == system.config.remap.physical_address_bits
    assert capabilities & ~(0x3F << 32 | 1 << 31 | 3 << 28 | 7 << 17 | 0xFF) == 0
    assert system.read("fctl") == 2                                      # WSI
    for name in CLEAR_AFTER_RESET:
        assert system.read(name) == 0, name


@TINY
def test_iommu_off(make_system):
    system = make_system()
    system.device(A, 1, {IOVA: 0})
    both_ways(system, A, IOVA, system.frame(0))
    finish(system)
    set_mode(system, OFF)
    system.denied(A, IOVA)
    system.denied(A, IOVA, write=True)
    finish(system)
    assert [fault.cause for fault in system.faults(2)] == [256, 256]


@TINY
def test_iommu_bare(make_system):
    system = make_system()
    set_mode(system, OFF)
    set_mode(system, BARE)
    assert system.read("ddtp") & 0xF == BARE
    for n in range(3):
        both_ways(system, A + n, system.frame(n) + 5, system.frame(n) + 5)
    op = system.tlp(Tlp(Kind.MRD, rid=A, tag=3, address=system.frame(0), at=2))
    answer, = system.completions(finish(system), op)
    assert answer.status == Status.UR, "an address that claims to be translated"
    assert [fault.cause for fault in system.faults(1)] == [260]


@BOTH
def test_ddtp_modes(make_system, preset):
    """Modes that are not supported are not stored, which is how software finds them out."""
    system = make_system(preset, bring_up=False)
    levels = system.config.remap.ddt_levels
    for mode in range(16):
        system.sim.write_csr(DDTP, 0)
        system.poll("ddtp", 1 << 4, 0)
        system.sim.write_csr(DDTP, mode)
        stored = system.poll("ddtp", 1 << 4, 0) & 0xF
        assert stored == (mode if mode <= LEVEL1 + levels - 1 else OFF), mode


@TINY
def test_both_stages_bare(make_system):
    system = make_system()
    platform = system.platform
    platform.builder.device_context(platform.directory, platform.levels, A)
    both_ways(system, A, system.frame(3), system.frame(3))
    system.denied(B, system.frame(3))
    finish(system)
    assert [fault.cause for fault in system.faults(1)] == [258]


@pytest.mark.parametrize("preset, mode", [
    pytest.param("tiny", "Sv39x4", marks=TINY), pytest.param("default", "Sv39x4", marks=DEFAULT),
    pytest.param("default", "Sv48x4", marks=DEFAULT)])
@pytest.mark.parametrize("level", [0, 1, 2])
def test_second_stage_only(make_system, preset, mode, level):
    system = make_system(preset, mode=mode)
    size = 1 << 12 + 9 * level
    iova = 5 << 30
    system.platform.domain(7).map(iova, system.frame(3, size), level=level)
    system.platform.attach(A, 7)
    for offset in (0, size // 2 + 100, size - 100):
        both_ways(system, A, iova + offset, system.frame(3, size) + offset)
    system.denied(A, iova + size)
    finish(system)
    assert [fault.cause for fault in system.faults(1)] == [21]


@TINY
@pytest.mark.parametrize("scope", ["address", "domain", "all"])
def test_iotinval(make_system, scope):
    system = make_system()
    command = {"address": iotinval_gvma(gscid=1, iova=IOVA), "domain": iotinval_gvma(gscid=1),
               "all": iotinval_gvma()}[scope]
    system.device(A, 1, {IOVA: 0})
    both_ways(system, A, IOVA, system.frame(0))
    finish(system)
    system.map(1, IOVA, 1)
    both_ways(system, A, IOVA, system.frame(0))   # what is cached may be used still, and is
    system.program.wait()
    system.platform.command(command)
    system.platform.fence()
    both_ways(system, A, IOVA, system.frame(1))
    finish(system)


@TINY
def test_iodir_inval(make_system):
    system = make_system()
    system.device(A, 1, {IOVA: 0})
    both_ways(system, A, IOVA, system.frame(0))
    finish(system)
    system.map(2, IOVA, 1)
    system.platform.attach(A, 2)
    system.platform.command((3 | 1 << 33 | A << 40, 0))
    system.platform.fence()
    both_ways(system, A, IOVA, system.frame(1))
    finish(system)


@TINY
def test_wsi_generation(make_system):
    system = make_system()
    sim = system.sim
    system.write("icvec", 1 << 4 | 2)   # faults: wire 1, commands: wire 2
    system.write("fqcsr", 3)
    system.denied(A, IOVA)
    finish(system)
    system.faults(1)
    assert sim.wsi() == 1 << 1 and system.read("ipsr") == 2
    system.write("ipsr", 2)
    assert sim.wsi() == 0
    system.write("cqcsr", 3)
    sim.command(0x7F, 0)   # illegal
    assert sim.wsi() == 1 << 2 and system.read("ipsr") == 1
    system.write("ipsr", 1)
    assert sim.wsi() == 1 << 2, "the cause still holds"
    sim.write_memory(0x10_0000, iofence())
    system.write("cqcsr", 0x403)
    system.write("ipsr", 1)
    assert sim.wsi() == 0
    sim.command(2 | 1 << 11, 0)   # a fence with an interrupt
    assert system.read("cqcsr") & 1 << 11 and sim.wsi() == 1 << 2


@TINY
def test_iofence(make_system):
    system = make_system()
    target = 0x30_0000
    system.platform.command((2 | 1 << 10 | 0xCAFE_F00D << 32, target >> 2))
    system.platform.command((2 | 1 << 10 | 1 << 12 | 1 << 13 | 0x1234_5678 << 32, target + 4 >> 2))
    system.program.wait_commands()
    system.run()
    assert system.sim.read_memory(target) == [0x1234_5678_CAFE_F00D]
    assert system.counter("fences") == 2


@TINY
def test_debug_translation(make_system):
    system = make_system()
    system.device(A, 1, {IOVA: 3})
    system.run()

    def ask(iova, device):
        system.write("tr_req_iova", iova)
        system.write("tr_req_ctl", device << 40 | 1 << 3 | 1)
        system.poll("tr_req_ctl", 1, 0)
        return system.read("tr_response")

    assert ask(IOVA, A) == system.frame(3) >> 12 << 10
    assert ask(IOVA, B) & 1 and system.faults(1)[0].device_id == B


# RISC-V Server SoC


@TINY
@pytest.mark.parametrize("at", [0, 1, 2])
def test_adr_010_each_address_type_is_the_business_of_the_iommu(make_system, at):
    """Translated requests and translation requests are refused: ATS is not enabled."""
    system = make_system()
    system.device(A, 1, {IOVA: 0})
    op = system.tlp(Tlp(Kind.MRD, rid=A, tag=3, address=IOVA, length=2, last_be=15, at=at))
    system.program.allow(system.frame(0), 4096)
    answer, = system.completions(finish(system), op)
    assert answer.status == (Status.UR if at else Status.SC)
    assert [fault.cause for fault in (system.faults(1) if at else [])] == [260] * (at > 0)
    assert system.counter("requests") == 1


@TINY
def test_adr_020_address_that_is_no_memory_is_refused(make_system):
    """Beyond the physical addresses: UR. Where nothing answers: CA."""
    system = make_system()
    system.device(A, 1, {IOVA: 0, IOVA + 0x1000: 1})
    beyond = 1 << system.config.remap.physical_address_bits - 12 + 10
    slot = system.platform.domain(1).slot(IOVA)
    system.platform.memory[slot] |= beyond
    system.denied(A, IOVA)
    system.program.fail(system.frame(1), 4096, "access")
    system.dma(A, IOVA + 0x1000, 64, system.frame(1), write=False)
    finish(system)
    assert [fault.cause for fault in system.faults(1)] == [5]
    assert system.sim.statistics()["aborted"] == 1


@TINY
def test_adr_030_the_translated_address_decides(make_system):
    """Two devices use each other's frame numbers as addresses."""
    system = make_system()
    system.device(A, 1, {0x1000: 8, 0x8000: 1})
    system.device(B, 2, {0x1000: 9, 0x8000: 2})
    for rid, near, far in ((A, 8, 1), (B, 9, 2)):
        both_ways(system, rid, 0x1000, system.frame(near))
        both_ways(system, rid, 0x8000, system.frame(far))
    finish(system)


@TINY
def test_adr_040_access_to_what_is_not_there_never_hangs(make_system):
    system = make_system()
    system.device(A, 1, {IOVA: 0})
    system.program.fail(system.frame(0), 4096, "access")
    for n in range(30):
        system.dma(A, IOVA + 64 * n, 64, system.frame(0) + 64 * n, write=n % 2 == 0)
    finish(system)
    assert system.sim.statistics()["aborted"] == 15


@TINY
def test_adr_060_poisoned_write_never_becomes_good_data(make_system):
    """AXI4 cannot carry poison, so it is not written (RAS_030)."""
    system = make_system()
    system.device(A, 1, {IOVA: 0})
    system.dma(A, IOVA, 64, system.frame(0), write=True)
    system.program.wait()
    system.tlp(Tlp.write(IOVA, bytes(64), rid=A, ep=True))
    system.dma(A, IOVA, 64, system.frame(0), write=False)   # what was there before
    system.program.wait()
    system.run()
    assert system.sim.statistics()["dma_writes"] == 1
    assert system.error().cause == "poisoned_write"


@TINY
def test_adr_070_memory_error_is_answered_with_poison(make_system):
    system = make_system()
    system.device(A, 1, {IOVA: 0})
    system.program.fail(system.frame(0) + 64, 64, "poison")
    op = system.dma(A, IOVA, 256, system.frame(0), write=False, report=True)
    flags, = (event.values[0] for event in finish(system) if event.op == op)
    assert flags == 8   # successful and poisoned
    assert system.error().cause == "memory_read_poison"


@BOTH
def test_ccs_010_order_is_enforced(make_system, preset):
    """The bench checks it; RO and IDO may relax it."""
    system = make_system(preset)
    system.sim.set(dma_jitter=300, dma_reorder=1)
    system.device(A, 1, {IOVA + 0x1000 * n: n for n in range(4)})
    for n in range(100):
        at = 0x1000 * (n % 4) + 32 * (n // 4)
        both_ways(system, A, IOVA + at, system.frame(n % 4) + 32 * (n // 4), 32,
                  attr=(0, 0, 2, 4)[n // 8 % 4])
    finish(system)


@TINY
def test_ccs_020_write_is_seen_after_all_earlier_ones(make_system):
    """Data, then a flag in another page: whoever sees the flag sees the data."""
    system = make_system()
    system.sim.set(dma_jitter=200, dma_reorder=1, dma_stall=80)
    system.device(A, 1, {IOVA: 0, IOVA + 0x1000: 1})
    p = system.program
    for frame in range(2):
        p.allow(system.frame(frame), 4096)
        p.write_memory(system.frame(frame), [0] * 512)
    for n in range(1, 60):
        system.tlp(Tlp.write(IOVA + 64 * n, n.to_bytes(4, "little") * 16, rid=A))
        system.tlp(Tlp.write(IOVA + 0x1000, n.to_bytes(4, "little"), rid=A))
    for _ in range(200):
        p.run(11)
        p.read_memory(system.frame(1))
        p.read_memory(system.frame(0), 512)
    words = [event.values for event in system.run() if event.kind == "memory"]
    flags = []
    for (flag,), page in zip(words[0::2], words[1::2], strict=True):
        flags.append(flag)
        for n in range(1, flag + 1):
            assert page[8 * n:8 * n + 8] == [n << 32 | n] * 8
    assert len(set(flags)) > 20 and flags[-1] == 59


@TINY
def test_ccs_040_no_snoop_changes_nothing(make_system):
    system = make_system()
    system.device(A, 1, {IOVA: 0})
    both_ways(system, A, IOVA, system.frame(0), attr=1)
    finish(system)


@TINY
def test_ccs_060_processing_hints_change_nothing(make_system):
    system = make_system()
    system.device(A, 1, {IOVA: 0})
    system.program.allow(system.frame(0), 4096)
    data = bytes(range(100, 132))
    system.tlp(Tlp(Kind.MWR, rid=A, tag=0x55, address=IOVA | 1, length=8, last_be=15, payload=data,
                   th=True))
    op = system.tlp(Tlp(Kind.MRD, rid=A, tag=1, address=IOVA | 2, length=8, first_be=0xA,
                        last_be=0x5, th=True))   # the byte enables are a steering tag
    answer, = system.completions(finish(system), op)
    assert (answer.status, answer.payload, answer.byte_count) == (Status.SC, data, 32)


@TINY
@pytest.mark.parametrize("kind", [Kind.CFGRD0, Kind.CFGWR0, Kind.CFGRD1, Kind.CFGWR1])
def test_idr_010_configuration_request_from_below_is_answered_ur(make_system, kind):
    system = make_system()
    op = system.tlp(Tlp(kind, rid=A, tag=1, cid=B, payload=bytes(4 * kind.has_data)))
    answer, = system.completions(finish(system), op)
    assert answer.status == Status.UR
    assert system.error().cause == "unsupported"


@TINY
def test_iom_020_no_dma_goes_past_the_iommu(make_system):
    """Every TLP is one translation request or more, and none of a denied one reaches memory."""
    system = make_system()
    system.device(A, 1, {IOVA: 0})
    for n in range(20):
        both_ways(system, A, IOVA + 100 * n, system.frame(0) + 100 * n)
        system.denied(B, IOVA)
    finish(system)
    assert system.counter("requests") == 60


@BOTH
def test_iom_030_device_ids_have_16_bits_at_least(make_system, preset):
    system = make_system(preset)
    for bit in range(16):
        system.device(1 << bit, 1 + bit, {0x1000: bit})
        both_ways(system, 1 << bit, 0x1000, system.frame(bit))
    finish(system)


@BOTH
def test_iom_140_tables_and_queues_are_little_endian(make_system, preset):
    """The bench writes tables as little-endian words, so that any other access shows it."""
    system = make_system(preset)
    assert system.read("fctl") & 1 == 0
    system.write("fctl", 3)
    assert system.read("fctl") & 1 == 0
    system.device(A, 1, {IOVA: 0})
    both_ways(system, A, IOVA, system.frame(0))
    finish(system)


@BOTH
def test_iom_230_physical_addresses_are_used_in_full(make_system, preset):
    system = make_system(preset)
    width = system.config.remap.physical_address_bits
    spa = (1 << width) - 4096
    system.platform.attach(A, 1)
    system.platform.domain(1).map(IOVA, spa)
    both_ways(system, A, IOVA, spa)
    finish(system)


@BOTH
def test_iom_240_mode_is_off_after_reset(make_system, preset):
    system = make_system(preset, bring_up=False)
    assert system.read("ddtp") == OFF
    system.denied(A, IOVA)
    system.denied(A, IOVA, write=True)
    finish(system)
    system.program.run(500)
    system.run()
    assert system.counter("faults_lost") == 2


@DEFAULT
def test_iom_270_device_ids_of_several_hierarchies_have_24_bits(make_system):
    system = make_system("default")
    for bit in range(24):
        system.device(1 << bit, 1 + bit, {0x1000: bit})
        both_ways(system, 1 << bit & 0xFFFF, 0x1000, system.frame(bit), segment=1 << bit >> 16)
        system.program.wait()
    system.run()


@DEFAULT
def test_iom_280_requester_id_is_the_low_part_of_the_device_id(make_system):
    system = make_system("default")
    for rid in (0x0001, 0x00FF, 0x1234, 0xFFFF):
        system.denied(rid, IOVA)
    finish(system)
    assert {fault.device_id for fault in system.faults(4)} == {0x0001, 0x00FF, 0x1234, 0xFFFF}


@DEFAULT
def test_iom_290_segment_is_the_high_part_of_the_device_id(make_system):
    system = make_system("default")
    for segment in (0, 1, 0x80, 0xFF):
        system.denied(A, IOVA, segment=segment)
        system.program.wait()
    system.run()
    assert [fault.device_id for fault in system.faults(4)] == [
        segment << 16 | A for segment in (0, 1, 0x80, 0xFF)]


@TINY
def test_iom_310_process_id_is_passed_in_full_and_absent_without_prefix(make_system):
    system = make_system()
    system.denied(A, IOVA, prefix=Pasid(0xABCDE).pack())
    system.program.wait()
    system.denied(A, IOVA, prefix=Pasid(0).pack())
    system.program.wait()
    system.denied(A, IOVA)
    finish(system)
    assert [fault.pid for fault in system.faults(3)] == [0xABCDE, 0, None]


@TINY
def test_ras_030_corrupted_tables_are_never_used(make_system):
    system = make_system()
    system.device(A, 1, {IOVA: 0})
    system.program.fail(system.platform.domain(1).slot(IOVA), 8, "poison")
    system.denied(A, IOVA)
    system.denied(A, IOVA, write=True)
    finish(system)
    assert [fault.cause for fault in system.faults(2)] == [274, 274]


def test_document_lists_each_test():
    text = (Path(__file__).parents[2] / "docs" / "conformance.md").read_text()
    listed = set(re.findall(r"`(test_\w+)`", text))
    here = {name for name in globals() if name.startswith("test_")}
    assert here - {"test_document_lists_each_test"} <= listed
    tests = "".join(path.read_text() for path in Path(__file__).parents[1].rglob("test_*.py"))
    assert listed <= set(re.findall(r"^def (test_\w+)", tests, re.MULTILINE))
