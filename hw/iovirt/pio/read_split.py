"""Cutting of reads into requests."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from iovirt.pcie.layouts import ErrorCause

from .answer_order import class_of, token
from .bursts import burst
from .layouts import FinishStatus, PageAccess, PioError, Policy, config_access, np_request
from .read_layouts import read_end, read_owner, read_record, row_width
from .target import goes_to_page, target, target_of
from .windows import PAGE_LOG2, aperture, ecam_window, memory_window

__all__ = ["ReadSplitter"]


class ReadSplitter(wiring.Component):
    """Cut reads of device memory at multiples of the largest read, each with byte enables that
    cover what was asked for and nothing else (PCIe Base, 2.2.5).

    A read of up to 8 bytes, naturally aligned, is one request. A read of configuration space is one
    access, whatever it is: the configuration unit is told if it is none of 1, 2 or 4 bytes. What
    hits no window, or the doorbell aperture, or is no legal burst, ends at once.

    Latency is 1 clock and throughput 1 piece per clock. All outputs but `head` in the owners come
    from registers; that bit from a comparison of two words of memory.

    Parameters
    ----------
    data_width : :class:`int`
        Of the TLP streams.
    id_width, address_width, core_id_bits, windows : :class:`int`
        Of the AXI port; high bits of an ID that tell the core; windows onto device memory.
    max_read_bytes, slots, owner_width : :class:`int`
        Largest read, pieces in flight, width of owners.
    pages : :class:`bool`
        The doorbell aperture is served.

    Members
    -------
    i : ``In(stream.Signature(burst(...)))``
    ecam, windows, doorbells, no_window : see :class:`PioFront`
        From registers.
    max_read : ``In(3)``
        ``128 << max_read`` bytes: Max_Read_Request_Size.
    look, head, free, take : see :class:`AnswerOrder`
    record : ``Out(...)``
        Pulse ``en`` keeps ``record`` for ``slot``.
    request : ``Out(stream.Signature(np_request(...)))``
    config : ``Out(stream.Signature(config_access(...)))``
    page : ``Out(stream.Signature(PageAccess))``
        Only with ``pages``; as configuration space, whatever the burst is.
    refused : ``Out(stream.Signature(read_end(...)))``
        Ends of what is no request.
    error : ``Out(stream.Signature(PioError, always_ready=True))``
    """

    def __init__(self, *, data_width, id_width, address_width, core_id_bits, windows,
                 max_read_bytes, slots, owner_width, pages=False):
        self.data_width     = data_width
        self.id_width       = id_width
        self.address_width  = address_width
        self.core_id_bits   = core_id_bits
        self.max_read_bytes = max_read_bytes
        self.slots          = slots
        self.owner_width    = owner_width
        self.pages          = pages
        buffer = {"data_width": data_width, "max_read_bytes": max_read_bytes, "slots": slots}
        self._owner  = read_owner(**buffer)
        self._record = read_record(id_width=id_width, max_read_bytes=max_read_bytes)
        bursts = burst(id_width=id_width, address_width=address_width, windows=windows)
        request = np_request(owner_width=owner_width, max_read_bytes=max_read_bytes)
        super().__init__({
            "i":         In(stream.Signature(bursts)),
            "ecam":      In(ecam_window(address_width=address_width)),
            "windows":   In(memory_window(address_width=address_width)).array(windows),
            "doorbells": In(aperture(address_width=address_width)),
            "no_window": In(Policy),
            "max_read":  In(3),
            "look":      Out(min(id_width, 8)),
            "head":      In(1),
            "free":      In(stream.Signature(token(slots=slots))),
            "take":      Out(wiring.Signature({"en": Out(1), "token": Out(token(slots=slots))})),
            "record":    Out(wiring.Signature({
                "en": Out(1), "slot": Out(range(slots)), "record": Out(self._record)})),
            "request":   Out(stream.Signature(request)),
            "config":    Out(stream.Signature(config_access(owner_width=owner_width))),
            **({"page":  Out(stream.Signature(PageAccess))} if pages else {}),
            "refused":   Out(stream.Signature(read_end(**buffer))),
            "error":     Out(stream.Signature(PioError, always_ready=True)),
        })

    def elaborate(self, platform):
        m = Module()
        piece = Signal(data.StructLayout({
            "id": self.id_width, "target": target(pages=self.pages),
            "first": PAGE_LOG2, "stop": PAGE_LOG2, "length_dw": PAGE_LOG2 - 2,
            "one_dw": 1, "len": 8, "size": 3, "legal": 1, "last": 1}))
        valid, fresh, moves, enters = Signal(), Signal(), Signal(), Signal()
        made = Signal.like(piece)
        final = self._elaborate_cut(m, made, enters)

        m.d.comb += [
            enters.eq(self.i.valid & self.free.valid & (~valid | moves)),
            self.free.ready.eq(self.i.valid & (~valid | moves)),
            self.i.ready.eq(enters & final),
            self.look.eq(class_of(self.i.payload.id)),
        ]
        m.d.sync += fresh.eq(enters)
        with m.If(~valid | moves):
            m.d.sync += [valid.eq(enters), piece.eq(made)]
        self._elaborate_owner(m, enters, fresh, piece)
        self._elaborate_outputs(m, valid, moves, piece)
        return m

    def _elaborate_cut(self, m, made, enters):
        # `limit` has the bits of an offset within the largest read.
        limit = Signal(PAGE_LOG2)
        most = exact_log2(self.max_read_bytes)
        with m.Switch(self.max_read):
            for code in range(max(most - 7, 0)):
                with m.Case(code):
                    m.d.sync += limit.eq((128 << code) - 1)
            with m.Default():
                m.d.sync += limit.eq(self.max_read_bytes - 1)

        # The page offset of the next piece; a burst never leaves its page.
        i = self.i.payload
        started, position = Signal(), Signal(PAGE_LOG2)
        first, crosses = Signal(PAGE_LOG2), Signal()
        final, address = Signal(), Signal(self.address_width)
        where = target_of(m, i, self, address, pages=self.pages)
        m.d.comb += [
            first.eq(Mux(started, position, i.address[:PAGE_LOG2])),
            address.eq(Cat(first, i.address[PAGE_LOG2:])),
            crosses.eq(((first ^ i.end) & ~limit).any()),
            final.eq(~(crosses & where.memory)),
            made.id.eq(i.id),
            made.target.eq(where),
            made.first.eq(first),
            made.stop.eq(Mux(final, i.end, first | limit)),
            made.one_dw.eq(first[2:] == made.stop[2:]),
            # Either length is there before it is known which counts.
            made.length_dw.eq(Mux(crosses, (limit[2:] & ~first[2:]) + 1,
                                  i.end[2:] - first[2:] + 1)),
            made.len.eq(i.len),
            made.size.eq(i.size),
            made.legal.eq(i.legal),
            made.last.eq(final),
        ]
        with m.If(enters):
            m.d.sync += [started.eq(~final), position.eq((first | limit) + 1)]
        return final

    def _elaborate_owner(self, m, enters, fresh, piece):
        # Whether a piece is the head of its class is known in its first clock, and held.
        held = Signal(token(slots=self.slots))
        with m.If(enters):
            m.d.sync += held.eq(self.free.payload)
        with m.If(fresh):
            m.d.sync += held.head.eq(self.head)
        owner = self._this = Signal(self._owner)
        rows = row_width(data_width=self.data_width, max_read_bytes=self.max_read_bytes)
        row_log2 = exact_log2(self.data_width // 8)
        m.d.comb += [
            owner.token.eq(held),
            owner.token.head.eq(Mux(fresh, self.head, held.head)),
            owner.row.eq(piece.first[row_log2:row_log2 + rows]),
            self.take.en.eq(fresh),
            self.take.token.eq(owner.token),
            self.record.en.eq(fresh),
            self.record.slot.eq(held.slot),
        ]
        # Beats of this piece; one that is not cut is the whole burst.
        record = self.record.record
        whole = ~piece.target.memory
        beats = ((piece.stop >> piece.size) - (piece.first >> piece.size))[:8]
        m.d.comb += [
            record.id.eq(piece.id),
            record.offset.eq(piece.first),
            record.within.eq((1 << piece.size) - 1),
            record.beats.eq(Mux(whole, piece.len, beats)),
            record.last.eq(piece.last),
            record.illegal.eq(~piece.legal),
            record.policy.eq(piece.target.policy),
        ]

    def _elaborate_outputs(self, m, valid, moves, piece):
        where, owner = piece.target, self._this
        low, high = Signal(4), Signal(4)
        core = piece.id[self.id_width - self.core_id_bits:]
        m.d.comb += [low.eq(0xF << piece.first[:2]), high.eq(0xF >> ~piece.stop[:2])]

        request, config, refused = self.request, self.config, self.refused
        to_page, page_ready = goes_to_page(where), C(0)
        if self.pages:
            page, page_ready = self.page, self.page.ready
            m.d.comb += [
                page.valid.eq(valid & to_page),
                *(page.payload[name].eq(config.payload[name])
                  for name in ("address", "be", "legal", "core")),
                page.payload.owner.eq(owner.token),
            ]
        none = ~where.memory & ~where.config & ~to_page
        m.d.comb += [
            request.valid.eq(valid & where.memory),
            request.payload.address.eq(Cat(C(0, 2), where.address[2:])),
            request.payload.length_dw.eq(piece.length_dw),
            request.payload.first_be.eq(Mux(piece.one_dw, low & high, low)),
            request.payload.last_be.eq(Mux(piece.one_dw, 0, high)),
            request.payload.core.eq(core),
            request.payload.guest.eq(where.guest),
            request.payload.completer.eq(where.completer),
            request.payload.completer_mask.eq(where.completer_mask),
            request.payload.owner.eq(owner),

            # Registers of 1, 2 or 4 bytes are naturally aligned if the burst ends with them.
            config.valid.eq(valid & where.config),
            config.payload.address.eq(where.address),
            config.payload.be.eq(low & high),
            config.payload.legal.eq((piece.len == 0) & (piece.size <= 2)
                                    & ~Mux(piece.size[1], piece.first[:2].any(),
                                           piece.size[0] & piece.first[0])),
            config.payload.core.eq(core),
            config.payload.owner.eq(owner),

            refused.valid.eq(valid & none),
            refused.payload.owner.eq(owner),
            refused.payload.status.eq(FinishStatus.NO_TARGET),
            moves.eq(valid & Mux(where.memory, request.ready,
                                 Mux(where.config, config.ready,
                                     Mux(to_page, page_ready, refused.ready)))),

            self.error.valid.eq(refused.valid & refused.ready),
            self.error.payload.cause.eq(ErrorCause.PIO_NO_TARGET),
            self.error.payload.core.eq(core),
            self.error.payload.guest.eq(where.guest),
            self.error.payload.address.eq(where.address),
        ]
