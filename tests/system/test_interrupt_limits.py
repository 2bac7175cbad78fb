"""Interrupts that are too many, not permitted, or that meet a queue that stops.

The bench follows each to its record, and fails if one is lost or comes twice (S7).
"""

import pytest
from tests.system.io_traffic import PER_SOURCE, SOURCES, interrupts, storm, write

from iovirt_sim.drivers import Entry
from iovirt_sim.drivers.interrupts import DROPPED, ERROR, FORGED, G_HEAD, G_TAIL, STATUS
from iovirt_sim.tlp import Pasid, Tlp

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
def test_nothing_is_lost_while_a_queue_overflows_for_long(make_system, preset):
    system = make_system(preset)
    irq = interrupts(system)
    system.sim.set(timeout=60_000, rx_stall=0)
    irq.queue(0, 1, pause=900, burst=1)
    irq.queue(1, 1, pause=400, burst=2)
    storm(system, irq, 1500, writes=0.1)
    records = system.records(system.run())
    statistics = system.sim.statistics()
    assert statistics["interrupts"] == 1500
    assert max(record.merge_count for record in records) > 5 and len(records) < 300


@GROUP
def test_only_a_queue_that_drops_loses_and_counts(system, irq):
    irq.queue(0, 2, service="manual", drop_new=True)
    irq.queue(1, 2)
    for index in range(PER_SOURCE):
        system.program.tolerate(index)
    for k in range(60):
        irq.msi(SOURCES[0], k % PER_SOURCE, k, expect="nothing")
        irq.msi(SOURCES[1], PER_SOURCE, k)
    system.program.wait()
    system.program.run(500)
    system.run()
    dropped = irq.word(0, DROPPED)
    irq.serve(0, "poll")
    system.program.run(500)
    kept = [r for r in system.records(system.run()) if r.ring == 0]
    assert len(kept) == 4 and dropped == 56
    assert system.counter("events_dropped") == 56
    assert system.sim.statistics()["interrupts"] == 60


def denied_tlps(base, rid):
    """Yield TLPs that touch the window, and are no interrupts of ``rid``."""
    data = bytes(4)
    good = {"rid": rid}
    yield "another source", Tlp.write(base, data, rid=SOURCES[1])
    yield "entry of another", Tlp.write(base + 8 * PER_SOURCE, data, **good)
    yield "entry that is not valid", Tlp.write(base + 8 * 100, data, **good)
    yield "no such entry", Tlp.write(base + 8 * 8000, data, **good)
    yield "no vectors", Tlp.write(base + 4, data, **good)
    yield "two Dwords", Tlp.write(base, data * 2, **good)
    yield "some bytes", Tlp.write(base, b"\0\0", **good)
    yield "PASID", Tlp.write(base, data, pasid=Pasid(3), **good)
    yield "translated", Tlp.write(base, data, at=2, **good)


@GROUP
def test_interrupt_that_no_entry_admits_is_denied_and_recorded(system, irq):
    irq.queue(0, 4)
    for base in irq.windows.values():
        for what, tlp in denied_tlps(base, SOURCES[0]):
            before = system.counter("error_msi_denied")
            faults = len(system.faults())
            system.tlp(tlp)
            system.program.wait(sent=True)
            system.program.run(300)
            assert system.records(system.run()) == [], what
            seen = system.counter("error_msi_denied") - before
            assert seen + len(system.faults()) - faults >= 1, what
    irq.msi(SOURCES[0], 0, 5, wide=True)   # and it still works
    system.program.wait()
    assert [record.data for record in system.records(system.run())] == [5]


@GROUP
def test_read_of_the_window_is_denied(system, irq):
    op = system.tlp(Tlp.read(irq.windows[32], 4, rid=SOURCES[0]))
    system.program.wait()
    assert [tlp.status for tlp in system.completions(system.run(), op)] == [1]


@GROUP
def test_suspended_entry_keeps_its_interrupts(system, irq):
    irq.queue(0, 4)
    irq.entry(50, Entry(rid=SOURCES[0], suspend=True))
    for k in range(10):
        irq.msi(SOURCES[0], 50, k)
    system.program.run(500)
    assert system.records(system.run()) == [] and irq.pending(50)
    irq.entry(50, Entry(rid=SOURCES[0]))
    system.program.wait()
    records = system.records(system.run())
    assert [(r.merge_count, r.data) for r in records] == [(10, 9)] and not irq.pending(50)


