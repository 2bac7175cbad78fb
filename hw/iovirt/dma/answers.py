"""Results of translations."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from iovirt.stream import StreamQueue

from .layouts import (
    gate_request,
    read_answer,
    slot_write,
    ticket,
    translation_result,
    write_answer,
)
from .order import count_signature

__all__ = ["Answers"]


class Answers(wiring.Component):
    """Accept every result at once, number the writes, and pass on writes in order.

    A write gets the count of the earlier writes of its class as its number; a read gets the same
    count, as the number of writes it has to wait for (rule S12). The queues hold as many transfers
    as there are slots, so a result never waits. Latency is 3 clocks, throughput 1 per clock.

    Parameters
    ----------
    writes, reads : :class:`int`
        Numbers of slots.
    classes : :class:`int`
        Number of ordering classes.
    number_width : :class:`int`
        Width of sequence numbers.
    address_width : :class:`int`
        Width of physical addresses.

    Members
    -------
    i : ``In(stream.Signature(translation_result(...)))``
        Results; ``ready`` is constant 1.
    arrive : ``Out(count_signature(...))``
        Count of the writes.
    write_answer, read_answer : ``Out(slot_write(...))``
        What is kept of the result.
    write : ``Out(stream.Signature(range(writes)))``
        Writes in the order of their results.
    read : ``Out(stream.Signature(gate_request(...)))``
        Reads in the order of their results.
    """

    def __init__(self, *, writes, reads, classes, number_width, address_width):
        self.writes = writes
        self.reads  = reads
        self.ticket = ticket(slots=max(writes, reads), classes=classes)
        write = write_answer(classes=classes, number_width=number_width,
                             address_width=address_width)
        gate  = gate_request(slots=reads, classes=classes, number_width=number_width)
        super().__init__({
            "i":            In(stream.Signature(translation_result(self.ticket.size,
                                                                   address_width))),
            "arrive":       Out(count_signature(classes=classes, width=number_width)),
            "write_answer": Out(slot_write(write, writes)),
            "read_answer":  Out(slot_write(read_answer(address_width=address_width), reads)),
            "write":        Out(stream.Signature(range(writes))),
            "read":         Out(stream.Signature(gate)),
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
        go     = Signal()
        m.d.sync += [valid.eq(self.i.valid), result.eq(self.i.payload)]
        m.d.comb += [self.i.ready.eq(1), id.eq(result.id), go.eq(result.ok & ~id.nothing)]

        # Counting and asking for the number is one act, so no write comes between.
        m.d.comb += [
            self.arrive.en.eq(valid & ~id.read & go),
            self.arrive.order.eq(id.order),
        ]

        kept = self.write_answer.data
        m.d.comb += [
            self.write_answer.en.eq(valid & ~id.read),
            self.write_answer.slot.eq(id.slot),
            kept.go.eq(go),
            kept.ppn.eq(result.ppn),
            kept.epoch.eq(result.epoch),
            kept.order.eq(id.order),
            kept.number.eq(self.arrive.number),
            writes.i.valid.eq(valid & ~id.read),
            writes.i.payload.eq(id.slot),
        ]

        kept = self.read_answer.data
        m.d.comb += [
            self.read_answer.en.eq(valid & id.read),
            self.read_answer.slot.eq(id.slot),
            *(kept[field].eq(result[field]) for field in ("ok", "ca", "ppn", "epoch")),
            reads.i.valid.eq(valid & id.read),
            reads.i.payload.slot.eq(id.slot),
            reads.i.payload.order.eq(id.order),
            reads.i.payload.number.eq(self.arrive.number),
            reads.i.payload.denied.eq(~result.ok),
        ]
        return m
