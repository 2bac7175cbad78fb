"""Worlds for attacks: the model, and the hardware with switches for its defences."""

import pytest
from tests.sharing.rtl_world import CONFIG, RtlWorld

from iovirt_sim.models.sharing.nvme import Options
from iovirt_sim.models.sharing.tables import defences_off
from iovirt_sim.models.sharing.world import World
from iovirt_sim.verilated import Design, Simulation, build


@pytest.fixture(scope="session")
def weak_library():
    """Return a function that compiles the hardware, once, and returns its library."""
    built = []

    def get():
        if not built:
            built.append(build(Design.of_weak(CONFIG), say=print))
        return built[0]

    return get


@pytest.fixture
def simulation(weak_library):
    """Return a simulation of the hardware."""
    with Simulation(weak_library()) as sim:
        yield sim


@pytest.fixture
def rtl(weak_library):
    """Return a function that makes a world of the hardware, with defences switched off."""
    opened = []

    def make(*off, **options):
        opened.append(Simulation(weak_library()))
        return RtlWorld(opened[-1], off=off, **options)

    yield make
    for simulation in opened:
        simulation.close()


def model(*off, **options):
    """Make a world of the model."""
    return World(off=defences_off(*off), **{"options": Options(payload=True), **options})


@pytest.fixture(params=[
    "model", pytest.param("rtl", marks=[pytest.mark.slow,
                                        pytest.mark.xdist_group("verilated_weak")])])
def make(request):
    """Return a function that makes a world: of the model, and of the hardware."""
    return model if request.param == "model" else request.getfixturevalue("rtl")
