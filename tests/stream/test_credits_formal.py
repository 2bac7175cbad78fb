import pytest
from amaranth import *
from amaranth.hdl import Assert

from iovirt.stream import CreditQueue
from iovirt_sim.harness import check_bounded


class CreditQueueSpec(Elaboratable):
    """Numbered results that come ``latency`` cycles after their reservation leave in order, and
    none is lost, however the consumer stalls.
    """

    def __init__(self, dut, latency):
        self.dut = dut
        self.latency = latency
        self.start = Signal()

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut

        m.d.comb += dut.reserve.eq(self.start & dut.free)
        arriving = dut.reserve
        for _ in range(self.latency):
            stage = Signal()
            m.d.sync += stage.eq(arriving)
            arriving = stage
        m.d.comb += dut.i.valid.eq(arriving)

        arrived, left = Signal(3), Signal(3)
        leaves = dut.o.valid & dut.o.ready
        m.d.comb += dut.i.payload.eq(arrived)
        m.d.sync += [arrived.eq(arrived + dut.i.valid), left.eq(left + leaves)]

        stalled = Signal()
        m.d.sync += stalled.eq(dut.o.valid & ~dut.o.ready)
        m.d.comb += [
            Assert(~stalled | dut.o.valid),
            Assert(~dut.o.valid | (dut.o.payload == left)),
            Assert(dut.o.valid == (arrived != left)),
            Assert(dut.level <= dut.depth),
        ]
        return m


@pytest.mark.formal
@pytest.mark.parametrize("depth, latency", [(1, 0), (2, 1), (3, 2)])
def test_no_result_is_lost_or_overtaken(depth, latency):
    spec = CreditQueueSpec(CreditQueue(3, depth=depth), latency)
    check_bounded(spec, free=[spec.start, spec.dut.o.ready], depth=10)
