"""Random adversarial campaign on the hardware: hostile guests beside honest ones, no breach.

``IOVIRT_CAMPAIGN`` is the number of commands of hostile guests, over all seeds.
"""

import os
from collections import Counter

import pytest
from tests.sharing.campaign_world import CampaignWorld

from iovirt_sim.models.sharing.nvme import Options

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("verilated_weak")]

COMMANDS = int(os.environ.get("IOVIRT_CAMPAIGN", "100000"))
#: How devices behave, by seed: lists in pieces, ends of commands, entries at once.
DEVICES = [
    (Options(lists="exact", patience=4), 8, .1),
    (Options(lists="page", patience=4), 64, .1),
    (Options(lists=64, patience=3), 1, .5),
    (Options(lists=512, patience=3), 5, .9),
]


def play(sim, commands, seed, *, device=0, off=(), hostile=2, guests=3, stop=False):
    """Run rounds until hostile guests have had so many commands executed; return the world."""
    options, whole, sgl = DEVICES[device]
    world = CampaignWorld(sim, hostile=hostile, guests=guests, options=options, whole=whole,
                          sgl=sgl, seed=seed, off=off)
    done = 0
    while done < commands and not (stop and world.monitor.breaches):
        before = len(world.executed)
        world.round(48)
        assert len(world.executed) > before, "commands must go on"
        done = sum(colour <= hostile for colour, _ in world.executed)
    return world


@pytest.mark.parametrize("seed", range(len(DEVICES)))
def test_no_breach_happens(simulation, seed):
    world = play(simulation, COMMANDS // len(DEVICES), seed, device=seed)
    assert not world.monitor.breaches and not world.leaked()
    states = Counter((colour in world.honest, status) for colour, status in world.executed)
    assert states[False, 0] > 50 and states[False, 1] > 50      # neither all denied nor all good
    assert states[True, 0] == sum(count for (honest, _), count in states.items() if honest)


@pytest.mark.parametrize(("off", "device", "found"), [
    ("colour", 0, "foreign pointer"), ("opcode", 0, "device-wide command"),
    ("range", 0, "foreign block"), ("range65", 0, "foreign block"),
    ("prp1_offset", 0, "raw pointer"), ("chaining", 0, "raw pointer"),
    ("typed_type", 3, "raw pointer"), ("halves", 2, "raw pointer"),
    ("tail", 0, "illegal doorbell"), ("head", 0, "illegal doorbell"),
])
def test_a_breach_is_found_without_the_defence(simulation, off, device, found):
    for seed in range(6):
        world = play(simulation, 800, seed, device=device, off=(off,), stop=True)
        if found in world.monitor.breaches:
            break
    assert found in world.monitor.breaches
