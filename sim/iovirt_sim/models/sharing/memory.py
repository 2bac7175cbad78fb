"""Memory of guests: honest pages, and memory whose contents change at every read."""

from collections import defaultdict

from .address import PAGE

__all__ = ["HostileMemory", "Memory"]


class Memory:
    """Pages that keep what was written; `unmap` and `hooks` are for attacks.

    `hooks` maps a page number to a function that is called before each read of that page.
    """

    def __init__(self):
        self.pages = defaultdict(lambda: bytearray(PAGE))
        self.unmapped = set()
        self.hooks = {}

    def mapped(self, offset):
        """Tell whether the translation of an offset succeeds."""
        return offset // PAGE not in self.unmapped

    def read(self, offset, length, kind=0):
        """Read bytes inside one page."""
        page, start = divmod(offset, PAGE)
        if page in self.hooks:
            self.hooks[page](self)
        return bytes(self.pages[page][start:start + length])

    def write(self, offset, data):
        """Write bytes, across pages if need be."""
        while data:
            page, start = divmod(offset, PAGE)
            part = data[:PAGE - start]
            self.pages[page][start:start + len(part)] = part
            offset, data = offset + len(part), data[len(part):]

    def load(self, offset, length):
        """Read bytes as the guest itself, across pages."""
        result = b""
        while length:
            part = min(length, PAGE - offset % PAGE)
            page, start = divmod(offset, PAGE)
            result += bytes(self.pages[page][start:start + part])
            offset, length = offset + part, length - part
        return result


class HostileMemory:
    """Memory that gives fresh adversarial contents at every read, and forgets writes.

    Parameters
    ----------
    pointer : function that returns a pointer; every word of data and lists is one.
    """

    def __init__(self, pointer):
        self.pointer = pointer
        self.unmapped = set()

    def mapped(self, offset):
        """Tell whether the translation of an offset succeeds."""
        return offset // PAGE not in self.unmapped

    def read(self, offset, length, kind=0):
        """Return pointers, or descriptors for typed lists (kinds 2 and 3)."""
        lead, first = offset % 8, offset // 8
        words = [self.pointer() for _ in range(-(-(lead + length) // 8))]
        for n in range(len(words)):
            if kind in (2, 3) and (first + n + kind) % 2:
                types = (0, 0, 0x20, 0x30, 0x30, 0x10, 0x40, 0x01)
                lengths = (16, 32, 64, 512, 4096)
                words[n] = types[words[n] >> 12 & 7] << 56 | lengths[words[n] >> 15 & 3]
        return b"".join(word.to_bytes(8, "little") for word in words)[lead:lead + length]

    def write(self, offset, data):
        """Forget the data."""
