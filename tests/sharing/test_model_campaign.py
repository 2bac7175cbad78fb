"""Random hostile guests: no breach with all defences, and breaches as soon as one is off."""

import pytest

from iovirt_sim.models.sharing.campaign import CASES, run

SAFE = [name for name, (off, layout, options, _) in CASES.items()
        if name in ("all rules, no chaining, e not carried", "no chaining, e carried",
                    "chaining with e carried", "pieces, but fetch-once",
                    "the same, slot 511 barred", "device page 8 KiB")]


def play(name, lists, commands, **more):
    off, layout, options, last_slot = CASES[name]
    return run(commands, off=off, layout=layout, last_slot=last_slot,
               options={"lists": lists, "shuffle": True, **options}, **more)


@pytest.mark.parametrize("lists", ["exact", "page", 64, 512])
@pytest.mark.parametrize("name", SAFE)
def test_no_breach_happens(name, lists):
    world = play(name, lists, 300, seed=len(name))
    assert not world.monitor.breaches
    good = sum(status == 0 for _, _, status in world.device.executed)
    assert good > (5 if "pieces" in name else 30)       # not only denials


@pytest.mark.parametrize("name", [name for name in CASES if name not in SAFE])
def test_a_breach_happens_without_the_defence(name):
    found = set()
    for lists in ("exact", "page", 64):
        for seed in range(6):
            if "raw pointer" not in found:
                found |= set(play(name, lists, 400, seed=seed, stop=True).monitor.breaches)
    assert "raw pointer" in found


@pytest.mark.parametrize("sgl", [0.0, 0.9])
def test_scatter_gather_lists_do_not_breach(sgl):
    assert not run(1000, seed=5, sgl=sgl, options={"lists": 64}).monitor.breaches


def test_prefetching_and_rereading_devices_do_not_breach():
    for options in ({"prefetch": 3}, {"reread": True}, {"pieces": 16}, {"pieces": 4, "burst": 8}):
        assert not run(300, seed=2, options=options).monitor.breaches


@pytest.mark.parametrize(("off", "breach"), [
    ("colour", "foreign memory"), ("opcode", "foreign block"), ("opcode", "device-wide command"),
    ("range", "foreign block"), ("range65", "foreign block"), ("manager", "interrupt"),
    ("tail", "illegal doorbell"), ("head", "illegal doorbell"), ("typed_type", "raw pointer"),
])
def test_random_guests_find_the_missing_defence(off, breach):
    worlds = (run(400, seed=seed, off=(off,), sgl=0.5 if "typed" in off else 0.1)
              for seed in range(5))
    assert any(breach in world.monitor.breaches for world in worlds)


def test_random_guests_find_a_namespace_that_is_not_forced():
    world = run(600, seed=3, off=("nsid",), namespaces=True)
    assert "foreign namespace" in world.monitor.breaches
    assert not run(600, seed=3, namespaces=True).monitor.breaches
