import pytest
from amaranth import *
from amaranth.hdl import Assert, Assume

from iovirt.vf.attribution import Attribution
from iovirt.vf.guest_layouts import READ_LATENCY, GuestFound
from iovirt.vf.share_layouts import AddressSettings, Function, FunctionMode, GuestState, Kind
from iovirt_sim.harness import check_bounded


class AttributionSpec(Elaboratable):
    """What leaves as permitted is translated for the guest whose colour and key the address has and
    whose state lets DMA pass, and lies in its window; or it has no colour at all.

    Any one request is followed, among others; what the table knows of its guest does not change.
    """

    def __init__(self):
        self.dut = Attribution(id_width=1, reads=2, writes=2, functions=1, depth=2)
        self.settings = Signal(AddressSettings)
        self.function = Signal(Function)
        self.guest    = Signal(GuestFound)
        self.other    = Signal(GuestFound)

    @property
    def free(self):
        dut = self.dut
        return [Value.cast(value) for value in (
            self.settings, self.function, self.guest, self.other, dut.i.payload, dut.i.valid,
            dut.o.ready, dut.ring.ready, dut.verdict.payload, dut.verdict.valid, dut.table.hold,
            dut.denial.ready, dut.freeze.ready)]

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut

        # Registers and the table keep what they have.
        started, ready = Signal(), Signal()
        m.d.sync += [started.eq(1), ready.eq(started)]
        for value in (self.settings, self.function, self.guest):
            value  = Value.cast(value)
            before = Signal.like(value)
            m.d.sync += before.eq(value)
            m.d.comb += Assume(~started | (before == value))
        offset_bits = self.settings.offset_bits
        m.d.comb += [
            dut.settings.eq(self.settings),
            dut.functions[0].eq(self.function),
            Assume((offset_bits >= 32) & (offset_bits < 44) & (self.settings.key_bits <= 16)),
            Assume(self.function.mode == FunctionMode.COLOUR),
            Assume(~dut.i.valid | ready),
        ]

        # One request has id 1. The spec splits its address in its own way.
        comes, sent, seen = Signal(), Signal.like(dut.i.payload), Signal()
        m.d.comb += [
            comes.eq(dut.i.valid & dut.i.ready & dut.i.p.id),
            Assume(~seen | ~dut.i.valid | ~dut.i.p.id),
        ]
        with m.If(comes):
            m.d.sync += [seen.eq(1), sent.eq(dut.i.p)]
        above, offset = Signal(33), Signal(64)
        m.d.comb += [
            above.eq(sent.iova >> offset_bits),
            offset.eq(sent.iova & ((C(1, 64) << offset_bits) - 1)),
        ]
        guard, kind, colour, rest = above[0], above[1:4], above[4:12], above[12:]

        # The table knows the guest of this colour; of others it may say anything.
        asked = dut.table.guest
        for _ in range(READ_LATENCY):
            later = Signal.like(asked)
            m.d.sync += later.eq(asked)
            asked = later
        m.d.comb += dut.table.found.eq(Mux(seen & (asked == colour), self.guest, self.other))

        o, entry, state = dut.o.p, self.guest.entry, self.guest.state
        leaves = Signal()
        m.d.comb += leaves.eq(dut.o.valid & o.id & ~sent.bypass)
        known  = rest == (entry.key & ((C(1, 17) << self.settings.key_bits) - 1))
        device = Mux(kind == Kind.RING, entry.ring_device_id, entry.device_id)
        passes = ((state == GuestState.RUN) | (state == GuestState.FREEZE)
                  | (state == GuestState.DRAIN))
        mine   = ((sent.device_id == Cat(self.function.rid, self.function.segment))
                  & self.function.valid)
        with m.If(leaves & o.shared & ~o.contain):
            m.d.comb += [
                Assert(mine & known & (colour != 0) & passes),
                Assert(self.guest.exists & ~self.guest.bad & ~self.guest.odd),
                Assert((entry.function == 0) & ~guard & (o.device_id == device)),
                Assert((o.iova == offset) & (o.at == 0) & ~o.pv & ~o.bypass),
                Assert(~sent.write | (kind == Kind.DATA) | (kind == Kind.RING)),
            ]
        with m.If(leaves & ~o.shared):
            m.d.comb += [
                Assert(~o.contain & (o.device_id == sent.device_id) & (o.iova == sent.iova)),
                Assert(~mine | (above == 0)),
            ]
        with m.If(leaves & o.contain):
            m.d.comb += Assert(o.shared & o.bypass & mine)
        return m


@pytest.mark.formal
def test_what_is_permitted_is_of_the_guest_whose_colour_and_key_it_has():
    spec = AttributionSpec()
    # The first request comes in clock 2 and leaves in clock 12.
    check_bounded(spec, free=spec.free, depth=13)
