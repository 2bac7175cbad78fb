import pytest
from amaranth import *
from amaranth.hdl import Assert, Assume

from iovirt.vf.attribution_check import AttributionCheck
from iovirt.vf.attribution_exit import AttributionExit
from iovirt.vf.attribution_layouts import CheckRequest
from iovirt.vf.function_match import FunctionRule
from iovirt.vf.guest_layouts import READ_LATENCY, GuestFound
from iovirt.vf.share_layouts import AddressSettings, FunctionMode, GuestState, Kind, access
from iovirt_sim.harness import check_bounded


class AttributionSpec(Elaboratable):
    """What leaves as permitted is translated for the guest whose colour and key the address has and
    whose state lets DMA pass, and lies in its window; or it has no colour at all.

    The check is a pipeline that never stops, so any one request stands for all. The request comes
    in the first clock, and what is found out of it is joined with it as the queues would.
    """

    def __init__(self, offset_bits, key_bits):
        self.check = AttributionCheck()
        self.exit  = AttributionExit(id_width=1, reads=2)
        self.offset_bits, self.key_bits = offset_bits, key_bits
        self.sent   = Signal(access(1))
        self.shared = Signal()
        self.rule   = Signal(FunctionRule)
        self.guest  = Signal(GuestFound)
        self.other  = Signal(GuestFound)

    @property
    def free(self):
        values = (self.sent, self.shared, self.rule, self.guest, self.other,
                  self.exit.verdict.payload, self.exit.o.ready)
        return [Value.cast(value) for value in values]

    def elaborate(self, platform):
        m = Module()
        m.submodules.check, m.submodules.exit = check, exit = self.check, self.exit
        sent, started = self.sent, Signal()
        m.d.sync += started.eq(1)
        for value in (sent, self.shared, self.rule, self.guest):
            value  = Value.cast(value)
            before = Signal.like(value)
            m.d.sync += before.eq(value)
            m.d.comb += Assume(~started | (before == value))
        settings = AddressSettings.const({"offset_bits": self.offset_bits,
                                          "key_bits": self.key_bits})
        m.d.comb += [
            check.settings.eq(settings),
            exit.settings.eq(settings),
            Assume(self.rule.mode == FunctionMode.COLOUR),
            check.i.valid.eq(~started),
            check.i.p.rid.eq(sent.device_id),
            *(check.i.p[name].eq(sent[name]) for name, _ in CheckRequest.as_shape()
              if name != "rid"),
            check.shared.eq(self.shared),
            check.rule.eq(self.rule),
            exit.i.valid.eq(check.o.valid),
            exit.i.p.eq(sent),
            exit.checked.valid.eq(check.o.valid),
            exit.checked.p.eq(check.o.p),
            exit.verdict.valid.eq(1),
        ]

        # The spec splits the address in its own way. The table knows the guest of this colour; of
        # others it may say anything.
        above, offset = sent.iova[self.offset_bits:], sent.iova[:self.offset_bits]
        guard, kind, colour, rest = above[0], above[1:4], above[4:12], above[12:]
        asked = check.table.guest
        for _ in range(READ_LATENCY):
            later = Signal.like(asked)
            m.d.sync += later.eq(asked)
            asked = later
        m.d.comb += check.table.found.eq(Mux(asked == colour, self.guest, self.other))

        o, entry, state = exit.o.p.request, self.guest.entry, self.guest.state
        leaves, ring = Signal(), kind == Kind.RING
        m.d.comb += leaves.eq(exit.o.valid & ~sent.bypass)
        passes = ((state == GuestState.RUN) | (state == GuestState.FREEZE)
                  | (state == GuestState.DRAIN))
        with m.If(leaves & o.shared & ~o.contain):
            m.d.comb += [
                Assert(self.shared & (rest == entry.key[:self.key_bits]) & (colour != 0) & passes),
                Assert(self.guest.exists & ~self.guest.bad & ~self.guest.odd),
                Assert(entry.function == self.rule.index),
                Assert(o.device_id == Mux(ring, entry.ring_device_id, entry.device_id)),
                Assert(~guard & (o.iova == offset) & (o.at == 0) & ~o.pv & ~o.bypass),
                Assert(ring | (kind == Kind.DATA) | (~sent.write & (kind < Kind.RING.value))),
                Assert(~ring | (offset[33:] == 0)),
            ]
        with m.If(leaves & ~o.shared):
            m.d.comb += [
                Assert(~o.contain & (o.device_id == sent.device_id) & (o.iova == sent.iova)),
                Assert(~self.shared | (above == 0)),
            ]
        with m.If(leaves & o.contain):
            m.d.comb += Assert(o.shared & o.bypass & self.shared)
        return m


@pytest.mark.formal
@pytest.mark.parametrize("offset_bits, key_bits", [(40, 12)])
def test_what_is_permitted_is_of_the_guest_whose_colour_and_key_it_has(offset_bits, key_bits):
    spec = AttributionSpec(offset_bits, key_bits)
    check_bounded(spec, free=spec.free, depth=9)
