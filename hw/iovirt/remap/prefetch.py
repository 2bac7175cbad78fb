"""Prefetch of the next line of a stream."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..stream.queue import StreamQueue
from .hashing import line_hash
from .layouts import SecondStage, lookup_request, outcome, walk_request

__all__ = ["Prefetcher"]

#: Clocks per unit of time in the filter.
TICK = 128

#: Width of the time in the filter.
TIME_WIDTH = 6

#: Units of time in which a line that hits is not tried again.
PATIENCE_HIT = 32

#: The same if it misses: it may have been unmapped and mapped again meanwhile, but not within
#: the time of a walk.
PATIENCE_MISS = 2

#: Probes and walks on their way.
DEPTH = 2


class Prefetcher(wiring.Component):
    """Start a walk for the next line when a line is touched for the first time in a while.

    Plain requests (untranslated, no process, no bypass) of devices with a known second stage are
    watched. The first page of the line that follows is probed through the lookup; if that misses, a
    walk is requested which fills but never faults. The top of the address space has no next line.

    A direct-mapped filter of partial tags and times remembers the lines tried lately. It is only a
    hint: an outdated or false match costs a prefetch, so it needs no reset.

    ``demand`` is never stalled; what comes too fast is dropped. At least 4 clocks pass from
    ``demand`` to ``probe``; 1 clock from ``probed`` to ``walk``. At most 2 probes and walks are on
    their way. There is no combinational path between ports.

    Parameters
    ----------
    id_width, slot_width, address_width : :class:`int`
        Widths of the layouts.
    lines : :class:`int`
        Lines in the filter, a power of two of at least 4.

    Members
    -------
    enable : ``In(1)``
        Prefetch at all.
    spare : ``In(1)``
        The walker has walks to spare for prefetches.
    demand : ``In(...)``
        Every outcome of the lookup (``payload``), in the clock of ``valid``. Replays, probes and
        requests of the debug registers do not count.
    probe : ``Out(stream.Signature(lookup_request(...)))``
        Probes, for lookup slots that nobody needs.
    probed : ``In(stream.Signature(outcome(...)))``
        Their outcomes, in order. Always ready.
    walk : ``Out(stream.Signature(walk_request(...)))``
        Walks to start.
    forget_contexts : ``In(1)``
        Pulse: contexts of walks that have not begun are unknown from now on. This is the one thing
        that changes an offer: ``context_hit`` of a walk that is offered falls.
    issued : ``Out(1)``
        Pulse: a walk has been requested.

    Raises
    ------
    ValueError
        If ``lines`` is not a power of two of at least 4.
    """

    def __init__(self, *, id_width, slot_width, address_width, lines=64):
        if not isinstance(lines, int) or lines < 4 or lines & (lines - 1):
            raise ValueError(f"Number of lines must be a power of two of at least 4, not {lines!r}")
        self.id_width = id_width
        self.slot_width = slot_width
        self.address_width = address_width
        self.lines = lines

        looked_up = outcome(id_width, slot_width, address_width)
        super().__init__({
            "enable":          In(1),
            "spare":           In(1),
            "demand":          In(wiring.Signature({"valid": Out(1), "payload": Out(looked_up)})),
            "probe":           Out(stream.Signature(lookup_request(id_width, slot_width))),
            "probed":          In(stream.Signature(looked_up)),
            "walk":            Out(stream.Signature(walk_request(slot_width))),
            "forget_contexts": In(1),
            "issued":          Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        candidate = data.StructLayout({"device_id": 24, "source": 24, "line": 49})
        m.submodules.candidates = candidates = StreamQueue(candidate, depth=4)
        m.submodules.walks = walks = StreamQueue(self.walk.p.shape(), depth=DEPTH)
        self._filter(m, candidates)

        # A candidate leaves the queue only if its outcome has a place in `walks`.
        going = Signal(range(DEPTH + 1))
        start, dropped = Signal(), Signal()
        m.d.comb += [
            start.eq(candidates.o.valid & self.spare & self.enable
                     & (going != DEPTH) & (~self.probe.valid | self.probe.ready)),
            candidates.o.ready.eq(start),
        ]
        with m.If(start):
            m.d.sync += [
                self.probe.valid.eq(1),
                self.probe.payload.eq(0),
                self.probe.p.access.device_id.eq(candidates.o.p.device_id),
                self.probe.p.access.iova.eq(candidates.o.p.line << 15),
                self.probe.p.source.eq(candidates.o.p.source),
                self.probe.p.probe.eq(1),
            ]
        with m.Elif(self.probe.ready):
            m.d.sync += self.probe.valid.eq(0)

        m.d.comb += [
            self.probed.ready.eq(1),
            walks.i.valid.eq(self.probed.valid & self.enable
                             & ~self.probed.p.hit & self._second_stage(self.probed.p)),
            walks.i.p.access.eq(self.probed.p.request.access),
            walks.i.p.context.eq(self.probed.p.context),
            walks.i.p.prefetch.eq(1),
            dropped.eq(self.probed.valid & ~walks.i.valid),
            self.issued.eq(self.walk.valid & self.walk.ready),
        ]
        wiring.connect(m, wiring.flipped(self.walk), walks.o)
        m.d.sync += going.eq(going + start - dropped - self.issued)

        # The walks in the queue when contexts are forgotten leave it first.
        outdated = Signal.like(walks.level)
        with m.If(self.forget_contexts):
            m.d.sync += outdated.eq(walks.level + walks.i.valid - self.issued)
        with m.Elif(self.issued & (outdated != 0)):
            m.d.sync += outdated.eq(outdated - 1)
        m.d.comb += self.walk.p.context_hit.eq(outdated == 0)
        return m

    def _filter(self, m, candidates):
        """Feed ``candidates`` with the lines after those touched for the first time in a while."""
        touched = Signal(data.StructLayout({
            "valid": 1, "hit": 1, "device_id": 24, "source": 24, "line": 49, "top": 1,
            "tag": 12, "place": range(self.lines)}))
        request = self.demand.payload.request
        tops = {SecondStage.SV39X4: 41, SecondStage.SV48X4: 50, SecondStage.SV57X4: 59}
        with m.Switch(self.demand.payload.context.mode):
            for mode, bits in tops.items():
                with m.Case(mode):
                    m.d.sync += touched.top.eq(request.access.iova[15:bits].all())
        m.d.sync += [
            touched.valid.eq(self.demand.valid & self._plain(request)
                             & self._second_stage(self.demand.payload)),
            touched.hit.eq(self.demand.payload.hit),
            touched.device_id.eq(request.access.device_id),
            touched.source.eq(request.source),
            touched.line.eq(request.access.iova[15:]),
            Cat(touched.tag, touched.place).eq(
                line_hash(request.access, len(touched.tag) + len(touched.place))),
        ]

        entry = data.StructLayout({"tag": 12, "time": TIME_WIDTH})
        m.submodules.tried = tried = Memory(shape=entry, depth=self.lines, init=[],
                                            attrs={"no_rw_check": 1})
        read, write = tried.read_port(), tried.write_port()
        # What an empty memory holds is already old.
        time, clock = Signal(TIME_WIDTH, init=PATIENCE_HIT), Signal(range(TICK))
        m.d.sync += clock.eq(clock + 1)
        with m.If(clock == TICK - 1):
            m.d.sync += time.eq(time + 1)

        # The entry written in the clock of a read is not seen by it; the access behind it in the
        # pipeline is nearly always of the same line.
        judged, age, wrote = Signal.like(touched), Signal(TIME_WIDTH), Signal()
        fresh = Signal()
        m.d.comb += [
            read.en.eq(1),
            read.addr.eq(touched.place),
            age.eq(time - read.data.time),
            fresh.eq((read.data.tag == judged.tag)
                     & (age < Mux(judged.hit, PATIENCE_HIT, PATIENCE_MISS))),
            candidates.i.valid.eq(judged.valid & ~fresh & ~wrote & ~judged.top & self.enable),
            candidates.i.p.device_id.eq(judged.device_id),
            candidates.i.p.source.eq(judged.source),
            candidates.i.p.line.eq(judged.line + 1),
            write.en.eq(candidates.i.valid & candidates.i.ready),
            write.addr.eq(judged.place),
            write.data.tag.eq(judged.tag),
            write.data.time.eq(time),
        ]
        m.d.sync += [
            judged.eq(touched),
            wrote.eq(write.en & (judged.place == touched.place)),
        ]

    @staticmethod
    def _plain(request):
        return ~(request.replay | request.probe | request.debug | request.bypass
                 | request.access.pv | request.access.at.any())

    @staticmethod
    def _second_stage(looked_up):
        return looked_up.context_hit & (looked_up.context.mode != SecondStage.BARE)
