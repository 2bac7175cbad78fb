"""Systems with the bench's NVMe controller; nothing is shared."""

import pytest

from iovirt import preset
from iovirt_sim.sharing import PlainSystem
from iovirt_sim.verilated import Design, Simulation, build


@pytest.fixture(scope="session")
def nvme_library():
    return build(Design.of_full(preset("tiny")))


@pytest.fixture
def make_plain(nvme_library):
    """Return a function that makes a system with a device of these options."""
    opened = []

    def make(**options):
        opened.append(Simulation(nvme_library))
        return PlainSystem(opened[-1], preset("tiny"), **options)

    yield make
    for simulation in opened:
        simulation.close()
