"""Posted writes, from TLP to AXI."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from iovirt.pcie.layouts import ErrorRecord, write_beat

from .intake import WriteIntake
from .lanes import LaneMemory
from .layouts import (
    finish_signature,
    retire_signature,
    signal_entry,
    slot_write,
    translation_request,
    write_answer,
    write_entry,
)
from .order import ask_signature, count_signature
from .pool import SlotPool
from .responses import WriteResponses, write_response
from .share_layouts import write_share
from .transactions import TransactionTable
from .write_data import WriteData, data_beat
from .write_issue import WriteIssue, address_request

__all__ = ["WritePath"]


class WritePath(wiring.Component):
    """Store writes, have them translated, send them in the order of the results.

    Members are those of the parts: see :class:`WriteIntake`, :class:`WriteIssue`,
    :class:`WriteData` and :class:`WriteResponses`.

    Parameters
    ----------
    shape : :class:`DmaShape`
        Sizes of the data path.
    fabric_ordered, link_order : :class:`bool`
        See :class:`WriteIssue` and :class:`WriteIntake`.
    """

    def __init__(self, *, shape, fabric_ordered, link_order):
        self.shape          = shape
        self.fabric_ordered = fabric_ordered
        self.link_order     = link_order
        counts = {"classes": shape.classes, "width": shape.number_width}
        answer = write_answer(classes=shape.classes, number_width=shape.number_width,
                              address_width=shape.address_width)
        burst  = address_request(address_width=shape.address_width, id_width=shape.bus_id_width)
        super().__init__({
            "i":         In(stream.Signature(write_beat(shape.data_width))),
            "request":   Out(stream.Signature(translation_request(shape.ticket_width,
                                                                  shared=shape.shared))),
            "forwarded": Out(8),
            "pending":   Out(8),
            "answer":    In(slot_write(answer, shape.writes)),
            "go":        In(stream.Signature(range(shape.writes))),
            "ask":       Out(ask_signature(**counts)),
            "respond":   Out(count_signature(**counts)),
            "aw":        Out(stream.Signature(burst)),
            "w":         Out(stream.Signature(data_beat(shape.data_width))),
            "b":         In(stream.Signature(write_response(shape.bus_id_width))),
            "retire":    Out(retire_signature()),
            "finish":    Out(finish_signature()).array(2),
            "errors":    Out(stream.Signature(ErrorRecord)).array(3),
            "used":      Out(range(shape.writes + 1)),
            **({"signal_slot":  In(stream.Signature(range(shape.signals))),
                "signal_entry": Out(slot_write(signal_entry(), shape.signals))}
               if shape.signals else {}),
            **({"share": In(slot_write(write_share(), shape.writes))} if shape.shared else {}),
        })

    def elaborate(self, platform):
        m, s = Module(), self.shape
        memory = {"lanes": s.lanes, "rows": s.rows, "slots": s.writes}
        orders = {"classes": s.classes, "number_width": s.number_width,
                  "outstanding": s.outstanding, "id_width": s.bus_id_width}
        answer = self.answer.data.shape()
        m.submodules.pool = pool = SlotPool(slots=s.writes)
        m.submodules.payload = payload = LaneMemory(**memory)
        m.submodules.table = table = TransactionTable(
            write_entry(), answer, slots=s.writes, share=write_share() if s.shared else None)
        m.submodules.intake = intake = WriteIntake(
            data_width=s.data_width, rows=s.rows, slots=s.writes, tickets=s.tickets,
            classes=s.classes, link_order=self.link_order, signals=s.signals,
            shared=s.shared)
        m.submodules.issue = issue = WriteIssue(
            lanes=s.lanes, rows=s.rows, slots=s.writes, address_width=s.address_width,
            fabric_ordered=self.fabric_ordered, shared=s.shared, **orders)
        m.submodules.data = data = WriteData(shared=s.shared, **memory)
        m.submodules.responses = responses = WriteResponses(**orders)

        wiring.connect(m, wiring.flipped(self.i), intake.i)
        wiring.connect(m, pool.o, intake.slot)
        wiring.connect(m, intake.payload, payload.write)
        wiring.connect(m, intake.entry, table.entry)
        wiring.connect(m, intake.request, wiring.flipped(self.request))
        wiring.connect(m, wiring.flipped(self.answer), table.answer)
        wiring.connect(m, wiring.flipped(self.go), table.i)
        wiring.connect(m, table.o, issue.i)
        wiring.connect(m, issue.ask, wiring.flipped(self.ask))
        wiring.connect(m, issue.address, wiring.flipped(self.aw))
        wiring.connect(m, issue.job, data.i)
        wiring.connect(m, issue.open, responses.open)
        wiring.connect(m, issue.dropped, responses.dropped)
        wiring.connect(m, data.payload, payload.read)
        wiring.connect(m, data.put, pool.put)
        wiring.connect(m, data.o, wiring.flipped(self.w))
        wiring.connect(m, wiring.flipped(self.b), responses.i)
        wiring.connect(m, responses.respond, wiring.flipped(self.respond))
        wiring.connect(m, responses.retire, wiring.flipped(self.retire))
        wiring.connect(m, intake.error, wiring.flipped(self.errors[0]))
        wiring.connect(m, responses.error, wiring.flipped(self.errors[1]))
        wiring.connect(m, issue.error, wiring.flipped(self.errors[2]))
        wiring.connect(m, responses.finish, wiring.flipped(self.finish[0]))
        wiring.connect(m, intake.finish, wiring.flipped(self.finish[1]))
        if s.signals:
            wiring.connect(m, wiring.flipped(self.signal_slot), intake.signal_slot)
            wiring.connect(m, intake.signal_entry, wiring.flipped(self.signal_entry))
        if s.shared:
            wiring.connect(m, wiring.flipped(self.share), table.share)
        m.d.comb += [
            self.forwarded.eq(intake.forwarded),
            self.pending.eq(intake.pending),
            self.used.eq(pool.used),
        ]
        return m
