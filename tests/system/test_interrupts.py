"""Interrupts through the whole block: the bench follows each to its record.

It fails if a record is issued before an earlier write of its source was answered (S3), if an
interrupt never leads to a record (S7), or comes twice, with wrong data or source, or out of order.
"""

import pytest
from tests.system.io_traffic import PER_SOURCE, SLOW, SOURCES, interrupts, storm, write

from iovirt_sim.drivers import Entry
from iovirt_sim.drivers.interrupts import FORGED, FORWARDS
from iovirt_sim.platform import iotinval_gvma

pytestmark = pytest.mark.slow
GROUP = pytest.mark.xdist_group("verilated_tiny")
BOTH = pytest.mark.parametrize("preset", [
    pytest.param(name, marks=pytest.mark.xdist_group(f"verilated_{name}"))
    for name in ("tiny", "default")])


@pytest.fixture
def irq(system):
    """Four sources; see `interrupts`."""
    return interrupts(system)


@BOTH
@pytest.mark.parametrize("load", SLOW)
def test_record_is_issued_after_the_writes_before_it(make_system, preset, load):
    system = make_system(preset)
    irq = interrupts(system)
    system.sim.set(seed=3, timeout=30_000, **SLOW[load])
    for queue in range(2):
        irq.queue(queue, 4, once=True)
    storm(system, irq, 400, gap=40)
    records = system.records(system.run())
    statistics = system.sim.statistics()
    assert statistics["interrupts"] == 400 and statistics["interrupts_ordered"] > 390
    assert sum(record.merge_count for record in records) == 400
    for record in records:
        n = record.index // PER_SOURCE
        assert (record.rid, record.cookie, record.guest, record.type) == (
            SOURCES[n], 0xC000 + record.index, 7 + n, 1)
    assert system.faults() == [] and irq.word(0, FORGED) == irq.word(1, FORGED) == 0


@GROUP
def test_notification_comes_only_for_records_that_are_there(system, irq):
    system.sim.set(timeout=30_000, table_write_latency=30, table_jitter=200, table_reorder=1)
    irq.queue(0, 6, once=True)
    irq.queue(1, 6, once=True)
    storm(system, irq, 200, gap=600)
    system.run()
    statistics = system.sim.statistics()
    assert statistics["notifications"] > 50
    assert statistics["notifications_empty"] == 0


@GROUP
@pytest.mark.parametrize("service", ["wire", "poll"])
def test_reader_is_told_by_a_wire_or_looks_itself(system, irq, service):
    for queue in range(2):
        irq.queue(queue, 3, service=service, wire=queue, pause=50)
    storm(system, irq, 100, gap=100)
    assert len(system.records(system.run())) > 8
    assert system.sim.statistics()["interrupts"] == 100


@GROUP
def test_vectors_of_one_source_have_entries_of_their_own(system, irq):
    irq.queue(0, 5)
    for index in range(32, 64):
        irq.entry(index, Entry(rid=SOURCES[0], multi=True, cookie=index))
    for vector in range(32):
        irq.msi(SOURCES[0], 32, vector=vector)
    system.program.wait()
    records = sorted((r.index, r.cookie, r.data) for r in system.records(system.run()))
    assert records == [(32 + n, 32 + n, n) for n in range(32)]


@GROUP
def test_mask_admits_several_sources_and_more_tells_of_them(system, irq):
    irq.queue(0, 1, service="manual")
    irq.entry(70, Entry(rid=0x4400, rid_mask=0x0007))
    for k in range(12):
        irq.msi(0x4400 + k % 8, 70, k, expect="nothing")
    system.program.tolerate(70)
    irq.msi(0x4408, 70, 99, expect="nothing")   # not under the mask
    system.program.run(1000)
    system.run()
    irq.serve(0, "poll")
    system.program.run(1000)
    records = system.records(system.run())
    assert sum(record.merge_count for record in records) == 12
    assert any(record.more for record in records) and records[-1].data == 11
    assert system.error().cause == "msi_denied"


