"""What the scheduler hears of the guests."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .amount_merger import AmountMerger
from .guest_layouts import check_guests
from .notices import event_signature
from .scheduler_layouts import AccountOp, account_op, guest_pulse
from .share_layouts import Charge, Completed

__all__ = ["SchedulerIntake"]


class SchedulerIntake(wiring.Component):
    """Make operations on accounts of completions and charges; drop what is of no guest.

    Those for one guest are added up while they wait. Wakes pass in the same clock; latency of
    others is 2 clocks.

    Parameters
    ----------
    guests : :class:`int`
        A power of two in 4..256.

    Members
    -------
    wake, kick : ``In(event_signature())``, woken, kicked : ``Out(guest_pulse(guests))``
    completed, charge : ``In(stream.Signature(...))``
    complete, spend : ``Out(stream.Signature(account_op(guests)))``
    """

    def __init__(self, *, guests):
        check_guests(guests)
        self.guests = guests
        op     = stream.Signature(account_op(guests))
        super().__init__({
            "wake":      In(event_signature()),
            "kick":      In(event_signature()),
            "woken":     Out(guest_pulse(guests)),
            "kicked":    Out(guest_pulse(guests)),
            "completed": In(stream.Signature(Completed)),
            "charge":    In(stream.Signature(Charge)),
            "complete":  Out(op),
            "spend":     Out(op),
        })

    def elaborate(self, platform):
        m = Module()
        for i, o in ((self.wake, self.woken), (self.kick, self.kicked)):
            m.d.comb += [o.valid.eq(i.valid & (i.colour < self.guests)), o.guest.eq(i.colour)]
        for name, i, field, o, kind in (
                ("completions", self.completed, "count", self.complete, AccountOp.COMPLETE),
                ("charges", self.charge, "bytes", self.spend, AccountOp.CHARGE)):
            amount = getattr(i.p, field)
            m.submodules[name] = merger = AmountMerger(width=len(amount), guests=self.guests)
            m.d.comb += [
                merger.i.valid.eq(i.valid),
                merger.i.p.colour.eq(i.p.colour),
                merger.i.p.amount.eq(amount),
                i.ready.eq(merger.i.ready),
                o.valid.eq(merger.o.valid),
                o.p.op.eq(kind),
                o.p.guest.eq(merger.o.p.guest),
                o.p.argument.amount.amount.eq(merger.o.p.amount),
                merger.o.ready.eq(o.ready),
            ]
        return m
