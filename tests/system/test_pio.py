"""Programmed I/O through the whole block, from cores to devices and back.

The bench fails if a byte is wrong, an access has too many TLPs or illegal ones, something passes
an earlier write, or data come before earlier writes of devices are observable (S4).
"""

import random

import pytest
from tests.system.io_traffic import FIRST, HIGH, LOW, SECOND, TARGETS, accesses, cores

from iovirt_sim.drivers import Entry, bridge, endpoint
from iovirt_sim.verilated import Record

pytestmark = pytest.mark.slow
GROUP = pytest.mark.xdist_group("verilated_tiny")
BOTH = pytest.mark.parametrize("preset", [
    pytest.param(name, marks=pytest.mark.xdist_group(f"verilated_{name}"))
    for name in ("tiny", "default")])


@pytest.fixture
def pio(system):
    """Two devices behind two windows; see `cores`."""
    return cores(system)


LOADS = {
    "fast":    {"device_delay": 1},
    "slow":    {"device_delay": 300, "tx_stall": 60},
    "stalled": {"device_delay": 5, "device_jitter": 200, "device_split": 64, "pio_stall": 100,
                "pio_ready_stall": 120, "tx_stall": 100, "rx_stall": 100},
}


@BOTH
@pytest.mark.parametrize("load", LOADS)
def test_random_accesses_are_right(make_system, preset, load):
    system = make_system(preset)
    pio = cores(system)
    system.sim.set(seed=5, **LOADS[load])
    accesses(system, load, 500)
    system.run()
    statistics = system.sim.statistics()
    assert statistics["pio_bytes_checked"] > 2000 and statistics["pio_order_checked"] > 150
    assert statistics["unclaimed"] == 0 and not pio.read("pio_errors")["first_valid"]


@BOTH
def test_cores_and_devices_do_not_disturb_each_other(make_system, preset):
    system = make_system(preset)
    cores(system)
    system.sim.set(seed=9, device_jitter=100, dma_jitter=200, dma_reorder=1, table_jitter=40,
                   rx_stall=30, tx_stall=60)
    system.device(FIRST, 1, {0x1000 * n: n for n in range(8)})
    rng = random.Random(9)
    for turn in range(20):
        for n in range(8):
            system.dma(FIRST, 0x1000 * n + 128 * turn, 128, system.frame(n) + 128 * turn,
                       write=rng.random() < 0.7, seed=turn)
        accesses(system, turn, 20)
    system.run()
    assert system.faults() == [] and system.sim.statistics()["transfers_checked"] >= 160


@BOTH
def test_enumeration_finds_what_is_behind_a_switch(make_system, preset):
    system = make_system(preset)
    driver = system.pio()
    driver.wait_ready()
    driver.open_ecam()
    driver.connect(0, bridge(0))
    driver.connect(1, bridge(0, parent=0))
    driver.connect(2, bridge(8, parent=0))
    driver.connect(3, endpoint(0, device=0x1111, bars={0: 0x4000, 2: 0x10_0000}, wide=(2,),
                               parent=1))
    driver.connect(4, endpoint(0, device=0x2222, bars={5: 0x1000}, parent=2, multi=True))
    driver.connect(5, endpoint(2, device=0x3333, bars={1: 0x100}, parent=2))
    port = driver.enumerate()
    switch = port.behind[0]
    left, right = switch.behind
    assert port.buses == (0, 1, 4) and switch.buses == (1, 2, 4)
    assert (left.buses, right.buses) == ((2, 3, 3), (2, 4, 4))
    found = [*left.behind, *right.behind]
    assert [(f.rid, f.device, {bar: size for bar, (_, size) in f.bars.items()}) for f in found] == [
        (0x300, 0x1111, {0: 0x4000, 2: 0x10_0000}), (0x400, 0x2222, {5: 0x1000}),
        (0x402, 0x3333, {1: 0x100})]
    driver.open_window(0, LOW, 1 << 24, 0xC000_0000)
    driver.open_window(1, HIGH, 1 << 24, TARGETS[1])
    windows = {0xC0: LOW - 0xC000_0000, 0x80_00: HIGH - TARGETS[1]}
    for number, function in zip((3, 4, 5), found, strict=True):
        for bar, (at, _) in function.bars.items():
            address = at + windows[at >> 24]
            system.program.pio_write(address + 8, bytes(range(number, number + 8)))
            system.program.wait()
            system.program.read_bar(number, bar, 8)
            system.program.pio_read(address + 8, 8)
            system.program.wait()
            values = [e.values for e in system.run() if e.kind == "memory"]
            assert values == [[int.from_bytes(bytes(range(number, number + 8)), "little")]]


@BOTH
@pytest.mark.parametrize("load", [{"dma_write_latency": 500},
                                  {"dma_jitter": 500, "dma_reorder": 1, "table_latency": 100}])
