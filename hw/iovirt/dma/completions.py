"""Completions of reads."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from iovirt.pcie.layouts import CompletionStatus, ErrorCause, ErrorRecord, tlp_beat
from iovirt.pcie.tlp import CompletionHeader, Fmt, Type
from iovirt.stream import StreamQueue
from iovirt.stream.slot_memory import SlotMemory

from .align import DWORD, lanes_below, rotate_lanes
from .lanes import lane_read
from .layouts import piece_record, piece_status, slot_write
from .pool import slot_put
from .share_layouts import CARRY_WIDTH

__all__ = ["Completions"]


class Completions(wiring.Component):
    """Send one completion for each piece, with its data moved from byte lanes to Dword 0.

    SLVERR in a piece makes a poisoned completion, DECERR a completion without data and status CA
    (PCIe Base, 2.2.9). Both are recorded first. A dropped piece only frees its buffer.

    With ``reads``, a piece may hide its failure, and may be sent as zeros. One that starts within
    an entry gets these first Dwords from what came with the piece before.

    Latency is 5 clocks; throughput is 1 beat per clock, also from one completion to the next.

    Parameters
    ----------
    lanes, rows : :class:`int`
        Dwords in a row, rows in a buffer.
    pieces : :class:`int`
        Number of completion buffers.
    reads : :class:`int`
        Number of slots for reads, if functions may be shared.

    Members
    -------
    i : ``In(stream.Signature(piece_status(...)))``
        Pieces to complete, in order.
    record : ``In(slot_write(...))``
        What is known of the piece.
    payload : ``Out(lane_read(...))``
        Data in memory.
    completer_id : ``In(16)``
        Completer ID.
    put : ``Out(slot_put(pieces))``
        Buffers that are free again.
    o : ``Out(stream.Signature(tlp_beat(...)))``
        Completions. One without data is one beat with no strobe.
    error : ``Out(stream.Signature(ErrorRecord))``
        One for each failed piece.
    carry : ``In(slot_write(CARRY_WIDTH, pieces))``
        What came with a piece for the start of the next one of its read. Only with ``reads``.
    """

    def __init__(self, *, lanes, rows, pieces, reads=0):
        self.lanes  = lanes
        self.rows   = rows
        self.pieces = pieces
        self.reads  = reads
        super().__init__({
            "i":            In(stream.Signature(piece_status(pieces=pieces, shared=reads > 0))),
            "record":       In(slot_write(piece_record(lanes=lanes, reads=reads), pieces)),
            "payload":      Out(lane_read(lanes=lanes, slots=pieces, rows=rows)),
            "completer_id": In(16),
            "put":          Out(slot_put(pieces)),
            "o":            Out(stream.Signature(tlp_beat(lanes * DWORD))),
            "error":        Out(stream.Signature(ErrorRecord)),
            **({"carry": In(slot_write(CARRY_WIDTH, pieces))} if reads else {}),
        })

    def elaborate(self, platform):
        m = Module()
        status, record = self.i.payload.shape(), self.record.data.shape()
        m.submodules.records = records = SlotMemory(record, slots=self.pieces)
        m.submodules.jobs = jobs = StreamQueue(
            data.StructLayout({"status": status, "record": record}), depth=2)
        wiring.connect(m, records.write, wiring.flipped(self.record))
        told = Signal(status)
        m.d.comb += [
            records.i.payload.eq(self.i.payload.piece),
            records.i.valid.eq(self.i.valid),
            self.i.ready.eq(records.i.ready),
            jobs.i.valid.eq(records.o.valid),
            records.o.ready.eq(jobs.i.ready),
            jobs.i.payload.status.eq(told),
            jobs.i.payload.record.eq(records.o.payload.data),
        ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += told.eq(self.i.payload)
        sends, advance, beat = self._elaborate_job(m, jobs)
        self._elaborate_pipeline(m, jobs.o.payload, sends, advance, beat)
        return m

    def _elaborate_job(self, m, jobs):
        # A failed piece is first recorded, then sent; a dropped one is neither.
        job, record = jobs.o.payload, jobs.o.payload.record
        bits = exact_log2(self.lanes)
        reported, tells, sends, advance = Signal(), Signal(), Signal(), Signal()
        row, last_row = Signal(range(self.rows + 1)), Signal(range(self.rows + 1))
        last, cancel = Signal(), self._cancels(job)
        m.d.comb += [
            tells.eq((job.status.poison | job.status.abort) & ~job.status.drop & ~reported),
            sends.eq(jobs.o.valid & ~tells & ~job.status.drop),
            last_row.eq((record.length_dw - 1) >> bits),
            last.eq(cancel | (row == last_row)),
            jobs.o.ready.eq(~tells & (job.status.drop | (advance & last))),
            self.put.en.eq(jobs.o.valid & jobs.o.ready),
            self.put.slot.eq(job.status.piece),
            self.error.valid.eq(jobs.o.valid & tells),
            self.error.payload.cause.eq(Mux(job.status.abort, ErrorCause.MEMORY_READ_ABORT,
                                            ErrorCause.MEMORY_READ_POISON)),
            self.error.payload.segment.eq(record.segment),
            self.error.payload.rid.eq(record.rid),
            self.error.payload.address.eq(record.address),
        ]
        with m.If(jobs.o.valid & jobs.o.ready):
            m.d.sync += reported.eq(0)
        with m.Elif(self.error.valid & self.error.ready):
            m.d.sync += reported.eq(1)
        with m.If(sends & advance):
            m.d.sync += row.eq(Mux(last, 0, row + 1))

        m.d.comb += [
            self.payload.en.eq(advance),
            self.payload.slot.eq(job.status.piece),
            self.payload.row.eq(row),
            self.payload.bump.eq(lanes_below(record.first_lane)),
        ]
        beat  = Signal(data.StructLayout({"amount": bits, "tlp": tlp_beat(self.lanes * DWORD),
                                          **({"zero": 1, "carried": 1} if self.reads else {})}))
        final = Signal(bits)
        m.d.comb += [
            final.eq(record.length_dw - 1),
            beat.amount.eq(-record.first_lane),
            beat.tlp.first.eq(row == 0),
            beat.tlp.last.eq(last),
            beat.tlp.hdr.eq(self._header(m, job)),
        ]
        with m.If(~cancel):
            m.d.comb += beat.tlp.strb.eq(Mux(row == last_row,
                                             Cat(final >= n for n in range(self.lanes)), -1))
        if self.reads:
            m.d.comb += [
                beat.zero.eq(job.status.zero),
                beat.carried.eq(record.carried & (row == 0)),
            ]
        return sends, advance, beat

    def _cancels(self, job):
        return job.status.abort & ~job.status.hide if self.reads else job.status.abort

    def _header(self, m, job):
        record, cancel = job.record, self._cancels(job)
        poison = job.status.poison & ~job.status.hide if self.reads else job.status.poison
        header = Signal(CompletionHeader)
        m.d.comb += [
            header.dw0.type.eq(Type.COMPLETION),
            header.dw0.fmt.eq(Mux(cancel, Fmt.DW3, Fmt.DW3_DATA)),
            header.dw0.length.eq(Mux(cancel, 0, record.length_dw)),
            header.dw0.ep.eq(poison & ~job.status.abort),
            header.dw0.tc.eq(record.tc),
            Cat(header.dw0.attr_l, header.dw0.attr_h).eq(record.attr),
            Cat(header.tag, header.dw0.tag_8, header.dw0.tag_9).eq(record.tag),
            header.cid.eq(self.completer_id),
            header.rid.eq(record.rid),
            header.status.eq(Mux(cancel, CompletionStatus.CA, CompletionStatus.SC)),
            header.byte_count.eq(record.byte_count),
            header.lower_addr.eq(record.lower_addr),
        ]
        return header

    def _elaborate_pipeline(self, m, job, sends, advance, beat):
        # Memory's read register, a register for its data, the rotator, the output queue.
        m.submodules.queue = queue = StreamQueue(self.o.payload.shape(), depth=2)
        wiring.connect(m, queue.o, wiring.flipped(self.o))
        fetched, moved = Signal.like(beat), Signal.like(beat)
        has_fetched, has_moved, shift = Signal(), Signal(), Signal()
        rest = self._elaborate_carry(m, job, sends, advance) if self.reads else None
        m.d.comb += [
            shift.eq(~has_moved | queue.i.ready),
            advance.eq(~has_fetched | shift),
            queue.i.valid.eq(has_moved),
            queue.i.payload.eq(moved.tlp),
            queue.i.payload.data.eq(rotate_lanes(moved.tlp.data, moved.amount)),
        ]
        with m.If(advance):
            m.d.sync += [has_fetched.eq(sends), fetched.eq(beat)]
        with m.If(shift):
            m.d.sync += [
                has_moved.eq(has_fetched),
                moved.eq(fetched),
                moved.tlp.data.eq(self.payload.data),
            ]
            if self.reads:
                with m.If(fetched.zero):
                    m.d.sync += moved.tlp.data.eq(0)
                with m.Elif(fetched.carried):
                    m.d.sync += moved.tlp.data[:CARRY_WIDTH].eq(rest)

    def _elaborate_carry(self, m, job, sends, advance):
        # When a piece has been sent, what came with it is kept for its read, whose next piece
        # comes later. It may come in the next clock: then it sees what is being written.
        m.submodules.carries = carries = Memory(shape=CARRY_WIDTH, depth=self.pieces, init=[],
                                                attrs={"no_rw_check": 1})
        m.submodules.rests = rests = Memory(shape=CARRY_WIDTH, depth=self.reads, init=[])
        carry_w, carry_r = carries.write_port(), carries.read_port()
        rest_w = rests.write_port()
        rest_r = rests.read_port(transparent_for=(rest_w,))
        m.d.comb += [
            carry_w.en.eq(self.carry.en),
            carry_w.addr.eq(self.carry.slot),
            carry_w.data.eq(self.carry.data),
            carry_r.addr.eq(job.status.piece),
            rest_w.data.eq(carry_r.data),
            rest_r.addr.eq(job.record.slot),
            rest_r.en.eq(advance),
        ]
        m.d.sync += [rest_w.en.eq(sends & advance), rest_w.addr.eq(job.record.slot)]
        return rest_r.data
