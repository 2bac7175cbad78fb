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
        """Return pointers."""
        lead = offset % 8
        words = -(-(lead + length) // 8)
        return b"".join(self.pointer().to_bytes(8, "little")
                        for _ in range(words))[lead:lead + length]

    def write(self, offset, data):
        """Forget the data."""