@GROUP
def test_storm_of_one_source_is_limited_and_loses_nothing(system, irq):
    irq.queue(0, 6)
    irq.set("storm", interval=3000)
    irq.entry(51, Entry(rid=SOURCES[0], limit=4))
    irq.entry(52, Entry(rid=SOURCES[2]))
    for k in range(120):
        irq.msi(SOURCES[0], 51, k)
        if k % 10 == 0:
            irq.msi(SOURCES[2], 52, k)
        system.program.run(40)
    system.program.wait()
    records = system.records(system.run())
    limited = [record for record in records if record.index == 51]
    assert sum(record.merge_count for record in limited) == 120 and len(limited) < 30
    assert len([record for record in records if record.index == 52]) == 12


@GROUP
def test_queue_drains_in_bounded_time_and_entries_move_without_loss(system, irq):
    """Phase one: new entries name the other queue; phase two: the old one is drained."""
    system.sim.set(records_unordered=1, table_write_latency=60, timeout=30_000)
    irq.queue(0, 2, pause=150)
    irq.queue(3, 6)
    sent = 0
    for turn in range(6):
        for k in range(30):
            irq.msi(SOURCES[0], k % PER_SOURCE, sent)
            sent += 1
        new = 3 if turn % 2 == 0 else 0
        for index in range(PER_SOURCE):
            irq.entry(index, Entry(rid=SOURCES[0], queue=new))
            irq.msi(SOURCES[0], index, sent)
            sent += 1
    system.program.wait()
    records = system.records(system.run())
    assert sum(record.merge_count for record in records) == sent
    assert {record.ring for record in records} == {0, 3}
    irq.stop(0)
    for k in range(5):
        irq.msi(SOURCES[1], PER_SOURCE, k, expect="nothing")   # queue 1 was never started
    system.program.run(500)
    assert irq.pending(PER_SOURCE)


@GROUP
def test_stopped_queue_keeps_what_comes_until_it_runs_again(system, irq):
    system.sim.set(timeout=30_000)
    irq.queue(0, 2)
    storm_of = [irq.msi(SOURCES[0], k % PER_SOURCE, k) for k in range(20)]
    irq.stop(0)
    for k in range(20):
        irq.msi(SOURCES[0], k % PER_SOURCE, 100 + k)
    system.program.run(2000)
    first = system.records(system.run())
    assert sum(record.merge_count for record in first) < 40 == len(storm_of) + 20
    tail = system.sim.read_csr(irq.page(0) + G_TAIL, 4)
    irq.queue(0, 2, start=tail)
    system.program.wait()
    second = system.records(system.run())
    assert sum(record.merge_count for record in first + second) == 40


@GROUP
def test_forged_head_is_refused_and_counted(system, irq):
    irq.queue(0, 3, service="manual")
    for k in range(5):
        irq.msi(SOURCES[0], k % PER_SOURCE, k)
    system.program.run(500)
    for value in (6, 100, 0xFFFF_FFFF, 1 << 31):
        system.program.write_csr(irq.page(0) + G_HEAD, value, 4)
    system.run()
    assert irq.word(0, FORGED) == 4 and system.counter("heads_forged") == 4
    irq.serve(0, "poll")
    system.program.wait()
    assert len(system.records(system.run())) == 5


@GROUP
def test_record_that_cannot_be_written_stops_its_queue_only(system, irq):
    irq.queue(0, 3)
    irq.queue(1, 3)
    ring = irq.rings[0]["base"]
    system.program.fail(ring, 32 << 3, read=False)
    system.program.tolerate(0)
    irq.msi(SOURCES[0], 0, 1, expect="nothing")
    for k in range(20):
        irq.msi(SOURCES[1], PER_SOURCE, k)
    system.program.wait()
    system.program.run(500)
    system.run()
    assert irq.word(0, STATUS) & ERROR and not irq.word(1, STATUS) & ERROR
    assert system.error().cause == "queue_stopped"


@GROUP
def test_reset_in_the_middle_of_a_burst_leaves_a_block_that_works(system, irq):
    irq.queue(0, 4)
    for k in range(30):
        write(system, 0, 8 * k)
        irq.msi(SOURCES[0], k % PER_SOURCE, k)
    system.program.run(35)
    system.run()
    system.reset()
    system.platform.bring_up()
    irq.queue(0, 4)
    irq.open_windows()
    for index in range(PER_SOURCE):
        irq.entry(index, Entry(rid=SOURCES[0]))
    for k in range(30):
        write(system, 0, 8 * k)
        irq.msi(SOURCES[0], k % PER_SOURCE, k)
    system.program.wait()
    assert sum(record.merge_count for record in system.records(system.run())) == 30
