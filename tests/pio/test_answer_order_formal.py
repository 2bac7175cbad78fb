import pytest
from amaranth import *
from amaranth.hdl import Assert

from iovirt.pio.answer_order import AnswerOrder
from iovirt_sim.harness import check_bounded


class AnswerOrderSpec(Elaboratable):
    """Whatever is taken, finished and given back, each slot goes once, in order, and soon."""

    def __init__(self, dut):
        self.dut = dut
        self.want_take, self.want_finish, self.want_put = Signal(), Signal(), Signal()
        self.finishes, self.puts = Signal(range(dut.slots)), Signal(range(dut.slots))
        self.free = [dut.look, self.want_take, self.want_finish, self.want_put, self.finishes,
                     self.puts]

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        slots = range(dut.slots)
        live, finished, gone = (Signal(dut.slots, name=name)
                                for name in ("live", "finished", "gone"))
        kinds  = Array(Signal(dut.class_width, name=f"class_{n}") for n in slots)
        tokens = Array(Signal(len(dut.take.token.as_value()), name=f"token_{n}") for n in slots)
        older  = [Signal(dut.slots, name=f"older_{n}") for n in slots]
        looked = Signal.like(dut.look)
        m.d.sync += looked.eq(dut.look)

        takes, slot = Signal(), dut.free.payload.slot
        ends, puts  = Signal(), Signal()
        m.d.comb += [
            takes.eq(self.want_take & dut.free.valid),
            dut.free.ready.eq(takes),
            dut.take.en.eq(takes),
            dut.take.token.eq(dut.free.payload),
            dut.take.token.head.eq(dut.head),
            dut.finish.valid.eq(self.want_finish & live.bit_select(self.finishes, 1)
                                & ~finished.bit_select(self.finishes, 1)),
            Value.cast(dut.finish.payload).eq(tokens[self.finishes]),
            ends.eq(dut.finish.valid & dut.finish.ready),
            puts.eq(self.want_put & gone.bit_select(self.puts, 1)),
            dut.put.en.eq(puts),
            Value.cast(dut.put.token).eq(tokens[self.puts]),
        ]
        goes = Mux(dut.o.valid, 1 << dut.o.payload.slot, 0)
        new  = Mux(takes, 1 << slot, 0)
        m.d.sync += [
            live.eq((live | new) & ~Mux(puts, 1 << self.puts, 0)),
            finished.eq((finished | Mux(ends, 1 << self.finishes, 0)) & ~new),
            gone.eq((gone | goes) & ~Mux(puts, 1 << self.puts, 0)),
        ]
        with m.If(takes):
            m.d.sync += [kinds[slot].eq(looked), tokens[slot].eq(dut.take.token)]
            m.d.comb += Assert(~live.bit_select(slot, 1))
        for n in slots:
            same = Cat(live[k] & ~gone[k] & (kinds[k] == looked) for k in slots)
            with m.If(takes & (slot == n)):
                m.d.sync += older[n].eq(same & ~goes)
            with m.Else():
                m.d.sync += older[n].eq(older[n] & ~goes)
            with m.If(goes[n]):
                m.d.comb += Assert(live[n] & finished[n] & ~gone[n] & (older[n] == 0))

        # If nothing comes, and all is finished, something goes within 3 clocks.
        calm = Signal(range(4))
        waits = (live & ~gone) != 0
        with m.If(takes | ends | dut.o.valid | (live & ~finished).any() | ~waits):
            m.d.sync += calm.eq(0)
        with m.Else():
            m.d.sync += calm.eq(calm + 1)
        m.d.comb += Assert(calm != 3)
        return m


@pytest.mark.formal
@pytest.mark.parametrize("class_width, slots, depth", [(1, 2, 10), (1, 4, 8)])
def test_slots_go_once_and_in_the_order_of_their_class(class_width, slots, depth):
    spec = AnswerOrderSpec(AnswerOrder(class_width=class_width, slots=slots))
    check_bounded(spec, free=spec.free, depth=depth)
