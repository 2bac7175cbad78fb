import pytest
from amaranth import *
from amaranth.hdl import Assert, Assume

from iovirt.dma.pool import SlotPool
from iovirt_sim.harness import check_bounded


class SlotPoolSpec(Elaboratable):
    """If only slots that are out are given back, no slot is given out twice, and an offer stays."""

    def __init__(self, dut):
        self.dut = dut

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        out = Signal(dut.slots)
        stalled, offer = Signal(), Signal.like(dut.o.payload)
        m.d.sync += [stalled.eq(dut.o.valid & ~dut.o.ready), offer.eq(dut.o.payload)]
        with m.If(dut.o.valid & dut.o.ready):
            m.d.sync += out.bit_select(dut.o.payload, 1).eq(1)
        with m.If(dut.put.en):
            m.d.sync += out.bit_select(dut.put.slot, 1).eq(0)
        m.d.comb += [
            Assume(~dut.put.en | out.bit_select(dut.put.slot, 1)),
            Assert(~dut.o.valid | ~out.bit_select(dut.o.payload, 1)),
            Assert(~stalled | (dut.o.valid & (dut.o.payload == offer))),
            Assert(dut.used == sum(out)),
        ]
        return m


@pytest.mark.formal
def test_no_slot_is_out_twice():
    dut = SlotPool(slots=4)
    check_bounded(SlotPoolSpec(dut), free=[dut.o.ready, dut.put.en, dut.put.slot], depth=10)
