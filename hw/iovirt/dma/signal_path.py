"""Signals, from the writes that they came with to the interrupt block."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from iovirt.pcie.layouts import PostedSignal

from .layouts import (
    finish_signature,
    gate_request,
    retire_signature,
    signal_answer,
    signal_entry,
    slot_write,
)
from .order import ask_signature
from .order_gate import OrderGate
from .pool import SlotPool
from .transactions import TransactionTable

__all__ = ["SignalPath"]


class SignalPath(wiring.Component):
    """Keep signals until the earlier writes of their sources have responses (rule S3).

    Signals of one ordering class leave in the order of their results; others do not wait for them.
    They wait for nothing else but ``signal``: while that stops, slots fill up.

    A signal is offered 4 clocks after it comes on ``go``; 1 per clock.

    Parameters
    ----------
    slots : :class:`int`
        Number of slots.
    classes, number_width : :class:`int`
        Number of ordering classes, width of sequence numbers.

    Members
    -------
    slot : ``Out(stream.Signature(range(slots)))``
        Free slots.
    entry : ``In(slot_write(signal_entry(), slots))``
        What came.
    answer : ``In(slot_write(signal_answer(), slots))``
        What its translation said.
    go : ``In(stream.Signature(gate_request(...)))``
        Signals in the order of their results.
    ask : ``Out(ask_signature(...))``
        Asks for the responses of the class.
    signal : ``Out(stream.Signature(PostedSignal))``
        Signals whose earlier writes are observable.
    retire : ``Out(retire_signature())``, finish : ``Out(finish_signature())``
        One pulse for each, in the clock after its transfer.
    used : ``Out(range(slots + 1))``
        Slots in use.
    """

    def __init__(self, *, slots, classes, number_width):
        self.slots        = slots
        self.classes      = classes
        self.number_width = number_width
        gate = gate_request(slots=slots, classes=classes, number_width=number_width)
        super().__init__({
            "slot":   Out(stream.Signature(range(slots))),
            "entry":  In(slot_write(signal_entry(), slots)),
            "answer": In(slot_write(signal_answer(), slots)),
            "go":     In(stream.Signature(gate)),
            "ask":    Out(ask_signature(classes=classes, width=number_width)),
            "signal": Out(stream.Signature(PostedSignal)),
            "retire": Out(retire_signature()),
            "finish": Out(finish_signature()),
            "used":   Out(range(slots + 1)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.pool = pool = SlotPool(slots=self.slots)
        m.submodules.gate = gate = OrderGate(slots=self.slots, classes=self.classes,
                                             number_width=self.number_width, in_order=True)
        m.submodules.table = table = TransactionTable(signal_entry(), signal_answer(),
                                                      slots=self.slots)
        wiring.connect(m, pool.o, wiring.flipped(self.slot))
        wiring.connect(m, wiring.flipped(self.entry), table.entry)
        wiring.connect(m, wiring.flipped(self.answer), table.answer)
        wiring.connect(m, wiring.flipped(self.go), gate.i)
        wiring.connect(m, gate.ask, wiring.flipped(self.ask))
        wiring.connect(m, gate.o, table.i)

        gone, taken = table.o.payload, Signal()
        m.d.comb += [
            self.signal.valid.eq(table.o.valid),
            self.signal.payload.eq(gone.entry.signal),
            table.o.ready.eq(self.signal.ready),
            taken.eq(self.signal.valid & self.signal.ready),
            pool.put.en.eq(taken),
            pool.put.slot.eq(gone.slot),
            self.used.eq(pool.used),
        ]
        m.d.sync += [
            self.retire.valid.eq(taken),
            self.retire.epoch.eq(gone.answer.epoch),
            self.finish.valid.eq(taken),
            self.finish.turn.eq(gone.entry.turn),
        ]
        return m
