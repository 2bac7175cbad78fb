import pytest
from amaranth import *
from amaranth.hdl import Assert, Assume

from iovirt.config import PcieConfig
from iovirt.pcie.receiver import Receiver
from iovirt.pcie.tlp import Fmt, RequestHeader, Type
from iovirt_sim.harness import check_bounded

CREDITS = 4


class NonPostedSpec(Elaboratable):
    """A core that keeps to its credits never waits because of non-posted requests, and gets each
    credit back exactly once.

    Packets are reads, configuration reads (refused), AtomicOps of two beats and writes, of which
    the core may take back any, and some are malformed. ``read`` and ``unsupported`` stall at will.
    """

    def __init__(self, dut):
        self.dut = dut
        self.kind, self.bad = Signal(2), Signal()

    @property
    def free(self):
        dut = self.dut
        return [self.kind, self.bad, dut.rx.valid, dut.rx.nullify, dut.read.ready,
                dut.unsupported.ready]

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        rx, header = dut.rx, RequestHeader(dut.rx.hdr)

        inside, stalled = Signal(), Signal()
        offer, held = Cat(self.kind, self.bad, rx.nullify), Signal(4)
        m.d.sync += stalled.eq(rx.valid & ~rx.ready)
        m.d.sync += held.eq(offer)
        atomic, write = self.kind == 2, self.kind == 3
        m.d.comb += [
            rx.first.eq(~inside),
            rx.last.eq(inside | ~atomic),
            rx.strb.eq(Mux(write, 1, Mux(atomic, 3, 0))),
            header.first_be.eq(15),
            header.last_be.eq(Mux(atomic, 15, self.bad)),
            header.dw0.length.eq(Mux(atomic, Mux(self.bad, 3, 4), 1)),
            header.dw0.fmt.eq(Mux(self.kind[1], Fmt.DW3_DATA, Fmt.DW3)),
            dut.write.ready.eq(1), dut.completion.ready.eq(1), dut.message.ready.eq(1),
            Assume(~(stalled | inside) | (offer == held)),
            Assume(~stalled | rx.valid),
        ]
        with m.Switch(self.kind):
            for kind, code in enumerate((Type.MEMORY, Type.CONFIG_0, Type.CAS, Type.MEMORY)):
                with m.Case(kind):
                    m.d.comb += header.dw0.type.eq(code)
        with m.If(rx.valid & rx.ready):
            m.d.sync += inside.eq(~rx.last)

        # A core with a credit for each non-posted request that it does not take back.
        credits = Signal(4, init=CREDITS)
        starts  = rx.valid & rx.first & ~write
        ends    = rx.valid & rx.ready & rx.last & ~write & ~rx.nullify
        m.d.sync += credits.eq(credits - ends + dut.np_release)
        m.d.comb += [
            Assume(~starts | rx.nullify | (credits != 0)),
            Assert(rx.ready),
            Assert(credits + dut.np_release <= CREDITS),
        ]

        # Whatever stays idle has all its credits.
        idle = Signal(range(8))
        with m.If(rx.valid):
            m.d.sync += idle.eq(0)
        with m.Elif(idle != 6):
            m.d.sync += idle.eq(idle + 1)
        resting = (idle == 6) & ~dut.read.valid & ~dut.unsupported.valid
        m.d.comb += Assert(~resting | (credits + dut.np_release == CREDITS))
        return m


@pytest.mark.formal
def test_core_within_its_credits_never_waits():
    spec = NonPostedSpec(Receiver(data_width=64, pcie=PcieConfig(np_credits=CREDITS)))
    check_bounded(spec, free=spec.free, depth=10)
