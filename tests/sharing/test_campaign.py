"""Random adversarial campaign on the hardware: hostile guests beside honest ones, no breach.

Devices and guests are C++ models in the bench, so that a command costs no call of Python. The
monitor looks at every address that the device uses, at blocks, doorbells, and at data of honest
guests in the memory of hostile ones. ``IOVIRT_CAMPAIGN`` is the number of commands of hostile
guests, over all devices.
"""

import os

import pytest
from tests.sharing.rtl_world import CONFIG, weakness

from iovirt_sim.drivers import Rates
from iovirt_sim.sharing import SharedSystem

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("verilated_weak")]

COMMANDS = int(os.environ.get("IOVIRT_CAMPAIGN", "100000"))
BREACHES = ("foreign", "wrong_kind", "foreign_block", "foreign_namespace", "device_command",
            "bad_doorbell", "backward_doorbell", "leaks", "failed")
TEMPLATES = ("nvme_prp",)
#: How devices behave; what hostile guests do.
DEVICES = {
    "honest":  ({}, {}),
    "pieces":  ({"lists": 64, "burst": 8, "shuffle": 1, "completions": 1}, {"sgl": 128}),
    "pages":   ({"lists": 1, "burst": 1, "completions": 2, "jitter": 200}, {"scribble": 16}),
    "rereads": ({"lists": 512, "reread": 1, "odd_share": 64}, {"sgl": 64}),
    "halves":  ({"pieces": 32, "odd_share": 128}, {"sgl": 128}),
    "ahead":   ({"prefetch": 4, "odd_share": 128, "duplicate": 1}, {"wild": 160}),
}


def play(sim, name, commands, *, off=(), honest=2, hostile=3, seed=1):
    """Let guests do so many commands; return the system and its events."""
    device, how = DEVICES[name]
    sim.set(weaken=0)
    sim.clear_memory()
    system = SharedSystem(sim, CONFIG, templates=TEMPLATES, seed=seed, **{
        "touch": 8, "touch_queues": (1 << hostile) - 1 << 1, "latency": 20,
        "odd_queues": (1 << hostile) - 1 << 1, **device})
    # What an odd device never completes counts, so no guest may have all that is in flight.
    rates = Rates(weight=4, limit=16)
    for n in range(hostile):
        system.add(kind="hostile", rates=rates, **{"seed": 100 * seed + n, **how})
    tenants = [system.add(kind="linux", most_blocks=32) for _ in range(honest)]
    sim.set(weaken=weakness(*off))
    events = system.campaign(commands // hostile, honest=min(commands // hostile, 300))
    return system, tenants, events


@pytest.mark.parametrize("device", DEVICES)
def test_no_breach_happens(simulation, device):
    system, tenants, events = play(simulation, device, COMMANDS // len(DEVICES))
    counts = system.monitor()
    assert {name: counts[name] for name in BREACHES} == dict.fromkeys(BREACHES, 0)
    assert counts["uses"] > 1000 and not system.wrongs_of(events)
    for tenant in tenants:
        for driver in tenant.drivers:
            seen = driver.counts()
            assert seen["bytes_checked"] > 0 and not tenant.resets
            assert [seen[name] for name in ("errors", "mismatches", "strays", "leaks")] == [0] * 4


@pytest.mark.parametrize(("off", "device", "found"), [
    ("colour", "honest", "foreign"), ("opcode", "honest", "device_command"),
    ("range", "honest", "foreign_block"), ("nsid", "honest", "foreign_namespace"),
    ("prp1_offset", "honest", "wrong_kind"), ("typed_type", "pieces", "wrong_kind"),
    ("chaining", "honest", "wrong_kind"),
    ("head", "honest", "bad_doorbell"),
])
def test_a_breach_is_found_without_the_defence(simulation, off, device, found):
    for seed in range(1, 5):
        system, _, _ = play(simulation, device, 3000, off=(off,), honest=0, seed=seed)
        if system.monitor()[found]:
            return
    pytest.fail(f"nothing of {found} was found without {off}")
