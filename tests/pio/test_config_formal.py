import pytest
from amaranth import *
from amaranth.hdl import Assert, Assume

from iovirt.config import PioConfig
from iovirt.pio.config_router import ConfigRouter
from iovirt.pio.error_ring import ErrorRing
from iovirt_sim.harness import check_bounded


class RouterSpec(Elaboratable):
    """What is sent is permitted, and each access ends once."""

    def __init__(self, dut):
        self.dut = dut

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut

        # Settings stay as they are while an access is looked at.
        settings = Cat(dut.primary, dut.secondary, dut.subordinate, dut.ari)
        before, started = Signal.like(settings), Signal()
        m.d.sync += [before.eq(settings), started.eq(1)]
        m.d.comb += Assume(~started | (settings == before))

        access, inside = Signal.like(dut.access.p), Signal()
        ends = Signal(2)
        with m.If(dut.access.valid & dut.access.ready):
            m.d.sync += access.eq(dut.access.p)
        m.d.comb += ends.eq((dut.device.valid & dut.device.ready)
                            + (dut.answer.valid & dut.answer.ready))
        m.d.sync += inside.eq(inside + (dut.access.valid & dut.access.ready) - ends[0])

        sent, asked = dut.device, dut.header.request
        bus, device = access.address[20:], access.address[15:20]
        below = (bus == dut.secondary) | ((bus > dut.secondary) & (bus <= dut.subordinate))
        permitted = (access.legal & below & (bus != dut.primary) & (dut.secondary != 0)
                     & ((bus != dut.secondary) | (device == 0) | dut.ari))
        own = access.legal & (bus == dut.primary) & ~access.address[12:20].any()
        m.d.comb += [
            Assert(~sent.valid | (permitted & (sent.p.type1 == (bus != dut.secondary)))),
            Assert(~sent.valid | (Value.cast(sent.p.access) == Value.cast(access))),
            Assert(~asked.valid | (own & (asked.p.be == access.be))),
            Assert(~dut.answer.valid | ~permitted),
            Assert(~dut.access.ready | ~inside),
            Assert((ends == 0) | inside),
            Assert(ends != 2),
            Assert(~dut.error.valid | ~access.legal),
        ]
        return m


@pytest.mark.formal
def test_requests_go_only_where_the_port_permits_and_each_access_ends_once():
    dut  = ConfigRouter(owner_width=1, core_bits=1, waiting=1)
    free = [dut.access.valid, Value.cast(dut.access.p), dut.answer.ready, dut.error.ready,
            dut.device.ready, dut.header.request.ready, dut.header.response.valid,
            dut.header.response.p, dut.primary, dut.secondary, dut.subordinate, dut.ari]
    check_bounded(RouterSpec(dut), free=free, depth=7)


class RingSpec(Elaboratable):
    """A record that is kept stays as it is until software is done with it."""

    def __init__(self, dut):
        self.dut = dut
        self.slot = Signal(range(dut.pio.errors))

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        errors = dut.pio.errors
        width  = len(self.slot)

        watched, known, slot, started = Signal(8), Signal(), Signal(width), Signal()
        tail, used, sure = Signal.like(dut.tail), Signal.like(dut.tail), Signal()
        latest, stored = Signal(8), Signal(8)
        m.d.sync += [started.eq(1), slot.eq(self.slot), tail.eq(dut.tail), stored.eq(latest)]
        m.d.comb += [
            Assume(~started | (self.slot == slot)),
            dut.select.eq(self.slot),
            used.eq(dut.tail - dut.head),
            Assert(used <= errors),
            Assert((dut.tail - tail)[1:] == 0),
        ]

        # The record of one slot, from its arrival until head has passed it.
        with m.If(dut.i[0].valid & dut.i[0].ready):
            m.d.sync += latest.eq(dut.i[0].p.rid)
        with m.If((dut.tail != tail) & (tail[:width] == self.slot)):
            m.d.sync += [watched.eq(stored), known.eq(1)]
        offset = (self.slot - dut.head)[:width]
        kept   = Signal()
        m.d.comb += kept.eq(offset < used)
        m.d.sync += sure.eq(known & kept & (dut.tail == tail))
        m.d.comb += Assert(~(sure & kept) | (dut.record.rid[:8] == watched))
        return m


@pytest.mark.formal
def test_kept_record_is_never_overwritten():
    dut  = ErrorRing(pio=PioConfig(errors=4), ports=1)
    spec = RingSpec(dut)
    free = [spec.slot, dut.i[0].valid, Value.cast(dut.i[0].p), dut.head_write, dut.head_data,
            dut.error.ready]
    check_bounded(spec, free=free, depth=9)
