"""Data on its way to the device, and the owner on whose behalf it is patched."""

from typing import NamedTuple

__all__ = ["Data", "Owner"]


class Data(NamedTuple):
    """Bytes with a flag each: 1 where the patcher wrote an address (known by the model only)."""

    value: bytes
    forged: bytes

    @classmethod
    def plain(cls, value):
        """Wrap bytes that are as the guest wrote them."""
        return cls(bytes(value), bytes(len(value)))

    def pointer(self, at):
        """Return the pointer at a byte offset, and whether the guest wrote any part of it."""
        return int.from_bytes(self.value[at:at + 8], "little"), 0 in self.forged[at:at + 8]

    def number(self, at, size):
        """Return a little-endian number."""
        return int.from_bytes(self.value[at:at + size], "little")

    def __getitem__(self, part):
        return Data(self.value[part], self.forged[part])

    def join(self, other):
        """Append other data."""
        return Data(self.value + other.value, self.forged + other.forged)


class Owner(NamedTuple):
    """What an entry is checked against: owner of the ring or list, and its parameters."""

    layout: object
    colour: int
    key: int
    parameters: tuple
    shift: int = 9          # log2 of the block size
    off: frozenset = frozenset()

    def address(self, kind, pointer, low, entries=0):
        """Force everything of a pointer but its offset; clear its `low` lowest bits."""
        if "colour" in self.off:
            return pointer
        offset = self.layout.take(pointer, "offset")
        if "low_bits" not in self.off:
            offset = offset >> low << low
        return self.layout.pack(self.key, self.colour, kind, offset, entries=entries)

    @property
    def poison(self):
        """An address of the owner that nobody may use."""
        return self.layout.poison(self.key, self.colour)
