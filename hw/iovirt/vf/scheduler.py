"""The scheduler: how many commands of which guest the device may see."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from iovirt.csr.port import RegisterPortSignature
from iovirt.stream import StreamArbiter, StreamQueue

from .accounts import Accounts
from .budget_window import BudgetWindow
from .guest_layouts import check_guests, guest_lookup
from .guest_picker import GuestPicker
from .notices import event_signature
from .refill import Refill
from .scheduler_intake import SchedulerIntake
from .scheduler_layouts import SchedulerSettings, account_op, device_doorbell
from .settling import progress
from .share_layouts import Charge, Completed, Grant, GrantVerdict, GuestCount, Weaken
from .turns import Turns

__all__ = ["Scheduler"]


class Scheduler(wiring.Component):
    """Grant commands to guests by deficit round robin, within their budgets.

    ::

        wake, kick -> SchedulerIntake -> GuestPicker -> Turns <-> guest table, pair engine
                                             ^ wake      | visits      '-> doorbell
        completed, charge -> AmountMerger -> Accounts <--'
                                    Refill ----^  ^---- BudgetWindow <- port

    * Guests that want commands and run get turns one after the other. A turn is worth ``quantum *
      weight``; a command costs 1, and, as soon as its size is known, its bytes >> ``byte_shift``. A
      guest in debt loses turns until it has paid; nothing of its debt is forgotten.
    * No guest has more commands in flight than its limit, and all of them together no more than
      ``most``. Commands are in flight from before their grant to their completion.
    * Rates are token buckets: each unit of time adds a rate, up to a burst. Commands are paid in
      advance, bytes afterwards: a guest that owes bytes is granted nothing.
    * A guest that is not in state RUN is granted nothing from its next look-up on, which is before
      each grant. It must be woken (``kick``) when it runs again.
    * A guest with nothing to grant takes no time. All those who wait for one guest wait for the
      device at most: whatever a guest does, turns of others come.

    Cost of a turn and ``quantum * weight`` should be alike: a guest with a debt of n turns is
    looked at n times, 20 clocks each. With several devices, ``most`` is one number for all: limit
    guests so that those of one device cannot use it up if the device hangs.

    From ``wake`` to ``grant`` 18 clocks. One grant of up to ``burst`` commands per 13 clocks and
    what the pair engine needs; 8 clocks more from guest to guest.

    Parameters
    ----------
    guests : :class:`int`
        A power of two in 4..256; colours from there on are ignored.
    tick_log2 : :class:`int`
        log2 of clocks per unit of time, with at least 2 clocks per guest.
    data_width, address_width : :class:`int`
        As of :class:`RegisterPortSignature`.
    weak : :class:`bool`
        There is ``weaken``.

    Members
    -------
    settings : ``In(SchedulerSettings)``
    wake, kick : ``In(event_signature())``
        Pulse ``valid``: something of guest ``colour`` may be grantable; the guest runs. At most one
        per clock each, never lost.
    completed : ``In(stream.Signature(Completed))``, ``charge`` : ``In(stream.Signature(Charge))``
        1 per clock of one guest, each change of guest may wait for 5 operations on accounts.
    lookup : ``Out(guest_lookup())``
        The guest table.
    grant : ``Out(stream.Signature(Grant))``, ``verdict`` : ``In(stream.Signature(GrantVerdict))``
        The pair engine: one grant at a time.
    doorbell : ``Out(stream.Signature(device_doorbell))``
        Tails that were granted. While 4 of them wait, nothing is granted.
    count : ``Out(stream.Signature(GuestCount))``
        Commands granted and completed, and bytes.
    port : ``In(RegisterPortSignature(...))``
        See :class:`BudgetWindow`.
    in_flight : ``Out(13)``
        Commands of all guests.
    progress : ``Out(progress()).array(2)``
        Of offers, and of tails that were granted.
    weaken : ``In(Weaken)``
        ``fair``, ``buckets``, ``freeze``, ``state``.
    """

    def __init__(self, *, guests, tick_log2, data_width, address_width, weak=False):
        check_guests(guests)
        self.guests        = guests
        self.tick_log2     = tick_log2
        self.data_width    = data_width
        self.address_width = address_width
        self.weak          = weak
        self._refill = Refill(guests=guests, tick_log2=tick_log2)
        self._window = BudgetWindow(guests=guests, data_width=data_width,
                                    address_width=address_width)
        super().__init__({
            "settings":  In(SchedulerSettings),
            "wake":      In(event_signature()),
            "kick":      In(event_signature()),
            "completed": In(stream.Signature(Completed)),
            "charge":    In(stream.Signature(Charge)),
            "lookup":    Out(guest_lookup()),
            "grant":     Out(stream.Signature(Grant)),
            "verdict":   In(stream.Signature(GrantVerdict)),
            "doorbell":  Out(stream.Signature(device_doorbell)),
            "count":     Out(stream.Signature(GuestCount)),
            "port":      In(RegisterPortSignature(data_width=data_width,
                                                  address_width=address_width)),
            "in_flight": Out(13),
            "progress":  Out(progress()).array(2),
            **({"weaken": In(Weaken)} if weak else {}),
        })

    def elaborate(self, platform):
        m = Module()
        guests, weak = self.guests, self.weak
        m.submodules.intake   = intake   = SchedulerIntake(guests=guests)
        m.submodules.picker   = picker   = GuestPicker(guests=guests, wakers=3, weak=weak)
        m.submodules.turns    = turns    = Turns(guests=guests, weak=weak)
        m.submodules.accounts = accounts = Accounts(guests=guests, weak=weak)
        m.submodules.refill   = refill   = self._refill
        m.submodules.window   = window   = self._window
        m.submodules.arbiter  = arbiter  = StreamArbiter(account_op(guests), ports=3)
        m.submodules.amounts  = amounts  = StreamArbiter(account_op(guests), ports=2)
        m.submodules.rare     = rare     = StreamArbiter(account_op(guests), ports=2)
        m.submodules.ops      = ops      = StreamQueue(account_op(guests), depth=2)
        m.submodules.rung     = rung     = StreamQueue(GrantVerdict, depth=4)

        for name in ("completed", "charge"):
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(intake, name))
        for several, sources in ((amounts, (intake.complete, intake.spend)),
                                 (rare, (refill.op, window.op)),
                                 (arbiter, (turns.op, amounts.o, rare.o))):
            for n, source in enumerate(sources):
                wiring.connect(m, source, several.i[n])
        wiring.connect(m, arbiter.o, ops.i)
        wiring.connect(m, ops.o, accounts.i)
        wiring.connect(m, wiring.flipped(self.port), window.port)
        wiring.connect(m, accounts.count, wiring.flipped(self.count))
        for n, wake in enumerate((intake.woken, intake.kicked, accounts.wake)):
            m.d.comb += [picker.wake[n].valid.eq(wake.valid), picker.wake[n].guest.eq(wake.guest)]
        for name in ("wake", "kick"):
            inner, outer = getattr(intake, name), getattr(self, name)
            m.d.comb += [inner.valid.eq(outer.valid), inner.colour.eq(outer.colour)]

        wiring.connect(m, picker.o, turns.guest)
        wiring.connect(m, turns.lookup, wiring.flipped(self.lookup))
        wiring.connect(m, turns.grant, wiring.flipped(self.grant))
        wiring.connect(m, wiring.flipped(self.verdict), turns.verdict)
        wiring.connect(m, turns.granted, rung.i)
        m.d.comb += [
            self.doorbell.valid.eq(rung.o.valid),
            rung.o.ready.eq(self.doorbell.ready),
            self.doorbell.p.function.eq(rung.o.p.function),
            self.doorbell.p.tail.eq(rung.o.p.tail),
            self.doorbell.p.value.eq(rung.o.p.granted),

            picker.over.eq(turns.over),
            picker.stays.eq(turns.stays),
            turns.result.eq(accounts.result),
            turns.heard.eq(accounts.heard),
            turns.room.eq(accounts.room),
            turns.hold.eq(window.hold),
            window.quiet.eq(turns.quiet),
            window.shown.eq(accounts.shown),
            window.done.eq(accounts.done),
            accounts.software.eq(window.software),
            accounts.settings.eq(self.settings),
            self.in_flight.eq(accounts.in_flight),
            self.progress[0].idle.eq(turns.quiet),
            self.progress[1].idle.eq(rung.level == 0),
            self.progress[1].leaves.eq(rung.o.valid & rung.o.ready),
        ]
        if weak:
            m.d.comb += [turns.weaken.eq(self.weaken), accounts.weaken.eq(self.weaken),
                         picker.unfair.eq(self.weaken.fair)]
        return m
