import pytest
from amaranth import *
from amaranth.hdl import Assert, Assume

from iovirt.vf.account_step import AccountStep
from iovirt.vf.guest_picker import GuestPicker
from iovirt.vf.scheduler_layouts import AccountOp
from iovirt_sim.harness import check_bounded


class PickerSpec(Elaboratable):
    """A guest that was woken is chosen, after at most all others, and soon if nobody else is.

    A choice and a wake may each be under way when a guest is woken, or wants another visit.
    """

    def __init__(self, dut, guest):
        self.dut, self.guest = dut, guest
        self.visited = Signal.like(dut.o.payload)

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        owed, others, idle = Signal(), Signal(8), Signal(8)
        woken = Cat(wake.valid & (wake.guest == self.guest) for wake in dut.wake).any()
        moves, visiting, mine = Signal(), Signal(), Signal()
        m.d.comb += [
            moves.eq(dut.o.valid & dut.o.ready),
            mine.eq(visiting & (self.visited == self.guest) & dut.over & dut.stays),
            Assume(visiting | ~dut.over),
        ]
        with m.If(moves):
            m.d.sync += [visiting.eq(1), self.visited.eq(dut.o.payload)]
        with m.Elif(dut.over):
            m.d.sync += visiting.eq(0)
        with m.If(moves & (dut.o.payload == self.guest)):
            m.d.sync += [owed.eq(woken), others.eq(0), idle.eq(0)]
        with m.Else():
            with m.If(woken | mine):
                m.d.sync += owed.eq(1)
            with m.If(owed):
                m.d.sync += [others.eq(others + moves),
                             idle.eq(Mux(dut.o.valid | visiting, 0, idle + 1))]
        m.d.comb += [Assert(others <= dut.guests), Assert(idle <= 6)]

        stalled, offer = Signal(), Signal.like(dut.o.payload)
        m.d.sync += [stalled.eq(dut.o.valid & ~dut.o.ready), offer.eq(dut.o.payload)]
        m.d.comb += Assert(~stalled | (dut.o.valid & (dut.o.payload == offer)))
        return m


@pytest.mark.formal
@pytest.mark.parametrize("guests, guest", [(4, 0), (4, 3), (8, 5)])
def test_every_wake_leads_to_a_visit(guests, guest):
    dut  = GuestPicker(guests=guests, wakers=1)
    free = [dut.o.ready, dut.over, dut.stays, dut.wake[0].valid, dut.wake[0].guest]
    check_bounded(PickerSpec(dut, guest), free=free, depth=18)


class BudgetSpec(Elaboratable):
    """Accounts of two guests, of which only the commands in flight are kept. Anything may complete,
    also what is not in flight. Visits are made as the turns make them.
    """

    def __init__(self, dut):
        self.dut = dut
        self.most, self.limits = Signal(2), [Signal(2), C(0, 2)]
        self.op, self.guest, self.ask = Signal(3), Signal(), Signal()
        self.back, self.gone, self.amount = Signal(2), Signal(2), Signal(2)
        self.free = [dut.i.valid, self.op, self.guest, self.ask, self.back, self.gone,
                     self.amount, self.most, self.limits[0]]

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        i, guest, visit = dut.i, self.guest, dut.i.argument.visit
        visits, clears = self.op == AccountOp.VISIT.value, self.op == AccountOp.SOFTWARE.value
        m.d.comb += [i.op.eq(self.op), i.guest.eq(guest), i.argument.amount.amount.eq(self.amount)]
        with m.If(visits):
            m.d.comb += [visit.ask.eq(self.ask), visit.back.eq(self.back),
                         visit.gone.eq(self.gone)]
        flying = Array(Signal(13, name=f"flying_{n}") for n in range(2))

        # Settings do not change. Operations of a guest do not overlap, nor do visits and clears.
        started = Signal()
        m.d.sync += started.eq(1)
        for value in (self.most, self.limits[0]):
            past = Signal.like(value)
            m.d.sync += past.eq(value)
            m.d.comb += Assume(~started | (past == value))
        stages = [tuple(Signal(name=f"{name}_{n}") for name in ("valid", "guest", "visit"))
                  for n in range(1, 7)]
        before = (i.valid, guest, visits)
        for stage in stages:
            m.d.sync += [late.eq(early) for early, late in zip(before, stage, strict=True)]
            before = stage
        overlaps = Cat(valid & ((other == guest) | (another & (visits | clears)))
                       for valid, other, another in stages).any()

        # What a visit has reserved may be given back, by the next one.
        reserved, holder = Signal(8), Signal()
        with m.If(dut.heard):
            m.d.sync += [reserved.eq(dut.result.offer), holder.eq(stages[4][1])]
        with m.Elif(i.valid & visits):
            m.d.sync += reserved.eq(0)
        m.d.comb += [
            Assume(~i.valid | ~overlaps),
            Assume(~i.valid | ~visits | ((visit.back <= visit.gone) & (visit.gone <= reserved))),
            Assume(~i.valid | (reserved == 0) | ((guest == holder) & ~clears) | ~(visits | clears)),
            Assume(~i.valid | visits | clears | (self.op == AccountOp.COMPLETE.value)),
            # Something happens at once.
            Assume(started | i.valid),
            dut.software.write.eq(1), dut.software.word.eq(2),
            dut.settings.most.eq(self.most), dut.settings.burst.eq(9), dut.settings.quantum.eq(1),
            i.budget.weight.eq(1), i.budget.limit.eq(Array(self.limits)[guest]),
            i.account.deficit.eq(9), i.account.in_flight.eq(flying[guest]),
        ]
        with m.If(stages[5][0]):
            m.d.sync += flying[stages[5][1]].eq(dut.account.in_flight)
        m.d.comb += [
            Assert(dut.in_flight <= self.most),
            Assert(stages[5][0] | (dut.in_flight == flying[0] + flying[1])),
            Assert(~stages[5][0] | stages[5][1] | (self.limits[0] == 0)
                   | (dut.account.in_flight <= self.limits[0])),
        ]
        return m


@pytest.mark.formal
def test_commands_in_flight_never_exceed_a_limit():
    spec = BudgetSpec(AccountStep(guests=4))
    check_bounded(spec, free=spec.free, depth=14)
