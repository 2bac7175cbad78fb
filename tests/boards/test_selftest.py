import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from boards.selftest import SelfTest
from boards.selftest.image import accesses, faults_of
from boards.selftest.pattern import COLUMNS, pattern_of
from boards.versa_ecp5_5g import ClockGenerator, main, summary

from iovirt.config import preset
from iovirt.export import to_verilog
from iovirt_sim.verilated import cache_directory
from iovirt_sim.verilated.tools import find_tools

ROOT  = Path(__file__).parents[2]
MAIN  = Path(__file__).with_name("selftest_main.cpp")
FLAGS = ("--cc", "--top-module", "model", "--prefix", "Vmodel", "-O3", "--x-assign", "fast",
         "--x-initial", "fast", "--no-assert", "-Wno-fatal", "-Wno-lint", "-Wno-style",
         "--output-split", "15000", "--output-split-cfuncs", "500", "--Mdir", "obj")


def source_digest(version):
    """Return a digest of everything that the simulator is made from."""
    digest = hashlib.sha256(version.encode())
    for source in sorted((*ROOT.glob("hw/**/*.*"), *ROOT.glob("boards/**/*.py"), MAIN,
                          ROOT / "sim/iovirt_sim/tables.py", Path(__file__))):
        if source.suffix in (".py", ".rdl", ".cpp"):
            digest.update(source.read_bytes())
    return digest.hexdigest()[:12]


def compile_model(work, tools):
    """Build the simulator in directory ``work``, which holds ``model.v``."""
    include = tools.root / "include"
    run = lambda *command: subprocess.run(command, cwd=work, check=True, capture_output=True, env={
        **os.environ, "VERILATOR_ROOT": str(tools.root)})
    run(tools.verilator, *FLAGS, "model.v")
    # It runs for some thousand clocks: compiling it takes far longer than running it.
    compile_ = lambda source: run(tools.compiler, "-std=c++17", "-O0", "-w", "-DVL_TIME_CONTEXT",
                                  "-DVM_SC=0", "-DVM_COVERAGE=0", "-Iobj", f"-I{include}",
                                  f"-I{include / 'vltstd'}", "-c", str(source))
    sources = [*(work / "obj").glob("*.cpp"), include / "verilated.cpp",
               include / "verilated_threads.cpp", MAIN]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(compile_, sources))
    run(tools.compiler, "-o", "selftest", *(f"{source.stem}.o" for source in sources), "-lpthread")


@pytest.fixture(scope="module")
def simulator():
    """Return the path of a program that simulates the self-test, from the cache if it is there."""
    tools = find_tools()
    place = cache_directory() / "board"
    place.mkdir(parents=True, exist_ok=True)
    # Generating the Verilog takes seconds; the same sources need not do it again.
    shortcut = place / f"{source_digest(tools.version)}.txt"
    if shortcut.exists() and (place / shortcut.read_text()).exists():
        return place / shortcut.read_text()
    verilog = to_verilog(SelfTest(preset("tiny"), rounds=3), name="model")
    text    = verilog + MAIN.read_text() + tools.version
    program = place / f"selftest-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    if not program.exists():
        with tempfile.TemporaryDirectory(dir=place) as work:
            Path(work, "model.v").write_text(verilog)
            compile_model(Path(work), tools)
            for old in (*place.glob("selftest-*"), *place.glob("*.txt")):
                old.unlink(missing_ok=True)
            shutil.move(Path(work, "selftest"), program)
    shortcut.write_text(program.name)
    return program


def simulate(program, *, clocks=50_000, spoil=0):
    done = subprocess.run([program, str(clocks), str(spoil)], check=True, capture_output=True,
                          text=True)
    return {name: int(value) for name, value in re.findall(r"(\w+) (\d+)", done.stdout)}


@pytest.mark.slow
@pytest.mark.xdist_group("board")
def test_selftest_passes(simulator):
    result = simulate(simulator)
    assert (result["passed"], result["failed"], result["causes"]) == (1, 0, 0)
    assert result["running"] > 1000


@pytest.mark.slow
@pytest.mark.xdist_group("board")
def test_broken_memory_fails_with_wrong_data(simulator):
    result = simulate(simulator, spoil=1)
    assert (result["passed"], result["failed"], result["causes"]) == (0, 1, 0b1000)


def test_no_two_places_and_rounds_have_the_same_pattern():
    rows = list(COLUMNS)  # Gaussian elimination: independent words
    for bit in range(32):
        pivot = next((row for row in rows if row >> bit & 1), None)
        if pivot is not None:
            rows.remove(pivot)
            rows = [row ^ pivot if row >> bit & 1 else row for row in rows]
    assert not rows
    assert pattern_of(0, 0) == 0 and pattern_of(1, 0) != pattern_of(0, 1)


def test_requests_keep_the_rules_of_tlps():
    script = accesses()
    assert 0 < faults_of(script) < len(script)
    assert not script[-1].write  # a round is over when the last read is answered
    for access in script:
        assert access.address % 4096 + access.length <= 4096
        assert not access.write or access.dwords <= 64


def test_configuration_with_other_widths_is_refused():
    with pytest.raises(ValueError, match=r"^Widths of data, tables and registers must be 64, not "
                                         r"\(256, 128, 64\)$"):
        SelfTest(preset("default"))
    with pytest.raises(TypeError, match=r"^Configuration must be a Config, not 'tiny'$"):
        SelfTest("tiny")


def test_frequency_that_the_pll_cannot_make_is_refused(capsys):
    with pytest.raises(ValueError, match=r"^Frequency must be a multiple of 10 in 10\.\.100 MHz"):
        ClockGenerator(mhz=33)


def test_summary_tells_whether_each_clock_is_fast_enough():
    report = {"utilization": {"DP16KD": {"used": 72, "available": 108}},
              "fmax": {"clk": {"achieved": 61.25, "constraint": 50.0},
                       "other": {"achieved": 99.0, "constraint": 100.0}}}
    lines, met = summary(report)
    assert not met and "72 of 108" in lines[0] and "61.2 MHz, 50.0 MHz wanted" in lines[1]
    del report["fmax"]["other"]
    assert summary(report)[1]


def test_missing_tool_is_named(monkeypatch, capsys):
    for variable in ("YOSYS", "NEXTPNR_ECP5", "ECPPACK"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    assert main([]) == 2
    assert "install-board" in capsys.readouterr().err
