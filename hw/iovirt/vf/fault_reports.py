"""Accesses of guests that translation or memory refused."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from iovirt.stream import StreamArbiter, StreamQueue

from .attribution_layouts import owner_write
from .share_layouts import COLOUR_WIDTH, Denial, DenialCause

__all__ = ["FaultReports", "contained_signature"]


def contained_signature():
    """Pulse ``valid``: the access in ``slot`` was contained late. Seen from the data path.

    Pulse ``abort``: memory has refused data of the read in ``abort_slot``.
    """
    return wiring.Signature({"valid": Out(1), "write": Out(1), "slot": Out(8),
                             "abort": Out(1), "abort_slot": Out(8)})


def _owner():
    return data.StructLayout({"colour": COLOUR_WIDTH, "device_id": 24})


class FaultReports(wiring.Component):
    """Freeze the guest whose access was permitted by its address, but not by translation; or whose
    read was refused by memory (DECERR).

    The address of the record is 0: the fault record of translation has it, or the record of the
    data path. There is a place for each slot of the data path, and for each read again, so none is
    lost while those who freeze keep up; records are told apart from that, so that a log which does
    not take them stops nobody from being frozen. Owners are looked up in the clock of the pulse,
    whatever else comes, because slots are used again.

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
        From the data path, not earlier than 1 clock after ``owner`` has told of the slot, and
        before it tells of the next use of the slot.
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
        m.submodules.freezes = freezes = StreamArbiter(COLOUR_WIDTH, ports=2)
        m.submodules.denials = denials = StreamArbiter(_owner(), ports=2)
        wiring.connect(m, freezes.o, wiring.flipped(self.freeze))

        # Writes are behind the reads. Aborts have a copy of the reads to themselves.
        def place(access):
            return Mux(access.write, access.slot + self.reads, access.slot)

        told, owner, pulses = Signal(_owner()), self.owner, self.contained
        lost = [self._source(m, "contained", depth, (owner.en, place(owner), told),
                             (pulses.valid, place(pulses)), freezes.i[0], denials.i[0]),
                self._source(m, "aborted", self.reads,
                             (owner.en & ~owner.write, owner.slot, told),
                             (pulses.abort, pulses.abort_slot), freezes.i[1], denials.i[1])]
        m.d.comb += [
            told.colour.eq(owner.colour),
            told.device_id.eq(owner.device_id),
            self.denial.valid.eq(denials.o.valid),
            denials.o.ready.eq(self.denial.ready),
            self.denial.p.cause.eq(DenialCause.ADDRESS),
            self.denial.p.colour.eq(denials.o.p.colour),
            self.denial.p.device_id.eq(denials.o.p.device_id),
        ]
        m.d.sync += self.lost.eq(lost[0] | lost[1])
        return m

    def _source(self, m, name, depth, told, pulse, freeze, denial):
        """Queue what pulses of one source tell of; return when there is no room."""
        freezes, denials = (StreamQueue(shape, depth=depth) for shape in (COLOUR_WIDTH, _owner()))
        owners = Memory(shape=_owner(), depth=depth, init=[], attrs={"no_rw_check": 1})
        m.submodules[f"{name}_freezes"] = freezes
        m.submodules[f"{name}_denials"] = denials
        m.submodules[f"{name}_owners"]  = owners
        write, read, reported = owners.write_port(), owners.read_port(), Signal()
        wiring.connect(m, freezes.o, freeze)
        wiring.connect(m, denials.o, denial)
        m.d.sync += reported.eq(pulse[0])
        m.d.comb += [
            write.en.eq(told[0]),
            write.addr.eq(told[1]),
            write.data.eq(told[2]),
            read.addr.eq(pulse[1]),
            freezes.i.valid.eq(reported),
            freezes.i.payload.eq(read.data.colour),
            denials.i.valid.eq(reported),
            denials.i.p.eq(read.data),
        ]
        return reported & ~(freezes.i.ready & denials.i.ready)
