"""What several tests of the generated Verilog share."""

import pytest

from iovirt import preset
from iovirt.cli import main
from iovirt.export import module_name


@pytest.fixture(scope="session")
def generated(tmp_path_factory):
    """Return the directory with what `gen` writes for the tiny preset."""
    directory = tmp_path_factory.mktemp("gen")
    assert main(["gen", "--preset", "tiny", "--output", str(directory),
                 "--json", str(directory / "report.json")]) == 0
    return directory


@pytest.fixture(scope="session")
def verilog(generated):
    """Return the Verilog of the tiny preset."""
    return (generated / f"{module_name(preset('tiny'))}.v").read_text()
