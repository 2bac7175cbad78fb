"""Fault queue: faults become records in memory (RISC-V IOMMU 1.0, 3.2)."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..axi import TableError, table_write_request, table_write_response
from ..stream import StreamQueue
from .layouts import FaultRecord
from .rings import beyond, ring_address, ring_mask

__all__ = ["FaultQueue"]


class FaultQueue(wiring.Component):
    """Write faults to the ring of 32-byte records that fqb describes.

    A fault is taken whatever the state of the queue, so it never keeps the device that caused it
    waiting for software. It is dropped, with a pulse of ``lost``, while the queue is off or one of
    fqmf and fqof is set, or when it sets one of them: fqof if the ring is full, fqmf if the
    record lies beyond the physical addresses or its write fails. The head of a faulting ring
    does not move. fqt moves when the write has been answered, so a record that it covers is
    observable.

    The queue turns on in the 2 clocks after ``fqen`` rises; fqt is then 0, and the error bits are
    cleared. After ``fqen`` fell, ``fqon`` falls once no write is on its way. Each record takes 3
    clocks and the time of its write; ``depth`` faults wait for that.

    The bits fqmf and fqof live in the register bank. It sets and clears them on the clock that
    follows a pulse here; if software clears a bit at the same time, setting wins.

    Parameters
    ----------
    address_width : :class:`int`
        Width of a physical address (capabilities.PAS), 32 to 56.
    tag_width : :class:`int`
        Width of the tags on the table port; they are all 0.
    depth : :class:`int`
        Faults that wait, at least 1.

    Members
    -------
    fault : ``In(stream.Signature(FaultRecord))``
        Faults to record.
    fqb_log2sz_1, fqb_ppn : ``In(5)``, ``In(44)``
        fqb. Must not change while ``fqon``.
    fqh : ``In(32)``
        Head as written by software; bits above the ring size are ignored.
    fqt : ``Out(32)``
        Tail.
    fqen : ``In(1)``
        fqcsr.fqen.
    fqon, busy : ``Out(1)``
        fqcsr.fqon and fqcsr.busy; ``busy`` rises with the change of ``fqen``.
    fqmf, fqof : ``In(1)``
        Error bits of fqcsr as they are.
    set_fqmf, set_fqof, clear_errors : ``Out(1)``
        Pulses: set a bit, or clear both.
    new_record, lost : ``Out(1)``
        Pulses: a record was written, and a fault was not recorded.
    device_id : ``Out(24)``
        Of the record, with ``new_record``.
    idle : ``Out(1)``
        No fault is waiting and no write is on its way.
    write_request, write_response : ``Out(...)``, ``In(...)``
        Client of the table port.
    """

    def __init__(self, *, address_width, tag_width, depth=8):
        if type(address_width) is not int or not 32 <= address_width <= 56:
            raise ValueError(f"Address width must be an integer in 32..56, not {address_width!r}")
        if type(tag_width) is not int or tag_width < 0:
            raise ValueError(f"Tag width must be an integer of at least 0, not {tag_width!r}")
        if type(depth) is not int or depth < 1:
            raise ValueError(f"Depth must be an integer of at least 1, not {depth!r}")
        self.address_width = address_width
        self.tag_width     = tag_width
        self.depth         = depth
        request  = table_write_request(address_width=address_width, tag_width=tag_width)
        response = table_write_response(tag_width=tag_width)
        super().__init__({
            "fault":          In(stream.Signature(FaultRecord)),
            "fqb_log2sz_1":   In(5),
            "fqb_ppn":        In(44),
            "fqh":            In(32),
            "fqt":            Out(32),
            "fqen":           In(1),
            "fqon":           Out(1),
            "busy":           Out(1),
            "fqmf":           In(1),
            "fqof":           In(1),
            "set_fqmf":       Out(1),
            "set_fqof":       Out(1),
            "clear_errors":   Out(1),
            "new_record":     Out(1),
            "lost":           Out(1),
            "device_id":      Out(24),
            "idle":           Out(1),
            "write_request":  Out(stream.Signature(request)),
            "write_response": In(stream.Signature(response)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.waiting = waiting = StreamQueue(FaultRecord, depth=self.depth)
        wiring.connect(m, wiring.flipped(self.fault), waiting.i)

        # The ring does not change while the queue is on, and nobody but this component moves the
        # tail, so what is computed here one clock early can only be wrong in calling the ring full
        # when software has just made room.
        mask, after, full, outside = Signal(32), Signal(32), Signal(), Signal()
        place = ring_address(self.fqb_ppn, self.fqt, entry_log2=5)
        m.d.sync += [
            mask.eq(ring_mask(self.fqb_log2sz_1)),
            after.eq((self.fqt + 1) & mask),
            full.eq(((self.fqh ^ after) & mask) == 0),
            outside.eq(beyond(place, self.address_width)),
        ]

        m.d.comb += [
            self.write_request.p.address.eq(place),
            self.write_request.p.size_log2.eq(5),
            self.write_request.p.data.eq(_encode(waiting.o.p)),
            self.lost.eq(waiting.o.valid & waiting.o.ready & ~self.new_record),
            self.device_id.eq(waiting.o.p.device_id),
        ]
        with m.FSM():
            with m.State("OFF"):
                m.d.comb += waiting.o.ready.eq(~self.fqen)
                with m.If(self.fqen):
                    m.d.sync += self.fqt.eq(0)
                    m.d.comb += self.clear_errors.eq(1)
                    m.next = "START"
            with m.State("START"):
                m.d.sync += self.fqon.eq(1)
                m.next = "SETTLE"
            # Two clocks, until `after` and `full` have followed the tail, and the error bits the
            # last pulse.
            with m.State("SETTLE"):
                m.next = "SETTLED"
            with m.State("SETTLED"):
                m.next = "ON"
            with m.State("ON"):
                with m.If(~self.fqen):
                    m.d.sync += self.fqon.eq(0)
                    m.next = "OFF"
                with m.Elif(waiting.o.valid):
                    with m.If(self.fqmf | self.fqof):
                        m.d.comb += waiting.o.ready.eq(1)
                    with m.Elif(full):
                        m.d.comb += [self.set_fqof.eq(1), waiting.o.ready.eq(1)]
                        m.next = "SETTLE"
                    with m.Elif(outside):
                        m.d.comb += [self.set_fqmf.eq(1), waiting.o.ready.eq(1)]
                        m.next = "SETTLE"
                    with m.Else():
                        m.next = "WRITE"
            with m.State("WRITE"):
                m.d.comb += self.write_request.valid.eq(1)
                with m.If(self.write_request.ready):
                    m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += [
                    self.write_response.ready.eq(1),
                    waiting.o.ready.eq(self.write_response.valid),
                ]
                with m.If(self.write_response.valid):
                    m.next = "SETTLE"
                    with m.If(self.write_response.p.error == TableError.NONE):
                        m.d.comb += self.new_record.eq(1)
                        m.d.sync += self.fqt.eq(after)
                    with m.Else():
                        m.d.comb += self.set_fqmf.eq(1)

        m.d.comb += [
            self.busy.eq(self.fqen ^ self.fqon),
            self.idle.eq((waiting.level == 0) & ~self.fault.valid),
        ]
        return m


def _encode(fault):
    """Return the record of ``fault`` as stored in memory (fctl.BE is 0)."""
    return Cat(fault.cause, fault.pid, fault.pv, fault.priv, fault.ttyp, fault.device_id,
               C(0, 64), fault.iotval, fault.iotval2)
