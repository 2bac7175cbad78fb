import pytest
from amaranth import *
from amaranth.hdl import Assert, Assume
from amaranth.lib import data

from iovirt.vf.page_router import PageRouter
from iovirt.vf.share_layouts import GuestState
from iovirt_sim.harness import check_bounded


class RouterSpec(Elaboratable):
    """One access at a time, whichever: a doorbell that passes is one of the guest's own pairs."""

    def __init__(self, dut):
        self.dut = dut
        self.comes = Signal(data.StructLayout({
            "write": 1, "be": 4, "legal": 1, "nobody": 1, "header": 1, "door": 1, "queue": 8,
            "owner": 1}))

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        call, guest = Signal.like(dut.i.payload), Signal.like(dut.guest.answer.payload)
        busy, asked, single = Signal(), Signal(), Signal()
        outputs = [dut.doorbell, dut.mailbox, dut.header, dut.end]
        leaves = Cat(output.valid & output.ready for output in outputs)
        m.d.sync += single.eq(dut.single)
        m.d.comb += [
            Assume(~(busy & dut.i.valid)),
            Assume(~busy | (single == dut.single)),
            Assume(~dut.guest.answer.valid | asked),
            *(dut.i.payload[name].eq(self.comes[name]) for name in self.comes.shape().members),
            # What the decoder guarantees: queue 0 is none of the guest's, unless they count from 0.
            Assume(~dut.i.payload.door | dut.single | dut.i.payload.queue.any()),
        ]
        with m.If(dut.i.valid & dut.i.ready):
            m.d.sync += [busy.eq(1), call.eq(dut.i.payload)]
        with m.Elif(leaves.any()):
            m.d.sync += busy.eq(0)
        with m.If(dut.guest.request.valid & dut.guest.request.ready):
            m.d.sync += asked.eq(1)
        with m.Elif(dut.guest.answer.valid):
            m.d.sync += [asked.eq(0), guest.eq(dut.guest.answer.payload)]

        rings, pair = dut.doorbell.valid, dut.doorbell.payload.pair
        first = guest.first_pair
        live = ((guest.state == GuestState.RUN) | (guest.state == GuestState.FREEZE)
                | (guest.state == GuestState.DRAIN))
        own = (pair - first)[:10] < guest.pairs
        alive = live & guest.ok & ~call.nobody
        m.d.comb += [
            Assert(~Cat(output.valid for output in outputs).any() | busy),
            Assert(leaves.any() == (Cat(leaves[n] & ~(leaves & ~(1 << n)).any()
                                        for n in range(4)).any())),
            Assert(~rings | (alive & own & call.legal & call.door)),
            Assert(~rings | ~call.write | (call.be == 0xF)),
            Assert(~rings | ((pair - first)[:10] == call.queue - ~dut.single)),
            Assert(~(dut.mailbox.valid | dut.header.valid) | (alive & call.legal)),
            Assert(~dut.end.valid | ~dut.end.payload.ok | (guest.ok & ~call.nobody)),
            Assert(~dut.end.valid | (dut.end.payload.owner == call.owner)),
        ]
        return m


@pytest.mark.formal
def test_doorbells_that_pass_are_of_own_pairs_and_each_access_goes_one_way():
    dut  = PageRouter(headers=True)
    spec = RouterSpec(dut)
    free = [dut.i.valid, Value.cast(spec.comes), dut.single, dut.guest.request.ready,
            dut.guest.answer.valid, Value.cast(dut.guest.answer.payload), dut.doorbell.ready,
            dut.mailbox.ready, dut.header.ready, dut.end.ready]
    check_bounded(spec, free=free, depth=8)
