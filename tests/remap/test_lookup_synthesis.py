# amaranth: UnusedElaboratable=no

import re
from pathlib import Path

import pytest
from amaranth.back import verilog

from iovirt.config import preset
from iovirt.remap.lookup import Lookup
from iovirt.yosys import run_yosys

#: Flip-flops that the superpages, the registers between the stages and the queue need. The tables
#: have ten times as many bits.
FLIP_FLOPS = 3400


@pytest.mark.slow
def test_tables_are_kept_in_memories(tmp_path):
    dut = Lookup(id_width=6, slot_width=4, remap=preset("default").remap)
    Path(tmp_path, "lookup.v").write_text(verilog.convert(dut, name="lookup"))
    # Logic is not mapped, which takes long and does not matter here.
    run_yosys("read_verilog lookup.v; synth_ecp5 -top lookup -run begin:map_luts; "
              "tee -o stat.txt stat", cwd=tmp_path)
    cells = {name: int(count) for count, name in
             re.findall(r"^\s+(\d+)\s+(\w+)$", Path(tmp_path, "stat.txt").read_text(), re.M)}
    assert cells["DP16KD"] == 2 * preset("default").remap.iotlb_ways  # PPNs and permissions
    assert cells["TRELLIS_DPR16X4"] > 100                             # tags, contexts, the queue
    assert cells["TRELLIS_FF"] < FLIP_FLOPS
