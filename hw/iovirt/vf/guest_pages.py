"""The pages through which guests use a shared device."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from iovirt.csr.port import RegisterPortSignature

from .guest_layouts import guest_lookup
from .headers import GuestHeaders
from .mailbox import Mailbox
from .notices import event_signature
from .page_decoder import PageDecoder
from .page_doorbells import PageDoorbells
from .page_ends import PageEnds
from .page_layouts import (
    MailboxAnswerSignature,
    MailboxRequest,
    PageError,
    PageSettings,
)
from .page_router import PageRouter
from .scheduler_layouts import device_doorbell
from .settling import progress
from .share_layouts import (
    COLOUR_WIDTH,
    Denial,
    GuestCount,
    PageAccess,
    PageAnswer,
    PairDoorbell,
    PairDoorbellVerdict,
    Weaken,
)

__all__ = ["GuestPages"]


class GuestPages(wiring.Component):
    """Serve the regions of the doorbell aperture, one for each guest.

    ::

        page -> PageDecoder -> PageRouter <-> guest
                                 | | '-> PageDoorbells -> doorbell, verdict -> head
                                 | '---> Mailbox -> oldest, answer      |
                                 '-----> GuestHeaders <- port           v
        page_answer, count, denial, error  <------------------------ PageEnds

    A guest reaches its own queues and nothing else; what it does to other registers of the device,
    its manager sees and answers. Nothing here waits for a guest or for the manager, so no guest
    holds up another; an access waits for the manager only in its place in the mailbox. Answers come
    in any order.

    A doorbell takes 3 clocks from ``page`` to the lookup of its guest, 2 from there to
    ``doorbell``, and 2 from ``verdict`` to ``page_answer``; throughput is 1 per clock, if lookups
    have it.
    After reset it takes up to 4 clocks for each guest until all is served.

    Parameters
    ----------
    guests, functions : :class:`int`
        A power of two in 4..256; 1 to 4.
    headers : :class:`bool`
        The last page of each region is a virtual configuration header.
    tick_log2 : :class:`int`
        See :class:`Mailbox`.
    data_width, address_width : :class:`int`
        Of the register port; see :class:`RegisterPortSignature`.
    weak : :class:`bool`
        For tests of defences; never part of a product.

    Members
    -------
    page : ``In(stream.Signature(PageAccess))``, \
            page_answer : ``Out(stream.Signature(PageAnswer))``
        Accesses of cores.
    settings : ``In(PageSettings)``, timeout : ``In(16)``, head_delta : ``In(8).array(functions)``
        From registers; see :class:`PageDecoder`, :class:`Mailbox`, :class:`PageDoorbells`.
    guest : ``Out(guest_lookup())``
    doorbell, verdict, head : see :class:`PageDoorbells`
    oldest, pending, answer, mailbox_event : see :class:`Mailbox`
    port, clear, header_event : see :class:`GuestHeaders`
        Only with ``headers``.
    count, denial, error : see :class:`PageEnds`
    progress : ``Out(progress()).array(3)``
        Of accesses whose guest was looked up, doorbells, and heads that are accepted.
    ready : ``Out(1)``
        All is served.
    weaken : ``In(Weaken)``
        Only with ``weak``: ``doorbell``, ``page_count``.
    """

    def __init__(self, *, guests, functions, headers, tick_log2=10, data_width=64, address_width=32,
                 weak=False):
        self.guests    = guests
        self.functions = functions
        self.headers   = headers
        self.weak      = weak
        self._decoder   = PageDecoder(guests=guests, headers=headers)
        self._router    = PageRouter(headers=headers, weak=weak)
        self._doorbells = PageDoorbells(functions=functions)
        self._mailbox   = Mailbox(guests=guests, tick_log2=tick_log2)
        self._ends      = PageEnds(ports=3 + headers)
        window = {"data_width": data_width, "address_width": address_width}
        self._headers   = GuestHeaders(guests=guests, **window) if headers else None
        super().__init__({
            "page":          In(stream.Signature(PageAccess)),
            "page_answer":   Out(stream.Signature(PageAnswer)),
            "settings":      In(PageSettings),
            "timeout":       In(16),
            "head_delta":    In(8).array(functions),
            "guest":         Out(guest_lookup()),
            "doorbell":      Out(stream.Signature(PairDoorbell)),
            "verdict":       In(stream.Signature(PairDoorbellVerdict)),
            "head":          Out(stream.Signature(device_doorbell)),
            "oldest":        Out(MailboxRequest),
            "pending":       Out(range(guests + 1)),
            "answer":        In(MailboxAnswerSignature()),
            "mailbox_event": Out(event_signature()),
            **({
                "port":         In(RegisterPortSignature(**window)),
                "clear":        In(stream.Signature(COLOUR_WIDTH)),
                "header_event": Out(event_signature()),
            } if headers else {}),
            "count":         Out(stream.Signature(GuestCount)),
            "denial":        Out(stream.Signature(Denial)),
            "error":         Out(stream.Signature(PageError)),
            "progress":      Out(progress()).array(3),
            "ready":         Out(1),
            **({"weaken": In(Weaken)} if weak else {}),
        })

    def elaborate(self, platform):
        m = Module()
        outer = flipped(self)
        m.submodules.decoder   = decoder   = self._decoder
        m.submodules.router    = router    = self._router
        m.submodules.doorbells = doorbells = self._doorbells
        m.submodules.mailbox   = mailbox   = self._mailbox
        m.submodules.ends      = ends      = self._ends
        connect(m, outer.page, decoder.i)
        connect(m, decoder.o, router.i)
        for n, part in enumerate((router.progress, *doorbells.progress)):
            connect(m, part, flipped(self.progress[n]))
        connect(m, router.guest, outer.guest)
        connect(m, router.doorbell, doorbells.i)
        connect(m, router.mailbox, mailbox.i)
        for n, source in enumerate((doorbells, router, mailbox)):
            connect(m, source.end, ends.i[n])
        connect(m, doorbells.doorbell, outer.doorbell)
        connect(m, doorbells.head, outer.head)
        for name in ("count", "denial", "error"):
            connect(m, getattr(ends, name), getattr(outer, name))
        connect(m, outer.verdict, doorbells.verdict)
        connect(m, ends.answer, outer.page_answer)
        connect(m, outer.answer, mailbox.answer)
        connect(m, mailbox.event, outer.mailbox_event)

        with m.Switch(self.settings.region_log2):
            for log2 in range(1, 9):
                with m.Case(log2):
                    m.d.sync += mailbox.mask.eq((4096 << log2) - 1)
        m.d.comb += [
            decoder.settings.eq(self.settings),
            router.single.eq(self.settings.single),
            *(its.eq(ours) for its, ours in zip(doorbells.head_delta, self.head_delta,
                                                strict=True)),
            mailbox.timeout.eq(self.timeout),
            self.oldest.eq(mailbox.oldest),
            self.pending.eq(mailbox.pending),
            self.ready.eq(mailbox.ready),
        ]
        if self.weak:
            m.d.comb += router.weaken.eq(self.weaken)
        if self.headers:
            m.submodules.headers = headers = self._headers
            connect(m, router.header, headers.i)
            connect(m, headers.end, ends.i[3])
            connect(m, outer.port, headers.port)
            connect(m, outer.clear, headers.clear)
            connect(m, headers.event, outer.header_event)
            m.d.comb += self.ready.eq(mailbox.ready & headers.ready)
        return m
