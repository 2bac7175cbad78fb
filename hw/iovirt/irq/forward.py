"""Interrupts that go on as MSI writes."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from iovirt.axi import TableError, table_write_request, table_write_response
from iovirt.pcie.layouts import ErrorCause, ErrorRecord
from iovirt.stream import CreditQueue, StreamQueue

from .operations import Forwarded

__all__ = ["MsiForwarder"]

_DEPTH = 8


class MsiForwarder(wiring.Component):
    """Write the data of forwarded interrupts to their addresses, 4 bytes each.

    All writes have the same tag, so they are done in order. A write that fails is recorded, with
    the address as it is in the entry; so is one whose address is too wide, which is not tried.

    Latency is 2 clocks; up to 8 writes are on their way.

    Parameters
    ----------
    address_width : :class:`int`
        Width of addresses of the table port, 13 to 56 bits.
    tag_width : :class:`int`
        Width of its tags.

    Members
    -------
    valid : ``In(1)``, ``i`` : ``In(Forwarded)``
        An interrupt to forward. Only if ``free`` was set 1 or 2 clocks ago.
    free : ``Out(1)``
        Interrupts may come in the two clocks after the next.
    request : ``Out(stream.Signature(table_write_request(...)))``
    response : ``In(stream.Signature(table_write_response(...)))``
        Always taken.
    error : ``Out(stream.Signature(ErrorRecord))``
    lost : ``Out(1)``
        For one clock: an error found ``error`` full.
    tried : ``Out(1)``
        Pulse: an interrupt became a request, or never will.
    mark : ``In(1)``, ``marked`` : ``Out(1)``
        Pulse; from the next clock on: an interrupt that came before the last ``mark`` is neither
        written and answered, nor will it never be tried. None may come in the clock of ``mark``.
    """

    def __init__(self, *, address_width, tag_width):
        if not isinstance(address_width, int) or not 13 <= address_width <= 56:
            raise ValueError("Address width must be an integer in 13..56, not "
                             f"{address_width!r}")
        self.address_width = address_width
        super().__init__({
            "valid":    In(1),
            "i":        In(Forwarded),
            "free":     Out(1),
            "request":  Out(stream.Signature(table_write_request(
                address_width=address_width, tag_width=tag_width))),
            "response": In(stream.Signature(table_write_response(tag_width=tag_width))),
            "error":    Out(stream.Signature(ErrorRecord)),
            "lost":     Out(1),
            "tried":    Out(1),
            "mark":     In(1),
            "marked":   Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.waiting = waiting = StreamQueue(Forwarded, depth=_DEPTH)
        m.submodules.running = running = CreditQueue(Forwarded, depth=_DEPTH)
        m.submodules.errors  = errors  = StreamQueue(ErrorRecord, depth=2)
        wiring.connect(m, errors.o, wiring.flipped(self.error))

        first, oldest = waiting.o.payload, running.o.payload
        wide, failed  = Signal(), Signal()
        m.d.sync += self.free.eq(waiting.level < _DEPTH - 4)
        m.d.comb += [
            waiting.i.valid.eq(self.valid),
            waiting.i.payload.eq(self.i),
            wide.eq(first.address[self.address_width - 2:].any()),
            self.request.valid.eq(waiting.o.valid & running.free & ~wide),
            self.request.p.address.eq(Cat(C(0, 2), first.address)),
            self.request.p.size_log2.eq(2),
            self.request.p.data.eq(first.data),
            running.reserve.eq(self.request.valid & self.request.ready),
            running.i.valid.eq(running.reserve),
            running.i.payload.eq(first),
            waiting.o.ready.eq(Mux(wide, ~failed, running.free & self.request.ready)),
            self.tried.eq(waiting.o.valid & waiting.o.ready),
            self.response.ready.eq(1),
            running.o.ready.eq(self.response.valid),
        ]

        # A response may come in the clock after its request. A write that is not tried waits for
        # the record of one that failed.
        record = errors.i.payload
        m.d.comb += [
            failed.eq(self.response.valid & (self.response.p.error != TableError.NONE)),
            errors.i.valid.eq(failed | (waiting.o.valid & wide)),
            self.lost.eq(errors.i.valid & ~errors.i.ready),
            record.cause.eq(ErrorCause.MSI_WRITE_ERROR),
        ]
        for condition, what in (failed, oldest), (~failed, first):
            with m.If(condition):
                m.d.comb += [
                    record.segment.eq(what.segment),
                    record.rid.eq(what.rid),
                    record.address.eq(Cat(C(0, 2), what.address)),
                ]
        self._count_marked(m, waiting, running)
        return m

    def _count_marked(self, m, waiting, running):
        """Both queues are left in order; a write that is not tried may leave before older ones
        have their responses, so each has a count of its own.
        """
        older, asked = Signal.like(waiting.level), Signal.like(running.level)
        left, answered = Signal(), Signal()
        m.d.comb += [
            left.eq(self.tried & (self.mark | (older != 0))),
            answered.eq(self.response.valid & (self.mark | (asked != 0))),
            self.marked.eq((older != 0) | (asked != 0)),
        ]
        m.d.sync += [
            older.eq(Mux(self.mark, waiting.level, older) - left),
            asked.eq(Mux(self.mark, running.level, asked) + (left & running.reserve) - answered),
        ]
