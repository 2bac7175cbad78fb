"""Errors of programmed I/O: the first one, a ring of records, and events."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from ..config import PioConfig
from ..pcie.layouts import ErrorRecord
from ..stream import StreamArbiter, StreamQueue
from .config_layouts import PioNotice
from .layouts import PioError

__all__ = ["COUNT_WIDTH", "ErrorRing"]

#: Width of the free-running counts of the ring.
COUNT_WIDTH = 16


class ErrorRing(wiring.Component):
    """Keep records of errors for software, and hand each on to the error log and as an event.

    Records are numbered by ``tail``, which counts for ever, modulo ``2 ** COUNT_WIDTH``; record n
    is in slot ``n % errors``. Those from ``head`` to before ``tail`` are kept; software moves
    ``head`` on. So a record that software may read is never overwritten, and one that finds no
    place, or whose cause is masked, is counted by a pulse instead.

    Sources never wait for software or for the interrupt block: if events cannot leave, those that
    follow a queue of them are dropped, because the events in the queue already make software
    look. Each record is accepted within ``ports`` times the clocks that the error log takes for
    one.

    Latency is 2 clocks to ``tail`` and to ``first``, 3 to ``error`` and ``notice``. Throughput is
    1 record per clock.

    Parameters
    ----------
    pio : :class:`PioConfig`
        ``errors`` counts.
    ports : :class:`int`
        Number of sources, at least 1.

    Members
    -------
    i : ``In(stream.Signature(PioError)).array(ports)``
        Errors.
    segment : ``In(8)``
        Of the port.
    mask : ``In(32)``
        Bit n: records of cause n are not kept and not handed on.
    first : ``Out(PioError)``
        First record since ``clear``; cause NONE until there is one.
    more : ``Out(1)``
        Others came after ``first``.
    clear : ``In(1)``
        Forget ``first`` and ``more``; a record of the same clock becomes the new first one.
    tail, head : ``Out(COUNT_WIDTH)``
        Counts of records that were kept, and that software has done with.
    head_write, head_data : ``In(1)``, ``In(COUNT_WIDTH)``
        Pulse: set ``head``. Ignored if it is not one of ``head`` to ``tail``.
    select : ``In(range(errors))``
        Slot to read.
    record : ``Out(PioError)``
        What it holds, 1 clock later.
    lost : ``Out(1)``
        Pulse: a record found no place in the ring.
    masked : ``Out(1)``
        Pulse: a record was masked.
    error : ``Out(stream.Signature(ErrorRecord))``
        For the error log. Its consumer must not wait for anything.
    notice : ``Out(stream.Signature(PioNotice))``
        For the interrupt block.
    """

    def __init__(self, *, pio, ports):
        if not isinstance(pio, PioConfig):
            raise TypeError(f"Configuration must be a PioConfig, not {pio!r}")
        self.pio      = pio
        self.ports    = ports
        self._arbiter = StreamArbiter(PioError, ports=ports)
        super().__init__({
            "i":          In(stream.Signature(PioError)).array(ports),
            "segment":    In(8),
            "mask":       In(32),
            "first":      Out(PioError),
            "more":       Out(1),
            "clear":      In(1),
            "tail":       Out(COUNT_WIDTH),
            "head":       Out(COUNT_WIDTH),
            "head_write": In(1),
            "head_data":  In(COUNT_WIDTH),
            "select":     In(range(pio.errors)),
            "record":     Out(PioError),
            "lost":       Out(1),
            "masked":     Out(1),
            "error":      Out(stream.Signature(ErrorRecord)),
            "notice":     Out(stream.Signature(PioNotice)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.arbiter = arbiter = self._arbiter
        m.submodules.errors  = errors  = StreamQueue(ErrorRecord, depth=2)
        m.submodules.notices = notices = StreamQueue(PioNotice, depth=4)
        for outer, inner in zip(self.i, arbiter.i, strict=True):
            wiring.connect(m, wiring.flipped(outer), inner)
        wiring.connect(m, errors.o, wiring.flipped(self.error))
        wiring.connect(m, notices.o, wiring.flipped(self.notice))

        # A register behind the arbiter; it is left when the queue to the log has a place.
        valid, latest, masked, go = Signal(), Signal(PioError), Signal(), Signal()
        advance = ~valid | errors.i.ready
        chosen  = Value.cast(arbiter.o.p.cause)
        m.d.comb += [arbiter.o.ready.eq(advance), go.eq(valid & errors.i.ready)]
        with m.If(advance):
            m.d.sync += [
                valid.eq(arbiter.o.valid),
                latest.eq(arbiter.o.p),
                masked.eq(self.mask.bit_select(chosen, 1)),
            ]

        keep = Signal()
        m.d.comb += [
            keep.eq(go & ~masked),
            errors.i.valid.eq(valid & ~masked),
            errors.i.p.cause.eq(latest.cause),
            errors.i.p.segment.eq(self.segment),
            errors.i.p.rid.eq(latest.rid),
            errors.i.p.address.eq(latest.address),
            notices.i.valid.eq(keep),
            notices.i.p.segment.eq(self.segment),
            notices.i.p.rid.eq(latest.rid),
            notices.i.p.data.cause.eq(latest.cause),
            notices.i.p.data.tag.eq(latest.tag),
            notices.i.p.data.guest.eq(latest.guest),
        ]
        m.d.sync += self.masked.eq(go & masked)
        self._keep_first(m, keep, latest)
        self._keep_ring(m, keep, latest)
        return m

    def _keep_first(self, m, keep, latest):
        empty = Signal(init=1)
        with m.If(self.clear):
            m.d.sync += [Value.cast(self.first).eq(0), self.more.eq(0), empty.eq(1)]
        with m.If(keep):
            m.d.sync += empty.eq(0)
            with m.If(self.clear | empty):
                m.d.sync += self.first.eq(latest)
            with m.Else():
                m.d.sync += self.more.eq(1)

    def _keep_ring(self, m, keep, latest):
        width = Shape.cast(PioError).width
        m.submodules.ring = ring = Memory(shape=width, depth=self.pio.errors, init=[])
        write, read = ring.write_port(), ring.read_port()
        log2 = exact_log2(self.pio.errors)

        used, room = Signal(COUNT_WIDTH), Signal()
        stored = Signal()
        ahead  = Signal(COUNT_WIDTH)
        m.d.comb += [
            used.eq(self.tail - self.head),
            room.eq(~used[log2:].any()),
            ahead.eq(self.head_data - self.head),
            stored.eq(keep & room),
            write.en.eq(stored),
            write.addr.eq(self.tail),
            write.data.eq(latest),
            read.en.eq(1),
            read.addr.eq(self.select),
            Value.cast(self.record).eq(read.data),
        ]
        m.d.sync += [self.tail.eq(self.tail + stored), self.lost.eq(keep & ~room)]
        with m.If(self.head_write & (ahead <= used)):
            m.d.sync += self.head.eq(self.head_data)
