import pytest
from amaranth import *
from amaranth.hdl import Assert, Assume

from iovirt.stream.order_pool import OrderPool
from iovirt_sim.harness import check_bounded


class OrderPoolSpec(Elaboratable):
    """The slots of a source go once each and in the order they were given; ``waits`` tells whether
    there are any; and a pool in which all is finished empties, one slot per clock.
    """

    def __init__(self, dut):
        self.dut = dut
        self.finish = Signal(dut.slots)

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        count = lambda name: [Signal(4, name=f"{name}_{n}") for n in range(2)]
        parked, given, gone, released = map(count, ("parked", "given", "gone", "released"))
        source = Signal()
        numbers = Array(Signal(4, name=f"number_{n}") for n in range(dut.slots))
        owners  = Array(Signal(name=f"owner_{n}") for n in range(dut.slots))
        holding = Signal(dut.slots)

        # Slots are counted by the user. One that was released is not counted on for 2 clocks.
        places, late = Signal(range(dut.slots + 1), init=dut.slots), Signal(2)
        m.d.comb += Assume(~dut.park | (places != 0))
        m.d.sync += [late.eq(Cat(dut.release, late[0])), places.eq(places - dut.park + late[1])]

        # Each source numbers its slots.
        m.d.sync += source.eq(dut.source)
        for n in range(2):
            m.d.comb += Assert((dut.source != n) | (dut.waits == (parked[n] != released[n])))
            m.d.sync += parked[n].eq(parked[n] + (dut.park & (dut.source == n)))
        with m.If(dut.given):
            m.d.comb += Assert(~holding.bit_select(dut.slot, 1))
            m.d.sync += [numbers[dut.slot].eq(Array(given)[source]), owners[dut.slot].eq(source),
                         Array(given)[source].eq(Array(given)[source] + 1)]
        owner = owners[dut.o.payload]
        with m.If(dut.o.valid):
            m.d.comb += [
                Assert(holding.bit_select(dut.o.payload, 1)),
                Assert(dut.finished.bit_select(dut.o.payload, 1)),
                Assert(numbers[dut.o.payload] == Array(gone)[owner]),
            ]
            with m.If(dut.o.ready):
                m.d.sync += Array(gone)[owner].eq(Array(gone)[owner] + 1)
        stalled, offer = Signal(), Signal.like(dut.o.payload)
        m.d.sync += [stalled.eq(dut.o.valid & ~dut.o.ready), offer.eq(dut.o.payload)]
        m.d.comb += Assert(~stalled | (dut.o.valid & (dut.o.payload == offer)))

        # A slot is released in the clock after it has gone.
        m.d.sync += [dut.release.eq(dut.o.valid & dut.o.ready), dut.released.eq(dut.o.payload)]
        with m.If(dut.release):
            m.d.sync += Array(released)[owners[dut.released]].eq(
                Array(released)[owners[dut.released]] + 1)

        # Slots become finished when it pleases the environment, and stay so.
        here  = Mux(dut.given, 1 << dut.slot, 0)
        freed = Mux(dut.release, 1 << dut.released, 0)
        m.d.sync += [
            holding.eq((holding & ~freed) | here),
            dut.finished.eq(((dut.finished | (self.finish & holding)) & ~here)
                            | (here & self.finish)),
        ]

        # If all is finished, nothing parks and the output is free, something goes in each clock.
        calm, empty = Signal(range(3)), (holding & ~freed) == 0
        with m.If(dut.park | dut.given | (holding & ~dut.finished).any()):
            m.d.sync += calm.eq(0)
        with m.Elif(calm != 2):
            m.d.sync += calm.eq(calm + 1)
        m.d.comb += Assert((calm != 2) | dut.given | empty | dut.o.valid)
        return m


@pytest.mark.formal
@pytest.mark.parametrize("slots, depth", [(2, 10), (3, 8)])
def test_slots_of_a_source_go_once_and_in_order(slots, depth):
    dut  = OrderPool(source_width=1, slots=slots)
    spec = OrderPoolSpec(dut)
    check_bounded(spec, free=[dut.source, dut.park, dut.o.ready, spec.finish], depth=depth)
