"""The fast simulation: the bench, its checks, the cache."""

import importlib.util
import sys
from pathlib import Path

import pytest

from iovirt_sim.verilated import (
    CheckFailed,
    Design,
    Program,
    Timeout,
    ToolMissing,
    build,
    open_simulation,
)

pytestmark = pytest.mark.slow


def _stand_ins():
    path = Path(__file__).parent / "stand_ins.py"
    spec = importlib.util.spec_from_file_location("stand_ins", path)
    module = sys.modules.setdefault("stand_ins", importlib.util.module_from_spec(spec))
    if not hasattr(module, "FullStandIn"):
        spec.loader.exec_module(module)
    return module


stand_ins = _stand_ins()


@pytest.fixture(scope="module")
def remap():
    with open_simulation(Design("stand_in_remap", stand_ins.RemapStandIn)) as sim:
        yield sim


@pytest.fixture(scope="module")
def full():
    with open_simulation(Design("stand_in_full", stand_ins.FullStandIn)) as sim:
        yield sim


def test_register_keeps_what_is_written(remap):
    remap.write_csr(0x10, 0x1122_3344_5566_7788)
    assert remap.read_csr(0x10) == 0x1122_3344_5566_7788
    assert remap.poll_csr(0x10, mask=0xff, value=0x88) == 0x1122_3344_5566_7788
    with pytest.raises(Timeout, match="Register 16 did not become 0x1"):
        remap.poll_csr(0x10, mask=0xff, value=1, timeout=200)


def test_table_port_reads_memory(remap):
    remap.write_memory(0x1000, [7, 8, 9])
    assert remap.read_memory(0x1000, 4) == [7, 8, 9, 0]
    remap.write_csr(15 * 8, 0x1008)
    remap.step(40)
    assert remap.read_csr(14 * 8) == 8


def test_translation_answers_with_clocks(remap):
    answer = remap.translate(device_id=5, iova=0x1234)
    assert answer.ok and answer.spa == 0x2234 and answer.returned - answer.accepted == 3
    answer = remap.translate(device_id=0xBAD, iova=0x1234)
    assert not answer.ok and answer.cause == 258 and answer.spa is None


def test_saturating_requests_pass_one_per_clock(remap):
    program = Program()
    for n in range(3000):
        program.translate(device_id=n % 7, iova=n << 12, spa=(n + 1) << 12)
    program.wait()
    remap.set(queue=4096)
    remap.clear_statistics()
    events = remap.run(program)
    assert len(events) == 3000
    assert events[-1].values[3] - events[0].values[3] == 2999
    assert remap.statistics()["results_ok"] == 3000


def test_wrong_translation_is_reported(remap):
    with pytest.raises(CheckFailed, match="iova 1000: spa 2000 instead of spa 3000"):
        remap.translate(device_id=5, iova=0x1000, spa=0x3000)
    remap.reset()


def test_transfers_are_checked_byte_by_byte(full):
    full.background(0x2_0000_0000, 0x3_0000_0000, 99)
    full.set(mrrs=256, np_limit=8, dma_jitter=30, dma_stall=40, rx_stall=40, tx_stall=40)
    program = Program()
    for n in range(200):
        length = 4096 if n % 10 == 0 else 8 * (1 + n % 9)
        program.dma(rid=n % 3, iova=0x10000 + n * 512, length=length, write=n % 2 == 0,
                    spa=0x10000 + n * 512 + stand_ins.OFFSET, group=n % 3, seed=n)
    program.wait()
    full.clear_statistics()
    full.run(program)
    counts = full.statistics()
    assert counts["write_bytes"] + counts["read_bytes"] == counts["bytes_checked"]
    assert counts["bytes_checked"] == sum(4096 if n % 10 == 0 else 8 * (1 + n % 9)
                                          for n in range(200))


