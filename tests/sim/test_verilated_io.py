"""The fast simulation: cores, devices that answer them, interrupts and their reader."""

import pytest
from tests.sim.io_stand_in import ECAM, LOG2, MEMORY, NOTICE, PAGE, RING, IoStandIn
from tests.sim.stand_ins import OFFSET

from iovirt_sim.drivers import bridge, endpoint
from iovirt_sim.tlp import Tlp
from iovirt_sim.verilated import (
    CheckFailed,
    Design,
    PioAnswer,
    Program,
    Record,
    open_simulation,
)

pytestmark = pytest.mark.slow

BAR, SIZE = 0x1000_0000, 0x1_0000


@pytest.fixture(scope="module")
def opened():
    with open_simulation(Design("stand_in_io", IoStandIn)) as sim:
        yield sim


@pytest.fixture
def sim(opened):
    """A device of one BAR, and a port that reaches it."""
    opened.set(pio_stall=0, pio_ready_stall=0, device_delay=20, device_jitter=0, timeout=3000,
               link_up=1, dma_write_latency=20, table_write_latency=20, rx_stall=0)
    opened.reset()
    program = Program()
    program.write_csr(0, 0)
    program.clear_rules()
    program.clear_windows()
    program.window(MEMORY, 1 << 32, 0)
    program.window(ECAM, 1 << 28, 0, configuration=True)
    program.function(0, endpoint(0, bars={0: SIZE}, at={0: BAR}))
    program.background(OFFSET, OFFSET + (1 << 32), 5)
    opened.run(program)
    opened.clear_statistics()
    return opened


def answers(events):
    return [PioAnswer.of(event) for event in events if event.kind == "pio"]


def read_back(sim, words):
    """Write words, then read them."""
    program = Program()
    for n, word in enumerate(words):
        program.pio_write(MEMORY + BAR + 8 * n, word.to_bytes(8, "little"))
    program.wait()
    for n in range(len(words)):
        program.pio_read(MEMORY + BAR + 8 * n, 8)
    program.wait()
    return [answer.value for answer in answers(sim.run(program))]


@pytest.mark.parametrize("knobs", [{}, {"pio_stall": 120, "pio_ready_stall": 120, "rx_stall": 90,
                                        "device_jitter": 30}])
def test_cores_read_what_they_wrote(sim, knobs):
    sim.set(**knobs)
    words = [0x0123_4567_89AB_CDEF * (n + 1) % (1 << 64) for n in range(20)]
    assert read_back(sim, words) == words
    program = Program()
    program.read_bar(0, 0, 0, 20)
    program.pio_write(MEMORY + BAR + 4, b"\x55\x66\x77", size=4)
    program.wait()
    program.pio_read(MEMORY + BAR, 8)
    program.wait()
    events = sim.run(program)
    assert events[0].values == words
    assert answers(events)[0].value == words[0] & ~(0xFF_FFFF << 32) | 0x77_6655 << 32
    statistics = sim.statistics()
    assert statistics["writes_to_devices"] == 21 and statistics["requests_to_devices"] == 21
    assert statistics["pio_order_checked"] == 21


def test_configuration_space_is_written_and_read(sim):
    program = Program()
    program.pio_read(ECAM, 4)
    program.pio_write(ECAM + 0x10, b"\xff" * 4)
    program.wait()
    program.pio_read(ECAM + 0x10, 4)
    program.pio_read(ECAM + (1 << 12), 4)   # no such function
    program.wait()
    identity, bar, absent = answers(sim.run(program))
    assert identity.value == 0x10F0_1AF4 and bar.value == -SIZE % (1 << 32)
    assert absent.value == 0xFFFF_FFFF and absent.resp == 0
    assert sim.statistics()["unclaimed"] == 1


def test_rules_make_devices_fail(sim):
    program = Program()
    for action in ("ur", "ca", "poison"):
        program.rule(action, kinds=("read",), count=1)
        program.pio_read(MEMORY + BAR, 8, expect="any" if action == "poison" else "ones")
        program.wait()
    program.pio_read(MEMORY + BAR, 8)
    program.wait()
    seen = [answer.value for answer in answers(sim.run(program))]
    assert seen[0] == seen[1] == (1 << 64) - 1
    assert seen[2] == seen[3] != seen[0]


def test_answer_that_does_not_come_is_missed(sim):
    program = Program()
    program.rule("none", kinds=("read",))
    program.pio_read(MEMORY + BAR, 4)
    program.wait()
    with pytest.raises(CheckFailed, match=r"nothing has moved.*read of operation 1.*asked for"):
        sim.run(program)


