"""Who serves an access to the pages of guests."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from iovirt.stream import CreditQueue, StreamQueue

from .guest_layouts import GuestLookup, guest_lookup, passes
from .page_layouts import PageCall, PageEnd, RoutedCall, page_end
from .settling import progress
from .share_layouts import Weaken

__all__ = ["PageRouter"]

#: Guests looked up at once.
LOOKUPS = 8


class PageRouter(wiring.Component):
    """Look up the guest of each access, and send it on to who serves it.

    ===================================================== ========================================
    access                                                goes to
    ===================================================== ========================================
    of no guest, or one whose entry is damaged            its end: failed
    of a guest that is off, or in quarantine              its end: dropped, or all ones
    of other than 1, 2 or 4 aligned bytes                 its end: failed
    to a doorbell of its own queue: a read, or 4 bytes    ``doorbell``
    to such a doorbell, fewer bytes                       its end: dropped
    to the header, if there are headers                   ``header``
    any other                                             ``mailbox``
    ===================================================== ========================================

    In order. Latency is 2 clocks from the answer of the lookup; throughput is 1 access per clock,
    or what lookups have with 8 under way. Lookups are never held up by what comes after them.

    Parameters
    ----------
    headers, weak : :class:`bool`

    Members
    -------
    i : ``In(stream.Signature(PageCall))``
    single : ``In(1)``
        Queues count from 0.
    guest : ``Out(guest_lookup())``
    doorbell : ``Out(stream.Signature(RoutedCall))``, \
            ``mailbox`` : ``Out(stream.Signature(PageCall))``, \
            ``header`` : ``Out(stream.Signature(PageCall))``
        Accesses to serve. ``header`` only with ``headers``.
    end : ``Out(stream.Signature(PageEnd))``
        Ends of the others.
    progress : ``Out(progress())``
        Of accesses whose guest was looked up.
    weaken : ``In(Weaken)``
        Only with ``weak``: ``doorbell``, ``page_count``.
    """

    def __init__(self, *, headers, weak=False):
        if not isinstance(headers, bool):
            raise TypeError(f"Headers must be True or False, not {headers!r}")
        self.headers = headers
        self.weak    = weak
        super().__init__({
            "i":        In(stream.Signature(PageCall)),
            "single":   In(1),
            "guest":    Out(guest_lookup()),
            "doorbell": Out(stream.Signature(RoutedCall)),
            "mailbox":  Out(stream.Signature(PageCall)),
            **({"header": Out(stream.Signature(PageCall))} if headers else {}),
            "end":      Out(stream.Signature(PageEnd)),
            "progress": Out(progress()),
            **({"weaken": In(Weaken)} if weak else {}),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.calls = calls = StreamQueue(PageCall, depth=LOOKUPS)
        m.submodules.found = found = CreditQueue(GuestLookup, depth=LOOKUPS)
        i, request, answer = self.i, self.guest.request, self.guest.answer
        m.d.comb += [
            request.valid.eq(i.valid & found.free & calls.i.ready),
            request.payload.eq(i.payload.guest),
            i.ready.eq(request.ready & found.free & calls.i.ready),
            found.reserve.eq(request.valid & request.ready),
            calls.i.valid.eq(found.reserve),
            calls.i.payload.eq(i.payload),
            found.i.valid.eq(answer.valid),
            found.i.payload.eq(answer.payload),
            answer.ready.eq(1),
        ]

        # What is decided is kept with the access.
        names = ["doorbell", "mailbox", "end", *["header"] * self.headers]
        goes  = data.StructLayout({**dict.fromkeys(names, 1), "ok": 1, "denied": 1})
        valid, now, where = Signal(), Signal(RoutedCall), Signal(goes)
        both, advance = Signal(), Signal()
        m.d.comb += [
            both.eq(calls.o.valid & found.o.valid & advance),
            calls.o.ready.eq(both),
            found.o.ready.eq(both),
            advance.eq(~valid | Cat(where[name] & getattr(self, name).ready
                                    for name in names).any()),
            *(getattr(self, name).valid.eq(valid & where[name]) for name in names),
            self.doorbell.payload.eq(now),
            *(getattr(self, name).payload.eq(now.call) for name in names
              if name not in ("doorbell", "end")),
            *page_end(self.end.payload, now.call, ok=where.ok, denied=where.denied,
                      data=0xFFFFFFFF),
        ]
        m.d.comb += [
            self.progress.idle.eq((calls.level == 0) & ~valid),
            self.progress.leaves.eq(valid & advance),
        ]
        with m.If(advance):
            m.d.sync += valid.eq(both)
            self._decide(m, calls.o.payload, found.o.payload, now, where)
        return m

    def _decide(self, m, call, guest, now, where):
        exists, live, mine = Signal(), Signal(), Signal()
        whole, legal = Signal(), Signal()
        m.d.comb += [
            exists.eq(guest.ok & ~call.nobody),
            live.eq(exists & passes(guest.state)),
            mine.eq(call.door & Mux(self.single, call.queue < guest.pairs,
                                    call.queue <= guest.pairs)),
            whole.eq(~call.write | (call.be == 0xF)),
            legal.eq(call.legal),
        ]
        if self.weak:
            with m.If(self.weaken.doorbell):
                m.d.comb += [whole.eq(1), legal.eq(call.legal | call.door)]
            with m.If(self.weaken.page_count):
                m.d.comb += mine.eq(call.door)
        served = live & legal
        to_header = self.headers & call.header
        m.d.sync += [
            now.call.eq(call),
            now.pair.eq(guest.first_pair + call.queue - ~self.single),
            where.doorbell.eq(served & mine & whole),
            where.mailbox.eq(served & ~mine & ~to_header),
            where.end.eq(~served | (mine & ~whole)),
            where.ok.eq(exists & (~live | legal)),
            where.denied.eq(call.write & mine & exists & ~(served & whole)),
        ]
        if self.headers:
            m.d.sync += where.header.eq(served & ~mine & to_header)
