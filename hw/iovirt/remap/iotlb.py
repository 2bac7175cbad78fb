"""IOTLB: translations of 4 KiB pages, in lines of 8."""

from itertools import pairwise

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..ram import Plru, WayTable
from .iotlb_sequencer import IotlbSequencer
from .layouts import InvalidateOp, line_fill
from .stages import leaf, line_match, permitted, want

__all__ = ["Iotlb"]


class Iotlb(wiring.Component):
    """Set-associative, sectored cache of leaves: a line is 8 pages of 4 KiB with a valid bit each.

    A lookup starts each cycle with ``device_id`` and ``iova``; its ``match`` follows 2 cycles
    later. The GSCID is not known when the tags are compared: every way is compared with the GSCID
    of every way of the context cache, and `Resolver` picks.

    The set index is the line address, folded once, its upper bits XORed with a hash of device_id
    (`iotlb_hash_bits`). Tags,
    valid bits and pages are in 1R1W memories, one per way. A lookup whose read meets a write does
    not match, so that it does not matter what the memory returns then.

    Fills and invalidations, and what they cost: see `IotlbSequencer`.

    Parameters
    ----------
    sets, ways : :class:`int`
        Geometry; ``sets`` a power of two of at least 4, ``ways`` of at least 2.
    context_ways : :class:`int`
        Number of GSCIDs to compare with.
    address_width : :class:`int`
        Width of an SPA.
    gpa_bits : :class:`int`
        Width of the widest IOVA that is translated.

    Members
    -------
    device_id : ``In(24)``
        Takes part in the set index only.
    iova : ``In(gpa_bits - 12)``
        IOVA[12:] to look up.
    gscids : ``In(16).array(context_ways)``
        GSCID of each way of the context cache, for the lookup of 1 cycle before.
    want : ``In(want())``
        What is asked, by the lookup of 1 cycle before.
    match : ``Out(line_match(ways, context_ways, address_width))``
        Result of the lookup of 2 cycles before.
    touch : ``In(ways)``
        Way that served the lookup of 3 cycles before; zero for none.
    borrow : ``Out(1)``
        No lookup starts in this cycle.
    scrubbed : ``Out(1)``
        Lookups may start.
    fill : ``In(stream.Signature(line_fill(address_width)))``
        Lines to keep.
    invalidate : ``In(stream.Signature(InvalidateOp))``
        Invalidations; a transfer means that it is done.

    Raises
    ------
    ValueError
        If ``sets`` is less than 4.
    """

    def __init__(self, *, sets, ways, context_ways, address_width, gpa_bits):
        if not isinstance(sets, int) or sets < 4 or sets & (sets - 1):
            raise ValueError(f"Number of sets must be a power of two of at least 4, not {sets!r}")
        self.sets = sets
        self.ways = ways
        self.context_ways = context_ways
        self.address_width = address_width
        self.gpa_bits = gpa_bits

        self._sequencer = IotlbSequencer(sets=sets, ways=ways, address_width=address_width,
                                         gpa_bits=gpa_bits)
        self._tags   = WayTable(self._sequencer.tag, sets=sets, ways=ways)
        self._valid  = WayTable(8, sets=sets, ways=ways)
        self._leaves = WayTable(leaf(address_width), sets=sets * 8, ways=ways)
        self._plru   = Plru(sets=sets, ways=ways)
        super().__init__({
            "device_id":  In(24),
            "iova":       In(gpa_bits - 12),
            "gscids":     In(16).array(context_ways),
            "want":       In(want()),
            "match":      Out(line_match(ways, context_ways, address_width)),
            "touch":      In(ways),
            "borrow":     Out(1),
            "scrubbed":   Out(1),
            "fill":       In(stream.Signature(line_fill(address_width))),
            "invalidate": In(stream.Signature(InvalidateOp)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.sequencer = sequencer = self._sequencer
        m.submodules.tags   = self._tags
        m.submodules.valid  = self._valid
        m.submodules.leaves = self._leaves
        m.submodules.plru   = self._plru

        wiring.connect(m, wiring.flipped(self.fill), sequencer.fill)
        wiring.connect(m, wiring.flipped(self.invalidate), sequencer.invalidate)
        m.d.comb += [self.borrow.eq(sequencer.borrow), self.scrubbed.eq(sequencer.scrubbed)]
        self._elaborate_read(m)
        self._elaborate_match(m)
        self._elaborate_write(m)
        return m

    def _elaborate_read(self, m):
        set_index = self._sequencer.set_of(self.iova[3:], self.device_id)
        m.d.comb += [
            self._tags.read_set.eq(Mux(self.borrow, self._sequencer.read_set, set_index)),
            self._valid.read_set.eq(self._tags.read_set),
            self._plru.read_set.eq(self._tags.read_set),
            self._leaves.read_set.eq(Cat(self.iova[:3], set_index)),
        ]

    def _elaborate_match(self, m):
        line, page = Signal(len(self._sequencer.write_tag.line)), Signal(3)
        m.d.sync += [
            page.eq(self.iova),
            line.eq(self._sequencer.tag_of(self.iova[3:])),
        ]
        usable = self.want.eligible & ~(self._valid.collided | self._tags.collided
                                        | self._leaves.collided)
        for way, (tag, valid) in enumerate(zip(self._tags.entries, self._valid.entries,
                                               strict=True)):
            found, leaf_ = Signal(name=f"found_{way}"), self._leaves.entries[way]
            m.d.comb += found.eq((tag.line == line) & valid.bit_select(page, 1) & usable)
            m.d.sync += [
                self.match.address_equal[way].eq(found),
                self.match.granted[way].eq(found & permitted(self.want, leaf_)),
                self.match.gscid_equal[way].eq(Cat(gscid == tag.gscid for gscid in self.gscids)),
                self.match.leaves[way].eq(leaf_),
            ]

    def _elaborate_write(self, m):
        sequencer = self._sequencer
        for way in range(self.ways):
            m.d.comb += [
                sequencer.tags[way].eq(self._tags.entries[way]),
                sequencer.valid[way].eq(self._valid.entries[way]),
                self._tags.write_data[way].eq(sequencer.write_tag),
                self._valid.write_data[way].eq(sequencer.write_valid[way]),
                self._leaves.write_data[way].eq(sequencer.write_leaf),
            ]
        m.d.comb += [
            sequencer.victim.eq(self._plru.victim),
            self._tags.write_set.eq(sequencer.write_set),
            self._tags.write_ways.eq(sequencer.write_tag_ways),
            self._valid.write_set.eq(sequencer.write_set),
            self._valid.write_ways.eq(sequencer.write_valid_ways),
            self._leaves.write_set.eq(Cat(sequencer.write_page, sequencer.write_set)),
            self._leaves.write_ways.eq(sequencer.write_leaf_ways),
        ]

        # Sets of the lookups of the last 3 cycles. A filled line counts as used, whoever asked for
        # it; the touch of a lookup in the same cycle is lost then.
        looked = [Signal(range(self.sets), name=f"looked_{n}") for n in range(4)]
        m.d.comb += looked[0].eq(self._tags.read_set)
        m.d.sync += [older.eq(newer) for newer, older in pairwise(looked)]
        filled = sequencer.write_tag_ways.any()
        m.d.comb += [
            self._plru.touch_set.eq(Mux(filled, sequencer.write_set, looked[3])),
            self._plru.touch_ways.eq(Mux(filled, sequencer.write_tag_ways, self.touch)),
        ]