def test_held_answers_come_when_they_are_released(sim):
    program = Program()
    program.rule(hold=True, count=1)
    program.pio_read(MEMORY + BAR, 4)
    program.run(500)
    program.release()
    program.wait()
    answer = answers(sim.run(program))[0]
    assert answer.answered > answer.asked + 400


@pytest.mark.parametrize("fault, match", [(5, "pio: read gave"),
                                          (7, r"nothing has moved.*write of operation 0")])
def test_broken_access_fails(sim, fault, match):
    sim.write_csr(0, fault)
    with pytest.raises(CheckFailed, match=match):
        read_back(sim, [1, 2])


def test_write_that_a_read_passes_fails(sim):
    sim.write_csr(0, 7)
    program = Program()
    program.pio_write(MEMORY + BAR, bytes(4))
    program.run(100)
    program.pio_read(MEMORY + BAR + 8, 4)
    program.wait()
    with pytest.raises(CheckFailed, match="passes an earlier write of operation 0"):
        sim.run(program)


@pytest.mark.parametrize("fault", [0, 3])
def test_completion_must_push_earlier_writes(sim, fault):
    sim.write_csr(0, fault)
    sim.set(dma_write_latency=300, device_delay=60)
    program = Program()
    program.pio_read(MEMORY + BAR, 8)
    for n in range(4):
        at = 0x1000 + 64 * n
        program.dma(rid=1, iova=at, length=64, write=True, spa=OFFSET + at)
    program.wait()
    if fault:
        with pytest.raises(CheckFailed, match="given before an earlier write"):
            sim.run(program)
    else:
        sim.run(program)
        assert sim.statistics()["pio_order_checked"] == 1


def test_devices_behind_a_bridge_are_reached_where_it_forwards(sim):
    program = Program()
    program.function(0, bridge(0, numbers=(0, 1, 1), memory=(BAR, BAR + (1 << 20) - 1)))
    program.function(1, endpoint(0, bars={0: SIZE}, parent=0, at={0: BAR}))
    program.function(2, endpoint(8, bars={0: SIZE}, parent=0, at={0: BAR + (1 << 20)}))
    program.pio_read(MEMORY + BAR + 8, 8)
    program.pio_read(MEMORY + BAR + (1 << 20), 8, expect="ones")
    program.wait()
    assert len(answers(sim.run(program))) == 2


def msi(program, rid, index, data, **more):
    header, payload, _ = Tlp.write(0xFEE0_0000 + 8 * index, data.to_bytes(4, "little"),
                                   rid=rid).pack()
    program.signal(header, [int.from_bytes(payload, "little")], rid=rid, index=index, data=data,
                   **more)


def serve(program, service="msi", **more):
    program.write_memory(RING, [0] * 16)
    program.ring(0, RING, LOG2, registers=PAGE, service=service, notify=NOTICE, report=True,
                 start=0, **more)
    program.write_csr(PAGE + 8, 0, 4)


@pytest.mark.parametrize("service", ["msi", "poll"])
def test_every_interrupt_comes_as_a_record(sim, service):
    program = Program()
    serve(program, service)
    for n in range(20):
        program.dma(rid=7, iova=0x1000 + 8 * n, length=8, write=True, spa=OFFSET + 0x1000 + 8 * n)
        msi(program, 7, n % 3, 1000 + n)
        program.run(20 if n % 2 else 400)
    program.wait()
    records = [Record.of(event) for event in sim.run(program) if event.kind == "record"]
    assert [record.data for record in records] == [1000 + n for n in range(20)]
    assert [record.index for record in records] == [n % 3 for n in range(20)]
    statistics = sim.statistics()
    assert statistics["interrupts"] == statistics["interrupts_ordered"] == 20
    if service == "msi":
        assert statistics["notifications"] > 2 and not statistics["notifications_empty"]


@pytest.mark.parametrize("fault, match", [
    (6, r"nothing has moved.*interrupt of operation 4: rid 0007, index 5"),
    (3, "record before an earlier write of its source was answered")])
def test_interrupt_that_is_lost_or_early_fails(sim, fault, match):
    sim.write_csr(0, fault)
    sim.set(dma_write_latency=500)
    program = Program()
    serve(program)
    program.dma(rid=7, iova=0x1000, length=8, write=True, spa=OFFSET + 0x1000)
    msi(program, 7, 5, 99)
    program.wait()
    with pytest.raises(CheckFailed, match=match):
        sim.run(program)


def test_reader_that_is_slow_loses_what_is_overwritten(sim):
    program = Program()
    serve(program, "manual")
    for n in range(5):
        msi(program, 7, 0, n)
    program.wait()
    with pytest.raises(CheckFailed, match="record 4 of queue 0 overwrites one that nobody"):
        sim.run(program)
