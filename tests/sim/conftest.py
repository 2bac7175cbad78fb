"""Systems with modelled devices that nobody shares."""

import pytest

from iovirt import preset
from iovirt_sim.sharing import PlainNicSystem, PlainSystem
from iovirt_sim.verilated import Design, Simulation, build


@pytest.fixture(scope="session")
def bench_library():
    return build(Design.of_full(preset("tiny")))


def makers(bench_library, kind):
    opened = []

    def make(**options):
        opened.append(Simulation(bench_library))
        return kind(opened[-1], preset("tiny"), **options)

    yield make
    for simulation in opened:
        simulation.close()


@pytest.fixture
def make_plain(bench_library):
    """Return a function that makes a system with a controller of these options."""
    yield from makers(bench_library, PlainSystem)


@pytest.fixture
def make_nic(bench_library):
    """Return a function that makes a system with a NIC of these options."""
    yield from makers(bench_library, PlainNicSystem)