@pytest.mark.parametrize("fault, message", [
    (1, "write to 200001040 belongs to no request|instead of"),
    (2, "instead of"),
    (3, "before an earlier write"),
    (4, "byte count"),
])
def test_each_kind_of_fault_is_found(full, fault, message):
    full.reset()
    full.set(np_limit=8, dma_jitter=0, dma_stall=0, rx_stall=0, tx_stall=0)
    full.write_csr(0, fault)
    program = Program()
    for write in (True, False, True, False):
        program.dma(rid=1, iova=0x1000, length=64, write=write, spa=0x1000 + stand_ins.OFFSET)
    program.wait()
    with pytest.raises(CheckFailed, match=message):
        full.run(program)
    full.reset()


def test_memory_error_needs_the_right_completion(full):
    """The stand-in answers data although memory failed, which the bench must not accept."""
    full.reset()
    full.fail(0x2_0000_4000, 64)
    with pytest.raises(CheckFailed, match=r"was not read|instead of"):
        full.dma(rid=1, iova=0x4000, length=64, write=False, spa=0x4000 + stand_ins.OFFSET)
    full.reset()
    full.clear_memory()


def test_stuck_design_is_reported(full):
    full.reset()
    full.set(timeout=500, np_limit=0)
    with pytest.raises(CheckFailed, match=r"nothing has moved for 500 clocks.*read of operation 0"):
        full.dma(rid=1, iova=0x1000, length=64, write=False, spa=0x1000 + stand_ins.OFFSET)
    full.set(timeout=100_000, np_limit=8)
    full.reset()


def test_waveform_is_written_on_request(tmp_path):
    design = Design("stand_in_remap", stand_ins.RemapStandIn)
    with open_simulation(design, vcd=tmp_path / "waves.vcd") as sim:
        sim.translate(device_id=1, iova=0x1000)
    assert "request__valid" in (tmp_path / "waves.vcd").read_text()


def test_library_is_cached(monkeypatch):
    design = Design("stand_in_remap", stand_ins.RemapStandIn)
    said = []
    first = build(design, say=said.append)
    assert build(design, say=said.append) == first
    assert not any("compiling" in line for line in said)


@pytest.mark.parametrize("name", ["g++"])
def test_missing_compiler_is_named(monkeypatch, name):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ToolMissing, match=r"needs a C\+\+ compiler, and no-such-compiler was not "
                                          r"found: `apt install g\+\+`"):
        build(Design("stand_in_remap", stand_ins.RemapStandIn))


def test_slow_simulation_does_the_same():
    design = Design("stand_in_remap", stand_ins.RemapStandIn)
    with open_simulation(design, slow=True) as sim:
        sim.write_csr(0x10, 5)
        assert sim.read_csr(0x10) == 5
        answer = sim.translate(device_id=5, iova=0x1234, spa=0x2234)
        assert answer.ok and answer.returned - answer.accepted == 3
        with pytest.raises(CheckFailed, match="instead of 3000"):
            sim.translate(device_id=5, iova=0x1000, spa=0x3000)


def test_slow_simulation_checks_transfers():
    with open_simulation(Design("stand_in_full", stand_ins.FullStandIn), slow=True) as sim:
        sim.background(0x2_0000_0000, 0x3_0000_0000, 99)
        sim.set(mrrs=256)
        program = Program()
        for n in range(12):
            program.dma(rid=n % 3, iova=0x10000 + n * 512, length=8 * (n + 1), write=n % 2 == 0,
                        spa=0x10000 + n * 512 + stand_ins.OFFSET, seed=n)
        program.wait()
        sim.run(program)
        assert sim.statistics()["bytes_checked"] == sum(8 * (n + 1) for n in range(12))
        sim.write_csr(0, 2)
        program = Program()
        program.dma(rid=1, iova=0x1000, length=64, write=False, spa=0x1000 + stand_ins.OFFSET)
        program.wait()
        with pytest.raises(CheckFailed, match="wrong bytes"):
            sim.run(program)
