"""Programmed I/O when devices, the link or cores do what they should not."""

import pytest
from tests.system.io_traffic import FIRST, HIGH, LOW, SIZE, TARGETS, accesses, cores

from iovirt_sim.drivers import Entry
from iovirt_sim.drivers.pio import ECAM

pytestmark = pytest.mark.slow
GROUP = pytest.mark.xdist_group("verilated_tiny")

DEVICE_CONTROL_2, ROOT_CONTROL = 0x68, 0x5C
SHORT = 1   # 56 us: 7000 clocks


@pytest.fixture
def pio(system):
    """Two devices behind two windows; see `cores`."""
    return cores(system)


FAILURES = ("ur", "ca", "rrs", "poison")


@GROUP
@pytest.mark.parametrize("policy", ["ones", "error", "poison"])
def test_failed_reads_give_what_the_window_says(system, pio, policy):
    pio.open_window(0, LOW, SIZE, TARGETS[0], policy=policy)
    for action in FAILURES:
        system.program.rule(action, count=1)
        system.program.pio_read(LOW + 8, 8, expect=policy)
        system.program.wait()
        system.program.pio_read(LOW + 8, 8)
        system.program.wait()
    system.run()
    causes = {name: system.counter(f"error_pio_{name}")
              for name in ("unsupported", "abort", "poison")}
    assert causes["abort"] == causes["poison"] == 1 and causes["unsupported"] >= 1


@GROUP
def test_access_without_a_window_is_recorded(system, pio):
    outside = LOW + SIZE
    system.program.pio_read(outside, 4, expect="any")
    system.program.pio_write(outside, bytes(4), expect="any")
    system.program.wait()
    system.run()
    assert system.counter("error_pio_no_target") == 2
    first = pio.read("pio_first")
    assert first["cause"] == 22 and pio.read("pio_errors")["first_valid"]


@GROUP
@pytest.mark.parametrize("burst", [0, 2])
def test_burst_that_is_not_incrementing_is_refused(system, pio, burst):
    system.program.pio_read(LOW, 8, beats=2, burst=burst, expect="error")
    system.program.pio_write(LOW, bytes(16), size=8, burst=burst, expect="error")
    system.program.wait()
    system.program.pio_read(LOW, 8)
    system.program.wait()
    system.run()
    assert system.sim.statistics()["writes_to_devices"] == 0


def shorten(system, pio):
    """Let requests without answer end after 56 us."""
    pio.config_write(0, DEVICE_CONTROL_2, SHORT, 2)
    system.sim.set(timeout=60_000)


@GROUP
def test_device_that_does_not_answer_harms_nobody_else(system, pio):
    shorten(system, pio)
    system.program.rule("none", kinds=("read",), function=0)
    lost = [system.program.pio_read(LOW + 8 * k, 8, id=0, expect="ones") for k in range(4)]
    good = [system.program.pio_read(HIGH + 8 * k, 8, id=1) for k in range(20)]
    system.program.wait()
    answers = pio.answers(system.run())
    assert all(6250 <= answers[op].responded - answers[op].asked <= 9000 for op in lost)
    assert all(answers[op].responded - answers[op].offered < 1000 for op in good)
    assert system.counter("error_pio_timeout") == 4


@GROUP
def test_late_answer_is_dropped_and_its_tag_comes_back(system, pio):
    shorten(system, pio)
    system.program.rule(kinds=("read",), delay=9500, late=True, count=4)
    for k in range(4):
        system.program.pio_read(LOW + 8 * k, 8, id=k, expect="ones")
    system.program.wait()
    system.program.run(4000)
    for k in range(60):
        system.program.pio_read(LOW + 8 * k, 8, id=k % 4)
    system.program.wait()
    system.run()
    assert system.counter("error_completion_late") == 4
    assert pio.read("pio_status")["tags_used"] == 0


#: Bits of Dwords 0 to 2 of a completion, and what has been forged. Those with the tag of a request
#: contradict it; others are unexpected.
FORGED = {
    "tag":           (0, 0, 0x1F00),
    "requester":     (0, 0, 0x0100_0000),
    "byte count":    (0, 0x0010, 0),
    "lower address": (0, 0, 0x0004),
    "length":        (0x0003, 0, 0),
    "traffic class": (0x0030_0000, 0, 0),
    "attributes":    (0x0000_2000, 0, 0),
}


@GROUP
@pytest.mark.parametrize("what", FORGED)
def test_forged_completion_is_recorded_and_changes_nothing(system, pio, what):
    dwords = 1 if what == "length" else 0
    flip = (0, 0, 0) if what == "length" else FORGED[what]
    system.program.rule(kinds=("read",), forged="before", flip=flip, dwords=dwords)
    for k in range(8):
        system.program.pio_read(LOW + 8 * k, 8, id=k % 4)
        system.program.wait()
    system.run()
    seen = (system.counter("error_completion_mismatch")
            + system.counter("error_unexpected_completion") + system.counter("error_malformed"))
    assert seen == 8


@GROUP
def test_completion_of_another_device_is_refused(system, pio):
    pio.open_window(0, LOW, SIZE, TARGETS[0], completer=FIRST, completer_mask=0)
    system.program.rule(kinds=("read",), forged="before", flip=(0, 0x0008_0000, 0))
    for k in range(4):
        system.program.pio_read(LOW + 8 * k, 8)
        system.program.wait()
    system.run()
    assert system.counter("error_completion_mismatch") == 4


