"""Arrival of reads."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from iovirt.pcie.layouts import read_request
from iovirt.stream import StreamQueue

from .layouts import TicketKind, read_entry, slot_write, ticket, translation_request
from .requests import fill_request

__all__ = ["ReadIntake"]


class ReadIntake(wiring.Component):
    """Give each read a slot and ask for its translation, after the writes that came before it.

    A read waits until the first ``posted`` writes have been forwarded or dropped. The writes that
    are still pending are known, so a count that is older than 256 writes delays a read at most
    until they have gone; it never lets it pass and never stops it.

    The request is offered 1 clock after the read is taken; 1 read per clock.

    Parameters
    ----------
    slots : :class:`int`
        Number of slots for reads.
    tickets : :class:`int`
        Number of slots that a ticket can name.
    classes : :class:`int`
        Number of ordering classes.
    link_order : :class:`bool`
        All requests are of one ordering source.
    shared : :class:`bool`
        Functions may be shared: requests tell more.

    Members
    -------
    i : ``In(stream.Signature(read_request()))``
        Reads. See :class:`DmaEngine` for `posted`.
    slot : ``In(stream.Signature(range(slots)))``
        Free slots.
    enable : ``In(1)``
        Reads may enter.
    forwarded, pending : ``In(8)``
        See :class:`WriteIntake`.
    entry : ``Out(slot_write(read_entry(), slots))``
        What is kept.
    request : ``Out(stream.Signature(translation_request(...)))``
        One for each read.
    """

    def __init__(self, *, slots, tickets, classes, link_order, shared=False):
        self.slots      = slots
        self.classes    = classes
        self.link_order = link_order
        self.shared     = shared
        self.ticket     = ticket(slots=tickets, classes=classes, shared=shared)
        request = translation_request(self.ticket.size, shared=shared)
        super().__init__({
            "i":         In(stream.Signature(read_request())),
            "slot":      In(stream.Signature(range(slots))),
            "enable":    In(1),
            "forwarded": In(8),
            "pending":   In(8),
            "entry":     Out(slot_write(read_entry(), slots)),
            "request":   Out(stream.Signature(request)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.queue = queue = StreamQueue(self.request.payload.shape(), depth=2)
        wiring.connect(m, queue.o, wiring.flipped(self.request))
        header = self.i.payload.header

        # Writes before this one that still have to be forwarded, if there are any.
        behind = Signal(8)
        taken  = Signal()
        m.d.comb += [
            behind.eq(self.i.payload.posted - self.forwarded),
            self.i.ready.eq(self.enable & self.slot.valid & queue.i.ready
                            & ((behind == 0) | (behind > self.pending))),
            taken.eq(self.i.valid & self.i.ready),
            self.slot.ready.eq(taken),
        ]

        # Enabled bytes: from the lowest enable of the first Dword to the highest of the last one.
        entry = self.entry.data
        last  = Signal(4)
        m.d.comb += last.eq(Mux(header.length_dw == 1, header.first_be, header.last_be))
        with m.If(header.first_be != 0):
            for byte in reversed(range(4)):
                with m.If(header.first_be[byte]):
                    m.d.comb += entry.skip.eq(byte)
        m.d.comb += entry.trim.eq(3)
        for byte in range(4):
            with m.If(last[byte]):
                m.d.comb += entry.trim.eq(3 - byte)

        id = Signal(self.ticket)
        m.d.comb += [
            self.entry.en.eq(taken),
            self.entry.slot.eq(self.slot.payload),
            *(entry[field].eq(header[field])
              for field in ("rid", "segment", "tag", "tc", "attr", "address", "length_dw")),
            id.slot.eq(self.slot.payload),
            id.kind.eq(TicketKind.READ),
            queue.i.valid.eq(taken),
            *fill_request(queue.i.payload, header, id, write=False, classes=self.classes,
                          link_order=self.link_order,
                          slot=self.slot.payload if self.shared else None),
        ]
        return m
