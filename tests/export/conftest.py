"""What several tests of the generated Verilog share."""

import pytest

from iovirt import preset
from iovirt.cli import main
from iovirt.export import module_name, verilog_of
from iovirt.lint import waiver_file

#: All blocks, small: the tiny preset has no sharing.
SHARED = preset("tiny").replace(name="shared", vf={"enable": True, "headers": True})


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


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """Return the directory with the Verilog of a block with sharing, and its waivers."""
    directory = tmp_path_factory.mktemp("shared")
    (directory / "iovirt_shared.v").write_text(verilog_of(SHARED))
    (directory / "iovirt_shared.vlt").write_text(waiver_file("iovirt_shared.v"))
    return directory
