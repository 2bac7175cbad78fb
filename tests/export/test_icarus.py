import re
import shutil
import subprocess
from pathlib import Path

import pytest

#: All tests that need the Verilog run in one process, which generates it once.
pytestmark = [pytest.mark.icarus, pytest.mark.xdist_group("export")]

BENCH = Path(__file__).with_name("icarus_tb.v")


def run_bench(verilog, directory):
    """Return what the bench says about ``verilog``."""
    Path(directory, "design.v").write_text(verilog)
    assert shutil.which("iverilog"), "Icarus Verilog must be installed: apt-get install iverilog"
    subprocess.run(["iverilog", "-g2005", "-s", "bench", "-o", "bench.vvp", "design.v",
                    str(BENCH)], cwd=directory, check=True)
    return subprocess.run(["vvp", "-n", "bench.vvp"], cwd=directory, check=True,
                          capture_output=True, text=True, timeout=300).stdout


def test_requests_reach_memory_in_icarus(verilog, tmp_path):
    assert run_bench(verilog, tmp_path) == "PASS\n"


def with_defect(verilog, port, expression):
    """Return the Verilog with ``expression`` between an output and what has driven it."""
    top = verilog.index("module iovirt_tiny(")
    end = verilog.index("endmodule", top)
    declaration = re.search(rf"  output (\[.*\]) {port};\n  wire .*;\n", verilog[top:])
    start = top + declaration.end()
    right  = f"{port}_right"
    defect = (f"  wire {declaration.group(1)} {right};\n"
              f"  assign {port} = {expression.format(right)};\n")
    body   = re.sub(rf"(?<![.\w]){port}\b", right, verilog[start:end])
    return verilog[:start] + defect + body + verilog[end:]


@pytest.mark.parametrize("port, expression, what", [
    ("dma__wstrb", "{} ^ 8'h10", "first bytes in memory"),
    ("dma__awaddr", "{} ^ 40'h100000", "burst of the write"),
    ("np_release", "{} & 2'h0", "credits of non-posted requests"),
    ("tx__hdr", "{} ^ 128'h200000000000000000000", "header of UR"),
    ("tx__hdr", "{} | 128'hx", "a TLP is unknown"),
])
def test_the_bench_sees_defects(verilog, port, expression, what, tmp_path):
    assert f": {what}\n" in run_bench(with_defect(verilog, port, expression), tmp_path)
