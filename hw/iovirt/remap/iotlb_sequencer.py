"""Fills and invalidations of the IOTLB."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .layouts import InvalidateKind, InvalidateOp, line_fill
from .stages import fold, iotlb_hash_bits, leaf

__all__ = ["IotlbSequencer", "iotlb_tag"]


def iotlb_tag(line_bits):
    """Tag of a line; ``line_bits`` of its address are not told by the set."""
    return data.StructLayout({
        "gscid": 16,
        "line":  line_bits,
        "napot": 1,  # some valid page is a fragment of a 64 KiB leaf
    })


class IotlbSequencer(wiring.Component):
    """Read, change and write sets of the IOTLB, one operation after the other.

    *Fill*, 10 cycles if the pages come without gaps: the set is read, compared, and then a page is
    taken per cycle. A line that is present is merged into: its valid bits stay, and pages that are
    valid in the fill overwrite. Otherwise the line takes an empty way or the tree-PLRU victim; its
    valid bits go off with the first page and on with the last, when the tag is written, so that no
    lookup sees a mixture of two lines. The set is read again only after that, so a line is never in
    two ways of a set.

    *Invalidation*: of everything ``sets + 2`` cycles, of a GSCID ``sets + 4``, of a page ``2 **
    hash_bits + 4``: the set depends on the device, which is not told, so all sets are visited that
    the line may be in. If a line of a 64 KiB NAPOT leaf may be there, those of the other line of
    the 64 KiB follow, ``2 ** hash_bits`` cycles more. A kind that is not for the IOTLB takes 2.

    Invalidations go first, but never into the middle of a line. When ``invalidate.ready`` is
    asserted, the invalidation and all earlier fills have been written. After reset all valid bits
    are cleared in ``sets`` cycles.

    Parameters
    ----------
    sets, ways : :class:`int`
        Geometry of the IOTLB.
    address_width : :class:`int`
        Width of an SPA.
    gpa_bits : :class:`int`
        Width of the widest IOVA that is translated. Fills above are taken and dropped.

    Members
    -------
    fill : ``In(stream.Signature(line_fill(address_width)))``
        Lines to keep, 8 transfers each.
    invalidate : ``In(stream.Signature(InvalidateOp))``
        Invalidations; a transfer means that it is done.
    scrubbed : ``Out(1)``
        Lookups may start.
    borrow : ``Out(1)``
        ``read_set`` is to be read in this cycle.
    read_set : ``Out(range(sets))``
        Set to read.
    tags, valid, victim : ``In``
        Tag, valid bits per page, of each way, and the way to replace, 1 cycle after ``borrow``.
    write_set : ``Out(range(sets))``
        Set that all writes go to.
    write_valid_ways, write_valid : ``Out``
        Ways whose valid bits are written, and the valid bits.
    write_tag_ways, write_tag : ``Out``
        Ways whose tag is written, and the tag. The PLRU is to be touched as well.
    write_leaf_ways, write_leaf, write_page : ``Out``
        Ways of which a page is written, the page, and its number in the line.
    """

    def __init__(self, *, sets, ways, address_width, gpa_bits):
        self.sets = sets
        self.ways = ways
        self.address_width = address_width
        self.gpa_bits = gpa_bits
        self.set_bits = (sets - 1).bit_length()
        self.hash_bits = iotlb_hash_bits(sets)
        #: Lowest bit of the set index that depends on the device.
        self.hash_low = self.set_bits - self.hash_bits
        self.tag = iotlb_tag(gpa_bits - 14 - max(self.hash_low, 1))
        super().__init__({
            "fill":             In(stream.Signature(line_fill(address_width))),
            "invalidate":       In(stream.Signature(InvalidateOp)),
            "scrubbed":         Out(1),
            "borrow":           Out(1),
            "read_set":         Out(range(sets)),
            "tags":             In(self.tag).array(ways),
            "valid":            In(8).array(ways),
            "victim":           In(ways),
            "write_set":        Out(range(sets)),
            "write_valid_ways": Out(ways),
            "write_valid":      Out(8).array(ways),
            "write_tag_ways":   Out(ways),
            "write_tag":        Out(self.tag),
            "write_leaf_ways":  Out(ways),
            "write_leaf":       Out(leaf(address_width)),
            "write_page":       Out(3),
        })

    def set_of(self, line, device_id):
        """Return the set that ``line`` of a device is in."""
        return self._plain_set(line) ^ (fold(device_id, self.hash_bits) << self.hash_low)

    def _plain_set(self, line):
        # Bits above the index take part, because what is aligned to a power of two would else
        # share a set. The hash is at the top: guests use few lines each, and the same ones.
        return line[:self.set_bits] ^ line[self.set_bits:2 * self.set_bits]

    def tag_of(self, line):
        """Return the part of the line address that is kept in the tag."""
        return Cat(line[0], line[max(self.hash_low, 1):self.gpa_bits - 15])

    def elaborate(self, platform):
        m = Module()

        # What the operation looks for.
        target = Signal(data.StructLayout({
            "gscid": 16, "line": self.gpa_bits - 15, "page": 3, "any_line": 1, "fits": 1}))
        counter = Signal(range(max(self.sets, 8)))
        napot = Signal()  # a line of a NAPOT leaf has been filled since everything was dropped
        last  = Signal.like(counter)
        m.d.comb += last.eq(Mux(target.any_line, self.sets - 1, 2**self.hash_bits - 1))
        if self.hash_low:
            with m.If(~target.any_line & napot):
                m.d.comb += last.eq(2**(self.hash_bits + 1) - 1)

        # What was found in the set `found_set`, which was read 2 cycles before.
        read_set, found_set = Signal(range(self.sets)), Signal(range(self.sets))
        sweep_read, sweep_found = Signal(), Signal()
        found = Signal(data.ArrayLayout(data.StructLayout({
            "gscid_equal": 1, "line_equal": 1, "buddy_equal": 1, "napot": 1, "live": 1,
            "valid": 8}), self.ways))
        fallback = Signal(self.ways)

        compare = Signal()
        m.d.sync += [
            read_set.eq(self.read_set),
            sweep_found.eq(sweep_read),
        ]
        with m.If(compare | sweep_read):
            m.d.sync += found_set.eq(read_set)
            self._compare(m, target, found, fallback)

        with m.FSM():
            with m.State("SCRUB"):
                m.d.comb += [self.write_set.eq(counter), self.write_valid_ways.eq(~0)]
                m.d.sync += [counter.eq(counter + 1), napot.eq(0)]
                with m.If(counter == self.sets - 1):
                    m.d.sync += self.scrubbed.eq(1)
                    with m.If(self.scrubbed):
                        m.next = "DONE"
                    with m.Else():
                        m.next = "IDLE"
            with m.State("IDLE"):
                m.d.sync += counter.eq(0)
                self._start(m, target)
            with m.State("COMPARE"):
                m.d.comb += compare.eq(1)
                m.next = "FILL"
            with m.State("FILL"):
                self._fill(m, target, found, found_set, fallback, counter)
                with m.If(self.fill.valid & self.fill.p.napot):
                    m.d.sync += napot.eq(1)
            with m.State("SWEEP"):
                m.d.comb += [
                    self.borrow.eq(1),
                    self.read_set.eq(Mux(target.any_line, counter,
                                         self._plain_set(target.line) ^ self._spread(counter))),
                ]
                m.d.sync += [counter.eq(counter + 1), sweep_read.eq(1)]
                with m.If(counter == last):
                    m.next = "DRAIN"
            with m.State("DRAIN"):
                m.d.sync += sweep_read.eq(0)
                with m.If(~sweep_read):
                    m.next = "DONE"
            with m.State("DONE"):
                m.d.comb += self.invalidate.ready.eq(1)
                m.next = "IDLE"

        with m.If(sweep_found):
            self._drop(m, target, found, found_set)
        return m

    def _spread(self, counter):
        # Every value of the hash, first for the line itself and then for the other line of the
        # 64 KiB that both are in; if the hash reaches down to bit 0, that one is among them.
        other = counter[self.hash_bits] if self.hash_low else 0
        return (counter[:self.hash_bits] << self.hash_low) ^ other

    def _compare(self, m, target, found, fallback):
        # Bit 0 of a line address tells it from the other line of the 64 KiB that both are in.
        line = self.tag_of(target.line)
        empty = Cat(~valid.any() for valid in self.valid)
        m.d.sync += fallback.eq(Mux(empty.any(), empty & -empty, self.victim))
        for way, (tag, valid) in enumerate(zip(self.tags, self.valid, strict=True)):
            m.d.sync += [
                found[way].gscid_equal.eq(tag.gscid == target.gscid),
                found[way].buddy_equal.eq(tag.line[1:] == line[1:]),
                found[way].line_equal.eq(tag.line[0] == line[0]),
                found[way].napot.eq(tag.napot),
                found[way].live.eq(valid.any()),
                found[way].valid.eq(valid),
            ]

    def _start(self, m, target):
        op, fill = self.invalidate.payload, self.fill.payload
        m.d.comb += self.read_set.eq(self.set_of(fill.line, fill.device_id))
        with m.If(self.invalidate.valid):
            m.d.sync += [target.gscid.eq(op.gscid), target.any_line.eq(~op.av),
                         Cat(target.page, target.line).eq(op.iova)]
            with m.If(op.kind != InvalidateKind.IOTLB):
                m.next = "DONE"
            with m.Elif(~op.gv):
                m.next = "SCRUB"
            with m.Else():
                m.next = "SWEEP"
        with m.Elif(self.fill.valid):
            m.d.sync += [target.gscid.eq(fill.gscid), target.line.eq(fill.line),
                         target.fits.eq(~fill.line[self.gpa_bits - 15:].any())]
            m.d.comb += self.borrow.eq(1)
            m.next = "COMPARE"

    def _fill(self, m, target, found, found_set, fallback, counter):
        page = self.fill.payload.page
        present = Cat(way.gscid_equal & way.buddy_equal & way.line_equal & way.live
                      for way in found)
        either = lambda field: Cat(hit & way[field] for hit, way in
                                   zip(present, found, strict=True)).any()
        chosen, accepted = Signal(self.ways), Signal()
        before, pages = Signal(8), Signal(7)  # valid bits before the fill; of pages that have come
        m.d.comb += [
            self.fill.ready.eq(1),
            accepted.eq(self.fill.valid & target.fits),
            chosen.eq(Mux(present.any(), present, fallback)),
            self.write_set.eq(found_set),
            self.write_page.eq(counter),
            self.write_leaf.ppn.eq(page.ppn),
            self.write_leaf.w.eq(page.w),
            self.write_leaf.r.eq(page.r),
            self.write_leaf.x.eq(page.x),
            self.write_leaf_ways.eq(Mux(accepted & page.valid, chosen, 0)),
            self.write_tag.gscid.eq(target.gscid),
            self.write_tag.line.eq(self.tag_of(target.line)),
            self.write_tag.napot.eq(self.fill.payload.napot | either("napot")),
        ]
        for hit, way in zip(present, found, strict=True):
            with m.If(hit):
                m.d.comb += before.eq(way.valid)
        with m.If(accepted & (counter == 0) & ~present.any()):
            m.d.comb += self.write_valid_ways.eq(chosen)
        with m.If(self.fill.valid):
            m.d.sync += [counter.eq(counter + 1), pages.eq(Cat(pages[1:], page.valid))]
            with m.If(counter == 7):
                m.d.comb += [valid.eq(before | Cat(pages, page.valid))
                             for valid in self.write_valid]
                m.d.comb += [self.write_valid_ways.eq(Mux(target.fits, chosen, 0)),
                             self.write_tag_ways.eq(Mux(target.fits, chosen, 0))]
                m.next = "IDLE"

    def _drop(self, m, target, found, found_set):
        m.d.comb += self.write_set.eq(found_set)
        for n, way in enumerate(found):
            whole = Signal(name=f"whole_{n}")
            covers = Signal(name=f"covers_{n}")
            m.d.comb += [
                whole.eq(target.any_line | way.napot),
                covers.eq(target.any_line | (way.buddy_equal & (way.line_equal | way.napot))),
                self.write_valid_ways[n].eq(way.gscid_equal & covers),
                self.write_valid[n].eq(Mux(whole, 0, way.valid & ~(1 << target.page)[:8])),
            ]
