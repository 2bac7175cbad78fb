"""Arrival of posted writes."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from iovirt.pcie.layouts import ErrorCause, ErrorRecord, SignalKind, write_beat
from iovirt.stream import StreamQueue

from .align import DWORD, lanes_below, rotate_lanes
from .lanes import lane_write
from .layouts import (
    TicketKind,
    finish_signature,
    signal_entry,
    slot_write,
    ticket,
    translation_request,
    write_entry,
)
from .requests import fill_request

__all__ = ["WriteIntake"]

#: Writes that have been stored and wait for the remap engine; half of them may be on the way.
QUEUE_DEPTH = 8

#: Writes that may be offered or queued in front of the block while a read behind them is offered,
#: and clocks for which such a queue may pause.
HIDDEN_WRITES = 3
HIDDEN_CLOCKS = 3


class WriteIntake(wiring.Component):
    """Store each posted write, rotated to its byte lanes, and ask for its translation when the last
    beat is in (rule S12).

    Aborted writes vanish. Poisoned ones are dropped and recorded, because AXI4 cannot carry poison;
    they are not translated. Both keep their place in the order in which writes are forwarded.

    A signal keeps its place as well, and takes a slot for signals instead of one for writes.

    Takes 1 beat per clock while slots are free and the remap engine keeps up. The request is
    offered 3 clocks after the last beat; the last row is in memory by then.

    Parameters
    ----------
    data_width : :class:`int`
        Width of a beat.
    rows : :class:`int`
        Rows of a slot.
    slots : :class:`int`
        Number of slots for writes.
    tickets : :class:`int`
        Number of slots that a ticket can name.
    classes : :class:`int`
        Number of ordering classes.
    link_order : :class:`bool`
        All writes are of one ordering source.
    signals : :class:`int`
        Number of slots for signals. 0: what comes are writes, whatever ``signal`` says.
    shared : :class:`bool`
        Functions may be shared: requests tell more.

    Members
    -------
    i : ``In(stream.Signature(write_beat(data_width)))``
        Posted writes, and signals, of one beat each.
    slot : ``In(stream.Signature(range(slots)))``
        Free slots; one is taken with the last beat of a good write.
    payload : ``Out(lane_write(...))``
        Payload to memory.
    entry : ``Out(slot_write(...))``
        What else is kept.
    signal_slot : ``In(stream.Signature(range(signals)))``
        Free slots for signals; one is taken with a good one. Only if there are any.
    signal_entry : ``Out(slot_write(signal_entry(), signals))``
        What is kept of a signal. Only if there are any.
    request : ``Out(stream.Signature(translation_request(...)))``
        One for each good write, in order.
    error : ``Out(stream.Signature(ErrorRecord))``
        One for each poisoned write.
    finish : ``Out(finish_signature())``
        One pulse for each write that is dropped here.
    forwarded : ``Out(8)``
        Count of the writes that were forwarded or dropped, modulo.
    pending : ``Out(8)``
        At least the number of the writes that have not yet been forwarded or dropped, up to
        ``HIDDEN_WRITES`` in front of ``i`` included; 0 when it is quiet.
    """

    def __init__(self, *, data_width, rows, slots, tickets, classes, link_order,
                 signals=0, shared=False):
        self.data_width = data_width
        self.lanes      = data_width // DWORD
        self.rows       = rows
        self.slots      = slots
        self.classes    = classes
        self.link_order = link_order
        self.signals    = signals
        self.shared     = shared
        self.ticket     = ticket(slots=tickets, classes=classes, shared=shared)
        self.request_shape = translation_request(self.ticket.size, shared=shared)
        super().__init__({
            "i":         In(stream.Signature(write_beat(data_width))),
            "slot":      In(stream.Signature(range(slots))),
            "payload":   Out(lane_write(lanes=self.lanes, slots=slots, rows=rows)),
            "entry":     Out(slot_write(write_entry(), slots)),
            "request":   Out(stream.Signature(self.request_shape)),
            "error":     Out(stream.Signature(ErrorRecord)),
            "finish":    Out(finish_signature()),
            "forwarded": Out(8),
            "pending":   Out(8),
            **({"signal_slot":  In(stream.Signature(range(signals))),
                "signal_entry": Out(slot_write(signal_entry(), signals))} if signals else {}),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.queue = queue = StreamQueue(
            data.StructLayout({"drop": 1, "poison": 1, "turn": 1,
                               "request": self.request_shape}), depth=QUEUE_DEPTH)

        # Nothing stops a write between its first beat and the queue, so both ends are reserved.
        beat, head = self.i.payload, Signal()
        good, free, signal = Signal(), Signal(), Signal()
        m.d.comb += [
            free.eq(self.slot.valid),
            self.i.ready.eq(~beat.first | (free & (queue.level < QUEUE_DEPTH // 2))),
            head.eq(self.i.valid & self.i.ready),
            good.eq(~beat.abort & ~beat.header.ep),
            self.slot.ready.eq(head & beat.last & good & ~signal),
        ]
        if self.signals:
            m.d.comb += [
                signal.eq(beat.header.signal != SignalKind.NONE),
                free.eq(Mux(signal, self.signal_slot.valid, self.slot.valid)),
                self.signal_slot.ready.eq(head & good & signal),
            ]
        self._elaborate_payload(m, head & ~signal, beat)
        self._elaborate_request(m, queue, head, beat)
        self._elaborate_forward(m, queue)

        # A write may be on its way here while the read behind it has arrived already. As long as
        # beats come, and a little longer, some count as pending, so that no read slips by.
        unfinished, recent = Signal(8), Signal(HIDDEN_CLOCKS)
        m.d.sync += [
            unfinished.eq(unfinished + (head & beat.first) - (queue.o.valid & queue.o.ready)),
            recent.eq(Cat(self.i.valid, recent)),
        ]
        m.d.comb += self.pending.eq(unfinished
                                    + Mux(self.i.valid | recent.any(), HIDDEN_WRITES, 0))
        return m

    def _elaborate_payload(self, m, stores, beat):
        # Two stages: take the beat, rotate it. A slot that an aborted write leaves is used again.
        lane = beat.header.address[2:2 + exact_log2(self.lanes)]
        taken = Signal.like(lane)
        words = Signal(self.data_width)
        row   = Signal(range(self.rows))
        moved = Signal()
        port  = self.payload
        m.d.sync += [
            moved.eq(stores),
            taken.eq(lane),
            words.eq(beat.data),
            port.en.eq(moved),
            port.data.eq(rotate_lanes(words, taken)),
            port.bump.eq(lanes_below(taken)),
        ]
        place = Signal.like(port.row), Signal.like(port.slot)
        m.d.sync += [
            Cat(*place).eq(Cat(Mux(beat.first, 0, row), self.slot.payload)),
            Cat(port.row, port.slot).eq(Cat(*place)),
        ]
        with m.If(stores):
            m.d.sync += row.eq(Mux(beat.first, 0, row) + 1)

    def _elaborate_request(self, m, queue, head, beat):
        # What the last beat brings, one clock later, is stored and queued.
        done, abort, slot = Signal(), Signal(), Signal.like(self.slot.payload)
        header = Signal.like(beat.header)
        m.d.sync += [
            done.eq(head & beat.last),
            abort.eq(beat.abort),
            slot.eq(self.slot.payload),
            header.eq(beat.header),
        ]
        id, request = Signal(self.ticket), queue.i.payload.request
        entry, good = self.entry.data, Signal()
        m.d.comb += [
            good.eq(done & ~abort & ~header.ep),
            self.entry.en.eq(good),
            self.entry.slot.eq(slot),
            *(entry[field].eq(header[field])
              for field in ("rid", "segment", "address", "length_dw", "first_be", "last_be",
                            "turn")),
            entry.relaxed.eq(header.attr[1]),
            id.slot.eq(slot),
            queue.i.valid.eq(done),
            queue.i.payload.drop.eq(abort),
            queue.i.payload.poison.eq(header.ep & ~abort),
            queue.i.payload.turn.eq(header.turn),
            *fill_request(request, header, id, write=True, classes=self.classes,
                          link_order=self.link_order, slot=slot if self.shared else None),
        ]
        with m.If((header.length_dw == 1) & (header.first_be == 0)):
            m.d.comb += id.kind.eq(TicketKind.NOTHING)
        if self.signals:
            self._elaborate_signal(m, beat, header, good, id, request)

    def _elaborate_signal(self, m, beat, header, good, id, request):
        slot, words = Signal.like(self.signal_slot.payload), Signal(DWORD)
        m.d.sync += [slot.eq(self.signal_slot.payload), words.eq(beat.data)]
        entry = self.signal_entry.data
        m.d.comb += [
            self.signal_entry.slot.eq(slot),
            *(entry.signal[field].eq(header[field]) for field in ("rid", "segment")),
            entry.signal.kind.eq(header.signal),
            entry.signal.data.eq(words),
            entry.turn.eq(header.turn),
        ]
        with m.If(header.signal == SignalKind.MSI):
            m.d.comb += entry.signal.offset.eq(header.address)
        with m.If(header.signal != SignalKind.NONE):
            m.d.comb += [
                self.entry.en.eq(0),
                self.signal_entry.en.eq(good),
                id.slot.eq(slot),
                id.kind.eq(TicketKind.SIGNAL),
                request.bypass.eq(1),
            ]

    def _elaborate_forward(self, m, queue):
        # The queue keeps dropped writes too, so `forwarded` counts in the order of arrival.
        request = queue.o.payload.request
        goes = Signal()
        m.d.comb += [
            goes.eq(~queue.o.payload.drop & ~queue.o.payload.poison),
            self.request.valid.eq(queue.o.valid & goes),
            self.request.payload.eq(request),
            self.error.valid.eq(queue.o.valid & queue.o.payload.poison),
            self.error.payload.cause.eq(ErrorCause.POISONED_WRITE),
            self.error.payload.segment.eq(request.device_id[16:]),
            self.error.payload.rid.eq(request.device_id[:16]),
            self.error.payload.address.eq(Cat(C(0, 2), request.iova[2:])),
            queue.o.ready.eq(queue.o.payload.drop | (goes & self.request.ready)
                             | (queue.o.payload.poison & self.error.ready)),
        ]
        with m.If(queue.o.valid & queue.o.ready):
            m.d.comb += [self.finish.valid.eq(~goes), self.finish.turn.eq(queue.o.payload.turn)]
            m.d.sync += self.forwarded.eq(self.forwarded + 1)