@BOTH
def test_messages_come_through_the_same_queues(make_system, preset):
    system = make_system(preset)
    irq = interrupts(system)
    irq.queue(0, 4)
    irq.queue(1, 4)
    for n, kind in enumerate(("err_cor", "err_nonfatal", "err_fatal", "pm_pme", "inta", "intd")):
        irq.entry(kind, Entry(rid_mask=0xffff, queue=n % 2, cookie=n))
    system.sim.set(dma_write_latency=500)
    for n, rid in enumerate(SOURCES):
        for kind in ("err_cor", "err_nonfatal", "err_fatal", "pm_pme"):
            write(system, n, 64 * n)
            irq.message(kind, rid)
        write(system, n, 8 + 64 * n)
        irq.intx("inta", True, rid)
        irq.intx("inta", True, rid, expect="nothing")   # no change
        irq.intx("intd", True, rid)
        irq.intx("inta", False, rid)
        irq.intx("intd", False, rid)
    system.program.wait()
    records = system.records(system.run())
    assert sum(record.merge_count for record in records) == 4 * len(SOURCES) + 4 * len(SOURCES)
    assert {record.type for record in records} == {2, 3, 4, 5, 6}
    assert system.sim.statistics()["interrupts_ordered"] >= 4 * len(SOURCES)
    assert system.read("intx") == 0


@GROUP
def test_interrupt_waits_for_writes_that_wait_for_walks(system, irq):
    system.sim.set(table_latency=300, table_jitter=100, dma_write_latency=1)
    irq.queue(0, 5)
    irq.queue(1, 5)
    for k in range(40):
        system.program.wait()
        system.platform.command(iotinval_gvma())
        system.platform.fence()
        for n in range(len(SOURCES)):
            write(system, n, 8 * k)
            irq.msi(SOURCES[n], PER_SOURCE * n, k)
    system.program.wait()
    system.run()
    assert system.sim.statistics()["interrupts_ordered"] == 160
    assert system.counter("walks") > 20


@GROUP
def test_denied_write_does_not_hold_the_interrupt_behind_it(system, irq):
    irq.queue(0, 4)
    for k in range(20):
        system.denied(SOURCES[0], 0x9000 + 64 * k, write=True)
        irq.msi(SOURCES[0], k % PER_SOURCE, k)
    system.program.wait()
    assert len(system.records(system.run())) == 20
    assert len(system.faults(20)) == 20


@GROUP
def test_fault_is_told_by_a_record(system, irq):
    irq.queue(0, 4)
    irq.entry("fault", Entry(rid_mask=0xffff, cookie=0xFA))
    irq.tolerate("fault")
    system.denied(SOURCES[2], 0x9000, write=True)
    system.program.run(1000)
    records = system.records(system.run())
    assert [(r.type, r.cookie, r.rid) for r in records] == [(7, 0xFA, SOURCES[2])]


@BOTH
@pytest.mark.parametrize("load", ["fast", "reordered"])
def test_forwarded_interrupt_is_written_after_the_writes_before_it(make_system, preset, load):
    system = make_system(preset)
    irq = interrupts(system)
    system.sim.set(**SLOW[load])
    for n, rid in enumerate(SOURCES):
        irq.entry(40 + n, Entry(rid=rid, delivery="forward", address=FORWARDS + 0x1000 * n,
                                data=0x77 + n))
    for k in range(60):
        n = k % len(SOURCES)
        write(system, n, 8 * k)
        irq.msi(SOURCES[n], 40 + n, k)
    system.program.wait()
    system.run()
    statistics = system.sim.statistics()
    assert statistics["interrupts"] == statistics["interrupts_ordered"] == 60
    assert 0 < statistics["forwards"] <= 60 and statistics["records"] == 0


@GROUP
def test_moderation_saves_notifications_and_urgent_overrides_it(system, irq):
    irq.queue(0, 6, holdoff=40, threshold=16, once=True)
    irq.entry(53, Entry(rid=SOURCES[0], urgent=True))
    for k in range(64):
        irq.msi(SOURCES[0], k % PER_SOURCE, k)
        system.program.run(20)
    system.program.wait()
    system.run()
    assert system.sim.statistics()["notifications"] <= 8
    irq.msi(SOURCES[0], 53, 1)
    system.program.wait()
    record = system.records(system.run())[-1]
    assert record.consumed - record.visible < 300


