"""Reads, from request TLP over AXI to completions."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from iovirt.pcie.layouts import CompletionRequest, ErrorRecord, read_request, tlp_beat
from iovirt.stream import StreamArbiter, StreamQueue

from .arrivals import ReadArrivals, read_beat
from .completions import Completions
from .cutter import ReadCutter
from .entry_widener import EntryWidener
from .lanes import LaneMemory
from .layouts import (
    gate_request,
    read_answer,
    read_entry,
    retire_signature,
    slot_write,
    translation_request,
)
from .order import ask_signature
from .order_gate import OrderGate
from .patch_path import PatchPath
from .pool import SlotPool, slot_put
from .read_intake import ReadIntake
from .read_issue import ReadIssue
from .sequencer import ReadSequencer
from .share_layouts import patch_beat, patched_beat, read_share
from .transactions import TransactionTable
from .write_issue import address_request

__all__ = ["ReadPath"]


class ReadPath(wiring.Component):
    """Have reads translated, let them wait for earlier writes, fetch them in pieces, complete them.

    Members are those of the parts: see :class:`ReadIntake`, :class:`OrderGate`,
    :class:`ReadCutter`, :class:`ReadIssue`, :class:`ReadArrivals`, :class:`ReadSequencer` and
    :class:`Completions`; and if functions may be shared, :class:`PatchPath`.

    Parameters
    ----------
    shape : :class:`DmaShape`
        Sizes of the data path.
    link_order : :class:`bool`
        See :class:`ReadIntake`.
    """

    def __init__(self, *, shape, link_order):
        self.shape      = shape
        self.link_order = link_order
        gate  = gate_request(slots=shape.reads, classes=shape.classes,
                             number_width=shape.number_width)
        burst = address_request(address_width=shape.address_width, id_width=shape.bus_id_width)
        beat  = read_beat(data_width=shape.data_width, id_width=shape.bus_id_width)
        answer = read_answer(address_width=shape.address_width, shared=shape.shared)
        patch  = patch_beat(data_width=shape.data_width, reads=shape.reads)
        super().__init__({
            "i":            In(stream.Signature(read_request())),
            "forwarded":    In(8),
            "pending":      In(8),
            "request":      Out(stream.Signature(translation_request(shape.ticket_width,
                                                                     shared=shape.shared))),
            "answer":       In(slot_write(answer, shape.reads)),
            "go":           In(stream.Signature(gate)),
            "ask":          Out(ask_signature(classes=shape.classes, width=shape.number_width)),
            "ar":           Out(stream.Signature(burst)),
            "r":            In(stream.Signature(beat)),
            "completion":   Out(stream.Signature(tlp_beat(shape.data_width))),
            "deny":         Out(stream.Signature(CompletionRequest)),
            "retire":       Out(retire_signature()),
            "errors":       Out(stream.Signature(ErrorRecord)).array(2),
            "max_payload":  In(3),
            "completer_id": In(16),
            "enable":       Out(1),
            "used":         Out(range(shape.reads + 1)),
            "pieces_used":  Out(range(shape.pieces + 1)),
            **({"share":        In(slot_write(read_share(), shape.reads)),
                "unpatched":    Out(stream.Signature(patch)),
                "patched":      In(stream.Signature(patched_beat(shape.data_width))),
                "hidden":       Out(slot_put(shape.reads)),
                "patches_used": Out(range(shape.patches + 1))} if shape.shared else {}),
        })

    def elaborate(self, platform):
        m, s = Module(), self.shape
        memory = {"lanes": s.lanes, "rows": s.rows}
        m.submodules.pool = pool = SlotPool(slots=s.reads)
        m.submodules.pieces = pieces = SlotPool(slots=s.pieces)
        m.submodules.payload = payload = LaneMemory(slots=s.pieces, **memory)
        m.submodules.table = table = TransactionTable(
            read_entry(), self.answer.data.shape(), slots=s.reads,
            share=read_share() if s.shared else None)
        m.submodules.intake = intake = ReadIntake(
            slots=s.reads, tickets=s.tickets, classes=s.classes, link_order=self.link_order,
            shared=s.shared)
        m.submodules.gate = gate = OrderGate(slots=s.reads, classes=s.classes,
                                             number_width=s.number_width)
        # Two registers between the queue and what may stop the cutter: the path back is long.
        m.submodules.ready = ready = StreamQueue(range(s.reads), depth=2)
        m.submodules.cutter = cutter = ReadCutter(
            address_width=s.address_width, slots=s.reads, largest_payload=s.largest_payload,
            shared=s.shared)
        m.submodules.issue = issue = ReadIssue(
            slots=s.reads, pieces=s.pieces, address_width=s.address_width,
            id_width=s.bus_id_width, patches=s.patches, **memory)
        m.submodules.arrivals = arrivals = ReadArrivals(pieces=s.pieces, id_width=s.bus_id_width,
                                                        patches=s.patches, **memory)
        m.submodules.sequencer = sequencer = ReadSequencer(slots=s.reads, pieces=s.pieces,
                                                             shared=s.shared)
        m.submodules.completions = completions = Completions(
            pieces=s.pieces, reads=s.reads if s.shared else 0, **memory)

        wiring.connect(m, wiring.flipped(self.i), intake.i)
        wiring.connect(m, pool.o, intake.slot)
        wiring.connect(m, intake.entry, table.entry)
        wiring.connect(m, intake.request, wiring.flipped(self.request))
        wiring.connect(m, wiring.flipped(self.answer), table.answer)
        wiring.connect(m, wiring.flipped(self.go), gate.i)
        wiring.connect(m, gate.ask, wiring.flipped(self.ask))
        wiring.connect(m, gate.o, ready.i)
        wiring.connect(m, ready.o, table.i)
        wiring.connect(m, table.o, cutter.i)
        wiring.connect(m, pieces.o, issue.piece)
        wiring.connect(m, issue.address, wiring.flipped(self.ar))
        wiring.connect(m, issue.place, sequencer.place)
        wiring.connect(m, issue.record, completions.record)
        wiring.connect(m, issue.deny, wiring.flipped(self.deny))
        wiring.connect(m, issue.denied, sequencer.denied)
        wiring.connect(m, wiring.flipped(self.r), arrivals.i)
        wiring.connect(m, sequencer.o, completions.i)
        wiring.connect(m, sequencer.retire, wiring.flipped(self.retire))
        wiring.connect(m, sequencer.put, pool.put)
        wiring.connect(m, completions.payload, payload.read)
        wiring.connect(m, completions.put, pieces.put)
        wiring.connect(m, completions.o, wiring.flipped(self.completion))
        wiring.connect(m, completions.error, wiring.flipped(self.errors[0]))
        wiring.connect(m, issue.error, wiring.flipped(self.errors[1]))
        m.d.comb += [
            intake.forwarded.eq(self.forwarded),
            intake.pending.eq(self.pending),
            self.enable.eq(arrivals.enable & sequencer.enable),
            intake.enable.eq(self.enable),
            cutter.max_payload.eq(self.max_payload),
            completions.completer_id.eq(self.completer_id),
            self.used.eq(pool.used),
            self.pieces_used.eq(pieces.used),
        ]
        if s.shared:
            self._connect_patches(m, table, cutter, issue, arrivals, payload, sequencer,
                                  completions)
        else:
            wiring.connect(m, cutter.o, issue.i)
            wiring.connect(m, arrivals.payload, payload.write)
            wiring.connect(m, arrivals.o, sequencer.i)
        return m

    def _connect_patches(self, m, table, cutter, issue, arrivals, payload, sequencer, completions):
        s = self.shape
        m.submodules.widener = widener = EntryWidener(address_width=s.address_width,
                                                      slots=s.reads, lanes=s.lanes)
        m.submodules.patches = patches = PatchPath(shape=s)
        m.submodules.complete = complete = StreamArbiter(sequencer.i.payload.shape(), ports=3)

        wiring.connect(m, wiring.flipped(self.share), table.share)
        wiring.connect(m, cutter.o, widener.i)
        wiring.connect(m, widener.o, issue.i)
        wiring.connect(m, patches.buffer, issue.buffer)
        wiring.connect(m, issue.way, arrivals.way)
        wiring.connect(m, issue.patch, patches.record)
        wiring.connect(m, issue.synth, patches.synth)
        wiring.connect(m, arrivals.patch, patches.write)
        wiring.connect(m, arrivals.job, patches.job)
        wiring.connect(m, patches.unpatched, wiring.flipped(self.unpatched))
        wiring.connect(m, wiring.flipped(self.patched), patches.patched)
        wiring.connect(m, arrivals.payload, patches.fetched)
        wiring.connect(m, patches.payload, payload.write)
        wiring.connect(m, patches.carry, completions.carry)
        wiring.connect(m, arrivals.o, complete.i[0])
        wiring.connect(m, patches.o, complete.i[1])
        wiring.connect(m, complete.o, sequencer.i)
        wiring.connect(m, sequencer.hidden, wiring.flipped(self.hidden))
        zero = complete.i[2]
        m.d.comb += [
            arrivals.hold.eq(patches.hold),
            zero.valid.eq(issue.zero.valid),
            zero.payload.piece.eq(issue.zero.payload),
            zero.payload.hide.eq(1),
            zero.payload.zero.eq(1),
            issue.zero.ready.eq(zero.ready),
            self.patches_used.eq(patches.used),
        ]
