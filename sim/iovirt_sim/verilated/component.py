"""One component alone, compiled by Verilator and driven clock by clock from Python.

Slower than the C++ bench of whole designs, some hundred times faster than the Amaranth simulator,
and for any component: its ports are what its signature says. ::

    with open_component(lambda: MyComponent(width=8), name="mine", key="8") as model:
        model.reset()
        model["request__valid"] = 1
        model.tick()
        model["request__ready"]       # as it was at that clock edge
"""

import contextlib
import ctypes
import json
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from iovirt.export import ports_of, to_verilog

from .build import (
    RUN_TIME,
    VERILATOR_FLAGS,
    _digest,
    _generator,
    _locked,
    _run,
    cache_directory,
)
from .ports import _cpp
from .tools import find_tools

__all__ = ["ComponentModel", "open_component"]

FLAGS = ("-std=c++17", "-fPIC", "-g0", "-fno-strict-aliasing", "-DVL_TIME_CONTEXT", "-w")
TEXT = """
#include "Vmodel.h"
#include <cstring>
double sc_time_stamp() {{ return 0; }}
struct Bench {{ Vmodel model; uint64_t words[{words}] = {{}}; }};
extern "C" {{
void* create() {{ return new Bench; }}
void destroy(void* bench) {{ delete static_cast<Bench*>(bench); }}
void* words(void* bench) {{ return static_cast<Bench*>(bench)->words; }}
void tick(void* bench) {{
    auto& model = static_cast<Bench*>(bench)->model;
    auto* words = static_cast<Bench*>(bench)->words;
    {inputs}
    model.clk = 0; model.eval();
    {outputs}
    model.clk = 1; model.eval();
}}
}}
"""


def _places(ports):
    """Return ``{port: first word of 64 bits}`` and the number of words."""
    places, words = {}, 0
    for port in ports:
        places[port["name"]] = words
        words += max(1, (port["width"] + 63) // 64)
    return places, words


def _wrapper(ports):
    """Return the C++ text around a model."""
    places, words = _places(ports)
    lines = {"input": [], "output": []}
    for port in ports:
        if port["width"] and port["name"] != "clk":
            member, word = f"model.{_cpp(port['name'])}", f"words + {places[port['name']]}"
            lines[port["direction"]].append(
                f"memcpy(&{member}, {word}, sizeof {member});" if port["direction"] == "input" else
                f"memcpy({word}, &{member}, sizeof {member});")
    return TEXT.format(words=words, inputs="\n    ".join(lines["input"]),
                       outputs="\n    ".join(lines["output"]))


def _build(make, name, key):
    """Return the directory of the library, from the cache if it is there."""
    tools, cache = find_tools(), cache_directory()
    (cache / "objects").mkdir(parents=True, exist_ok=True)
    bench = _digest(Path(__file__).read_text(), tools.version, tools.compiler)
    # What generates the Verilog is hashed first, because generating it takes seconds.
    shortcut = cache / f"component_{name}-{_digest(key, _generator(), bench)}.json"
    with _locked(cache / f"component_{name}.lock"):
        with contextlib.suppress(OSError, ValueError):
            directory = cache / json.loads(shortcut.read_text())["directory"]
            if (directory / "model.so").exists():
                os.utime(directory)
                return directory
        component = make()
        verilog   = to_verilog(component, name="model")
        directory = cache / f"component_{name}-{_digest(verilog, bench)}"
        if not (directory / "model.so").exists():
            with tempfile.TemporaryDirectory(dir=cache, prefix="building-") as work:
                _compile(Path(work), ports_of(component), verilog, tools, cache / "objects")
                directory.mkdir(exist_ok=True)
                for file in ("ports.json", "model.so"):
                    shutil.move(Path(work, file), directory / file)
        shortcut.write_text(json.dumps({"directory": directory.name}))
    return directory


def _compile(work, ports, verilog, tools, objects):
    """Make ``model.so`` in ``work``."""
    (work / "model.v").write_text(verilog)
    (work / "bench.cpp").write_text(_wrapper(ports))
    (work / "ports.json").write_text(json.dumps(ports))
    _run([tools.verilator, *VERILATOR_FLAGS, "--Mdir", "obj", "model.v"], work,
         {**os.environ, "VERILATOR_ROOT": str(tools.root)})
    include = tools.root / "include"
    command = [tools.compiler, *FLAGS, "-Iobj", f"-I{include}", f"-I{include / 'vltstd'}"]
    shared  = _digest(repr(command), tools.version)

    def compile_one(source):
        # Sources of Verilator are the same for all designs; code that sets up need not be fast.
        once = source.is_relative_to(include)
        made = objects / f"{source.stem}-{shared}.o" if once else work / f"{source.stem}.o"
        if not made.exists():
            level = "-O0" if "Slow" in source.name or "Syms" in source.name else "-O1"
            _run([*command, level, "-c", str(source), "-o", f"{source.stem}.new"], work)
            os.replace(work / f"{source.stem}.new", made)
        return str(made)

    sources = [work / "bench.cpp", *(work / "obj").glob("*.cpp"),
               *(include / file for file in RUN_TIME)]
    with ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        made = list(pool.map(compile_one, sorted(sources, key=lambda s: -s.stat().st_size)))
    _run([tools.compiler, "-shared", "-o", "model.so", *made, "-lpthread"], work)


class ComponentModel:
    """A component that runs. Ports are items by name, as plain numbers."""

    def __init__(self, directory):
        ports = json.loads((directory / "ports.json").read_text())
        places, words = _places(ports)
        #: {port: (first word, number of words)}.
        self.ports = {port["name"]: (places[port["name"]], max(1, (port["width"] + 63) // 64))
                      for port in ports}
        self.inputs = [port["name"] for port in ports if port["direction"] == "input"]
        self._library = lib = ctypes.CDLL(str(directory / "model.so"))
        lib.create.restype = lib.words.restype = ctypes.c_void_p
        for function in (lib.destroy, lib.words, lib.tick):
            function.argtypes = [ctypes.c_void_p]
        self._bench = ctypes.c_void_p(lib.create())
        self._words = (ctypes.c_uint64 * words).from_address(lib.words(self._bench))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Free the model."""
        if self._bench:
            self._library.destroy(self._bench)
            self._bench = None

    def __getitem__(self, name):
        word, count = self.ports[name]
        if count == 1:
            return self._words[word]
        return sum(self._words[word + n] << 64 * n for n in range(count))

    def __setitem__(self, name, value):
        word, count = self.ports[name]
        for n in range(count):
            self._words[word + n] = value >> 64 * n & 0xFFFF_FFFF_FFFF_FFFF

    def tick(self):
        """Let one clock pass. Outputs show what they were at its edge."""
        self._library.tick(self._bench)

    def reset(self, clocks=2):
        """Reset the component, with all inputs 0 from now on."""
        for name in self.inputs:
            self[name] = 0
        self["rst"] = 1
        for _ in range(clocks):
            self.tick()
        self["rst"] = 0


def open_component(make, *, name, key):
    """Return a :class:`ComponentModel` of what ``make()`` returns.

    It is cached under ``name`` and ``key``, a text that tells what is made of one name apart, as
    long as the sources of the hardware stay the same.
    """
    return ComponentModel(_build(make, name, key))
