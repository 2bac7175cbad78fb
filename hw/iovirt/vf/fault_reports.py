"""Accesses of guests that translation refused."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from iovirt.stream import StreamQueue

from .attribution_layouts import owner_write
from .share_layouts import COLOUR_WIDTH, Denial, DenialCause

__all__ = ["FaultReports", "contained_signature"]


def contained_signature():
    """Pulse ``valid``: the access in ``slot`` was contained late. Seen from the data path."""
    return wiring.Signature({"valid": Out(1), "write": Out(1), "slot": Out(8)})


def _owner():
    return data.StructLayout({"colour": COLOUR_WIDTH, "device_id": 24})


class FaultReports(wiring.Component):
    """Freeze the guest whose access was permitted by its address, but not by translation.

    The address of the record is 0: the fault record of translation has it. There is a place for
    each slot of the data path, so none is lost while those who freeze keep up; records are told
    apart from that, so that a log which does not take them stops nobody from being frozen.

    Latency is 4 clocks (3 for fewer than 3 places); throughput is 1 per clock.

    Parameters
    ----------
    reads, writes : :class:`int`
        Slots of the data path, 2 to 256.

    Members
    -------
    owner : ``In(owner_write())``
        From :class:`Attribution`.
    contained : ``In(contained_signature())``
        From the data path, not earlier than 1 clock after ``owner`` has told of the slot.
    freeze : ``Out(stream.Signature(COLOUR_WIDTH))``
        Guests to freeze.
    denial : ``Out(stream.Signature(Denial))``
        Records.
    lost : ``Out(1)``
        For one clock: the queue of either was full.
    """

    def __init__(self, *, reads, writes):
        for name, slots in ("reads", reads), ("writes", writes):
            if not isinstance(slots, int) or not 2 <= slots <= 256:
                raise ValueError(f"Number of {name} must be an integer in 2..256, not {slots!r}")
        self.reads  = reads
        self.writes = writes
        super().__init__({
            "owner":     In(owner_write()),
            "contained": In(contained_signature()),
            "freeze":    Out(stream.Signature(COLOUR_WIDTH)),
            "denial":    Out(stream.Signature(Denial)),
            "lost":      Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        depth = self.reads + self.writes
        m.submodules.freezes = freezes = StreamQueue(COLOUR_WIDTH, depth=depth)
        m.submodules.denials = denials = StreamQueue(_owner(), depth=depth)
        m.submodules.owners  = owners  = Memory(shape=_owner(), depth=depth, init=[],
                                                attrs={"no_rw_check": 1})
        wiring.connect(m, freezes.o, wiring.flipped(self.freeze))

        # Writes are behind the reads.
        def place(access):
            return Mux(access.write, access.slot + self.reads, access.slot)

        write, read, reported = owners.write_port(), owners.read_port(), Signal()
        m.d.comb += [
            write.en.eq(self.owner.en),
            write.addr.eq(place(self.owner)),
            write.data.colour.eq(self.owner.colour),
            write.data.device_id.eq(self.owner.device_id),
            read.addr.eq(place(self.contained)),

            freezes.i.valid.eq(reported),
            freezes.i.payload.eq(read.data.colour),
            denials.i.valid.eq(reported),
            denials.i.p.eq(read.data),
            self.denial.valid.eq(denials.o.valid),
            denials.o.ready.eq(self.denial.ready),
            self.denial.p.cause.eq(DenialCause.ADDRESS),
            self.denial.p.colour.eq(denials.o.p.colour),
            self.denial.p.device_id.eq(denials.o.p.device_id),
        ]
        m.d.sync += [
            reported.eq(self.contained.valid),
            self.lost.eq(reported & ~(freezes.i.ready & denials.i.ready)),
        ]
        return m
