"""What an operation makes of an account, in a pipeline."""

import itertools

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .account_work import ALL, account_work, small, smaller
from .scheduler_layouts import (
    BACK_WIDTH,
    Account,
    AccountOp,
    Budget,
    SchedulerSettings,
    account_op,
    guest_pulse,
    software_op,
    visit_result,
)
from .share_layouts import GuestCount, GuestCounter

__all__ = ["AccountStep"]

class AccountStep(wiring.Component):
    """Compute what an operation leaves of an account. Five stages of at most one carry chain and a
    choice each.

    * VISIT gives back (commands that nobody tells the completion of are in flight no more, but
      paid), begins a turn (``quantum * weight`` is added to the deficit, of which
      nothing but debt is left from the last turn), and reserves: as many commands as burst,
      deficit, tokens, limit and ``most`` allow, none while bytes are owed.
    * COMPLETE takes commands from those in flight, never more than there are.
    * CHARGE takes the cost of bytes from the deficit, and bytes from the balance.
    * REFILL adds rates.
    * SOFTWARE shows a word, and writes a budget or clears the account.

    Parameters
    ----------
    guests : :class:`int`
    weak : :class:`bool`
        There is ``unlimited``.

    Members
    -------
    i : ``In(...)``
        Stage 0: ``valid`` and an operation, with ``budget`` and ``account`` as they are.
    budget, budget_bytes : ``Out(Budget)``, ``Out(12)``
        Bytes to write, in stage ``BUDGET_STAGE``.
    account : ``Out(Account)``
        What it leaves, in stage 6.
    settings, software, result, heard, shown, done, wake, room, in_flight :
        As of the accounts.
    count, counts : ``Out(GuestCount)``, ``Out(1)``
        Pulse, with a statistic, in stage 2.
    unlimited : ``In(1)``
        Rates do not count.
    """

    BUDGET_STAGE, COUNT_STAGE = 2, 4

    def __init__(self, *, guests, weak=False):
        self.guests = guests
        self.weak   = weak
        super().__init__({
            "i": In(wiring.Signature({
                "valid":    Out(1),
                **{name: Out(field.shape) for name, field in account_op(guests)},
                "budget":   Out(Budget),
                "account":  Out(Account),
            })),
            "settings":  In(SchedulerSettings),
            "budget":    Out(Budget),
            "budget_bytes": Out(12),
            "account":   Out(Account),
            "result":    Out(visit_result()),
            "heard":     Out(1),
            "software":  In(software_op()),
            "shown":     Out(64),
            "done":      Out(1),
            "wake":      Out(guest_pulse(guests)),
            "count":     Out(GuestCount),
            "counts":    Out(1),
            "room":      Out(1),
            "in_flight": Out(13),
            **({"unlimited": In(1)} if weak else {}),
        })

    def elaborate(self, platform):
        m = Module()
        work   = account_work(self.guests)
        stages = [Signal(work, name=f"stage_{n}") for n in range(1, 7)]
        valid  = Signal(7)
        m.d.comb += valid[0].eq(self.i.valid)
        m.d.sync += valid[1:].eq(valid[:-1])
        for early, late in itertools.pairwise(stages):
            m.d.sync += late.eq(early)

        one, two, three, four, five, six = stages
        m.d.sync += [
            one.op.eq(self.i.op), one.guest.eq(self.i.guest),
            one.visit.eq(self.i.argument.visit), one.amount.eq(self.i.argument.amount.amount),
            one.budget.eq(self.i.budget), one.account.eq(self.i.account),
            one.cost.eq(Mux(self.settings.byte_shift == 31, 0,
                            self.i.argument.amount.amount >> self.settings.byte_shift)),
        ]
        self._prepare(m, one, two)
        self._software(m, one, two, valid[1])
        self._count(m, two, valid[2])
        self._add(m, two, three)
        self._bound(m, three, four)
        self._choose(m, four, five)
        self._apply(m, five, six, valid[5])
        m.d.comb += [
            self.account.eq(six.account),
            self.heard.eq(valid[5] & (five.op == AccountOp.VISIT) & five.visit.ask),
            self.result.offer.eq(five.offer),
            self.result.last.eq(five.last),
            self.result.spent.eq(five.spent),
            self.result.stop.eq(five.stop),
            self.result.next.eq(five.account.next),
        ]
        return m

    def _prepare(self, m, one, two):
        budget, account, visit = one.budget, one.account, one.visit
        unlimited = self.unlimited if self.weak else C(0)
        limited, metered = Signal(), Signal()
        is_visit, refill = one.op == AccountOp.VISIT, one.op == AccountOp.REFILL
        charge = one.op == AccountOp.CHARGE
        units, taken = Signal(22), Signal(13)
        m.d.comb += [
            limited.eq((budget.command_rate != 0) & ~unlimited),
            metered.eq((budget.byte_rate != 0) & ~unlimited),
            units.eq(account.fraction + one.amount),
            taken.eq(Mux(is_visit, visit.gone,
                         Mux(one.op == AccountOp.COMPLETE, one.amount[:13], 0))),
        ]
        m.d.sync += [
            two.limited.eq(limited),
            two.metered.eq(metered),
            two.turn.eq(budget.weight * self.settings.quantum),
            # Of the last turn only debt is left.
            two.base.eq(Mux(is_visit & visit.fresh & (account.deficit >= 0), 0, account.deficit)),
            two.addend.eq(Mux(charge, -one.cost, Mux(is_visit, visit.back, 0))),
            two.tokens.eq(account.tokens + Mux(
                limited, Mux(refill, budget.command_rate, Mux(is_visit, visit.back, 0)), 0)),
            two.taken.eq(taken),
            two.left.eq(account.in_flight - taken),
            two.units.eq(Mux(charge, units[9:], 0)),
        ]
        with m.If(charge):
            m.d.sync += two.account.fraction.eq(units[:9])
        with m.If(is_visit & ~visit.fresh):
            m.d.sync += two.account.next.eq(visit.next)

    def _software(self, m, one, two, valid):
        budget, op = one.budget, self.software
        here = Signal()
        m.d.comb += here.eq(valid & (one.op == AccountOp.SOFTWARE))
        words = [
            Cat(budget.as_value()[:32], C(0, 32)),
            budget.as_value()[32:],
            Cat(one.account.in_flight, C(0, 2), one.account.in_flight == 0, C(0, 48)),
            C(0, 64),
        ]
        keep = Const.cast(Budget.const({"weight": 0xff, "limit": (1 << len(budget.limit)) - 1}))
        m.d.sync += [
            self.budget.eq(Cat(op.data[:32] & keep[:32], op.data)),
            self.budget_bytes.eq(Mux(here & op.write, Cat(
                Mux(op.word == 0, op.strobe[:4], 0), Mux(op.word == 1, op.strobe, 0)), 0)),
        ]
        with m.If(here):
            m.d.sync += self.shown.eq(Array(words)[op.word])

    def _count(self, m, two, valid):
        count, units = self.count, two.units
        m.d.comb += count.colour.eq(two.guest)
        with m.Switch(two.op):
            with m.Case(AccountOp.VISIT):
                m.d.comb += [count.counter.eq(GuestCounter.COMMANDS),
                             count.amount.eq(two.visit.count)]
            with m.Case(AccountOp.COMPLETE):
                m.d.comb += [count.counter.eq(GuestCounter.COMPLETED),
                             count.amount.eq(two.amount)]
            with m.Case(AccountOp.CHARGE):
                m.d.comb += [count.counter.eq(GuestCounter.BYTES),
                             count.amount.eq(Mux(units[12], 0xfff, units))]
        m.d.comb += self.counts.eq(valid & (count.amount != 0))

    def _add(self, m, two, three):
        budget, gone = two.budget, two.left < 0
        refill = two.op == AccountOp.REFILL
        fresh  = (two.op == AccountOp.VISIT) & two.visit.fresh
        m.d.sync += [
            three.deficit.eq(two.base + Mux(fresh, two.turn, two.addend)),
            three.balance.eq(two.account.balance + Mux(
                two.metered, Mux(refill, budget.byte_rate, -two.units), 0)),
            three.account.in_flight.eq(Mux(gone, 0, two.left)),
            three.removed.eq(Mux(gone, two.account.in_flight, two.taken)),
            three.own.eq(budget.limit - two.left),
        ]
        with m.If(refill & two.limited & (two.tokens > budget.command_burst)):
            m.d.sync += three.tokens.eq(budget.command_burst)

    def _bound(self, m, three, four):
        budget, deficit, balance = three.budget, three.deficit, three.balance
        refill = three.op == AccountOp.REFILL
        least  = -(1 << 21)
        own, tokens, barred = Signal(BACK_WIDTH), Signal(BACK_WIDTH), Signal()
        left, most, room = Signal(signed(14)), Signal(BACK_WIDTH), Signal(BACK_WIDTH)
        m.d.comb += [
            own.eq(Mux(budget.limit == 0, ALL, small(three.own))),
            tokens.eq(Mux(three.limited, small(Cat(three.tokens, C(0, 1)).as_signed()), ALL)),
            barred.eq((own == 0) | (tokens == 0) | (three.metered & (balance < 0))),
            left.eq(self.settings.most - self.in_flight),
            self.room.eq(room != 0),
        ]
        m.d.sync += [
            room.eq(small(left)),
            most.eq(Mux(self.settings.burst == 0, 1, self.settings.burst)),
            four.others.eq(smaller(most, room)),
            four.least.eq(smaller(own, tokens)),
            four.still.eq(small(deficit)),
            four.exact.eq(deficit <= ALL),
            four.spent.eq((three.turn != 0) & (deficit <= 0)),
            four.stop.eq((three.turn == 0) | (barred & (deficit > 0))),
            four.account.deficit.eq(Mux(deficit[-1] & ~deficit[-2], least, deficit)),
            four.account.balance.eq(Mux(balance[-1] & ~balance[-2], least, balance)),
        ]
        with m.If(refill & three.metered & (balance > budget.byte_burst)):
            m.d.sync += four.account.balance.eq(budget.byte_burst)

    def _choose(self, m, four, five):
        # Three comparisons side by side, then one choice.
        a, b, c = four.least, four.still, four.others
        offer = Mux((a <= b) & (a <= c), a, Mux(b <= c, b, c))
        asks  = (four.op == AccountOp.VISIT) & four.visit.ask & ~four.stop & ~four.spent
        m.d.sync += [five.offer.eq(Mux(asks, offer, 0)),
                     five.last.eq(four.exact & (b <= a) & (b <= c))]

    def _apply(self, m, five, six, valid):
        account, new, software = five.account, six.account, self.software
        stays  = (five.op == AccountOp.VISIT) & five.visit.ask & five.stop
        wakes  = ((five.op == AccountOp.COMPLETE)
                  | (five.op == AccountOp.REFILL) & (five.limited | five.metered)) & account.waiting
        writes = (five.op == AccountOp.SOFTWARE) & software.write
        clears = writes & (software.word == 2)
        m.d.sync += [
            new.deficit.eq(account.deficit - five.offer),
            new.tokens.eq(five.tokens - Mux(five.limited, five.offer, 0)),
            new.in_flight.eq(account.in_flight + five.offer),
            new.waiting.eq((account.waiting & ~wakes) | stays),
            self.wake.valid.eq(valid & (wakes | writes)),
            self.wake.guest.eq(five.guest),
            self.done.eq(valid & (five.op == AccountOp.SOFTWARE)),
        ]
        with m.If(clears):
            m.d.sync += new.eq(0)
        with m.If(valid):
            m.d.sync += self.in_flight.eq(
                self.in_flight + five.offer - Mux(clears, account.in_flight, five.removed))
