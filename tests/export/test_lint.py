import os
import subprocess
from pathlib import Path

import pytest

from iovirt.lint import WAIVERS, waiver_file
from iovirt_sim.verilated.tools import find_tools

pytestmark = pytest.mark.xdist_group("export")

#: Rules that find defects of a design. None of them is waived.
DEFECTS = ["UNOPTFLAT", "LATCH", "UNDRIVEN", "MULTIDRIVEN", "CASEINCOMPLETE", "CASEOVERLAP",
           "PINMISSING", "SELRANGE", "IMPLICIT", "BLKSEQ", "COMBDLY", "SYNCASYNCNET",
           "INFINITELOOP"]


def lint(directory, top, *files):
    """Return what Verilator says. Loops are found only when it also writes the model."""
    tools = find_tools()
    done = subprocess.run([tools.verilator, "--cc", "--Mdir", "model", "-Wall", "-Wno-fatal",
                           "--top-module", top, *files], cwd=directory, capture_output=True,
                          text=True, check=False,
                          env={**os.environ, "VERILATOR_ROOT": str(tools.root)})
    return [line for line in (done.stdout + done.stderr).splitlines()
            if line.startswith("%")]


@pytest.mark.slow
def test_verilator_finds_nothing_in_the_verilog(generated, tmp_path):
    assert lint(tmp_path, "iovirt_tiny", *(str(generated / f"iovirt_tiny.{kind}")
                                           for kind in ("vlt", "v"))) == []


@pytest.mark.slow
def test_verilator_finds_nothing_in_the_verilog_of_sharing(shared, tmp_path):
    assert lint(tmp_path, "iovirt_shared", *(str(shared / f"iovirt_shared.{kind}")
                                             for kind in ("vlt", "v"))) == []


@pytest.mark.slow
@pytest.mark.parametrize("body, rule", [
    ("wire b; assign b = ~c; wire c; assign c = b & a[0]; assign o = {7'b0, c};", "UNOPTFLAT"),
    ("reg [7:0] l; always @* if (a[0]) l = {4'b0, a}; assign o = l;", "LATCH"),
    ("wire [7:0] w; assign o = w & {a, a};", "UNDRIVEN"),
    ("wire [2:0] t; assign t = a; assign o = {5'b0, t};", "WIDTHTRUNC"),
    ("wire [2:0] t; assign t = a + 4'd1; assign o = {5'b0, t};", "WIDTHTRUNC"),
])
def test_waivers_hide_no_defect(body, rule, tmp_path):
    (tmp_path / "top.v").write_text("module top(input [3:0] a, output [7:0] o);\n"
                                    f"{body}\nendmodule\n")
    (tmp_path / "top.vlt").write_text(waiver_file("top.v"))
    said = lint(tmp_path, "top", "top.vlt", "top.v")
    assert any(line.startswith(f"%Warning-{rule}:") for line in said), said


def test_each_waiver_has_a_reason_and_none_is_for_defects():
    text = waiver_file("iovirt_tiny.v")
    assert len(WAIVERS) < 10
    for rule, _, reason in WAIVERS:
        assert rule not in DEFECTS
        assert f"// {reason}\nlint_off -rule {rule} " in text


def test_waivers_name_the_file_and_no_directory(tmp_path):
    assert '-file "*iovirt_a.v"' in waiver_file("iovirt_a.v")
    assert str(Path.cwd()) not in waiver_file("iovirt_a.v")
