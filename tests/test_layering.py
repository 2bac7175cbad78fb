import ast
from pathlib import Path

import pytest

HARDWARE = Path(__file__).parents[1] / "hw" / "iovirt"
BASE     = {"stream", "ram", "csr", "yosys", "toml_file"}
LOW      = {"axi", "pcie"}
BLOCKS   = {"remap", "dma", "irq", "pio", "vf"}
TOPS     = {"top", "remap_top"}

#: What the modules of a package may import, besides their own package.
ALLOWED = {
    **{name: set() for name in BASE},
    **dict.fromkeys(LOW, BASE),
    **{name: BASE | LOW | {"config"} for name in BLOCKS},
}
ALLOWED["axi"]  = BASE - {"csr"}
ALLOWED["csr"]  = {"axi", "config"}  # the bank is behind AXI4-Lite; the map depends on the geometry
ALLOWED["pcie"] = BASE | {"config"}


def imports_of(path):
    """Yield the absolute names of the project's modules that the file imports."""
    package = ("iovirt", *path.relative_to(HARDWARE).with_suffix("").parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            base = list(package[:len(package) - node.level + 1]) if node.level else []
            base += node.module.split(".") if node.module else []
            if base == ["iovirt"]:
                yield from (["iovirt", alias.name] for alias in node.names)
            elif base:
                yield base
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".") for alias in node.names)


FILES = sorted(HARDWARE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HARDWARE)))
def test_imports_follow_the_block_diagram(path):
    place = path.relative_to(HARDWARE).with_suffix("").parts[0]
    for name in imports_of(path):
        assert name[0] != "iovirt_sim", f"{path} must not import the simulation package"
        if name[0] != "iovirt" or len(name) < 2 or place not in ALLOWED:
            continue
        assert name[1] in ALLOWED[place] | {place}, f"{path} must not import {'.'.join(name)}"


def test_models_do_not_import_the_hardware():
    models = Path(__file__).parents[1] / "sim" / "iovirt_sim" / "models"
    for path in models.rglob("*.py"):
        for line in path.read_text().splitlines():
            assert not line.startswith(("from iovirt ", "from iovirt.", "import iovirt.")), path
