"""Start of reads on AXI."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from iovirt.pcie.layouts import CompletionRequest, CompletionStatus, ErrorCause, ErrorRecord
from iovirt.stream import StreamQueue

from .cutter import read_cut
from .layouts import piece_place, piece_record, slot_write
from .write_issue import address_request

__all__ = ["ReadIssue", "read_end"]


def read_end(*, slots):
    """A read that has ended without touching memory."""
    return data.StructLayout({"slot": range(slots), "epoch": 1})


class ReadIssue(wiring.Component):
    """Give each piece a completion buffer and read it with one AXI burst; refuse denied reads, and
    record those that lead into the aperture.

    The AXI ID is the buffer, so pieces come back in any order. Nothing is read without a buffer
    (rule S5); and because pieces of one read only are issued at a time, in address order, the
    buffers that a read waits for are always freed by pieces issued before.

    Latency is 1 clock; throughput is 1 piece per clock.

    Parameters
    ----------
    lanes : :class:`int`
        Dwords in a row.
    slots, pieces : :class:`int`
        Number of slots for reads, and of completion buffers.
    address_width, id_width : :class:`int`
        Of the bus.

    Members
    -------
    i : ``In(stream.Signature(read_cut(...)))``
        Pieces and denied reads.
    piece : ``In(stream.Signature(range(pieces)))``
        Free completion buffers.
    address : ``Out(stream.Signature(address_request(...)))``
        Bursts.
    place, record : ``Out(slot_write(...))``
        What is kept of the piece.
    deny : ``Out(stream.Signature(CompletionRequest))``
        Completions of denied reads.
    denied : ``Out(stream.Signature(read_end(...)))``
        Denied reads are done.
    error : ``Out(stream.Signature(ErrorRecord))``
        One for each read of the aperture.
    """

    def __init__(self, *, lanes, slots, pieces, address_width, id_width):
        self.lanes = lanes
        super().__init__({
            "i":       In(stream.Signature(read_cut(address_width=address_width, slots=slots))),
            "piece":   In(stream.Signature(range(pieces))),
            "address": Out(stream.Signature(address_request(address_width=address_width,
                                                            id_width=id_width))),
            "place":   Out(slot_write(piece_place(slots=slots), pieces)),
            "record":  Out(slot_write(piece_record(lanes=lanes), pieces)),
            "deny":    Out(stream.Signature(CompletionRequest)),
            "denied":  Out(stream.Signature(read_end(slots=slots))),
            "error":   Out(stream.Signature(ErrorRecord)),
        })

    def elaborate(self, platform):
        m = Module()
        queues = {}
        for name in ("address", "deny", "denied", "error"):
            port = getattr(self, name)
            m.submodules[name] = queue = StreamQueue(port.payload.shape(), depth=2)
            wiring.connect(m, queue.o, wiring.flipped(port))
            queues[name] = queue

        cut = self.i.payload
        reads, refuses = Signal(), Signal()
        m.d.comb += [
            reads.eq(self.i.valid & cut.read.answer.ok & self.piece.valid
                     & queues["address"].i.ready),
            refuses.eq(self.i.valid & ~cut.read.answer.ok & queues["deny"].i.ready
                       & queues["denied"].i.ready & queues["error"].i.ready),
            self.i.ready.eq(reads | refuses),
            self.piece.ready.eq(reads),
            self.place.en.eq(reads),
            self.record.en.eq(reads),
            queues["address"].i.valid.eq(reads),
            queues["deny"].i.valid.eq(refuses),
            queues["denied"].i.valid.eq(refuses),
            queues["denied"].i.payload.slot.eq(cut.read.slot),
            queues["denied"].i.payload.epoch.eq(cut.read.answer.epoch),
            queues["error"].i.valid.eq(refuses & cut.read.answer.peer),
            queues["error"].i.payload.cause.eq(ErrorCause.PEER_DENIED),
            *(queues["error"].i.payload[name].eq(cut.read.entry[name])
              for name in ("segment", "rid", "address")),
        ]
        self._elaborate_piece(m, cut, queues["address"].i.payload)
        self._elaborate_refusal(m, cut, queues["deny"].i.payload)
        return m

    def _elaborate_piece(self, m, cut, address):
        bits = exact_log2(self.lanes)
        m.d.comb += [
            address.id.eq(self.piece.payload),
            address.address.eq(Cat(C(0, 2 + bits), cut.first[bits:], cut.read.answer.ppn)),
            address.last_row.eq(cut.last[bits:] - cut.first[bits:]),
            self.place.slot.eq(self.piece.payload),
            self.place.data.slot.eq(cut.read.slot),
            self.place.data.index.eq(cut.index),
            self.place.data.last.eq(cut.final),
            self.place.data.epoch.eq(cut.read.answer.epoch),
        ]

        # Only the first completion of a read starts within a Dword (PCIe Base, 2.2.9).
        entry, record = cut.read.entry, self.record.data
        skip = Signal(2)
        m.d.comb += [
            self.record.slot.eq(self.piece.payload),
            skip.eq(Mux(cut.start, entry.skip, 0)),
            *(record[field].eq(entry[field])
              for field in ("rid", "segment", "tag", "tc", "attr", "address")),
            record.byte_count.eq(((cut.end - cut.first) << 2) + (4 - entry.trim) - skip),
            record.lower_addr.eq(Cat(skip, cut.first[:5])),
            record.length_dw.eq(cut.last - cut.first + 1),
            record.first_lane.eq(cut.first[:bits]),
        ]

    def _elaborate_refusal(self, m, cut, deny):
        m.d.comb += [
            *(deny[field].eq(self.record.data[field])
              for field in ("rid", "tag", "tc", "attr", "byte_count", "lower_addr")),
            deny.status.eq(Mux(cut.read.answer.ca, CompletionStatus.CA, CompletionStatus.UR)),
        ]