@GROUP
def test_duplicate_completion_is_unexpected(system, pio):
    system.program.rule(kinds=("read",), forged="after")
    for k in range(8):
        system.program.pio_read(LOW + 8 * k, 8, id=k % 4)
        system.program.wait()
    system.program.run(100)
    system.run()
    assert system.counter("error_unexpected_completion") == 8


@GROUP
def test_link_that_goes_down_ends_everything_and_comes_back_clean(system, pio):
    system.sim.set(timeout=30_000)
    system.program.rule(kinds=("read",), hold=True)
    before = [system.program.pio_read(LOW + 8 * k, 8, id=k % 4, expect="ones") for k in range(10)]
    system.program.run(500)
    pio.link(False)
    down = [system.program.pio_read(LOW + 8 * k, 8, id=k % 4, expect="ones") for k in range(10)]
    system.program.pio_write(LOW, bytes(8), expect="ones")
    system.program.pio_read(ECAM, 4, expect="any")             # the port itself is there
    config = system.program.pio_read(ECAM + (FIRST << 12), 4, expect="ones")
    system.program.wait()
    answers = pio.answers(system.run())
    assert all(answers[op].responded - answers[before[-1]].accepted < 5000 for op in before)
    assert all(not answers[op].tlps for op in [*down, config])
    assert system.counter("error_pio_link_down") > 0
    system.program.clear_rules()
    pio.link(True)
    accesses(system, 3, 100)
    system.run()
    assert pio.read("pio_status")["tags_used"] == 0


@GROUP
def test_link_goes_down_under_dma_and_interrupts(system, pio):
    """What devices asked for is answered no more; what they wrote is done; nothing is left over."""
    irq = system.interrupts()
    irq.open_windows()
    irq.queue(0, 5)
    irq.entry(0, Entry(rid=FIRST))
    system.device(FIRST, 1, {0x1000 * n: n for n in range(8)})
    system.sim.set(dma_latency=300, dma_write_latency=300, timeout=30_000)
    for turn in range(3):
        for n in range(8):
            at = 512 * turn
            system.dma(FIRST, 0x1000 * n + at, 256, system.frame(n) + at, write=True, seed=turn)
            system.dma(FIRST, 0x1000 * n + at + 256, 256, system.frame(n) + at + 256, write=False)
            irq.msi(FIRST, 0, 8 * turn + n)
            system.program.pio_read(LOW + 8 * n, 8, id=n % 4, expect="any")
        system.program.run(250 + 90 * turn)
        pio.link(False)
        system.program.run(3000)
        pio.link(True)
        system.program.wait()
        accesses(system, turn, 30)
    system.run()
    statistics = system.sim.statistics()
    assert statistics["reads_lost"] > 0 and statistics["interrupts"] == 24
    assert pio.read("pio_status")["tags_used"] == 0


@GROUP
def test_configuration_retries_and_their_end(system, pio):
    pio.set("config_retry", pause=1, count=5, duration=1000)
    address = ECAM + (FIRST << 12)
    system.program.rule("rrs", kinds=("config_read",), count=3)
    patient = system.program.pio_read(address, 4)
    system.program.wait()
    system.program.rule("rrs", kinds=("config_read",))
    spent = system.program.pio_read(address, 4, expect="any")
    system.program.wait()
    answers = pio.answers(system.run())
    assert answers[patient].value == 0x10F0_1AF4 and answers[patient].tlps == 4
    assert answers[spent].value == 0xFFFF_FFFF and answers[spent].tlps == 6
    assert system.counter("error_pio_retry") == 1
    pio.config_write(0, ROOT_CONTROL, 1 << 4, 2)
    seen = pio.access("pio_read", address, 4, expect="any")
    assert seen.value == 0xFFFF_0001 and seen.tlps == 1


@GROUP
def test_errors_come_as_records(system, pio):
    irq = system.interrupts()
    irq.open_windows()
    irq.queue(0, 4)
    irq.entry("pio_error", Entry(rid_mask=0xffff, cookie=0xE))
    irq.tolerate("pio_error")
    pio.set("pio_error_mask", causes=0)
    system.program.rule("ca", kinds=("read",), count=1)
    system.program.pio_read(LOW, 8, expect="ones")
    system.program.wait()
    system.program.run(500)
    records = system.records(system.run())
    assert [(record.type, record.cookie) for record in records] == [(8, 0xE)]


@GROUP
def test_dma_into_the_aperture_of_cores_is_denied(system, pio):
    pio.set("dma_extent", mask=(1 << 36) - 1)
    pio.set("dma_aperture", enable=1, base=LOW)
    system.device(FIRST, 1, {0x2000: 1})
    system.platform.domain(1).map(0x1000, LOW)
    system.dma(FIRST, 0x1000, 8, 0, write=True, expect="ur")
    system.dma(FIRST, 0x1000, 8, 0, write=False, expect="ur")
    system.dma(FIRST, 0x2000, 8, system.frame(1), write=True)
    system.program.wait()
    system.program.run(300)
    system.run()
    assert system.counter("error_peer_denied") == 2


