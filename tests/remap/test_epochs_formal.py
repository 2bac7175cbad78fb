import pytest
from amaranth import *
from amaranth.hdl import Assert, Assume

from iovirt.remap.epochs import Epochs
from iovirt_sim.harness import check_bounded


class EpochsSpec(Elaboratable):
    """Any one request, marked when it is accepted, holds up every fence offered from then on until
    it is retired; and a fence that no earlier request holds up transfers at once.
    """

    def __init__(self, dut):
        self.dut = dut
        self.mark, self.retire_marked = Signal(), Signal()

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut

        # The marked request is retired through port 0, when `retire_marked` says so.
        marked, epoch = Signal(), Signal()
        retiring = Signal()
        m.d.comb += retiring.eq(marked & self.retire_marked)
        with m.If(dut.accept & self.mark & ~marked):
            m.d.sync += [marked.eq(1), epoch.eq(dut.epoch)]
        with m.Elif(retiring):
            m.d.sync += marked.eq(0)
        with m.If(retiring):
            m.d.comb += Assume(dut.retire[0].valid & (dut.retire[0].epoch == epoch))

        # Requests that are not marked: nothing is retired that was not accepted, nor too much.
        others = [Signal(8, name=f"others_{n}") for n in range(2)]
        for n, count in enumerate(others):
            retired = [port.valid & (port.epoch == n) for port in dut.retire]
            retired[0] &= ~retiring
            accepted = dut.accept & (dut.epoch == n) & ~(self.mark & ~marked)
            m.d.sync += count.eq(count + accepted - sum(retired))
            m.d.comb += Assume(sum(retired) <= count)
        m.d.comb += Assume((others[0] + others[1] + marked < dut.capacity) | ~dut.accept)

        # A fence, once offered, is offered until it transfers.
        offered, older = Signal(), Signal()
        m.d.sync += offered.eq(dut.drain.valid & ~dut.drain.ready)
        m.d.comb += Assume(~offered | dut.drain.valid)
        began = Signal()  # the fence began when the marked request had been accepted, or then
        with m.If(dut.drain.valid & ~offered):
            m.d.comb += older.eq(marked)
            m.d.sync += began.eq((marked & ~retiring) | (dut.accept & self.mark & ~marked))
        with m.Else():
            m.d.comb += older.eq(began & marked)
            with m.If(retiring):
                m.d.sync += began.eq(0)
        m.d.comb += Assert(~(dut.drain.valid & dut.drain.ready & older))

        # `earlier` is the epoch that the fence ends.
        earlier = Signal()
        with m.If(dut.drain.valid & ~offered):
            m.d.sync += earlier.eq(dut.epoch)
        pending = Mux(earlier, others[1], others[0]) + (marked & (epoch == earlier))
        m.d.comb += Assert(~offered | (pending != 0) | dut.drain.ready)
        return m


@pytest.mark.formal
@pytest.mark.parametrize("capacity, retire_ports", [(2, 1), (2, 2)])
def test_a_fence_waits_for_each_earlier_request_and_for_nothing_else(capacity, retire_ports):
    dut  = Epochs(capacity=capacity, retire_ports=retire_ports)
    spec = EpochsSpec(dut)
    free = [dut.accept, dut.drain.valid, spec.mark, spec.retire_marked,
            *(value for port in dut.retire for value in (port.valid, port.epoch))]
    check_bounded(spec, free=free, depth=11)
