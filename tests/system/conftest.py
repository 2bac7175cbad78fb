"""Whole systems for tests; each model is built once."""

import pytest

from iovirt import preset
from iovirt_sim.system import System
from iovirt_sim.verilated import Design, Simulation, build


@pytest.fixture(scope="session")
def library():
    """Return a function from the name of a preset to its compiled model."""
    built = {}

    def get(name):
        if name not in built:
            built[name] = build(Design.of_full(preset(name)), say=print)
        return built[name]

    return get


@pytest.fixture
def make_system(library):
    """Return a function that makes a system of a preset."""
    opened = []

    def make(name="tiny", **options):
        opened.append(Simulation(library(name)))
        return System(opened[-1], preset(name), **options)

    yield make
    for simulation in opened:
        simulation.close()


@pytest.fixture
def system(make_system):
    """Return a system of the smallest preset."""
    return make_system()
