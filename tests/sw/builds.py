"""Builds of the C driver for its tests."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from iovirt import preset
from iovirt.csr.export import write_c_header

ROOT   = Path(__file__).parents[2]
DRIVER = ROOT / "sw"
HERE   = ROOT / "tests" / "sw"
FLAGS  = ("-std=c11", "-pedantic", "-Wall", "-Wextra", "-Werror", "-Wshadow", "-O1", "-g")
DRIVER_SOURCES = ("iovirt.c", "iovirt_irq.c", "iovirt_reader.c", "iovirt_pio.c", "iovirt_vf.c",
                  "iovirt_vf_guest.c")
SCENARIOS = ("overflow", "sleeper", "once", "moderation", "migration", "storm", "drain", "drop",
             "wire", "sources", "forgery", "failure")


def compiler():
    """Return a C compiler; without one there is nothing to test."""
    found = shutil.which(os.environ.get("CC") or "gcc")
    assert found, "the driver is C: `apt install gcc`, or set $CC"
    return found


def run(*command, **options):
    """Run a command and return its output; show it if it fails."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True,
                          check=False, **options)
    if done.returncode:
        pytest.fail(f"{Path(str(command[0])).name}: exit code {done.returncode}\n"
                    + (done.stdout + done.stderr)[-3000:])
    return done.stdout


def write_header(directory, name="tiny"):
    """Write the register header of a preset with all parts where the driver looks for it."""
    write_c_header(preset(name).replace(vf={"enable": True}), directory / "iovirt_registers.h")


def build(directory, name, sources, *flags):
    """Build a program from the driver and ``sources`` of this directory."""
    write_header(directory)
    program = directory / name
    run(compiler(), *FLAGS, *flags, f"-I{DRIVER / 'include'}", f"-I{directory}", f"-I{HERE}",
        *(HERE / source for source in ("devices.c", *sources)),
        *(DRIVER / "src" / source for source in DRIVER_SOURCES), "-o", program, "-ldl")
    return program


def build_scenarios(directory, world, *flags):
    """Build the scenarios of interrupts for a world, "model" or "rtl"."""
    sources = [path.name for path in HERE.glob("scenarios*.c")]
    world_sources = ("model.c", "model_registers.c") if world == "model" else ("rtl.c",)
    return build(directory, world, ("consumer.c", *sources, *world_sources), *flags)
