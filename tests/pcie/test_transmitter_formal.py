import pytest
from amaranth import *
from amaranth.hdl import Assert, Assume
from amaranth.lib import data

from iovirt.pcie.tlp import Dw0, RequestHeader
from iovirt.pcie.transmitter import Transmitter
from iovirt_sim.harness import check_bounded

LAG = 2


#: A beat, as far as the transmitter can tell beats apart.
OFFER = data.StructLayout({"data": 1, "length": 6, "has_data": 1, "last": 1})


class TransmitterSpec(Elaboratable):
    """TLPs come out whole, unchanged while stalled, from one port each, and never without credit.

    The link partner has few credits and returns them when it likes; its counts may be right at once
    or late by up to the lag, from clock to clock as it likes.
    """

    def __init__(self, dut, *, headers, units):
        self.dut  = dut
        self.initial = headers, units
        self.lazy = Signal(range(LAG))  # how late the counts are now
        self.headers_back, self.units_back = Signal(), Signal(2)
        self.offers = [Signal(OFFER, name=f"offer_{port}") for port in range(dut.ports)]

    @property
    def free(self):
        return [*(i.valid for i in self.dut.i), *(offer.as_value() for offer in self.offers),
                self.dut.tx.ready, self.lazy, self.headers_back, self.units_back]

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        tx = dut.tx

        # Inputs obey the stream rules and frame their TLPs. The port is written in the header.
        for port, i in enumerate(dut.i):
            now, hdr = self.offers[port], RequestHeader(i.payload.hdr)
            stalled, offer, inside = Signal(), Signal(OFFER), Signal()
            m.d.sync += [stalled.eq(i.valid & ~i.ready), offer.eq(now)]
            with m.If(i.valid & i.ready):
                m.d.sync += inside.eq(~now.last)
            m.d.comb += [
                Assume(~stalled | (i.valid & (now.as_value() == offer.as_value()))),
                Assume((now.length > 0) & (now.length <= 32)),
                i.payload.first.eq(~inside),
                i.payload.last.eq(now.last),
                i.payload.data.eq(now.data),
                hdr.rid.eq(port),
                hdr.dw0.length.eq(now.length),
                hdr.dw0.fmt.eq(Cat(0, now.has_data)),
            ]

        # The output obeys them too, and does not mix ports.
        stalled, offer = Signal(), Signal(128 + 64 + 2 + 2)
        inside, owner  = Signal(), Signal(16)
        now = Cat(tx.hdr, tx.data, tx.strb, tx.first, tx.last)
        rid = RequestHeader(tx.hdr).rid
        m.d.sync += [stalled.eq(tx.valid & ~tx.ready), offer.eq(now)]
        with m.If(tx.valid & tx.ready):
            m.d.sync += [inside.eq(~tx.last), owner.eq(rid)]
        m.d.comb += [
            Assert(~stalled | (tx.valid & (now == offer))),
            Assert(~tx.valid | (tx.first == ~inside)),
            Assert(~tx.valid | ~inside | (rid == owner)),
        ]
        self._credits(m, tx)
        return m

    def _credits(self, m, tx):
        dut, header = self.dut, Dw0(tx.hdr[96:])
        m.d.comb += dut.link_up.eq(1)
        starts = tx.valid & tx.ready & tx.first
        need   = Signal(4)
        m.d.comb += need.eq(Mux(header.has_data(), (header.length + 3)[2:], 0))
        headers, units = self.initial
        for back, shown, taken, initial in (
                (self.headers_back, dut.tx_fc_cplh, starts, headers),
                (self.units_back, dut.tx_fc_cpld, Mux(starts, need, 0), units)):
            left = Signal(6, init=initial, name=f"left_{shown.name}")
            m.d.sync += left.eq(left - taken + back)
            m.d.comb += [Assert(left >= taken), Assume(left < 32)]
            # TLPs of the last `LAG` clocks may or may not be counted yet.
            late, recent = 0, taken
            for n in range(LAG):
                stage = Signal(4, name=f"taken_{n}")
                m.d.sync += stage.eq(recent)
                recent = stage
                if n < LAG - 1:
                    late = late + Mux(self.lazy > n, stage, 0)
            m.d.comb += shown.eq(left + late)


@pytest.mark.formal
@pytest.mark.parametrize("ports, headers, units", [(1, 1, 2), (1, 4, 25), (2, 2, 9)])
def test_credits_framing_and_stability(ports, headers, units):
    dut  = Transmitter(data_width=64, ports=ports, max_payload_bytes=128, credit_lag=LAG)
    spec = TransmitterSpec(dut, headers=headers, units=units)
    check_bounded(spec, free=spec.free, depth=9)


class FairnessSpec(Elaboratable):
    """With infinite credits, a port that waits is passed over by each other port at most once."""

    def __init__(self, dut):
        self.dut = dut

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        m.d.comb += [dut.tx_fc_cplh.eq(0xFF), dut.tx_fc_cpld.eq(0xFFF), dut.link_up.eq(1)]
        started = Cat(i.valid & i.ready & i.payload.first for i in dut.i)
        settled = Signal(range(4))
        with m.If(settled != 3):
            m.d.sync += settled.eq(settled + 1)
        for i in dut.i:
            inside, stalled, passed = Signal(), Signal(), Signal(range(dut.ports + 1))
            m.d.sync += stalled.eq(i.valid & ~i.ready)
            with m.If(i.valid & i.ready):
                m.d.sync += inside.eq(~i.payload.last)
            with m.If(~i.valid | i.ready):
                m.d.sync += passed.eq(0)
            with m.Elif(started.any() & (settled == 3)):
                m.d.sync += passed.eq(passed + 1)
            m.d.comb += [
                Assume(~stalled | i.valid),
                Assume(~i.valid | (i.payload.first == ~inside)),
                Assert(passed < dut.ports),
            ]
        return m


@pytest.mark.formal
@pytest.mark.parametrize("ports", [2, 3])
def test_no_port_is_passed_over(ports):
    dut  = Transmitter(data_width=64, ports=ports, max_payload_bytes=128, credit_lag=LAG)
    free = [dut.tx.ready, *(value for i in dut.i for value in (i.valid, i.payload.as_value()))]
    check_bounded(FairnessSpec(dut), free=free, depth=12)
