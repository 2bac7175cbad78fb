import json
from pathlib import Path

import pytest

from iovirt.cli import main, synth
from iovirt.synthesis import PRIMITIVES, Area, SynthesisError, area_by_block, synthesize

#: A block with an adder, one with a memory, and a block within that.
VERILOG = """
module iovirt_tiny(input clk, input [7:0] a, input [3:0] n, output reg [7:0] o, output [7:0] p);
  wire [7:0] sum;
  \\iovirt_tiny.adder adder(.a(a), .b(o), .o(sum));
  \\iovirt_tiny.store store(.clk(clk), .n(n), .i(sum), .o(p));
  always @(posedge clk) o <= sum;
endmodule
module \\iovirt_tiny.adder (input [7:0] a, input [7:0] b, output [7:0] o);
  assign o = a + b;
endmodule
module \\iovirt_tiny.store (input clk, input [3:0] n, input [7:0] i, output [7:0] o);
  \\iovirt_tiny.store.memory memory(.clk(clk), .n(n), .i(~i), .o(o));
endmodule
module \\iovirt_tiny.store.memory (input clk, input [3:0] n, input [7:0] i, output [7:0] o);
  reg [7:0] words [15:0];
  assign o = words[n];
  always @(posedge clk) words[n] <= i;
endmodule
"""


@pytest.fixture(autouse=True)
def small(tmp_path, monkeypatch):
    """Synthesise the small design instead of the block, which takes minutes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(synth, "verilog_of", lambda config: VERILOG)


@pytest.mark.slow
@pytest.mark.parametrize("target, flip_flops, memory", [
    ("ecp5", 8, "LUT RAM"), ("xilinx", 8, "LUT RAM"), ("generic", 8, "block RAM"),
])
def test_synth_tells_area_by_block(target, flip_flops, memory, capsys):
    assert main(["synth", "--preset", "tiny", "--target", target, "--depth", "1",
                 "--json", "report.json"]) == 0
    report = json.loads(Path("report.json").read_text())
    area   = report["area"]
    assert report["target"] == target and report["fmax_mhz"] is None and report["versions"]
    assert list(area) == ["iovirt_tiny", "iovirt_tiny.adder", "iovirt_tiny.store"]
    assert area["iovirt_tiny"]["FF"] == flip_flops
    assert area["iovirt_tiny.adder"]["LUT"] >= 8 and area["iovirt_tiny.adder"][memory] == 0
    assert area["iovirt_tiny.store"][memory] > 0
    out = capsys.readouterr().out
    assert f"iovirt_tiny for {target}" in out and "  adder" in out


@pytest.mark.slow
def test_depth_says_which_blocks_are_kept_apart():
    stat   = synthesize(VERILOG, top="iovirt_tiny", target="generic", depth=2)
    blocks = area_by_block(stat, top="iovirt_tiny", target="generic", depth=2)
    assert list(blocks) == ["iovirt_tiny", "iovirt_tiny.adder", "iovirt_tiny.store",
                            "iovirt_tiny.store.memory"]
    flat = synthesize(VERILOG, top="iovirt_tiny", target="generic", depth=0)
    assert list(area_by_block(flat, top="iovirt_tiny", target="generic", depth=2)) == \
        ["iovirt_tiny"]


def test_area_weighs_primitives():
    assert Area.of({"LUT4": 3, "CCU2C": 2, "TRELLIS_FF": 5, "TRELLIS_DPR16X4": 1, "PFUMX": 9},
                   "ecp5") == {"LUT": 7, "FF": 5, "LUT RAM": 1, "block RAM": 0}
    assert Area.of({"LUT6": 2, "LUT1": 1, "FDRE": 4, "RAM64M8": 1, "RAMB18E2": 1}, "xilinx") == \
        {"LUT": 3, "FF": 4, "LUT RAM": 8, "block RAM": .5}
    assert Area.of({"$_AND_": 2, "$_DFF_P_": 1, "$_SDFFCE_PP0P_": 2, "$mem_v2": 1}, "generic") == \
        {"LUT": 2, "FF": 3, "LUT RAM": 0, "block RAM": 1}
    assert all(set(columns) == {"LUT", "FF", "LUT RAM", "block RAM"}
               for columns in PRIMITIVES.values())


@pytest.mark.parametrize("arguments, message", [
    (["--fmax", "--target", "xilinx"], "--fmax must be used with --target ecp5, not 'xilinx'"),
    (["--depth", "-1"], "--depth must be at least 0, not -1"),
    (["--output", "file"], "--output file/tiny_ecp5: must be a directory or a place for one: "
                           "Not a directory"),
])
def test_synth_refuses_what_it_cannot_do(arguments, message, capsys):
    Path("file").write_text("")
    assert main(["synth", "--preset", "tiny", *arguments]) == 2
    assert capsys.readouterr().err == f"iovirt: {message}\n"


def test_fmax_without_nextpnr_is_refused_before_synthesis(capsys, monkeypatch):
    def missing():
        raise SynthesisError("Fmax needs nextpnr-ecp5")

    monkeypatch.setattr(synth, "find_nextpnr", missing)
    monkeypatch.setattr(synth, "verilog_of", lambda config: pytest.fail("too late"))
    assert main(["synth", "--preset", "tiny", "--fmax"]) == 2
    assert capsys.readouterr().err == "iovirt: Fmax needs nextpnr-ecp5\n"


def test_unknown_target_is_refused():
    with pytest.raises(SynthesisError, match=r"^Target must be one of ecp5, xilinx, generic, not"):
        synthesize(VERILOG, top="iovirt_tiny", target="asic")


def test_broken_verilog_is_refused_with_the_end_of_the_log(capsys, monkeypatch):
    monkeypatch.setattr(synth, "verilog_of", lambda config: "module iovirt_tiny(; endmodule")
    assert main(["synth", "--preset", "tiny"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("iovirt: Yosys failed with exit code ") and "design.v" in error
