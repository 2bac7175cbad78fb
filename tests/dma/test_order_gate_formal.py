import pytest
from amaranth import *
from amaranth.hdl import Assert, Assume

from iovirt.dma.order import WriteOrder
from iovirt.dma.order_gate import OrderGate
from iovirt_sim.harness import check_bounded

SLOTS, WIDTH = 2, 5


class GateSpec(Elaboratable):
    """A signal goes after the responses of the writes that came before it, and after the signals of
    its class that came before it; once its writes are done it goes if the others before it do.

    Any one signal is followed, and any one that comes later.
    """

    def __init__(self):
        self.gate  = OrderGate(slots=SLOTS, classes=2, number_width=WIDTH, in_order=True)
        self.order = WriteOrder(classes=2, width=WIDTH)
        self.slot  = Signal(range(SLOTS))
        self.kind  = Signal()
        self.picks = Signal(2)

    @property
    def free(self):
        gate, order = self.gate, self.order
        return [self.slot, self.kind, self.picks, gate.i.valid, gate.o.ready,
                order.arrive.en, order.arrive.order, order.respond.en, order.respond.order]

    def elaborate(self, platform):
        m = Module()
        m.submodules.gate, m.submodules.order = gate, order = self.gate, self.order
        coming, going = Signal(), Signal()
        m.d.comb += [
            order.ask[0].order.eq(gate.ask.order),
            order.ask[0].number.eq(gate.ask.number),
            gate.ask.distance.eq(order.ask[0].distance),
            gate.i.payload.slot.eq(self.slot),
            gate.i.payload.order.eq(self.kind),
            order.before.order.eq(gate.i.payload.order),
            gate.i.payload.number.eq(order.before.number),
            coming.eq(gate.i.valid & gate.i.ready),
            going.eq(gate.o.valid & gate.o.ready),
        ]

        # A slot is used by one signal at a time; responses are those of writes; offers are kept.
        used, stalled, held = Signal(SLOTS), Signal(), Signal()
        m.d.sync += [stalled.eq(gate.i.valid & ~gate.i.ready), held.eq(gate.i.payload.order)]
        m.d.comb += [
            Assume(~gate.i.valid | ~used.bit_select(self.slot, 1)),
            Assume(~stalled | (gate.i.valid & (gate.i.payload.order == held))),
            Assert(~going | used.bit_select(gate.o.payload, 1)),
        ]
        m.d.sync += used.eq((used | Mux(coming, 1 << self.slot, 0))
                            & ~Mux(going, 1 << gate.o.payload, 0))
        open_writes = Array(Signal(4, name=f"open_{n}") for n in range(2))
        for n, count in enumerate(open_writes):
            more = order.arrive.en & (order.arrive.order == n)
            less = order.respond.en & (order.respond.order == n)
            m.d.comb += Assume(~less | (count != 0))
            m.d.sync += count.eq(count + more - less)

        # The signals that are followed: `left` counts the responses that the first one waits for.
        inside, slots, kind = Signal(2), [Signal.like(self.slot) for _ in range(2)], Signal()
        seen, left = Signal(), Signal(4)
        for n in range(2):
            with m.If(coming & self.picks[n] & (~seen if n == 0 else seen & ~inside[1])):
                m.d.sync += [inside[n].eq(1), slots[n].eq(self.slot)]
                if n == 0:
                    m.d.sync += [seen.eq(1), kind.eq(gate.i.payload.order)]
                else:
                    m.d.comb += Assume(gate.i.payload.order == kind)
            with m.If(going & inside[n] & (gate.o.payload == slots[n])):
                m.d.sync += inside[n].eq(0)
        responds = order.respond.en & (order.respond.order == Mux(seen, kind,
                                                                  gate.i.payload.order))
        now = (open_writes[gate.i.payload.order]
               + (order.arrive.en & (order.arrive.order == gate.i.payload.order)))
        with m.If(~seen):
            m.d.sync += left.eq(now - responds)
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - responds)
        leaves = [going & inside[n] & (gate.o.payload == slots[n]) for n in range(2)]
        m.d.comb += [
            Assert(~leaves[0] | (left == 0)),
            Assert(~leaves[1] | ~inside[0]),
        ]

        # With two slots, whatever may go is offered within 5 clocks.
        wait = Signal(range(6))
        with m.If(inside[0] & (left == 0) & ~gate.o.valid & (open_writes[0] == 0)
                  & (open_writes[1] == 0)):
            m.d.sync += wait.eq(wait + (wait != 5))
        with m.Else():
            m.d.sync += wait.eq(0)
        m.d.comb += Assert(wait != 5)
        return m


@pytest.mark.formal
def test_signal_passes_neither_writes_nor_signals_of_its_class():
    spec = GateSpec()
    check_bounded(spec, free=spec.free, depth=8)
