import pytest
from amaranth import *
from amaranth.hdl import Assert

from iovirt.stream import StreamQueue
from iovirt_sim.harness import check_bounded


class StreamQueueSpec(Elaboratable):
    """What goes in, numbered, comes out once and in order; the level is the difference."""

    def __init__(self, dut):
        self.dut = dut

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        pushed, popped = Signal(4), Signal(4)
        m.d.sync += [
            pushed.eq(pushed + (dut.i.valid & dut.i.ready)),
            popped.eq(popped + (dut.o.valid & dut.o.ready)),
        ]
        m.d.comb += [
            dut.i.payload.eq(Mux(dut.i.valid, pushed, ~pushed)),
            Assert(~dut.o.valid | (dut.o.payload == popped)),
            Assert(dut.level == (pushed - popped)[:4]),
            Assert(dut.i.ready | (dut.level != 0)),
        ]
        return m


@pytest.mark.formal
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_transfers_come_out_once_and_in_order(depth):
    dut = StreamQueue(4, depth=depth)
    check_bounded(StreamQueueSpec(dut), free=[dut.i.valid, dut.o.ready], depth=14)
