"""Turns of guests: which pairs are offered how much."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .guest_layouts import GuestLookup, check_guests, guest_lookup
from .scheduler_layouts import BACK_WIDTH, AccountOp, account_op, visit_result
from .share_layouts import Grant, GrantVerdict, GuestState, Weaken

__all__ = ["Turns"]


class Turns(wiring.Component):
    """Visit one guest after the other; offer its pairs, one after the other, what it may have.

    Before each offer the guest is looked up, and what it may have is reserved in its account. The
    turn ends when the deficit is used up (the guest comes again in the next round), when no pair of
    the guest has room for more, when a limit of the guest is reached, or when it does not run. In
    these cases it does not come again before it is woken. If only the number of commands of all
    guests is reached, or nobody takes doorbells, the turn goes on when there is room again.

    A pair that takes nothing of an offer has the others asked, by offers of nothing, one per clock;
    the first one that has room gets the offer. An offer takes 13 clocks and what the pair engine
    needs.

    Parameters
    ----------
    guests : :class:`int`
        A power of two in 4..256.
    weak : :class:`bool`
        There is ``weaken``.

    Members
    -------
    guest : ``In(stream.Signature(range(guests)))``
        Whom to visit.
    over, stays : ``Out(1)``
        Pulse: the visit is over; and the guest wants its next turn.
    op : ``Out(stream.Signature(account_op(guests)))``
    result : ``In(visit_result())``, ``heard`` : ``In(1)``
        Visits, and what came of them.
    room : ``In(1)``
        Fewer commands are in flight than may be.
    lookup : ``Out(guest_lookup())``
        The guest table.
    grant : ``Out(stream.Signature(Grant))``, ``verdict`` : ``In(stream.Signature(GrantVerdict))``
        The pair engine.
    granted : ``Out(stream.Signature(GrantVerdict))``
        Verdicts that granted something. ``ready`` must not fall while nothing is transferred.
    hold : ``In(1)``, ``quiet`` : ``Out(1)``
        Reserve nothing; nothing is reserved. ``quiet`` is reached in the time of an offer.
    weaken : ``In(Weaken)``
        ``fair`` (a turn has no end), ``freeze``, ``state``.
    """

    def __init__(self, *, guests, weak=False):
        check_guests(guests)
        self.guests = guests
        self.weak   = weak
        super().__init__({
            "guest":   In(stream.Signature(range(guests))),
            "over":    Out(1),
            "stays":   Out(1),
            "op":      Out(stream.Signature(account_op(guests))),
            "result":  In(visit_result()),
            "heard":   In(1),
            "room":    In(1),
            "lookup":  Out(guest_lookup()),
            "grant":   Out(stream.Signature(Grant)),
            "verdict": In(stream.Signature(GrantVerdict)),
            "granted": Out(stream.Signature(GrantVerdict)),
            "hold":    In(1),
            "quiet":   Out(1),
            **({"weaken": In(Weaken)} if weak else {}),
        })

    def elaborate(self, platform):
        m = Module()
        guest, fresh, ends = Signal.like(self.guest.payload), Signal(), Signal()
        back, gone, count = Signal(BACK_WIDTH), Signal(BACK_WIDTH), Signal(BACK_WIDTH)
        pair, probe, probing, repeat = Signal(8), Signal(8), Signal(), Signal()
        result, heard = Signal(visit_result()), Signal()
        facts, known = Signal(GuestLookup), Signal()
        asked, sent = Signal(), Signal()   # of the account, and of the guest table
        visit, proceed = self.op.p.argument.visit, Signal()
        m.d.comb += [
            proceed.eq(self.room & self.granted.ready & ~self.hold),
            self.op.p.op.eq(AccountOp.VISIT),
            self.op.p.guest.eq(guest),
            visit.fresh.eq(fresh), visit.back.eq(back), visit.gone.eq(gone),
            visit.count.eq(count), visit.next.eq(pair),
            self.lookup.request.payload.eq(guest),
            self.grant.p.pair.eq(facts.first_pair + Mux(probing, probe, pair)),
            self.grant.p.limit.eq(Mux(probing, 0, back)),
            self.granted.p.eq(self.verdict.p),
        ]

        with m.FSM():
            with m.State("NEXT"):
                m.d.comb += [self.quiet.eq(1), self.guest.ready.eq(~self.hold)]
                m.d.sync += [guest.eq(self.guest.payload), fresh.eq(1)]
                with m.If(self.guest.valid & ~self.hold):
                    m.next = "WAIT"
            with m.State("WAIT"):
                m.d.comb += self.quiet.eq(1)
                m.d.sync += [asked.eq(0), sent.eq(0), heard.eq(0), known.eq(0)]
                with m.If(proceed):
                    m.next = "ASK"
            with m.State("ASK"):
                m.d.comb += [
                    self.op.valid.eq(~asked), visit.ask.eq(1),
                    self.lookup.request.valid.eq(~sent),
                    self.lookup.answer.ready.eq(~known),
                ]
                with m.If(self.op.ready):
                    m.d.sync += asked.eq(1)
                with m.If(self.lookup.request.ready):
                    m.d.sync += sent.eq(1)
                with m.If(self.heard):
                    m.d.sync += [heard.eq(1), result.eq(self.result)]
                with m.If(self.lookup.answer.valid & ~known):
                    m.d.sync += [known.eq(1), facts.eq(self.lookup.answer.p)]
                with m.If(heard & known):
                    m.next = "JUDGE"
            with m.State("JUDGE"):
                m.d.sync += [fresh.eq(0), back.eq(result.offer), gone.eq(result.offer),
                             count.eq(0), ends.eq(1), repeat.eq(0)]
                self._judge(m, result, facts, pair, fresh)
            self._offer(m, facts, result, pair, probe, probing, back, gone, count, ends, repeat)
            with m.State("CONTINUE"):
                m.d.sync += [asked.eq(0), sent.eq(0), heard.eq(0), known.eq(0)]
                m.next = "RETURN"
                with m.If(proceed):
                    m.next = "ASK"
            with m.State("RETURN"):
                m.d.comb += self.op.valid.eq(1)
                with m.If(self.op.ready):
                    m.d.sync += [back.eq(0), gone.eq(0), count.eq(0)]
                    m.next = "WAIT"
                    with m.If(ends):
                        self._end(m, fresh, repeat)
        return m

    def _offer(self, m, facts, result, pair, probe, probing, back, gone, count, ends,
               repeat):
        """Offer what is reserved to a pair, and to the next one with room if it takes nothing."""
        verdict, left, waiting, found = self.verdict.p, Signal(9), Signal(9), Signal()
        following, after = Signal(8), Signal(8)
        m.d.comb += [
            following.eq(Mux(pair + 1 == facts.pairs, 0, pair + 1)),
            after.eq(Mux(probe + 1 == facts.pairs, 0, probe + 1)),
        ]
        with m.State("OFFER"):
            m.d.comb += self.grant.valid.eq(1)
            with m.If(self.grant.ready):
                m.next = "VERDICT"
        with m.State("VERDICT"):
            m.d.comb += [
                self.verdict.ready.eq(1),
                self.granted.valid.eq(self.verdict.valid & (verdict.count != 0)),
            ]
            m.d.sync += [
                probe.eq(following), left.eq(facts.pairs - 1), waiting.eq(0), found.eq(0),
                probing.eq(0), repeat.eq(0), ends.eq(0),
            ]
            with m.If(self.verdict.valid):
                m.d.sync += [back.eq(back - verdict.count), count.eq(verdict.count),
                             pair.eq(following)]
                # Nobody tells when commands without completions are done: they are in flight for
                # nobody, but paid like others.
                with m.If(verdict.paired):
                    m.d.sync += gone.eq(back - verdict.count)
                m.next = "CONTINUE"
                with m.If((facts.pairs == 1) & ~verdict.more):
                    m.d.sync += ends.eq(1)
                    m.next = "RETURN"
                with m.Elif(verdict.count == 0):
                    m.d.sync += probing.eq(1)
                    m.next = "PROBE"
                with m.Elif(result.last & (back == verdict.count)):
                    m.d.sync += [ends.eq(1), repeat.eq(1)]
                    m.next = "RETURN"
        with m.State("PROBE"):
            # `pair` is the one whose verdict comes next, until one with room is found.
            asks, hears = Signal(), Signal()
            m.d.comb += [
                self.grant.valid.eq(probing),
                self.verdict.ready.eq(1),
                asks.eq(probing & self.grant.ready),
                hears.eq(self.verdict.valid),
            ]
            m.d.sync += waiting.eq(waiting + asks - hears)
            with m.If(asks):
                m.d.sync += [probe.eq(after), left.eq(left - 1),
                             probing.eq((left != 1) & ~found)]
            with m.If(hears & ~found):
                m.d.sync += found.eq(verdict.more)
                with m.If(~verdict.more):
                    m.d.sync += pair.eq(following)
            with m.If(~probing & (waiting == 0)):
                m.d.sync += ends.eq(1)
                m.next = "RETURN"
                with m.If(found):
                    m.next = "OFFER"

    def _end(self, m, fresh, stays):
        """The visit is over, and perhaps the guest wants another one."""
        m.d.comb += [self.over.eq(1), self.stays.eq(stays)]
        m.next = "NEXT"
        if self.weak:
            with m.If(self.weaken.fair & stays):
                m.d.comb += self.over.eq(0)
                m.d.sync += fresh.eq(1)
                m.next = "WAIT"

    def _judge(self, m, result, facts, pair, fresh):
        runs = facts.state == GuestState.RUN
        if self.weak:
            halted = (facts.state == GuestState.FREEZE) | (facts.state == GuestState.DRAIN)
            runs |= (self.weaken.freeze & halted) | self.weaken.state
        first = Mux(result.next < facts.pairs, result.next, 0)
        with m.If(fresh):
            m.d.sync += pair.eq(first)
        with m.If(~(facts.ok & runs & (facts.pairs != 0))):
            with m.If(result.offer != 0):
                m.next = "RETURN"
            with m.Else():
                self._end(m, fresh, C(0))
        with m.Elif(result.offer != 0):
            m.next = "OFFER"
        with m.Elif(result.stop):
            self._end(m, fresh, C(0))
        with m.Elif(result.spent):
            self._end(m, fresh, C(1))
        with m.Else():
            m.next = "WAIT"
