"""Verilog, and what belongs beside it."""

import hashlib
import json
import tempfile
from pathlib import Path

from amaranth import Value
from amaranth.back import rtlil
from amaranth.lib import wiring

from .yosys import find_yosys, run_yosys

__all__ = ["manifest", "module_name", "ports_of", "to_verilog", "verilog_of"]

#: `always @*` blocks as Yosys writes them by default are not evaluated at time 0 by Icarus 11, so
#: multiplexers are written as expressions instead. Without -noattr the text would hold file names.
WRITE_VERILOG = ("read_rtlil design.il; hierarchy -check -top {name}; proc; pmuxtree; opt_clean; "
                 "memory_collect; write_verilog -noattr -norename design.v")


def to_verilog(component, *, name):
    """Return ``component`` as Verilog text, the same for the same component.

    The text is accepted by Yosys, by Verilator and, unlike Amaranth's own, simulated correctly by
    Icarus Verilog 11.
    """
    find_yosys()
    with tempfile.TemporaryDirectory() as directory:
        text = rtlil.convert(component, name=name, emit_src=False)
        Path(directory, "design.il").write_text(text)
        run_yosys(WRITE_VERILOG.format(name=name), cwd=directory)
        return Path(directory, "design.v").read_text()


def module_name(config):
    """Return the name of the Verilog module of ``config``."""
    return f"iovirt_{config.name}"


def verilog_of(config):
    """Return the Verilog of the whole block."""
    from .top import IOVirt  # building the top imports every block; only this needs it

    return to_verilog(IOVirt(config), name=module_name(config))


def ports_of(component):
    """Return ``[{name, direction, width}]`` of a component's Verilog ports, clock first."""
    ports = [{"name": name, "direction": "input", "width": 1} for name in ("clk", "rst")]
    for path, member, value in component.signature.flatten(component):
        ports.append({
            "name": "__".join(map(str, path)),
            "direction": "output" if member.flow is wiring.Out else "input",
            "width": len(Value.cast(value)),
        })
    return ports


def manifest(config, component, verilog):
    """Return the manifest of a generated design as JSON text."""
    return json.dumps({
        "module": module_name(config),
        "configuration": config.to_dict(),
        "configuration_hash": config.hash,
        "verilog_sha256": hashlib.sha256(verilog.encode()).hexdigest(),
        "ports": ports_of(component),
    }, indent=2) + "\n"
