"""What the specification says about one doubleword that a walk has read."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..config import SECOND_STAGE_MODES
from .layouts import fill_page
from .spec import (
    DirectoryEntry,
    FirstStage,
    GuestTranslation,
    Pte,
    TranslationAttributes,
    TranslationControl,
)

__all__ = ["ContextRules", "PageRules", "SecondStageRules", "cause_by_access", "check_modes",
           "check_physical", "outside"]


def check_physical(address_width):
    """Raise ValueError unless ``address_width`` can be capabilities.PAS."""
    if type(address_width) is not int or not 32 <= address_width <= 56:
        raise ValueError(f"Address width must be an integer in 32..56, not {address_width!r}")


def check_modes(modes):
    """Raise ValueError unless ``modes`` are the first 1 to 3 of the second-stage modes."""
    if tuple(modes) not in [SECOND_STAGE_MODES[:n] for n in (1, 2, 3)]:
        raise ValueError("Second-stage modes must be a prefix of "
                         f"{', '.join(SECOND_STAGE_MODES)}, not {modes!r}")


def outside(ppn, address_width):
    """Whether a 44-bit page number is outside the physical address space."""
    return ppn[address_width - 12:].any() if address_width < 56 else C(0)


def cause_by_access(access, execute, read, write):
    """Return one of three causes, by the kind of access. A write that also executes is a write."""
    return Mux(access.write, write, Mux(access.exec, execute, read))


class SecondStageRules(wiring.Component):
    """Judge an entry of a second-stage table (Privileged ISA, SvNx4 translation; Svnapot).

    Combinational, about 5 levels of logic. Every access is a user access. A and D are not updated
    by hardware: A clear, or D clear for a write, is a page fault.

    Parameters
    ----------
    address_width : :class:`int`
        Width of a physical address, 32 to 56.
    modes : tuple of :class:`str`
        Modes of the second stage.

    Members
    -------
    pte : ``In(Pte)``
        The entry.
    level : ``In(3)``
        Its level; 0 holds 4 KiB pages.
    page : ``In(unsigned(47))``
        GPA[12:59] that is translated.
    exec, write : ``In(1)``
        Kind of access; a write that also executes is a write.
    fault : ``Out(1)``
        The access is a guest page fault.
    leaf : ``Out(1)``
        If no fault: the entry is a leaf that permits the access.
    beyond : ``Out(1)``
        If no fault: ``ppn`` is no physical address.
    ppn : ``Out(address_width - 12)``
        If no fault: the page of the SPA if a leaf, the next table if not.
    """

    def __init__(self, *, address_width, modes):
        check_physical(address_width)
        check_modes(modes)
        self.address_width = address_width
        self.modes         = tuple(modes)
        super().__init__({
            "pte":    In(Pte),
            "level":  In(3),
            "page":   In(47),
            "exec":   In(1),
            "write":  In(1),
            "fault":  Out(1),
            "leaf":   Out(1),
            "beyond": Out(1),
            "ppn":    Out(address_width - 12),
        })

    def elaborate(self, platform):
        m = Module()
        pte, level_0 = self.pte, Signal()
        m.d.comb += [
            level_0.eq(self.level == 0),
            self.leaf.eq(~pte.is_pointer()),
        ]

        # The bits of the page number that come from the GPA must be clear in the entry, unless it
        # is the one NAPOT size that exists, whose lowest four bits encode it.
        misplaced, ppn = Signal(), Signal(44)
        m.d.comb += ppn.eq(pte.ppn)
        with m.Switch(self.level):
            with m.Case(0):
                m.d.comb += misplaced.eq(pte.n & ~pte.is_napot_64k())
                with m.If(pte.n):
                    m.d.comb += ppn[:4].eq(self.page[:4])
            for level in range(1, 2 + len(self.modes)):
                with m.Case(level):
                    m.d.comb += misplaced.eq(pte.n | pte.ppn[:9 * level].any())
                    with m.If(self.leaf):
                        m.d.comb += ppn[:9 * level].eq(self.page[:9 * level])

        allowed = Mux(self.write, pte.w & pte.d, Mux(self.exec, pte.x, pte.r))
        bad_leaf = ~allowed | ~pte.u | ~pte.a | misplaced
        bad_pointer = level_0 | pte.is_pointer_with_attributes()
        m.d.comb += [
            self.fault.eq(pte.is_malformed() | Mux(self.leaf, bad_leaf, bad_pointer)),
            self.beyond.eq(outside(ppn, self.address_width)),
            self.ppn.eq(ppn),
        ]
        return m


class PageRules(wiring.Component):
    """Say whether a level-0 entry may be cached for its page, and with which rights.

    Combinational, about 4 levels. May be cached: a well-formed leaf with U and A set that is a
    physical address. Nobody has asked for it, so it never faults.

    Parameters
    ----------
    address_width : :class:`int`
        Width of a physical address, 32 to 56.

    Members
    -------
    pte : ``In(Pte)``
        The entry.
    napot : ``In(1)``
        It is known to be a legal NAPOT leaf of 64 KiB. If not set, a NAPOT entry is not cached.
    page : ``In(4)``
        GPA[12:16] of the page, used with ``napot``.
    o : ``Out(fill_page(address_width))``
        The page.
    """

    def __init__(self, *, address_width):
        check_physical(address_width)
        self.address_width = address_width
        super().__init__({
            "pte":   In(Pte),
            "napot": In(1),
            "page":  In(4),
            "o":     Out(fill_page(address_width)),
        })

    def elaborate(self, platform):
        m = Module()
        pte = self.pte
        refused = (pte.is_malformed() | pte.is_pointer() | ~pte.u | ~pte.a
                   | outside(pte.ppn, self.address_width) | (pte.n & ~self.napot))
        m.d.comb += [
            self.o.valid.eq(~refused),
            self.o.ppn.eq(pte.ppn),
            self.o.w.eq(pte.w & pte.d),
            self.o.r.eq(pte.r),
            self.o.x.eq(pte.x),
        ]
        with m.If(self.napot):
            m.d.comb += self.o.ppn[:4].eq(self.page)
        return m


class ContextRules(wiring.Component):
    """Judge a doubleword of the device directory (RISC-V IOMMU 1.0, 2.1.1 and 2.1.4).

    Combinational, about 4 levels.

    Parameters
    ----------
    modes : tuple of :class:`str`
        Modes of the second stage.

    Members
    -------
    word : ``In(64)``
        What was read.
    leaf : ``In(1)``
        It belongs to a device context rather than to a non-leaf entry.
    number : ``In(2)``
        If so, which doubleword.
    invalid : ``Out(1)``
        V is clear.
    misconfigured : ``Out(1)``
        Anything else is wrong; counts only if not ``invalid``.
    """

    def __init__(self, *, modes):
        check_modes(modes)
        self.modes = tuple(modes)
        super().__init__({
            "word":          In(64),
            "leaf":          In(1),
            "number":        In(2),
            "invalid":       Out(1),
            "misconfigured": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        has_v = ~self.leaf | (self.number == 0)
        checks = [TranslationControl(self.word).is_misconfigured(),
                  GuestTranslation(self.word).is_misconfigured(self.modes),
                  TranslationAttributes(self.word).is_misconfigured(),
                  FirstStage(self.word).is_misconfigured()]
        m.d.comb += [
            self.invalid.eq(has_v & ~self.word[0]),
            self.misconfigured.eq(Mux(self.leaf, Cat(checks).bit_select(self.number, 1),
                                      DirectoryEntry(self.word).is_misconfigured())),
        ]
        return m
