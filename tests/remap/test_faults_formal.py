import pytest
from amaranth import *
from amaranth.hdl import Assert, Assume

from iovirt.remap.faults import FaultQueue
from iovirt_sim.harness import check_bounded


class FaultQueueSpec(Elaboratable):
    """While software moves the head towards the tail only, no record is written to a full ring,
    none while the queue is off, and each at the tail.
    """

    def __init__(self, dut):
        self.dut = dut

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        request, answer = dut.write_request, dut.write_response

        # Rings of 2 and 4 entries; the base, error bits and head are as the rules allow.
        mask = Signal(2)
        m.d.comb += [
            mask.eq(Cat(1, dut.fqb_log2sz_1[0])),
            Assume(dut.fqb_log2sz_1 < 2),
            Assume(dut.fqb_ppn[28:] == 0),
        ]
        ring, base = Signal(5), Signal(44)
        m.d.sync += [ring.eq(dut.fqb_log2sz_1), base.eq(dut.fqb_ppn)]
        with m.If(dut.fqon | dut.busy):
            m.d.comb += Assume((ring == dut.fqb_log2sz_1) & (base == dut.fqb_ppn))
        head, off = Signal(32), Signal()
        m.d.sync += [head.eq(dut.fqh), off.eq(~dut.fqon)]
        moved = (dut.fqh - head) & mask
        unread = (dut.fqt - head) & mask
        m.d.comb += Assume((moved <= unread) & (off | (dut.fqh[2:] == head[2:])))
        with m.If(off | ~dut.fqon):
            m.d.comb += Assume(dut.fqh == 0)

        outstanding = Signal()
        with m.If(request.valid & request.ready):
            m.d.sync += outstanding.eq(1)
        with m.Elif(answer.valid & answer.ready):
            m.d.sync += outstanding.eq(0)
        m.d.comb += Assume(~answer.valid | outstanding)

        with m.If(request.valid):
            m.d.comb += [
                Assert(((dut.fqt + 1 - dut.fqh) & mask).any()),
                Assert(dut.fqon & ~outstanding),
                Assert(request.p.address[:40] == (dut.fqb_ppn << 12) + 32 * dut.fqt),
            ]
        m.d.comb += [
            Assert(~outstanding | dut.fqon),
            Assert(~dut.fqon | ((dut.fqt & ~mask) == 0)),
            Assert(~(dut.lost & dut.new_record)),
        ]
        return m


@pytest.mark.formal
def test_never_writes_to_a_full_ring():
    dut = FaultQueue(address_width=40, tag_width=1, depth=1)
    free = [dut.fault.valid, Value.cast(dut.fault.payload), dut.fqb_log2sz_1, dut.fqb_ppn,
            dut.fqh, dut.fqen, dut.fqmf, dut.fqof, dut.write_request.ready,
            dut.write_response.valid, Value.cast(dut.write_response.payload)]
    check_bounded(FaultQueueSpec(dut), free=free, depth=18)
