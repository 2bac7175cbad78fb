"""Coloured addresses: {key, colour, kind, guard, offset}, with programmable positions."""

from dataclasses import dataclass
from typing import NamedTuple

from .layout import KINDS

__all__ = ["LISTS", "PAGE", "AddressLayout", "Parts"]

PAGE  = 4096
LISTS = {KINDS[name] for name in ("prp_list", "typed_list", "typed_list_8", "range_list")}


class Parts(NamedTuple):
    """The fields of a coloured address; `entries` is e of a PRP list, if the layout carries it."""

    key: int
    colour: int
    kind: int
    guard: int
    offset: int
    entries: int = 0


@dataclass(frozen=True)
class AddressLayout:
    """Positions of the fields: (lowest bit, width).

    Parameters
    ----------
    entries : width of e, the number of slots in use, in the lowest key bits of PRP list addresses;
        0: not carried.
    ring : bits of a ring's offset that count bytes; the queue index is above them.
    """

    offset: tuple = (0, 40)
    guard: tuple = (40, 1)
    kind: tuple = (41, 3)
    colour: tuple = (44, 8)
    key: tuple = (52, 12)
    entries: int = 0
    ring: int = 22

    def __post_init__(self):
        fields = sorted((self.offset, self.guard, self.kind, self.colour, self.key))
        ends = [low + width for low, width in fields if width]
        starts = [low for low, width in fields if width][1:]
        if any(end > start for end, start in zip(ends, [*starts, 64], strict=True)):
            raise ValueError(f"address fields must be disjoint and in 64 bits, not {fields!r}")
        if self.guard != (sum(self.offset), 1):
            raise ValueError(f"guard must be the bit above the offset, not {self.guard!r}")
        if self.offset[0] != 0 or self.offset[1] < 32:
            raise ValueError(f"offset must start at bit 0 and have >= 32 bits, not {self.offset!r}")
        if self.entries and self.key[1] - self.entries < 6:
            raise ValueError(f"key must have 6 bits beside e, not {self.key[1] - self.entries!r}")

    def take(self, address, name):
        """Return one field of an address."""
        low, width = getattr(self, name)
        return address >> low & (1 << width) - 1

    def unpack(self, address):
        """Split an address into its fields."""
        parts = [self.take(address, name) for name in ("key", "colour", "kind", "guard", "offset")]
        entries = 0
        if self.entries and parts[2] == KINDS["prp_list"]:
            entries = parts[0] & (1 << self.entries) - 1
            parts[0] &= -1 << self.entries
        return Parts(*parts, entries)

    def pack(self, key, colour, kind, offset, guard=0, entries=0):
        """Build an address."""
        if self.entries and kind == KINDS["prp_list"]:
            key = key & -1 << self.entries | entries
        address = 0
        for name, value in (("key", key), ("colour", colour), ("kind", kind), ("guard", guard),
                            ("offset", offset)):
            low, width = getattr(self, name)
            address |= (value & (1 << width) - 1) << low
        return address

    def own_key(self, parts, key):
        """Tell whether the key in an address is the one that its colour has now."""
        if self.entries and parts.kind == KINDS["prp_list"]:
            key &= -1 << self.entries
        return parts.key == key

    def poison(self, key, colour):
        """Return an address that is denied whoever uses it, with any small length added to it."""
        return self.pack(key, colour, KINDS["poison"], 0, guard=1)
