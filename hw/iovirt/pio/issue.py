"""Tags for requests, and their TLPs."""

from itertools import pairwise

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from iovirt.stream import StreamQueue

from ..pcie.layouts import tlp_beat
from ..pcie.tlp import Fmt, RequestHeader, Type
from .layouts import NpKind, np_request
from .request_layouts import (
    CLIENTS,
    TIME_WIDTH,
    allocation,
    count_width,
    free_tag,
    unsent_tag,
)
from .tags import tag_holder
from .timer import PERIOD_TICKS

__all__ = ["Issue"]

#: TLPs that may wait to be sent.
UNSENT = 2


class Issue(wiring.Component):
    """Give a tag to each request, note it, and send it (PCIe Base, 2.2.7).

    Client 1 goes first. While the link is down (``send`` is 0), requests get a tag and are noted,
    but not sent. The same holds while ``stuck``: a device that returns no credits must not keep
    requests from getting a tag, because without one they would never time out (rule S5). What was
    put in line before stays there, with its tag, until it is sent.

    Latency is 1 clock from ``request`` to ``tx``; throughput is 1 request per clock.
    ``request[*].ready`` depends on ``request[*].valid``.

    Parameters
    ----------
    data_width, owner_width, max_read_bytes, depth : :class:`int`
        Of the TLP stream, the requests, and the tags.
    core_width, guest_width : :class:`int`
        Of the holders of tags.

    Members
    -------
    request : ``In(stream.Signature(np_request(...))).array(CLIENTS)``
    free, permit, take, holder :
        See :class:`TagAllocator`.
    allocate : ``Out(allocation(...))``
        What the tag stands for.
    tx : ``Out(stream.Signature(tlp_beat(data_width)))``
        One beat per request.
    requester_id : ``In(16)``
    now : ``In(TIME_WIDTH)``
    send, hold : ``In(1)``
        TLPs are sent; nothing is accepted.
    give_up : ``In(1)``
        Requests time out.
    stuck : ``Out(1)``
        With ``give_up``: a TLP has waited on ``tx`` for a period.
    empty : ``Out(1)``
        No TLP waits on ``tx``.
    unsent : ``Out(unsent_tag(depth)).array(UNSENT)``
        Those that wait.
    """

    def __init__(self, *, data_width, owner_width, max_read_bytes, depth, core_width, guest_width):
        self.max_read_bytes = max_read_bytes
        self._sent  = data.StructLayout({"hdr": 128, "data": 32})
        shape = np_request(owner_width=owner_width, max_read_bytes=max_read_bytes)
        super().__init__({
            "request":      In(stream.Signature(shape)).array(CLIENTS),
            "free":         In(free_tag(depth)),
            "permit":       In(CLIENTS),
            "take":         Out(1),
            "holder":       Out(tag_holder(core_width=core_width, guest_width=guest_width)),
            "allocate":     Out(allocation(depth=depth, owner_width=owner_width,
                                           max_read_bytes=max_read_bytes)),
            "tx":           Out(stream.Signature(tlp_beat(data_width))),
            "requester_id": In(16),
            "now":          In(TIME_WIDTH),
            "send":         In(1),
            "hold":         In(1),
            "give_up":      In(1),
            "stuck":        Out(1),
            "empty":        Out(1),
            "unsent":       Out(unsent_tag(depth)).array(UNSENT),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.queue = queue = StreamQueue(self._sent, depth=UNSENT)
        client = self.request[1].valid & self.permit[1]
        request, open_, chosen = Signal.like(self.request[0].p), Signal(), Signal()
        m.d.comb += [
            chosen.eq(client),
            open_.eq((queue.i.ready | ~self.send | self.stuck) & ~self.hold),
            request.eq(Mux(chosen, self.request[1].p, self.request[0].p)),
            self.request[1].ready.eq(open_ & self.permit[1]),
            self.request[0].ready.eq(open_ & self.permit[0] & ~chosen),
            self.take.eq(open_ & (chosen | (self.request[0].valid & self.permit[0]))),
            self.holder.client.eq(chosen),
            self.holder.core.eq(request.core),
            self.holder.guest.eq(request.guest),
            queue.i.valid.eq(self.take & self.send & queue.i.ready),
            self.empty.eq(~queue.o.valid),
        ]
        self._note(m, request, chosen)
        self._build(m, request, queue.i.p)
        self._watch(m, queue)

        config_write = Signal()
        sent = queue.o.p
        m.d.comb += [
            config_write.eq(RequestHeader(sent.hdr).dw0.has_data()),
            self.tx.valid.eq(queue.o.valid),
            queue.o.ready.eq(self.tx.ready),
            self.tx.p.hdr.eq(sent.hdr),
            self.tx.p.data.eq(sent.data),
            self.tx.p.strb.eq(config_write),
            self.tx.p.first.eq(1),
            self.tx.p.last.eq(1),
        ]
        return m

    def _watch(self, m, queue):
        """Keep the tags of the TLPs that wait, and the time for which the first has waited."""
        was, waits = Signal(TIME_WIDTH), Signal(range(PERIOD_TICKS + 2))
        long = waits == PERIOD_TICKS + 1
        m.d.sync += [was.eq(self.now), self.stuck.eq(long & self.give_up)]
        with m.If(~queue.o.valid | queue.o.ready):
            m.d.sync += waits.eq(0)
        with m.Elif((was != self.now) & ~long):
            m.d.sync += waits.eq(waits + 1)
        # The last that came is the first here.
        with m.If(queue.i.valid & queue.i.ready):
            m.d.sync += [self.unsent[0].tag.eq(self.free.tag),
                         *(after.tag.eq(before.tag)
                           for before, after in pairwise(self.unsent))]
        m.d.comb += [unsent.valid.eq(queue.level > n) for n, unsent in enumerate(self.unsent)]

    def _note(self, m, request, chosen):
        entry, tag = self.allocate.entry, self.free
        m.d.comb += [
            self.allocate.en.eq(self.take),
            self.allocate.tag.eq(tag.tag),
            entry.lap.eq(tag.lap),
            entry.client.eq(chosen),
            entry.issued.eq(self.now),
        ]
        m.d.comb += [entry[name].eq(request[name])
                     for name in ("kind", "core", "guest", "completer", "completer_mask", "owner",
                                  "address")]

        # Offset of the first enabled byte, and the bytes from there to the last one.
        single = request.length_dw == 1
        first, be = request.first_be, Signal(4)
        low, top, count = Signal(2), Signal(2), Signal(count_width(self.max_read_bytes))
        m.d.comb += [
            be.eq(Mux(single, request.first_be, request.last_be)),
            top.eq(Mux(be[2:].any(), Cat(be[3], 1), be[1])),
            count.eq(((request.length_dw << 2) - 3) + (top - low)),
        ]
        with m.If(first != 0):
            m.d.comb += low.eq(Mux(first[:2].any(), ~first[0], Cat(~first[2], 1)))
        with m.If(request.kind == NpKind.MEMORY_READ):
            bits = exact_log2(self.max_read_bytes)
            m.d.comb += [
                entry.count.eq(count),
                entry.position.eq(Cat(low, request.address[2:max(7, bits)])),
            ]
        with m.Else():
            m.d.comb += entry.count.eq(4)

    def _build(self, m, request, sent):
        header, wide = Signal(RequestHeader), Signal()
        read = request.kind == NpKind.MEMORY_READ
        # An ECAM offset has {register 10, byte 2} in bits 11:0; a request has the bus in 31:24.
        target = Cat(request.address[:12], C(0, 4), request.address[12:28])
        m.d.comb += [
            wide.eq(read & request.address[32:].any()),
            header.dw0.length.eq(request.length_dw),
            header.dw0.tag_8.eq(self.free.tag.bit_select(8, 1) if len(self.free.tag) > 8 else 0),
            header.dw0.tag_9.eq(self.free.tag.bit_select(9, 1) if len(self.free.tag) > 9 else 0),
            header.dw0.type.eq(Mux(read, Type.MEMORY, Mux(request.type1, Type.CONFIG_1,
                                                          Type.CONFIG_0))),
            header.dw0.fmt.eq(Mux(request.kind == NpKind.CONFIG_WRITE, Fmt.DW3_DATA,
                                  Mux(wide, Fmt.DW4, Fmt.DW3))),
            header.rid.eq(self.requester_id),
            header.tag.eq(self.free.tag),
            header.first_be.eq(request.first_be),
            header.last_be.eq(request.last_be),
            header.dw2.eq(Mux(wide, request.address[32:],
                              Mux(read, request.address[:32], target))),
            header.dw3.eq(Mux(wide, request.address[:32], 0)),
            sent.hdr.eq(header),
            sent.data.eq(request.data),
        ]