def test_read_returns_after_the_writes_that_came_before_its_completion(make_system, preset, load):
    system = make_system(preset)
    cores(system)
    system.sim.set(device_delay=40, device_jitter=200, timeout=50_000, **load)
    system.device(FIRST, 1, {0x1000 * n: n for n in range(8)})
    system.device(SECOND, 2, {0x1000 * n: 8 + n for n in range(8)})
    for turn in range(40):
        for n, rid in enumerate((FIRST, SECOND)):
            system.program.pio_read(LOW + 64 * turn + 8 * n, 8, id=n, report=False)
            for k in range(3):
                page = (turn + k) % 8
                system.dma(rid, 0x1000 * page + 64 * turn, 64,
                           system.frame(8 * n + page) + 64 * turn, write=True, seed=turn)
        system.program.run(turn * 7)
    system.program.wait()
    system.run()
    assert system.sim.statistics()["pio_order_checked"] == 80


@GROUP
def test_read_returns_after_the_record_of_an_earlier_interrupt(system, pio):
    irq = system.interrupts()
    irq.open_windows()
    irq.queue(0, 6, service="poll")
    irq.entry(0, Entry(rid=FIRST))
    system.sim.set(device_delay=60, table_write_latency=400, dma_write_latency=200)
    system.device(FIRST, 1, {0x1000: 0})
    reads, signals = [], []
    for k in range(10):
        reads.append(system.program.pio_read(LOW + 8 * k, 8))
        system.dma(FIRST, 0x1000 + 64 * k, 64, system.frame(0) + 64 * k, write=True, seed=k)
        signals.append(irq.msi(FIRST, 0, k))
        system.program.wait()
    events = system.run()
    answers = pio.answers(events)
    records = [Record.of(event) for event in events if event.kind == "record"]
    assert [record.data for record in records] == list(range(10))
    for op, record in zip(reads, records, strict=True):
        assert record.visible <= answers[op].responded


@GROUP
def test_suspended_interrupt_does_not_hold_a_read(system, pio):
    irq = system.interrupts()
    irq.open_windows()
    irq.queue(0, 4)
    irq.entry(0, Entry(rid=FIRST, suspend=True))
    system.sim.set(device_delay=60)
    op = system.program.pio_read(LOW, 8)
    irq.msi(FIRST, 0, 1, expect="nothing")
    system.program.wait()
    answer = pio.answers(system.run())[op]
    assert answer.responded - answer.answered < 200 and irq.pending(0)


@GROUP
@pytest.mark.parametrize("order", ["reversed", "shuffled"])
def test_answers_in_any_order_reach_who_asked(system, pio, order):
    system.program.rule(kinds=("read",), hold=True)
    for k in range(12):
        system.program.pio_read(LOW + 64 * k, 8, id=k % 4, beats=1 + k % 3)
    system.program.run(1000)
    system.program.release(order)
    system.program.clear_rules()
    system.program.wait()
    assert len(pio.answers(system.run())) == 12


@GROUP
def test_guest_over_its_quota_does_not_stop_another(system, pio):
    system.run()
    pio.set("quotas", core_limit=0x3ff, guest_limit=4)
    system.program.rule(kinds=("read",), function=0, hold=True)
    for k in range(12):
        system.program.pio_read(LOW + 8 * k, 8, id=k % 4)
    good = [system.program.pio_read(HIGH + 8 * k, 8, id=8 + k % 4) for k in range(20)]
    system.program.run(2000)
    system.program.clear_rules()
    system.program.release()
    system.program.wait()
    answers = pio.answers(system.run())
    assert all(answers[op].responded - answers[op].offered < 1000 for op in good)


@GROUP
def test_writes_go_on_while_every_tag_waits(system, pio):
    """S5: cores' writes, DMA and interrupts pass reads that a device does not answer."""
    irq = system.interrupts()
    irq.open_windows()
    irq.queue(0, 5)
    irq.entry(0, Entry(rid=FIRST))
    system.device(FIRST, 1, {0x1000: 0})
    system.sim.set(pass_blocked=1, timeout=20_000)
    system.program.rule(kinds=("read",), hold=True)
    for k in range(16):
        system.program.pio_read(HIGH + 8 * k, 8, id=k % 8, group=9)
    for k in range(30):
        system.program.pio_write(LOW + 8 * k, bytes([k] * 8), group=1)
        system.dma(FIRST, 0x1000 + 64 * k, 64, system.frame(0) + 64 * k, write=True, group=1)
        system.dma(FIRST, 0x1000 + 64 * k, 64, system.frame(0) + 64 * k, write=False, group=1)
        irq.msi(FIRST, 0, k, group=1)
    system.program.wait(group=1)
    system.program.clear_rules()
    system.program.release()
    system.program.wait()
    system.run()
    statistics = system.sim.statistics()
    assert statistics["interrupts"] == 30 and statistics["pio_writes"] >= 30


@GROUP
def test_reset_in_the_middle_leaves_a_port_that_works(system, pio):
    system.sim.set(device_delay=200)
    for k in range(16):
        system.program.pio_read(LOW + 8 * k, 8, id=k % 4, beats=4)
        system.program.pio_write(HIGH + 64 * k, bytes(64), size=8)
    system.program.run(60)
    system.run()
    system.reset()
    system.platform.bring_up()
    system.program.clear_windows()
    cores(system)
    accesses(system, 4, 200)
    system.run()
    assert system.sim.statistics()["pio_failed"] == 0
