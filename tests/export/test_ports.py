# amaranth: UnusedElaboratable=no

import json
import re
from pathlib import Path

import pytest

from iovirt import preset
from iovirt.export import ports_of
from iovirt.top import IOVirt

pytestmark = pytest.mark.xdist_group("export")

HERE       = Path(__file__).parent
INTERFACES = HERE.parents[1] / "docs" / "interfaces.md"


def rows(name):
    """Return the ports of a preset as [name, direction, width]."""
    return [[port["name"], port["direction"], port["width"]]
            for port in ports_of(IOVirt(preset(name)))]


@pytest.mark.parametrize("name", ["tiny", "default"])
def test_ports_are_those_that_integrators_rely_on(name):
    """Names are an interface: adding is allowed with a note in CHANGELOG.md, changing is not."""
    assert rows(name) == json.loads((HERE / f"ports_{name}.json").read_text())


@pytest.mark.slow
def test_verilog_has_the_ports_of_the_manifest(verilog, generated):
    manifest = json.loads((generated / "iovirt_tiny.json").read_text())
    top = verilog[verilog.index("module iovirt_tiny("):]
    found = {(name, direction, int(high or 0) + 1) for direction, high, name in re.findall(
        r"^  (input|output) (?:\[(\d+):0\] )?(\w+);$", top[:top.index("endmodule")], re.M)}
    assert found == {(p["name"], p["direction"], p["width"]) for p in manifest["ports"]}


def test_each_port_is_documented():
    text = INTERFACES.read_text()
    words = set(re.findall(r"`([a-z]\w*)`", text))
    buses = {"rx", "tx", "dma", "table", "csr", "pio"}
    for name, _, _ in rows("default"):
        bus, _, signal = name.partition("__")
        if signal:
            assert bus in buses and f"`{bus}`" in text
            assert signal in words, f"{name} is not in {INTERFACES.name}"
        else:
            assert name in words, f"{name} is not in {INTERFACES.name}"
