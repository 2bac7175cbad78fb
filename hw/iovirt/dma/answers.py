"""Results of translations."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from iovirt.stream import StreamQueue

from .layouts import (
    TicketKind,
    gate_request,
    read_answer,
    signal_answer,
    slot_write,
    ticket,
    translation_result,
    write_answer,
)
from .order import before_signature, count_signature
from .share_layouts import contained_signature

__all__ = ["Answers"]


class Answers(wiring.Component):
    """Accept every result at once, number the writes, and pass on each kind in order.

    A write gets the count of the earlier writes of its class as its number; a read or a signal gets
    the same count, as the number of writes it has to wait for (rules S3 and S12). The queues hold
    as many transfers as there are slots, so a result never waits.

    A permission that leads into the aperture counts as none (rule S2).

    With ``shared``, an access that is denied is contained if its ticket says so: a write goes
    nowhere as ever, a read will be answered with success. Those that were not contained before are
    told of, 1 clock after the result is taken.

    Latency is 3 clocks, throughput 1 per clock. What is kept of a write is stored a clock later
    than the rest, and before its slot leaves the queue.

    Parameters
    ----------
    writes, reads, signals : :class:`int`
        Numbers of slots; there may be none for signals.
    classes : :class:`int`
        Number of ordering classes.
    number_width : :class:`int`
        Width of sequence numbers.
    address_width : :class:`int`
        Width of physical addresses.
    shared : :class:`bool`
        Functions may be shared.

    Members
    -------
    i : ``In(stream.Signature(translation_result(...)))``
        Results; ``ready`` is constant 1.
    arrive : ``Out(count_signature(...))``, before : ``Out(before_signature(...))``
        Count of the writes.
    write_answer, read_answer, signal_answer : ``Out(slot_write(...))``
        What is kept of the result.
    write : ``Out(stream.Signature(range(writes)))``
        Writes in the order of their results.
    read, signal : ``Out(stream.Signature(gate_request(...)))``
        Reads and signals in the order of their results. ``signal`` only if there are any.
    contained : ``Out(contained_signature(...))``
        Accesses of shared functions that are not permitted. Only with ``shared``.
    aperture_enable : ``In(1)``, aperture_base, aperture_mask : ``In(address_width)``
        Addresses that no device may use: those equal to the base in the bits set in the mask. Bits
        11:0 do not count.
    """

    def __init__(self, *, writes, reads, classes, number_width, address_width, signals=0,
                 shared=False):
        self.writes  = writes
        self.reads   = reads
        self.signals = signals
        self.shared  = shared
        tickets      = max(writes, reads, signals)
        self.ticket  = ticket(slots=tickets, classes=classes, shared=shared)
        read         = read_answer(address_width=address_width, shared=shared)
        numbers = {"classes": classes, "number_width": number_width}
        counts  = {"classes": classes, "width": number_width}
        write   = write_answer(address_width=address_width, **numbers)
        super().__init__({
            "i":               In(stream.Signature(translation_result(self.ticket.size,
                                                                      address_width))),
            "arrive":          Out(count_signature(**counts)),
            "before":          Out(before_signature(**counts)),
            "write_answer":    Out(slot_write(write, writes)),
            "read_answer":     Out(slot_write(read, reads)),
            "write":           Out(stream.Signature(range(writes))),
            "read":            Out(stream.Signature(gate_request(slots=reads, **numbers))),
            "aperture_enable": In(1),
            "aperture_base":   In(address_width),
            "aperture_mask":   In(address_width),
            **({"signal_answer": Out(slot_write(signal_answer(), signals)),
                "signal": Out(stream.Signature(gate_request(slots=signals, **numbers)))}
               if signals else {}),
            **({"contained": Out(contained_signature(tickets))} if shared else {}),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.writes = writes = StreamQueue(range(self.writes), depth=self.writes)
        m.submodules.reads = reads = StreamQueue(self.read.payload.shape(), depth=self.reads)
        wiring.connect(m, writes.o, wiring.flipped(self.write))
        wiring.connect(m, reads.o, wiring.flipped(self.read))

        valid  = Signal()
        result = Signal.like(self.i.payload)
        id     = Signal(self.ticket)
        m.d.sync += [valid.eq(self.i.valid), result.eq(self.i.payload)]
        m.d.comb += [self.i.ready.eq(1), id.eq(result.id)]

        peer, is_write = Signal(), Signal()
        difference = (result.ppn ^ self.aperture_base[12:]) & self.aperture_mask[12:]
        # What is contained already was not translated, so its address means nothing.
        contain = id.contain if self.shared else C(0)
        goes    = result.ok & ~contain if self.shared else result.ok
        m.d.comb += [
            peer.eq(goes & self.aperture_enable & (difference == 0)),
            is_write.eq((id.kind == TicketKind.WRITE) | (id.kind == TicketKind.NOTHING)),
            self.before.order.eq(id.order),
            writes.i.valid.eq(valid & is_write),
            writes.i.payload.eq(id.slot),
        ]
        self._elaborate_write(m, valid & is_write, result, goes, id, peer)

        kept = self.read_answer.data
        m.d.comb += [
            self.read_answer.en.eq(valid & (id.kind == TicketKind.READ)),
            self.read_answer.slot.eq(id.slot),
            kept.ok.eq(goes & ~peer),
            kept.ca.eq(result.ca & ~result.ok),
            kept.peer.eq(peer),
            kept.ppn.eq(result.ppn),
            kept.epoch.eq(result.epoch),
            reads.i.valid.eq(self.read_answer.en),
            reads.i.payload.slot.eq(id.slot),
            reads.i.payload.order.eq(id.order),
            reads.i.payload.number.eq(self.before.number),
            reads.i.payload.denied.eq(~kept.ok),
        ]
        if self.shared:
            m.d.comb += kept.contain.eq(id.contain | (id.shared & (~result.ok | peer)))
            m.d.sync += [
                self.contained.valid.eq(valid & (id.kind != TicketKind.SIGNAL) & ~id.contain
                                        & id.shared & (~result.ok | peer)),
                self.contained.write.eq(is_write),
                self.contained.slot.eq(id.slot),
            ]
        if self.signals:
            m.submodules.signals = signals = StreamQueue(self.signal.payload.shape(),
                                                         depth=self.signals)
            wiring.connect(m, signals.o, wiring.flipped(self.signal))
            m.d.comb += [
                self.signal_answer.en.eq(valid & (id.kind == TicketKind.SIGNAL)),
                self.signal_answer.slot.eq(id.slot),
                self.signal_answer.data.epoch.eq(result.epoch),
                signals.i.valid.eq(self.signal_answer.en),
                signals.i.payload.slot.eq(id.slot),
                signals.i.payload.order.eq(id.order),
                signals.i.payload.number.eq(self.before.number),
            ]
        return m

    def _elaborate_write(self, m, valid, result, permitted, id, peer):
        # A clock later, because what is counted depends on the comparison with the aperture.
        # Counting and asking for the number is one act, so no write comes between.
        # Nothing here is read back from `kept`: in Verilog it is one vector, whose parts tools
        # would take for a loop.
        kept, goes, is_peer = self.write_answer.data, Signal(), Signal()
        order = Signal.like(id.order)
        m.d.sync += [
            self.write_answer.en.eq(valid),
            self.write_answer.slot.eq(id.slot),
            goes.eq(valid & permitted & (id.kind == TicketKind.WRITE)),
            is_peer.eq(peer),
            kept.ppn.eq(result.ppn),
            kept.epoch.eq(result.epoch),
            order.eq(id.order),
        ]
        m.d.comb += [
            self.arrive.en.eq(goes & ~is_peer),
            self.arrive.order.eq(order),
            kept.peer.eq(is_peer),
            kept.order.eq(order),
            kept.go.eq(goes & ~is_peer),
            kept.number.eq(self.arrive.number),
        ]
