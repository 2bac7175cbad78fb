"""Recorded DMA of Linux: the file format, strictly."""

import io
from dataclasses import dataclass
from pathlib import Path

import zstandard

__all__ = ["TraceError", "TraceRow", "read_trace"]

FIELDS = ("seq", "t_ns", "kind", "rid", "addr", "len", "rw", "gpa", "lg_psz", "dom", "p0", "p1",
          "p2", "p3")
#: Kinds that a replay has no use for; their fields are not looked at.
SKIPPED = frozenset({"iecinval", "ioapic", "mark", "dmar_enable", "fault", "iommu_irq", "invother"})
KINDS = SKIPPED | {"dma", "inval", "ccinval", "invwait", "msi"}
PAGE = 4096


class TraceError(ValueError):
    """A line breaks the format. Names file, line, field, rule and value."""


@dataclass(slots=True)
class TraceRow:
    """One row; what its kind does not have is 0.

    ``scope`` is "G", "D", "P" or "S" of an invalidation. ``reach`` counts the bytes from ``addr``
    to the end of the whole access; ``present`` has a bit for each page of the aligned group of 8.
    ``data`` and ``index`` are the data and the table entry of an interrupt.
    """

    seq: int
    kind: str
    rid: int = 0
    addr: int = 0
    length: int = 0
    write: bool = False
    gpa: int = 0
    dom: int = 0
    scope: str = ""
    reach: int = 0
    present: int = 0
    data: int = 0
    index: int = 0


def read_trace(path, *, limit=None):
    """Yield a :class:`TraceRow` per line of a ``.csv`` or ``.csv.zst`` file, up to ``limit``."""
    try:
        raw = Path(path).open("rb")
    except OSError as error:
        raise TraceError(f"{path}: file must be readable: {error.strerror}") from None
    with raw:
        stream = zstandard.ZstdDecompressor().stream_reader(raw) if Path(path).suffix == ".zst" \
            else raw
        number = 0
        try:
            for number, line in enumerate(io.TextIOWrapper(stream, "ascii"), 1):
                if limit is not None and number > limit:
                    return
                yield _Line(path, number, line).row()
        except zstandard.ZstdError as error:
            raise TraceError(f"{path}: file must be zstd-compressed: {error}") from None
        except UnicodeDecodeError:
            raise TraceError(f"{path}, line {number + 1}: line must be ASCII text") from None
    if not number:
        raise TraceError(f"{path}: file must have at least one line")


class _Line:
    def __init__(self, path, number, text):
        self.path, self.number = path, number
        self.fields = text.rstrip("\n").split(",")
        if len(self.fields) != len(FIELDS):
            raise TraceError(f"{path}, line {number}: line must have {len(FIELDS)} fields, not "
                             f"{len(self.fields)}")

    def row(self):
        seq = self.integer(0, 10)
        if seq != self.number - 1:
            self.fail(0, f"{self.number - 1}, counting from 0")
        self.integer(1, 10)
        kind = self.fields[2]
        if kind not in KINDS:
            self.fail(2, "one of " + ", ".join(sorted(KINDS)))
        row = TraceRow(seq, kind)
        if kind not in SKIPPED:
            getattr(self, kind)(row)
        return row

    def dma(self, row):
        row.rid, row.addr = self.integer(3, 16, 1 << 16), self.integer(4, 16, 1 << 32)
        row.length = self.integer(5, 10, PAGE + 1)
        if not 1 <= row.length <= PAGE - row.addr % PAGE:
            self.fail(5, f"1 to {PAGE - row.addr % PAGE}, not to cross a page of {PAGE} bytes")
        if self.fields[6] not in ("R", "W"):
            self.fail(6, "R or W")
        row.write = self.fields[6] == "W"
        row.gpa = self.integer(7, 16, 1 << 56)
        if (row.gpa ^ row.addr) % PAGE:
            self.fail(7, f"at offset {row.addr % PAGE:#x} of its page, like addr")
        if self.integer(8, 10) != 12:
            self.fail(8, "12, the only page size that occurs")
        row.dom = self.integer(9, 10, 1 << 16)
        self.integer(10, 10, 2)
        self.integer(11, 10, 2)
        row.reach = self.integer(12, 10, 1 << 32)
        if row.reach < row.length:
            self.fail(12, f"at least len, {row.length}")
        row.present = self.integer(13, 16, 1 << 8)
        if not row.present >> (row.addr // PAGE % 8) & 1:
            self.fail(13, f"a set that has page {row.addr // PAGE % 8}, which is used")

    def inval(self, row):
        row.scope = self.scope("GDP")
        if row.scope != "G":
            row.dom = self.integer(9, 10, 1 << 16)
        if row.scope == "P":
            row.addr = self.integer(4, 16, 1 << 32)
            if row.addr % PAGE:
                self.fail(4, f"a multiple of {PAGE}")
            row.length = self.integer(5, 10)
            size = PAGE << self.integer(11, 10, 53)
            if row.length != size:
                self.fail(5, f"{size}, which p1 says")

    def ccinval(self, row):
        row.scope = self.scope("GDS")
        if row.scope == "D":
            row.dom = self.integer(9, 10, 1 << 16)
        if row.scope == "S":
            row.rid = self.integer(3, 16, 1 << 16)

    def invwait(self, row):
        self.integer(10, 16)

    def msi(self, row):
        row.rid, row.addr = self.integer(3, 16, 1 << 16), self.integer(4, 16)
        row.data, row.index = self.integer(10, 16, 1 << 32), self.integer(11, 10, 1 << 16)

    def scope(self, letters):
        if self.fields[10] not in tuple(letters):
            self.fail(10, "one of " + ", ".join(letters))
        return self.fields[10]

    def integer(self, index, base, bound=1 << 64):
        digits = "0123456789abcdef"[:base]
        text = self.fields[index]
        if not text or text.strip(digits):
            self.fail(index, "a number in lower-case hexadecimal" if base == 16 else
                      "a decimal number")
        value = int(text, base)
        if value >= bound:
            self.fail(index, f"less than {bound:#x}" if base == 16 else f"less than {bound}")
        return value

    def fail(self, index, rule):
        raise TraceError(f"{self.path}, line {self.number}: {FIELDS[index]} must be {rule}, not "
                         f"{self.fields[index]!r}")
