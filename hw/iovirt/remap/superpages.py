"""Translations of 2 MiB and more."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .layouts import InvalidateKind, InvalidateOp, superpage_fill
from .stages import permitted, superpage_leaf, superpage_match, want

__all__ = ["Superpages"]


class Superpages(wiring.Component):
    """Hold leaves above level 0 in a small fully associative array of registers.

    A lookup starts each cycle with ``iova`` and the ``gscids`` of the context ways; ``match``
    follows 1 cycle later. At most one entry matches one GSCID, because a fill drops every entry
    that overlaps it.

    A fill takes the place of the first entry that it overlaps, else an empty one, else the next in
    turn. It takes 5 cycles: an entry stops matching 1 cycle before its contents change, so that no
    lookup between its two stages sees a mixture. An invalidation takes 4 cycles, one of a kind that
    is not for this array 2. They are done one after the other, invalidations first; when
    ``invalidate.ready`` is asserted, the invalidation and all earlier fills have been done.

    Parameters
    ----------
    entries : :class:`int`
        Number of leaves held, at least 1.
    context_ways : :class:`int`
        Number of GSCIDs to compare with.
    address_width : :class:`int`
        Width of an SPA.
    gpa_bits : :class:`int`
        Width of the widest IOVA that is translated, 41, 50 or 59.

    Members
    -------
    iova : ``In(gpa_bits - 12)``
        IOVA[12:] to look up.
    gscids : ``In(16).array(context_ways)``
        GSCID of each way of the context cache.
    want : ``In(want())``
        What is asked.
    match : ``Out(superpage_match(...))``
        Result of the lookup.
    fill : ``In(stream.Signature(superpage_fill(address_width)))``
        Leaves to keep. Those that are not valid, too wide, or of a level unknown here are dropped.
    invalidate : ``In(stream.Signature(InvalidateOp))``
        Invalidations; a transfer means that it is done.
    """

    def __init__(self, *, entries, context_ways, address_width, gpa_bits):
        if not isinstance(entries, int) or entries < 1:
            raise ValueError(f"Number of entries must be an integer of at least 1, not {entries!r}")
        if gpa_bits not in (41, 50, 59):
            raise ValueError(f"Width of a GPA must be 41, 50 or 59, not {gpa_bits!r}")
        self.entries = entries
        self.context_ways = context_ways
        self.address_width = address_width
        self.gpa_bits = gpa_bits
        self.levels = (gpa_bits - 23) // 9  # leaves of level 1 to this
        super().__init__({
            "iova":       In(gpa_bits - 12),
            "gscids":     In(16).array(context_ways),
            "want":       In(want()),
            "match":      Out(superpage_match(entries, context_ways, address_width, self.levels)),
            "fill":       In(stream.Signature(superpage_fill(address_width))),
            "invalidate": In(stream.Signature(InvalidateOp)),
        })

    def _groups(self, page):
        # What of an IOVA[12:] leaves of level 2, 3.. do not compare, and then what all compare.
        cuts = [page[9 * level:9 * level + 9] for level in range(1, self.levels)]
        return [*cuts, page[9 * self.levels:self.gpa_bits - 12]]

    def _equal(self, one, other, wide):
        # Whether two pages lie in one leaf that is `wide`.
        pairs = list(zip(self._groups(one), self._groups(other), strict=True))
        return Cat((a == b) | (wide[n + 1] if n + 1 < self.levels else 0)
                   for n, (a, b) in enumerate(pairs)).all()

    def elaborate(self, platform):
        m = Module()
        pages  = Array(Signal(self.gpa_bits - 12, name=f"page_{n}") for n in range(self.entries))
        gscids = Array(Signal(16, name=f"gscid_{n}") for n in range(self.entries))
        leaves = [Signal(superpage_leaf(self.address_width, self.levels), name=f"leaf_{n}")
                  for n in range(self.entries)]
        valid  = Signal(self.entries)
        self._elaborate_lookup(m, pages, gscids, leaves, valid)
        self._elaborate_maintenance(m, pages, gscids, leaves, valid)
        return m

    def _elaborate_lookup(self, m, pages, gscids, leaves, valid):
        for n in range(self.entries):
            found = Signal(name=f"found_{n}")
            m.d.comb += found.eq(valid[n] & self.want.eligible
                                 & self._equal(self.iova, pages[n], leaves[n].wide))
            m.d.sync += [
                self.match.address_equal[n].eq(found),
                self.match.granted[n].eq(found & permitted(self.want, leaves[n])),
                self.match.gscid_equal[n].eq(Cat(gscid == gscids[n] for gscid in self.gscids)),
            ]
            m.d.comb += self.match.leaves[n].eq(leaves[n])

    def _elaborate_maintenance(self, m, pages, gscids, leaves, valid):
        op, fill = self.invalidate.payload, self.fill.payload
        clearing = Signal()
        same     = Signal(self.entries)  # entries that the operation concerns
        chosen   = Signal(self.entries)  # where to put a leaf, one-hot
        turn     = Signal(self.entries, init=1)

        # The key of the operation is registered, and with it whether the leaf can be held.
        page, gscid = Signal(self.gpa_bits - 12), Signal(16)
        any_page, any_gscid, fits = Signal(), Signal(), Signal()
        wide = Signal(self.levels)
        thermometer = Cat(fill.level > level for level in range(self.levels))

        drop = Signal(self.entries)
        m.d.sync += valid.eq(valid & ~drop)
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [
                    clearing.eq(self.invalidate.valid),
                    page.eq(Mux(self.invalidate.valid, op.iova, fill.iova)),
                    gscid.eq(Mux(self.invalidate.valid, op.gscid, fill.gscid)),
                    any_gscid.eq(self.invalidate.valid & ~op.gv),
                    any_page.eq(self.invalidate.valid & ~op.av),
                    wide.eq(Mux(self.invalidate.valid, 1, thermometer)),
                    fits.eq(fill.page.valid & (fill.level != 0) & (fill.level <= self.levels)
                            & ~fill.iova[self.gpa_bits - 12:].any()),
                ]
                with m.If(self.invalidate.valid & (op.kind != InvalidateKind.IOTLB)):
                    m.next = "DONE"
                with m.Elif(self.invalidate.valid | self.fill.valid):
                    m.next = "COMPARE"
            with m.State("COMPARE"):
                for n in range(self.entries):
                    covered = self._equal(page, pages[n], wide | leaves[n].wide)
                    m.d.sync += same[n].eq(valid[n] & (any_page | covered)
                                           & (any_gscid | (gscids[n] == gscid)))
                with m.If(clearing):
                    m.next = "DROP"
                with m.Else():
                    m.next = "CHOOSE"
            with m.State("CHOOSE"):
                empty, first = ~valid, lambda bits: bits & -bits
                m.d.sync += chosen.eq(Mux(same.any(), first(same),
                                          Mux(empty.any(), first(empty), turn)))
                with m.If(~same.any() & ~empty.any() & fits):
                    m.d.sync += turn.eq(turn.rotate_left(1))
                m.next = "CLEAR"
            with m.State("CLEAR"):
                m.d.comb += drop.eq(Mux(fits, same | chosen, 0))
                m.next = "WRITE"
            with m.State("WRITE"):
                for n in range(self.entries):
                    with m.If(fits & chosen[n]):
                        m.d.sync += [valid[n].eq(1), pages[n].eq(page), gscids[n].eq(gscid)]
                        self._write_leaf(m, leaves[n], fill.page, wide)
                m.d.comb += self.fill.ready.eq(1)
                m.next = "IDLE"
            with m.State("DROP"):
                m.d.comb += drop.eq(same)
                m.next = "DONE"
            with m.State("DONE"):
                m.d.comb += self.invalidate.ready.eq(1)
                m.next = "IDLE"

    def _write_leaf(self, m, target, page, wide):
        # The part of the PPN that the IOVA gives is kept zero, so that the two can be ORed.
        m.d.sync += [
            target.wide.eq(wide),
            target.w.eq(page.w), target.r.eq(page.r), target.x.eq(page.x),
            target.ppn.eq(page.ppn),
        ]
        for level in range(self.levels):
            with m.If(wide[level]):
                m.d.sync += target.ppn[9 * level:9 * level + 9].eq(0)
