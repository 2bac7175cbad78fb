"""Random adversarial campaign: hostile guests against the patcher, with seeds.

Run `python -m iovirt_sim.models.sharing.campaign [commands]` for the table of breaches.
"""

import sys

from .address import AddressLayout
from .hostile import HostileRing, hostile_memory
from .nvme import Options
from .tables import defences_off
from .world import World

__all__ = ["CASES", "play", "run"]

#: Layout that carries e in list addresses: 36-bit offsets, 16-bit keys, 10 of them e in lists.
CARRIED = AddressLayout(offset=(0, 36), guard=(36, 1), kind=(37, 3), colour=(40, 8), key=(48, 16),
                        entries=10)

#: Rows of the digest: name -> (defences off, layout, options of the device, slot 511 allowed).
CASES = {
    "all rules, no chaining, e not carried": ((), None, {}, 1),
    "no chaining, e carried":                ((), CARRIED, {}, 1),
    "chaining with e carried":               (("chaining",), CARRIED, {}, 1),
    "chaining, e not carried":               (("chaining",), None, {}, 1),
    "low bits not forced, device honours":   (("low_bits",), None, {"honours_low": True}, 1),
    "in-line metadata unknown to patcher":   ((), None, {"metadata": 8}, 1),
    "entry fetched in two pieces":           (("once",), None, {"pieces": 32}, 1),
    "pieces, but fetch-once":                ((), None, {"pieces": 32}, 1),
    "PRP1 offset ignored":                   (("prp1_offset",), None, {}, 1),
    "device always links at slot 511":       ((), None, {"always_link": True}, 1),
    "the same, slot 511 barred":             ((), None, {"always_link": True}, 0),
    "device page 8 KiB":                     ((), None, {"page": 8192}, 1),
}


def run(commands=500, *, seed=1, off=(), options=None, layout=None, last_slot=1, guests=3,
        namespaces=False, sgl=0.1, stop=False):
    """Let hostile guests issue commands; return the world. `stop`: end at the first breach."""
    world = World(guests=guests, seed=seed, options=Options(**(options or {})), layout=layout,
                  off=defences_off(*off), last_slot=last_slot, memory=hostile_memory,
                  ring=lambda world, colour: HostileRing(world, colour, sgl), depth=32,
                  namespaces=namespaces)
    return play(world, commands, stop=stop)


def play(world, commands, *, stop=False):
    """Ring doorbells at random and let the device work, until it has executed ``commands``."""
    rng = world.rng
    for _ in range(20 * commands):
        if len(world.device.executed) >= commands or world.device.dead:
            break
        for colour in world.guests:
            pair = world.pair(colour)
            wanted = rng.choice((rng.randrange(world.depth), rng.randrange(1 << 32),
                                 (pair.requested + rng.randrange(1, 8)) % world.depth))
            world.scheduler.doorbell(colour, rng.choice((0x1008, 0x1008, 0x1008, 0x100c, 0x1010)),
                                     wanted, rng.choice((4, 4, 4, 8, 2)))
        world.scheduler.step()
        world.device.step()
        for colour, guest in world.guests.items():
            world.drain(colour)
            guest.state, guest.fatal = "run", False     # the manager lets it try again
        if stop and world.monitor.breaches:
            break
    return world


def main(commands):
    """Print the table of breaches."""
    for name, (off, layout, options, last_slot) in CASES.items():
        total = {}
        for lists in ("exact", "page", 64):
            world = run(commands, off=off, layout=layout, last_slot=last_slot,
                        options={"lists": lists, "shuffle": True, **options})
            for kind, count in world.monitor.breaches.items():
                total[kind] = total.get(kind, 0) + count
        print(f"{name:40} {total or 0}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
