"""Memory of the reference model: 64-bit words, and ranges that fail."""

__all__ = ["AccessFault", "Corruption", "WordMemory"]


class AccessFault(Exception):
    """The access was refused."""


class Corruption(Exception):
    """The data is poisoned."""


class WordMemory:
    """Sparse memory of 64-bit words; what was never written reads as 0.

    Parameters
    ----------
    words : mapping of 8-byte aligned addresses to words.
    bad : list of (address, length, kind), kind "access" or "poison".
    """

    def __init__(self, words=(), bad=()):
        self.words = dict(words)
        self.bad = list(bad)

    def _check(self, address, size):
        for start, length, kind in self.bad:
            if address < start + length and start < address + size:
                raise AccessFault if kind == "access" else Corruption

    def load(self, address):
        """Return the word at ``address`` without any fault (for the testbench)."""
        return self.words.get(address, 0)

    def read(self, address, count=1, *, limit):
        """Return ``count`` words, of an access that faults at ``limit`` and beyond."""
        if address + 8 * count > limit:
            raise AccessFault
        self._check(address, 8 * count)
        return [self.words.get(address + 8 * n, 0) for n in range(count)]

    def write(self, address, words, *, limit):
        """Write ``words``; a write to a bad range fails whatever the kind."""
        if address + 8 * len(words) > limit:
            raise AccessFault
        try:
            self._check(address, 8 * len(words))
        except Corruption:
            raise AccessFault from None
        for n, word in enumerate(words):
            self.words[address + 8 * n] = word

    def write_half(self, address, value, *, limit):
        """Write a 4-byte value."""
        if address + 4 > limit:
            raise AccessFault
        try:
            self._check(address, 4)
        except Corruption:
            raise AccessFault from None
        base, shift = address & ~7, (address & 4) * 8
        word = self.words.get(base, 0)
        self.words[base] = word & ~(0xFFFFFFFF << shift) | value << shift
