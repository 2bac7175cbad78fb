"""State of the sharing block: guests, queues, and the log of breaches."""

from collections import Counter
from dataclasses import dataclass, field

__all__ = ["DEFENCES", "Guest", "Monitor", "Queue", "defences_off"]

#: Every defence that can be switched off alone: name -> what it prevents.
DEFENCES = {
    "colour":      "pointers get the colour, kind and key of the ring's owner",
    "low_bits":    "low bits of pointers are forced",
    "prp1_offset": "PRP2 is classified with the offset of PRP1",
    "chaining":    "PRP lists that need a link are denied",
    "slot_511":    "slot 511 is forced like the others",
    "typed_page":  "an SGL segment ends in its page and has whole descriptors",
    "halves":      "halves of a list entry never make a segment or a range together",
    "typed_type":  "descriptors are judged by their type",
    "mptr":        "pointers that the command does not use are poison",
    "once":        "an entry is fetched once a lap",
    "window":      "an entry is fetched only after it was granted",
    "opcode":      "opcodes that are not allowed are replaced",
    "nsid":        "the namespace is forced",
    "range":       "block ranges are checked",
    "range65":     "block ranges are checked without wrap-around",
    "key":         "the key of an address is compared",
    "guard":       "the guard bit is checked",
    "owner":       "a ring belongs to the colour of the address",
    "depth":       "ring accesses stay below the depth",
    "contain":     "a guest's fault is not answered by UR",
    "manager":     "manager ranges match only colour 0 and 64 bits",
    "doorbell":    "doorbells are of the guest's own queue and 32 bits",
    "tail":        "tails are in range and not backwards",
    "head":        "completion heads do not pass completions",
    "cq_space":    "commands are granted only while completions have room",
    "fair":        "guests are granted in turn, by weight",
    "buckets":     "command rates are limited",
    "freeze":      "a frozen guest is granted nothing",
}


def defences_off(*names):
    """Return the set of defences that are switched off, checked for spelling."""
    for name in names:
        if name not in DEFENCES:
            raise ValueError(f"defence must be one of {', '.join(DEFENCES)}, not {name!r}")
    return frozenset(names)


class Monitor:
    """Judge of the campaign: knows what no hardware can know, and counts breaches by name."""

    def __init__(self):
        self.breaches = Counter()
        self.records = Counter()

    def breach(self, name):
        """Count a breach: something happened that must never happen."""
        self.breaches[name] += 1

    def record(self, name):
        """Count an event that hardware records."""
        self.records[name] += 1


@dataclass
class Guest:
    """A guest: its colour, the key of this generation, its memory, and its state.

    `state` is one of off, run, freeze, quarantine. `memory` is what the guest controls, `rings` is
    pinned memory: the guest writes it, but cannot unmap it.
    """

    colour: int
    key: int
    memory: object
    parameters: tuple
    rings: dict = field(default_factory=dict)
    state: str = "run"
    weight: int = 1
    fatal: bool = False                             # virtual CSTS.CFS

    @property
    def blocks(self):
        """Blocks of the guest, as a range."""
        return range(self.parameters[2], self.parameters[2] + self.parameters[3])


@dataclass
class Queue:
    """A ring: its owner's colour, template, depth; fetch-once map and granted tail if fetched."""

    owner: int
    template: int
    depth: int
    shift: int = 9
    window: int = 64
    first: int = 0                                  # oldest index that was not fetched yet
    fetched: int = 0                                # bit n: index first + n was fetched
    granted: int = 0                                # tail, as the device may know it
    kept: dict = field(default_factory=dict)        # patched entries, for templates that keep
    completed: object = None                        # called for every completion entry
    charge: object = None                           # called with the bytes of each good entry
    next_write: int = 0                             # slot of the next completion entry

    def allow(self, index, off=frozenset()):
        """Tell whether this fetch of an entry is its first one in its lap, and note it."""
        distance = (index - self.first) % self.depth
        inside = distance < min((self.granted - self.first) % self.depth, self.window)
        fresh = inside and not self.fetched >> distance & 1
        if fresh:
            self.fetched |= 1 << distance
        while self.fetched & 1:
            self.fetched >>= 1
            self.first = (self.first + 1) % self.depth
        return fresh or "once" in off or "window" in off
