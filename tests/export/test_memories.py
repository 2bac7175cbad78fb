import json
import re
from pathlib import Path

import pytest

from iovirt import preset
from iovirt.export import to_verilog
from iovirt.remap_top import RemapTop
from iovirt.yosys import run_yosys

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("export")]

#: Memories of so few bits are better off in flip-flops.
SMALL = 16
#: Bits that one primitive holds.
BITS = {"DP16KD": 16384, "TRELLIS_DPR16X4": 64}


def arrays_of(verilog):
    """Return the bits of memory that each module of ``verilog`` declares."""
    bits, module = {}, None
    for line in verilog.splitlines():
        if found := re.match(r"module \\?([^\s(]+)", line):
            module = found[1]
        elif found := re.match(r"  reg (?:\[(\d+):0\] )?\S+ \[(\d+):0\];", line):
            bits[module] = bits.get(module, 0) + (int(found[1] or 0) + 1) * (int(found[2]) + 1)
    return bits


def cells_of(verilog, top, directory):
    """Return the ECP5 primitives of each module. Logic is not mapped, which takes long."""
    Path(directory, "design.v").write_text(verilog)
    run_yosys(f"read_verilog design.v; synth_ecp5 -noflatten -top {top} -run begin:map_luts; "
              "tee -o stat.json stat -json", cwd=directory)
    modules = json.loads(Path(directory, "stat.json").read_text())["modules"]
    return {name.lstrip("\\"): module["num_cells_by_type"] for name, module in modules.items()}


def check(verilog, top, directory, *, flip_flops, tables):
    """Check that each memory has RAM for all of its bits, and how many flip-flops there are."""
    arrays, cells = arrays_of(verilog), cells_of(verilog, top, directory)
    for module, bits in arrays.items():
        inferred = sum(count * cells[module].get(kind, 0) for kind, count in BITS.items())
        assert inferred >= bits or bits <= SMALL, \
            f"{module}: {bits} bits of memory, {inferred} in RAM"
    for table, kind in tables.items():
        modules = [name for name in arrays if re.sub(r"\$\d+", "", name) == f"{top}.{table}"]
        assert modules and all(cells[name].get(kind, 0) for name in modules), table
    assert sum(module.get("TRELLIS_FF", 0) for module in cells.values()) < flip_flops


def test_memories_of_the_whole_block_are_inferred(shared, tmp_path):
    verilog = (shared / "iovirt_shared.v").read_text()
    check(verilog, "iovirt_shared", tmp_path, flip_flops=64_000, tables={
        "dma.reads.payload":            "DP16KD",
        "dma.writes.payload":           "DP16KD",
        "dma.reads.table.entries":      "TRELLIS_DPR16X4",
        "remap.lookup.iotlb.tags":      "TRELLIS_DPR16X4",
        "remap.lookup.iotlb.leaves":    "TRELLIS_DPR16X4",
        "remap.lookup.contexts.table":  "TRELLIS_DPR16X4",
        "remap.misses.requests":        "TRELLIS_DPR16X4",
        "remap.walker.steps":           "TRELLIS_DPR16X4",
        "registers.counters":           "TRELLIS_DPR16X4",
    })


def test_memories_of_the_remap_engine_are_inferred(tmp_path):
    block = RemapTop(preset("default"), id_width=6, capacity=256)
    check(to_verilog(block, name="block"), "block", tmp_path, flip_flops=12_500, tables={
        "remap.lookup.iotlb.tags":      "TRELLIS_DPR16X4",
        "remap.lookup.iotlb.leaves":    "DP16KD",
        "remap.lookup.contexts.table":  "TRELLIS_DPR16X4",
        "remap.walker.steps":           "TRELLIS_DPR16X4",
        "remap.walker.pointers":        "TRELLIS_DPR16X4",
    })


def test_memory_without_ram_is_noticed(tmp_path):
    verilog = ("module block(input clk, input [3:0] a, b, input [7:0] i, j, output reg [7:0] o);\n"
               "  reg [7:0] words [15:0];\n"
               "  always @(posedge clk) begin words[a] <= i; words[b] <= j; o <= words[a]; end\n"
               "endmodule\n")
    with pytest.raises(AssertionError, match="block: 128 bits of memory, 0 in RAM"):
        check(verilog, "block", tmp_path, flip_flops=1000, tables={})
