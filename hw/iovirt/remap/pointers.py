"""Cache of pointers to last-level tables."""

from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from .layouts import SecondStage
from .rules import check_physical

__all__ = ["PointerCache", "pointer_key", "pointer_sweep"]


def pointer_key(gpa_bits):
    """What finds a last-level table."""
    return data.StructLayout({
        "gscid":  16,
        "mode":   SecondStage,
        "region": gpa_bits - 21,  # GPA[21:]
    })


def pointer_sweep():
    """Which pointers to drop: all, or with ``gv`` those of ``gscid``."""
    return data.StructLayout({"gv": 1, "gscid": 16})


class PointerCache(wiring.Component):
    """Keep the page numbers of last-level tables, so that a walk takes a single read.

    Direct-mapped, in a synchronous memory. One lookup and one fill per clock; a lookup is answered
    3 clocks later. While a sweep runs, which takes ``entries + 2`` clocks, and after reset until
    all entries have been written, lookups miss and fills are dropped.

    Parameters
    ----------
    entries : :class:`int`
        Number of pointers, a power of two of at least 4.
    address_width : :class:`int`
        Width of a physical address, 32 to 56.
    gpa_bits : :class:`int`
        Width of a guest physical address: 41, 50 or 59.

    Members
    -------
    look : ``In(pointer_key(gpa_bits))``
        Looked up in each clock.
    hit, table : ``Out(1)``, ``Out(address_width - 12)``
        Answer to ``look`` of 3 clocks earlier.
    fill : ``In(1)``
        Keep ``fill_table`` for ``fill_key``.
    sweep : ``In(stream.Signature(pointer_sweep()))``
        Drop pointers; transfers when that is done.
    """

    def __init__(self, *, entries, address_width, gpa_bits):
        if type(entries) is not int or entries < 4 or entries & (entries - 1):
            raise ValueError("Number of pointers must be a power of two of at least 4, not "
                             f"{entries!r}")
        check_physical(address_width)
        if gpa_bits not in (41, 50, 59):
            raise ValueError(f"Width of a guest address must be 41, 50 or 59, not {gpa_bits!r}")
        self.entries       = entries
        self.address_width = address_width
        self.gpa_bits      = gpa_bits
        super().__init__({
            "look":       In(pointer_key(gpa_bits)),
            "hit":        Out(1),
            "table":      Out(address_width - 12),
            "fill":       In(1),
            "fill_key":   In(pointer_key(gpa_bits)),
            "fill_table": In(address_width - 12),
            "sweep":      In(stream.Signature(pointer_sweep())),
        })

    def _index(self, key):
        # Neighbouring regions differ in the low bits; guests whose drivers use the same regions are
        # told apart by their numbers.
        bits = (self.entries - 1).bit_length()
        return (key.region ^ (key.region >> bits) ^ key.gscid)[:bits]

    def elaborate(self, platform):
        m = Module()
        entry = data.StructLayout({
            "valid": 1, "key": pointer_key(self.gpa_bits), "table": self.address_width - 12})
        # A lookup that collides with a fill reads the old entry.
        attrs = {"ram_style": "distributed"} if self.entries <= 64 else {}
        m.submodules.pointers = pointers = memory.Memory(
            shape=entry, depth=self.entries, init=[], attrs=attrs)
        read, write = pointers.read_port(), pointers.write_port()

        # The counter of a sweep reads an entry and, a clock later, writes it back without its
        # valid bit if it has to go. After reset all have to go.
        reading, judged = Signal(range(self.entries + 1)), Signal(range(self.entries + 1))
        sweeping, second = Signal(init=1), Signal()
        scrub = Signal(init=1)
        doomed = scrub | ~self.sweep.p.gv | (read.data.key.gscid == self.sweep.p.gscid)
        last = judged == self.entries - 1
        with m.If(sweeping):
            m.d.comb += [
                read.addr.eq(reading),
                write.addr.eq(judged),
                write.en.eq(second & doomed),
            ]
            m.d.sync += [
                reading.eq(reading + 1),
                judged.eq(reading),
                second.eq(1),
            ]
            with m.If(second & last):
                m.d.sync += [sweeping.eq(0), scrub.eq(0)]
                m.d.comb += self.sweep.ready.eq(~scrub)
        with m.Else():
            m.d.comb += [
                read.addr.eq(self._index(self.look)),
                write.addr.eq(self._index(self.fill_key)),
                write.en.eq(self.fill & ~self.sweep.valid),
                write.data.valid.eq(1),
                write.data.key.eq(self.fill_key),
                write.data.table.eq(self.fill_table),
            ]
            m.d.sync += [reading.eq(0), judged.eq(0), second.eq(0), sweeping.eq(self.sweep.valid)]

        # Lookup: memory, then the entry as read, then the comparison.
        key, compared = Signal.like(self.look), Signal.like(self.look)
        found, usable = Signal(entry), Signal(2)
        m.d.sync += [
            key.eq(self.look),
            compared.eq(key),
            found.eq(read.data),
            usable.eq(Cat(~sweeping, usable[0])),
            self.hit.eq(usable[1] & found.valid & (found.key == compared)),
            self.table.eq(found.table),
        ]
        return m
