"""Build device directories and second-stage tables in a simulated memory (RISC-V IOMMU 1.0, 2.1;
RISC-V privileged architecture, hypervisor extension, for the tables).
"""

__all__ = ["MODES", "PTE", "SecondStage", "TableBuilder"]

PAGE = 4096
#: iohgatp.MODE, levels.
MODES = {"Sv39x4": (8, 3), "Sv48x4": (9, 4), "Sv57x4": (10, 5)}


class PTE:
    """Bits of a page-table entry."""

    V, R, W, X, U, G, A, D = (1 << bit for bit in range(8))
    N = 1 << 63
    #: What an ordinary data page has.
    DATA = V | R | W | U | A | D


class TableBuilder:
    """Puts tables into ``memory``, a dict of 64-bit words by address (absent words are 0).

    Pages come from ``[base, limit)``. ``classify(page, kind, domain, iova)`` is called for each
    page of a table, with what it holds ("ddt", "pointer", "leaf"): measuring tools want to know.
    """

    def __init__(self, memory, *, base, limit, classify=None):
        self.memory   = memory
        self.next     = base
        self.limit    = limit
        self.classify = classify or (lambda *_: None)

    def allocate(self, pages=1, *, align=1):
        """Return the address of fresh pages, aligned to ``align`` pages."""
        size = align * PAGE
        address = -(-self.next // size) * size
        if address + pages * PAGE > self.limit:
            raise MemoryError(f"Tables must fit below {self.limit:#x}; {pages} pages more do not")
        self.next = address + pages * PAGE
        return address

    def directory(self, levels):
        """Return the address of an empty device directory of base-format contexts."""
        if levels not in (1, 2, 3):
            raise ValueError(f"Levels must be 1, 2 or 3, not {levels!r}")
        return self._table("ddt")

    def device_context(self, directory, levels, device_id, *, tc=1, iohgatp=0, ta=0, fsc=0):
        """Write the context of a device; return its address."""
        if device_id >> (7, 16, 24)[levels - 1]:
            raise ValueError(f"Device must fit {levels} levels of the directory, not "
                             f"{device_id:#x}")
        table = directory
        for level in range(levels - 1, 0, -1):
            index = device_id >> 16 if level == 2 else device_id >> 7 & 0x1ff
            table = self._descend(table + index * 8, "ddt")
        address = table + (device_id & 0x7f) * 32
        # The word that makes it valid comes last.
        for offset, word in ((8, iohgatp), (16, ta), (24, fsc), (0, tc)):
            self.memory[address + offset] = word
        return address

    def second_stage(self, mode, *, gscid):
        """Return an empty :class:`SecondStage`."""
        return SecondStage(self, mode, gscid)

    def _table(self, kind, *, pages=1, domain=0, iova=0):
        address = self.allocate(pages, align=pages)
        for n in range(pages):
            self.classify(address + n * PAGE, kind, domain, iova)
        return address

    def _descend(self, slot, kind, **what):
        """Return the table that the entry at ``slot`` points to, made if it is missing."""
        entry = self.memory.get(slot, 0)
        if not entry & 1:
            table = self._table(kind, **what)
            self.memory[slot] = table >> 12 << 10 | 1
            return table
        return entry >> 10 << 12 & (1 << 56) - 1


class SecondStage:
    """One second-stage address space: guest physical to system physical."""

    def __init__(self, builder, mode, gscid):
        self.builder = builder
        self.gscid   = gscid
        self.number, self.levels = MODES[mode]
        # The root is four pages, because its index is two bits wider.
        self.root = builder._table("pointer", pages=4)

    @property
    def iohgatp(self):
        """Value of the field of a device context."""
        return self.number << 60 | self.gscid << 44 | self.root >> 12

    def slot(self, gpa, *, level=0):
        """Return the address of the entry of ``gpa`` at ``level``; tables above it are made."""
        if gpa >> (12 + 9 * self.levels + 2):
            raise ValueError(f"Guest address must fit {self.levels} levels, not {gpa:#x}")
        table = self.root
        for at in range(self.levels - 1, level, -1):
            region = gpa >> 12 + 9 * at << 12 + 9 * at
            table = self.builder._descend(
                table + self._index(gpa, at) * 8, "leaf" if at == 1 else "pointer",
                domain=self.gscid, iova=region)
        return table + self._index(gpa, level) * 8

    def map(self, gpa, spa, *, level=0, flags=PTE.DATA, napot=False):
        """Map the page of 4 KiB, 2 MiB (level 1), ... at ``gpa``, or, if ``napot``, of 64 KiB."""
        count, bits = (16, 16) if napot else (1, 12 + 9 * level)
        if spa & (1 << bits) - 1 or gpa & (1 << bits) - 1:
            raise ValueError(f"Addresses must be multiples of {1 << bits:#x}, not {gpa:#x} and "
                             f"{spa:#x}")
        entry = spa >> 12 << 10 | flags | (PTE.N | 1 << 13 if napot else 0)
        for n in range(count):
            self.builder.memory[self.slot(gpa + n * PAGE, level=level)] = entry

    def unmap(self, gpa, *, level=0):
        """Clear the entry of ``gpa``."""
        self.builder.memory[self.slot(gpa, level=level)] = 0

    def _index(self, gpa, level):
        bits = 11 if level == self.levels - 1 else 9
        return gpa >> 12 + 9 * level & (1 << bits) - 1
