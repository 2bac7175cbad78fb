"""Shares, bandwidth, latency and resets of a shared device, through the whole block."""

from ..drivers import Rates
from ..verilated import Design, open_simulation
from .sharing_rig import DEPTH, Rig

__all__ = ["GOALS", "jain", "measure_sharing", "run_sharing"]

#: What the block is meant to reach, by the name of a result: (value, whether more is better).
GOALS = {"jain": (.99, True), "weight_error": (.02, False), "large_read": (.99, True),
         "large_write": (.99, True), "small_read": (.95, True), "small_write": (.95, True)}
COMMANDS, GUESTS = 4000, 8
BOUND = 2000


def jain(values):
    """Return Jain's index of fairness, 1 if all are equal."""
    return sum(values) ** 2 / (len(values) * sum(value * value for value in values))


def contend(sim, config, weights):
    """Let guests ask for more than the device takes; return how many commands each was granted."""
    rig = Rig(sim, config, guests=len(weights), most=16, burst=4,
              rates={n: Rates(weight=weight) for n, weight in enumerate(weights, 1)})
    slots = dict.fromkeys(rig.tails, 0)
    for guest in rig.tails:
        rig.prepare(guest, DEPTH)
        rig.ask(guest, DEPTH - 1)
    granted, work = dict.fromkeys(rig.tails, 0), []
    while sum(granted.values()) < COMMANDS:
        rig.program.run(100)
        # What was granted is fetched and completed; the guests read it and ask for as much again.
        for guest, tail in rig.doorbells(rig.system.run()):
            work += [(guest, (slots[guest] + n) % DEPTH) for n in range((tail - slots[guest])
                                                                        % DEPTH)]
            slots[guest] = tail
        for guest, slot in work:
            granted[guest] += 1
            rig.fetch(guest, slot)
        rig.program.wait()
        for guest, slot in work:
            rig.complete(guest, slot)
        rig.program.run(100)
        for guest in sorted({guest for guest, _ in work}):
            rig.driver.ring_doorbell(guest, 1, slots[guest], 1)
            rig.ask(guest, sum(owner == guest for owner, _ in work))
        work = []
    return list(granted.values())


def _clocks(rig, append):
    """Return the clocks of what ``append`` adds to the program."""
    rig.program.wait()
    rig.system.run()
    rig.program.mark()
    append()
    rig.program.wait()
    rig.program.mark()
    marks = [event.values[0] for event in rig.system.run() if event.kind == "mark"]
    return marks[-1] - marks[0]


def bandwidth(sim, config, *, pages, write, shared):
    """Return bytes per clock of commands that were granted before: fetch, data, completion."""
    guests = min(GUESTS, config.vf.guests - 1)
    rig = Rig(sim, config, guests=guests, shared=shared)
    count = 4 if pages > 2 else 32
    for guest in rig.tails:
        rig.prepare(guest, count, pages)
        if shared:
            rig.ask(guest, count)
    rig.program.run(4000)
    rig.system.run()

    def work():
        for slot in range(count):
            for guest in rig.tails:
                rig.fetch(guest, slot)
                rig.move(guest, slot, pages, write=write)
                rig.complete(guest, slot)

    return guests * count * pages * 4096 / _clocks(rig, work)


def fetch_clocks(sim, config, shared):
    """Return clocks of the read of one entry in an idle block, its translation cached."""
    rig, clocks = Rig(sim, config, guests=1, shared=shared), []
    rig.prepare(1, 16)
    if shared:
        rig.ask(1, 16)
    rig.program.run(1000)
    for slot in range(16):
        clocks.append(_clocks(rig, lambda slot=slot: rig.fetch(1, slot)))
    return min(clocks[1:])


def reset(sim, config, *, hung):
    """Reset a guest while others move data; return a :class:`Reset`."""
    rig = Rig(sim, config, guests=4)
    for guest in rig.tails:
        rig.prepare(guest, 16, 8)
        rig.ask(guest, 16)
    rig.program.run(1000)
    rig.system.run()
    if not hung:
        for slot in range(16):
            rig.fetch(1, slot)
        rig.program.wait()
        # The device completes the commands while the guest is drained.
        for slot in range(16):
            rig.complete(1, slot)
    for slot in range(16):
        for guest in rig.tails:
            if guest != 1:
                rig.fetch(guest, slot)
                rig.move(guest, slot, 1, write=True)
    return rig.driver.reset_guest(1, 0x777, bound=BOUND)


def measure_sharing(sim, config):
    """Return the results as ``[{name, value, unit, what, goal}]``."""
    results = []

    def add(name, value, unit, what):
        goal, _ = GOALS.get(name, (None, None))
        results.append({"name": name, "value": round(value, 4), "unit": unit, "what": what,
                        "goal": goal})

    guests = min(GUESTS, config.vf.guests - 1)
    equal = contend(sim, config, [1] * guests)
    add("jain", jain(equal), "", f"Jain's index of commands of {guests} guests with equal weights")
    weights = [1, 2, 3, 4]
    shares = contend(sim, config, weights)
    error = max(abs(share * sum(weights) / (weight * sum(shares)) - 1)
                for share, weight in zip(shares, weights, strict=True))
    add("weight_error", error, "", "largest error of a share, weights 1 to 4")
    for name, pages, write in (("large_read", 32, False), ("large_write", 32, True),
                               ("small_read", 1, False), ("small_write", 1, True)):
        own, mine = (bandwidth(sim, config, pages=pages, write=write, shared=shared)
                     for shared in (False, True))
        size = f"{4 * pages} KiB, device {'writes' if write else 'reads'}"
        add(f"{name}_rate", mine, "bytes/clk", f"commands of {size}")
        add(name, mine / own, "", "the same, of what the device has when it is not shared")
    own, mine = (fetch_clocks(sim, config, shared) for shared in (False, True))
    add("added_clocks", mine - own, "clocks", f"more than {own} from the read of an entry to it")
    for hung in (False, True):
        done = reset(sim, config, hung=hung)
        name = "reset_hung" if hung else "reset"
        add(f"{name}_clocks", done.total, "clocks", "reset of a guest with 16 commands in flight"
            + (f", device hangs, bound {BOUND}" if hung else ""))
        add(f"{name}_fence_clocks", done.clocks["fence"], "clocks",
            "of these, invalidation and fence, while others write")
    return results


def run_sharing(config, *, say=None):
    """Measure sharing of a configuration."""
    with open_simulation(Design.of_full(config), say=say) as sim:
        return measure_sharing(sim, config)
