"""The C driver on the RTL: every interrupt once and in order, and no reader sleeps too long."""

import pytest

from iovirt import preset
from iovirt_sim.verilated import Design
from iovirt_sim.verilated import build as build_design

from .builds import SCENARIOS, build, build_scenarios, run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def library():
    return build_design(Design.of_full(preset("tiny")), say=print).path


@pytest.fixture(scope="session")
def scenarios(tmp_path_factory):
    return build_scenarios(tmp_path_factory.mktemp("rtl"), "rtl")


@pytest.fixture(scope="session")
def firmware(tmp_path_factory):
    return build(tmp_path_factory.mktemp("pio"), "pio", ("pio.c", "rtl.c"))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_driver_on_the_rtl(library, scenarios, scenario):
    print(run(scenarios, scenario, 1, library))


def test_firmware_brings_a_device_up_loses_it_and_gets_it_back(library, firmware):
    assert "errors told" in run(firmware, library)
