"""The accounts of guests: what each may use, and what it has used."""

import itertools

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from iovirt.stream import StreamQueue

from .account_step import AccountStep
from .guest_layouts import check_guests
from .scheduler_layouts import (
    Account,
    Budget,
    SchedulerSettings,
    account_op,
    guest_pulse,
    software_op,
    visit_result,
)
from .share_layouts import GuestCount, Weaken

__all__ = ["Accounts"]

#: Stages from the read of the memories to the write, that one included.
STAGES = 7


class Accounts(wiring.Component):
    """Change accounts, one operation after the other.

    Sole owner of budgets, accounts and the number of commands in flight. What a visit reserves
    counts as in flight at once, and is given back by a later one if it was not granted; so neither
    the limit of a guest nor ``most`` is ever exceeded, whatever completes meanwhile.

    1 operation per clock; operations on one guest are 8 clocks apart. The result of a visit comes 7
    clocks after ``i``. After reset all accounts and budgets are cleared, one per clock; until then
    nothing is accepted.

    Parameters
    ----------
    guests : :class:`int`
        A power of two in 4..256.
    weak : :class:`bool`
        There is ``weaken``.

    Members
    -------
    i : ``In(stream.Signature(account_op(guests)))``
        Operations.
    settings : ``In(SchedulerSettings)``
    result : ``Out(visit_result())``, ``heard`` : ``Out(1)``
        Pulse, with the result of a visit that asked.
    software : ``In(software_op())``
        What operation SOFTWARE does.
    shown : ``Out(64)``, ``done`` : ``Out(1)``
        Pulse, with what the word held before.
    wake : ``Out(guest_pulse(guests))``
        The guest need not wait any more.
    count : ``Out(stream.Signature(GuestCount))``
        Statistics. While it stalls, operations wait.
    room : ``Out(1)``
        Fewer commands are in flight than may be.
    in_flight : ``Out(13)``
        Commands of all guests.
    weaken : ``In(Weaken)``
        ``buckets``.
    """

    def __init__(self, *, guests, weak=False):
        check_guests(guests)
        self.guests = guests
        self.weak   = weak
        self._step  = AccountStep(guests=guests, weak=weak)
        super().__init__({
            "i":         In(stream.Signature(account_op(guests))),
            "settings":  In(SchedulerSettings),
            "result":    Out(visit_result()),
            "heard":     Out(1),
            "software":  In(software_op()),
            "shown":     Out(64),
            "done":      Out(1),
            "wake":      Out(guest_pulse(guests)),
            "count":     Out(stream.Signature(GuestCount)),
            "room":      Out(1),
            "in_flight": Out(13),
            **({"weaken": In(Weaken)} if weak else {}),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.step = step = self._step
        m.submodules.counts = counts = StreamQueue(GuestCount, depth=8)
        wiring.connect(m, counts.o, wiring.flipped(self.count))
        m.d.comb += [
            step.settings.eq(self.settings),
            step.software.eq(self.software),
            self.result.eq(step.result), self.heard.eq(step.heard),
            self.shown.eq(step.shown), self.done.eq(step.done),
            self.wake.valid.eq(step.wake.valid), self.wake.guest.eq(step.wake.guest),
            self.room.eq(step.room), self.in_flight.eq(step.in_flight),
            counts.i.valid.eq(step.counts),
            counts.i.p.eq(step.count),
        ]
        if self.weak:
            m.d.comb += step.unlimited.eq(self.weaken.buckets)

        ports = []
        for name, shape in (("budgets", Budget), ("accounts", Account)):
            # What is read in the clock in which it is written is never used.
            memory = Memory(shape=Shape.cast(shape).width, depth=self.guests, init=[],
                            attrs={"no_rw_check": 1})
            m.submodules[name] = memory
            granularity = {"granularity": 8} if shape is Budget else {}
            ports.append((memory.write_port(**granularity), memory.read_port()))
        (put_budget, get_budget), (put, get) = ports

        # An operation waits for an older one of its guest, and for room for the statistics of all
        # operations under way.
        ready, scrub = Signal(), Signal(range(self.guests))
        valid = [Signal(name=f"valid_{n}") for n in range(STAGES)]
        guest = [Signal(range(self.guests), name=f"guest_{n}") for n in range(STAGES)]
        clash = Cat(there & (where == self.i.p.guest)
                    for there, where in zip(valid, guest, strict=True)).any()
        go = Signal()
        m.d.comb += [
            self.i.ready.eq(ready & ~clash & (counts.level < 8 - step.COUNT_STAGE)),
            go.eq(self.i.valid & self.i.ready),
            step.i.valid.eq(valid[0]),
            step.i.guest.eq(guest[0]),
            step.i.budget.eq(get_budget.data),
            step.i.account.eq(get.data),
        ]
        m.d.sync += [Cat(valid).eq(Cat(go, valid[:-1])), guest[0].eq(self.i.p.guest),
                     step.i.op.eq(self.i.p.op), step.i.argument.eq(self.i.p.argument)]
        m.d.sync += [late.eq(early) for early, late in itertools.pairwise(guest)]

        m.d.comb += [
            get.addr.eq(self.i.p.guest),
            get_budget.addr.eq(self.i.p.guest),
            put.en.eq(valid[-1] | ~ready),
            put.addr.eq(Mux(ready, guest[-1], scrub)),
            put.data.eq(Mux(ready, step.account, 0)),
            put_budget.en.eq(step.budget_bytes | (~ready).replicate(12)),
            put_budget.addr.eq(Mux(ready, guest[step.BUDGET_STAGE], scrub)),
            put_budget.data.eq(Mux(ready, step.budget, 0)),
        ]
        with m.If(~ready):
            m.d.sync += [scrub.eq(scrub + 1), ready.eq(scrub == self.guests - 1)]
        return m
