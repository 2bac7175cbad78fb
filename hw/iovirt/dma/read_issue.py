"""Start of reads on AXI."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from iovirt.pcie.layouts import CompletionRequest, CompletionStatus, ErrorCause, ErrorRecord
from iovirt.stream import StreamQueue

from .cutter import read_cut
from .entry_widener import read_fetch
from .layouts import piece_place, piece_record, slot_write
from .share_layouts import patch_record, piece_way
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

    With ``patches``, a piece that has to be patched also takes a patch buffer, which is freed by
    pieces issued before as well. A denied read that is contained gets buffers like others, but
    memory is not read: its pieces are patched, or only told of, at once.

    Latency is 1 clock; throughput is 1 piece per clock.

    Parameters
    ----------
    lanes, rows : :class:`int`
        Dwords in a row, rows in a buffer.
    slots, pieces : :class:`int`
        Number of slots for reads, and of completion buffers.
    address_width, id_width : :class:`int`
        Of the bus.
    patches : :class:`int`
        Number of patch buffers. 0: no function is shared.

    Members
    -------
    i : ``In(stream.Signature(read_cut(...)))``, with patches ``In(stream.Signature(read_fetch()))``
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
    buffer : ``In(stream.Signature(range(patches)))``
        Free patch buffers. This and the rest only with patches.
    way, patch : ``Out(slot_write(...))``
        What is kept of the piece, by completion buffer, and by patch buffer if it has one.
    synth : ``Out(stream.Signature(range(patches)))``
        Patch buffers that get no data.
    zero : ``Out(stream.Signature(range(pieces)))``
        Completion buffers that get no data, and are not patched.
    """

    def __init__(self, *, lanes, rows, slots, pieces, address_width, id_width, patches=0):
        self.lanes   = lanes
        self.patches = patches
        sizes  = {"address_width": address_width, "slots": slots}
        piece  = read_fetch(lanes=lanes, **sizes) if patches else read_cut(**sizes)
        record = piece_record(lanes=lanes, reads=slots if patches else 0)
        patch  = patch_record(reads=slots, pieces=pieces, lanes=lanes, rows=rows)
        super().__init__({
            "i":       In(stream.Signature(piece)),
            "piece":   In(stream.Signature(range(pieces))),
            "address": Out(stream.Signature(address_request(address_width=address_width,
                                                            id_width=id_width))),
            "place":   Out(slot_write(piece_place(slots=slots), pieces)),
            "record":  Out(slot_write(record, pieces)),
            "deny":    Out(stream.Signature(CompletionRequest)),
            "denied":  Out(stream.Signature(read_end(slots=slots))),
            "error":   Out(stream.Signature(ErrorRecord)),
            **({"buffer": In(stream.Signature(range(patches))),
                "way":    Out(slot_write(piece_way(patches=patches), pieces)),
                "patch":  Out(slot_write(patch, patches)),
                "synth":  Out(stream.Signature(range(patches))),
                "zero":   Out(stream.Signature(range(pieces)))} if patches else {}),
        })

    def elaborate(self, platform):
        m = Module()
        queues = {}
        for name in ("address", "deny", "denied", "error",
                     *(("synth", "zero") if self.patches else ())):
            port = getattr(self, name)
            m.submodules[name] = queue = StreamQueue(port.payload.shape(), depth=2)
            wiring.connect(m, queue.o, wiring.flipped(port))
            queues[name] = queue

        cut = self.i.payload.cut if self.patches else self.i.payload
        reads, refuses, takes, tells = Signal(), Signal(), Signal(), Signal()
        may_read, refused = self.piece.valid, ~cut.read.answer.ok
        if self.patches:
            may_read &= ~cut.read.share.patch | self.buffer.valid
            refused  &= ~cut.read.answer.contain
        m.d.comb += [
            reads.eq(self.i.valid & cut.read.answer.ok & may_read & queues["address"].i.ready),
            refuses.eq(self.i.valid & refused & queues["deny"].i.ready
                       & queues["denied"].i.ready & queues["error"].i.ready),
            takes.eq(reads),
            tells.eq(refuses),
            self.i.ready.eq(takes | refuses),
            self.piece.ready.eq(takes),
            self.place.en.eq(takes),
            self.record.en.eq(takes),
            queues["address"].i.valid.eq(reads),
            queues["deny"].i.valid.eq(refuses),
            queues["denied"].i.valid.eq(refuses),
            queues["denied"].i.payload.slot.eq(cut.read.slot),
            queues["denied"].i.payload.epoch.eq(cut.read.answer.epoch),
            queues["error"].i.valid.eq(tells & cut.read.answer.peer),
            queues["error"].i.payload.cause.eq(ErrorCause.PEER_DENIED),
            *(queues["error"].i.payload[name].eq(cut.read.entry[name])
              for name in ("segment", "rid", "address")),
        ]
        self._elaborate_piece(m, cut, queues["address"].i.payload)
        self._elaborate_refusal(m, cut, queues["deny"].i.payload)
        if self.patches:
            self._elaborate_share(m, queues, cut, reads, refuses, takes, tells)
        return m

    def _elaborate_share(self, m, queues, cut, reads, refuses, takes, tells):
        # The rest of an entry at 8 mod 16 that a cut divides comes with the piece before the cut,
        # so that both parts are of one fetch.
        share, fetch, patch = cut.read.share, self.i.payload, self.patch.data
        bits = exact_log2(self.lanes)
        contains, synth, zero = Signal(), Signal(), Signal()
        m.d.comb += [
            contains.eq(self.i.valid & ~cut.read.answer.ok & cut.read.answer.contain
                        & self.piece.valid & queues["error"].i.ready),
            synth.eq(contains & share.patch & self.buffer.valid & queues["synth"].i.ready),
            zero.eq(contains & ~share.patch & queues["zero"].i.ready),
            takes.eq(reads | synth | zero),
            tells.eq(refuses | ((synth | zero) & cut.start)),
            self.buffer.ready.eq((reads & share.patch) | synth),
            queues["synth"].i.valid.eq(synth),
            queues["synth"].i.payload.eq(self.buffer.payload),
            queues["zero"].i.valid.eq(zero),
            queues["zero"].i.payload.eq(self.piece.payload),
            self.way.en.eq(takes),
            self.way.slot.eq(self.piece.payload),
            self.way.data.shared.eq(share.shared),
            self.way.data.patch.eq(share.patch),
            self.way.data.buffer.eq(self.buffer.payload),
            self.record.data.slot.eq(cut.read.slot),
            self.record.data.carried.eq(share.patch & share.phase & ~cut.start),
            self.patch.en.eq(self.buffer.ready),
            self.patch.slot.eq(self.buffer.payload),
            patch.piece.eq(self.piece.payload),
            patch.slot.eq(cut.read.slot),
            patch.base.eq(fetch.first_row),
            patch.last_row.eq(fetch.last_row - fetch.first_row),
            patch.skip.eq(cut.first[bits:] - fetch.first_row),
            patch.sent.eq(cut.last[bits:] - cut.first[bits:]),
        ]

    def _elaborate_piece(self, m, cut, address):
        bits = exact_log2(self.lanes)
        first, last = cut.first[bits:], cut.last[bits:]
        if self.patches:
            first, last = self.i.payload.first_row, self.i.payload.last_row
        m.d.comb += [
            address.id.eq(self.piece.payload),
            address.address.eq(Cat(C(0, 2 + bits), first, cut.read.answer.ppn)),
            address.last_row.eq(last - first),
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
