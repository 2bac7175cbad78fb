"""The sharing block."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from iovirt.config import VfConfig
from iovirt.csr.port import RegisterPortSignature
from iovirt.pcie.layouts import ErrorRecord, tlp_beat
from iovirt.stream import StreamQueue

from .attribution import Attribution
from .denial_log import DenialLog
from .doorbell_writer import DoorbellWriter
from .fault_reports import FaultReports
from .guest_pages import GuestPages
from .guest_table import GuestTable
from .notices import ShareNotices, Topic
from .pair_engine import PairEngine
from .patcher import Patcher
from .scheduler import Scheduler
from .settling import Settling
from .share_layouts import AddressSettings, Function, Weaken
from .statistics import GuestStatistics

__all__ = ["SharingEngine"]


class SharingEngine(wiring.Component):
    """Let guests share devices that know nothing of virtualization (architecture.md, 7).

    ::

        access --> Attribution --> attributed         page --> GuestPages --> page_answer
                    |  |   | ring                                | doorbell, head
          contained |  |   v                                     v
              | GuestTable PairEngine <----- grants -------- Scheduler --> DoorbellWriter --> posted
              v     ^      | completions ----------------------^ ^ charges
         FaultReports      '--> denials --> DenialLog --> error, GuestStatistics
                                              ^          |
                        unpatched --> Patcher ---------> patched

    What a device does for a guest reaches that guest's memory, blocks and queues, and nothing else;
    see docs/sharing.md. Latencies and rates are those of the parts; data of devices that is neither
    ring nor list meets only Attribution.

    Parameters
    ----------
    vf : :class:`VfConfig`
        Sizes.
    data_width : :class:`int`
        Of TLPs and memory.
    id_width : :class:`int`
        Of what is returned with a translation.
    reads, writes : :class:`int`
        Slots of the data path.
    register_data_width, register_address_width : :class:`int`
        Of the register bus.
    link_order : :class:`bool`
        All requests are of one ordering source.
    weak : :class:`bool`
        There is a member ``weaken`` that switches defences off, for tests. Never part of a product.

    Members
    -------
    access, attributed, share_read, share_write : see :class:`Attribution`
        Towards translation and the data path.
    contained : see :class:`FaultReports`; unpatched, patched : see :class:`Patcher`
        From and to the data path.
    page, page_answer, page_error, page_settings, mailbox_timeout, oldest, pending, answer : \
            see :class:`GuestPages`
        Accesses of cores to the pages of guests.
    posted : ``Out(stream.Signature(tlp_beat(data_width)))``
        Doorbells, to the transmitter.
    functions, addresses, scheduler_settings, requester_id : ``In``
        From registers.
    guests, parameters, budgets, templates, headers, pairs, statistics : \
            ``In(RegisterPortSignature(...))``
        Windows of registers.
    error : ``Out(stream.Signature(ErrorRecord))``, lost : ``Out(1)``
        What was denied; pulse: a record found no place.
    notice : ``Out(stream.Signature(ShareNotice))``
        What the manager has to be told.
    granted, completed, frozen : ``Out(1)``
        Pulses: a pair was granted commands, completions were counted, hardware froze a guest.
    in_flight : ``Out(13)``
        Commands granted and not completed.
    doorbells_idle : ``Out(1)``
        Accesses to pages, offers and doorbells that were under way when the state of a guest was
        written last are over.
    ready : ``Out(1)``
        Tables have been cleared after reset.
    """

    def __init__(self, *, vf, data_width, id_width, reads, writes, register_data_width,
                 register_address_width, link_order=False, weak=False):
        if not isinstance(vf, VfConfig):
            raise TypeError(f"Configuration must be a VfConfig, not {vf!r}")
        self.vf   = vf
        self.weak = weak
        window = {"data_width": register_data_width, "address_width": register_address_width}
        self._attribution = Attribution(id_width=id_width, reads=reads, writes=writes,
                                        functions=vf.functions, link_order=link_order, weak=weak)
        self._faults = FaultReports(reads=reads, writes=writes)
        self._guests = GuestTable(guests=vf.guests, freezers=2, lookups=3, weak=weak, **window)
        self._pairs = PairEngine(pairs=vf.pairs, weak=weak, **window)
        self._patcher = Patcher(data_width=data_width, reads=reads, guests=vf.guests,
                                parameters=vf.parameters, weak=weak,
                                register_width=register_data_width,
                                address_width=register_address_width)
        self._scheduler = Scheduler(guests=vf.guests, tick_log2=vf.tick_log2, weak=weak, **window)
        self._pages = GuestPages(guests=vf.guests, functions=vf.functions, headers=vf.headers,
                                 weak=weak, **window)
        self._writer = DoorbellWriter(data_width=data_width, functions=vf.functions)
        self._statistics = GuestStatistics(guests=vf.guests, sources=3, **window)
        attribution, pages = self._attribution.signature.members, self._pages.signature.members
        patcher, scheduler = self._patcher.signature.members, self._scheduler.signature.members
        port = RegisterPortSignature(**window)
        super().__init__({
            "access":             attribution["i"],
            "attributed":         attribution["o"],
            "share_read":         attribution["share_read"],
            "share_write":        attribution["share_write"],
            "contained":          self._faults.signature.members["contained"],
            "unpatched":          patcher["i"],
            "patched":            patcher["o"],
            **{name: pages[name] for name in ("page", "page_answer", "oldest", "pending",
                                              "answer")},
            "page_error":         pages["error"],
            "page_settings":      pages["settings"],
            "mailbox_timeout":    pages["timeout"],
            "posted":             Out(stream.Signature(tlp_beat(data_width))),
            "functions":          In(Function).array(vf.functions),
            "addresses":          In(AddressSettings),
            "scheduler_settings": scheduler["settings"],
            "requester_id":       In(16),
            **{name: In(port) for name in ("guests", "parameters", "budgets", "templates", "pairs",
                                           "statistics", *(["headers"] if vf.headers else []))},
            "error":              Out(stream.Signature(ErrorRecord)),
            "lost":               Out(1),
            "notice":             Out(ShareNotices().o.signature),
            "granted":            Out(1),
            "completed":          Out(1),
            "frozen":             Out(1),
            "in_flight":          Out(13),
            "doorbells_idle":     Out(1),
            "ready":              Out(1),
            **({"weaken": In(Weaken)} if weak else {}),
        })

    def elaborate(self, platform):
        m, outer = Module(), flipped(self)
        m.submodules.attribution = attribution = self._attribution
        m.submodules.faults      = faults      = self._faults
        m.submodules.guests      = guests      = self._guests
        m.submodules.pairs       = pairs       = self._pairs
        m.submodules.patcher     = patcher     = self._patcher
        m.submodules.scheduler   = scheduler   = self._scheduler
        m.submodules.pages       = pages       = self._pages
        m.submodules.writer      = writer      = self._writer
        m.submodules.statistics  = statistics  = self._statistics
        m.submodules.denials     = denials     = DenialLog(ports=5)
        m.submodules.notices     = notices     = ShareNotices()

        # From the data path, and back to it.
        connect(m, outer.access, attribution.i)
        connect(m, attribution.o, outer.attributed)
        connect(m, attribution.share_read, outer.share_read)
        connect(m, attribution.share_write, outer.share_write)
        connect(m, attribution.context, patcher.context)
        connect(m, attribution.owner, faults.owner)
        connect(m, attribution.table, guests.fast)
        connect(m, attribution.ring, pairs.ring)
        connect(m, pairs.ring_verdict, attribution.verdict)
        connect(m, attribution.freeze, guests.freeze[0])
        connect(m, faults.freeze, guests.freeze[1])
        connect(m, outer.contained, faults.contained)
        connect(m, outer.unpatched, patcher.i)
        connect(m, patcher.o, outer.patched)

        # From guests to the device.
        connect(m, outer.page, pages.page)
        connect(m, pages.page_answer, outer.page_answer)
        connect(m, pages.error, outer.page_error)
        connect(m, outer.answer, pages.answer)
        connect(m, pages.doorbell, pairs.doorbell)
        connect(m, pairs.doorbell_verdict, pages.verdict)
        connect(m, scheduler.grant, pairs.grant)
        connect(m, pairs.grant_verdict, scheduler.verdict)
        connect(m, pairs.completed, scheduler.completed)
        connect(m, pairs.wake, scheduler.wake)
        connect(m, patcher.charge, scheduler.charge)
        connect(m, scheduler.doorbell, writer.i[0])
        connect(m, pages.head, writer.i[1])
        connect(m, writer.tx, outer.posted)
        for n, client in enumerate((pages.guest, scheduler.lookup, statistics.lookup)):
            connect(m, client, guests.lookup[n])

        # What others are told.
        for n, source in enumerate((attribution, faults, pairs, pages, patcher)):
            connect(m, source.denial, denials.i[n])
        for n, source in enumerate((scheduler, pages, denials)):
            connect(m, source.count, statistics.i[n])
        connect(m, denials.error, outer.error)
        connect(m, notices.o, outer.notice)
        connect(m, pages.mailbox_event, notices.event[Topic.MAILBOX.value])
        connect(m, guests.frozen, notices.event[Topic.FROZEN.value])
        for name, port in (("guests", guests.port), ("parameters", patcher.parameters),
                           ("budgets", scheduler.port), ("templates", patcher.templates),
                           ("pairs", pairs.window), ("statistics", statistics.port)):
            connect(m, getattr(outer, name), port)
        if self.vf.headers:
            self._headers(m, outer, guests, pages, notices)
        self._settings(m, attribution, patcher, pages, writer, scheduler)
        self._settle(m, guests, [*pages.progress, *scheduler.progress, writer.progress])
        m.d.comb += [
            scheduler.kick.valid.eq(guests.changed.valid),
            scheduler.kick.colour.eq(guests.changed.colour),
            self.oldest.eq(pages.oldest),
            self.pending.eq(pages.pending),
            self.lost.eq(attribution.lost | faults.lost | pairs.lost | patcher.lost),
            self.granted.eq(pairs.grant_verdict.valid & pairs.grant_verdict.ready
                            & (pairs.grant_verdict.p.count != 0)),
            self.completed.eq(pairs.completed.valid & pairs.completed.ready),
            self.frozen.eq(guests.frozen.valid),
            self.in_flight.eq(scheduler.in_flight),
            self.ready.eq(guests.ready & pairs.ready & pages.ready),
        ]
        if self.weak:
            m.d.comb += [part.weaken.eq(self.weaken) for part in (
                attribution, guests, pairs, patcher, scheduler, pages)]
        return m

    def _headers(self, m, outer, guests, pages, notices):
        # What a guest has written is forgotten when it is off or in quarantine. Software changes
        # one at a time, and a change takes longer than forgetting.
        m.submodules.clears = clears = StreamQueue(8, depth=2)
        m.d.comb += [clears.i.valid.eq(guests.changed.valid & guests.changed_off),
                     clears.i.payload.eq(guests.changed.colour)]
        connect(m, clears.o, pages.clear)
        connect(m, pages.header_event, notices.event[Topic.HEADER.value])
        connect(m, outer.headers, pages.port)

    def _settle(self, m, guests, parts):
        # The most of all parts are the doorbells of pages, and the heads and tails that share the
        # writer.
        m.submodules.settling = settling = Settling(parts=len(parts), capacity=32)
        for part, its in zip(parts, settling.part, strict=True):
            connect(m, part, its)
        m.d.comb += [settling.restart.eq(guests.changed.valid),
                     self.doorbells_idle.eq(settling.settled)]

    def _settings(self, m, attribution, patcher, pages, writer, scheduler):
        m.d.comb += [
            attribution.settings.eq(self.addresses),
            patcher.settings.eq(self.addresses),
            pages.settings.eq(self.page_settings),
            pages.timeout.eq(self.mailbox_timeout),
            scheduler.settings.eq(self.scheduler_settings),
            writer.requester_id.eq(self.requester_id),
        ]
        for n, function in enumerate(self.functions):
            m.d.comb += [
                attribution.functions[n].eq(function),
                writer.functions[n].eq(function),
                pages.head_delta[n].eq(function.head_delta),
            ]
