"""Requests that wait for a translation, and the order of those that do not."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..config import RemapConfig
from ..stream.order_pool import OrderPool
from ..stream.queue import StreamQueue
from ..stream.slot_memory import SlotMemory
from .answers import Answers, answer_hit, miss_result
from .hashing import line_hash
from .layouts import Access, Context, lookup_request, outcome, walk_done, walk_request
from .merging import WalkMerger

__all__ = ["Misses"]

#: Width of the hash that lines are compared by.
HASH_WIDTH = 14

#: Clocks that a finished slot lets hits pass before it asks for a gap.
PATIENCE = 8


class Misses(wiring.Component):
    """Miss file: answers hits, parks what missed, keeps the order of each source.

    Results of one source leave in the order of its outcomes; sources do not wait for each other.
    A hit is answered at once unless something of its source is parked, or the result is stalled;
    then it parks, already answered. Requests of the debug registers are a source of their own.

    The first slot that misses a line walks and is answered by the walk. Others that miss that line
    are replayed through the lookup when the walk is done, and may miss again.

    Every outcome is accepted at once, because each request has a place reserved since it entered
    the lookup (``room``, ``entered``). Hits go before parked results, which use the clocks without
    a hit; when one has waited 8 clocks, ``room`` falls for a clock. So neither starves.

    ::

        outcome -+--------------------- hit ---------------> kept --> result
                 |                                            ^
                 +--> stage -+--> OrderPool --> Answers ------+
                             |                     ^---------------- done
                             +--> WalkMerger --> walks, requests --> walk, replay

    Latency: 0 clocks from ``outcome`` to ``result`` of a hit, with combinational paths from
    ``outcome`` to ``result`` and ``probed``; 4 clocks from ``outcome`` to ``walk``; 5 clocks from
    ``done`` to ``result``. Throughput: 1 outcome and 1 result per clock.

    Parameters
    ----------
    id_width : :class:`int`
        Width of the id of a request.
    remap : :class:`RemapConfig`
        Configuration; ``misses`` is the number of slots.

    Members
    -------
    room : ``Out(1)``
        A request that is neither replay nor probe may enter the lookup.
    entered : ``In(1)``
        One does so in this clock. At least 2 clocks before its outcome.
    outcome : ``In(stream.Signature(outcome(...)))``
        Outcomes of the lookup. Always ready, but for a probe.
    probed : ``Out(stream.Signature(outcome(...)))``
        The outcomes of probes.
    result : ``Out(stream.Signature(miss_result(...)))``
        Results. Never stalled for long, since this stops the requests of all sources.
    walk : ``Out(stream.Signature(walk_request(slot_width)))``
        Walks to start.
    done : ``In(stream.Signature(walk_done(...)))``
        Answers of those walks, after what they filled. Always ready.
    replay : ``Out(stream.Signature(lookup_request(...)))``
        Requests to look up again.
    hold : ``In(1)``
        No further walk is chosen. One that is offered still is.
    forget_contexts : ``In(1)``
        Pulse: contexts of walks that have not begun are unknown from now on. This is the one thing
        that changes an offer: ``context_hit`` of a walk that is offered falls.

    Raises
    ------
    TypeError
        If ``remap`` is not a :class:`RemapConfig`.
    ValueError
        If ``id_width`` is not an integer of at least 1.
    """

    def __init__(self, *, id_width, remap):
        if not isinstance(remap, RemapConfig):
            raise TypeError(f"Configuration must be a RemapConfig, not {remap!r}")
        if not isinstance(id_width, int) or id_width < 1:
            raise ValueError(f"Width of id must be an integer of at least 1, not {id_width!r}")
        self.id_width = id_width
        self.remap = remap
        self.slots = remap.misses
        self.slot_width = (remap.misses - 1).bit_length()
        self.address_width = remap.physical_address_bits

        looked_up = outcome(id_width, self.slot_width, self.address_width)
        super().__init__({
            "room":            Out(1),
            "entered":         In(1),
            "outcome":         In(stream.Signature(looked_up)),
            "probed":          Out(stream.Signature(looked_up)),
            "result":          Out(stream.Signature(miss_result(id_width, self.address_width))),
            "walk":            Out(stream.Signature(walk_request(self.slot_width))),
            "done":            In(stream.Signature(walk_done(self.slot_width,
                                                             self.address_width))),
            "replay":          Out(stream.Signature(lookup_request(id_width, self.slot_width))),
            "hold":            In(1),
            "forget_contexts": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.pool = pool = OrderPool(source_width=25, slots=self.slots)
        m.submodules.merger = merger = WalkMerger(slots=self.slots, hash_width=HASH_WIDTH)

        # Arrival. Only a new request that is a hit, and need not wait for anything, passes.
        request = self.outcome.p.request
        new, direct, result_free = Signal(), Signal(), Signal()
        m.d.comb += [
            self.probed.payload.eq(self.outcome.payload),
            self.probed.valid.eq(self.outcome.valid & request.probe),
            self.outcome.ready.eq(~request.probe | self.probed.ready),
            new.eq(self.outcome.valid & ~request.probe & ~request.replay),
            direct.eq(new & self.outcome.p.hit & result_free & ~pool.waits),
            pool.source.eq(Cat(request.source, request.debug)),
            pool.park.eq(new & ~direct),
        ]

        # What parks gets its slot in the next clock; a replay has one.
        event = Signal()
        stage = Signal.like(self.outcome.payload)
        slot  = Signal(range(self.slots))
        m.d.sync += [
            event.eq(pool.park | (self.outcome.valid & request.replay & ~request.probe)),
            stage.eq(self.outcome.payload),
            stage.context_hit.eq(self.outcome.p.context_hit & ~self.forget_contexts),
        ]
        m.d.comb += slot.eq(Mux(stage.request.replay, stage.request.slot, pool.slot))

        self._issue(m, merger, event, stage, slot)
        m.submodules.answers = answers = Answers(
            id_width=self.id_width, slots=self.slots, address_width=self.address_width)
        wiring.connect(m, pool.o, answers.i)
        m.d.comb += [
            pool.finished.eq(answers.finished),
            answers.found.en.eq(event),
            answers.found.slot.eq(slot),
            answers.found.hit.eq(stage.hit),
            *answer_hit(answers.found.result, stage),
            answers.walked.eq(self.done.payload),
            answers.walk_done.eq(self.done.valid),
            self.done.ready.eq(1),
        ]

        # The queue keeps the comparison of sources, which decides about hits, off the slots.
        m.submodules.leaving = leaving = StreamQueue(answers.o.p.shape(), depth=2)
        wiring.connect(m, answers.o, leaving.i)
        self._respond(m, direct, leaving.o, result_free)
        self._reserve(m, pool, direct, leaving.o)
        return m

    def _issue(self, m, merger, event, stage, slot):
        """Start walks and replays of the slots that ``merger`` chooses."""
        m.submodules.requests = requests = SlotMemory(self.replay.p.shape(), slots=self.slots)
        m.submodules.walks = walks = SlotMemory(
            data.StructLayout({"access": Access, "debug": 1, "context": Context}),
            slots=self.slots)
        wiring.connect(m, merger.replay, requests.i)
        wiring.connect(m, merger.walk, walks.i)

        # The hash is computed on the way into the stage.
        hashed = Signal(HASH_WIDTH)
        m.d.sync += hashed.eq(line_hash(self.outcome.p.request.access, HASH_WIDTH))
        m.d.comb += [
            merger.missed.en.eq(event & ~stage.hit),
            merger.missed.slot.eq(slot),
            merger.missed.hash.eq(hashed),
            merger.missed.replayed.eq(stage.request.replay),
            merger.done.en.eq(self.done.valid),
            merger.done.slot.eq(self.done.p.slot),
            merger.hold.eq(self.hold),
            requests.write.en.eq(event),
            requests.write.slot.eq(slot),
            requests.write.data.eq(stage.request),
            walks.write.en.eq(event),
            walks.write.slot.eq(slot),
            walks.write.data.access.eq(stage.request.access),
            walks.write.data.debug.eq(stage.request.debug),
            walks.write.data.context.eq(stage.context),
        ]

        # Whether a context is known can change while a slot waits, so it is not in the memory.
        known, offers_known = Signal(self.slots), Signal()
        here = Mux(event, 1 << slot, 0)
        with m.If(self.forget_contexts):
            m.d.sync += [known.eq(0), offers_known.eq(0)]
        with m.Else():
            m.d.sync += known.eq((known & ~here) | Mux(stage.context_hit, here, 0))
            with m.If(walks.i.ready):
                m.d.sync += offers_known.eq(known.bit_select(walks.i.payload, 1))

        m.d.comb += [
            self.walk.valid.eq(walks.o.valid),
            walks.o.ready.eq(self.walk.ready),
            self.walk.p.access.eq(walks.o.p.data.access),
            self.walk.p.context_hit.eq(offers_known),
            self.walk.p.context.eq(walks.o.p.data.context),
            self.walk.p.debug.eq(walks.o.p.data.debug),
            self.walk.p.prefetch.eq(0),
            self.walk.p.slot.eq(walks.o.p.slot),
            self.replay.valid.eq(requests.o.valid),
            requests.o.ready.eq(self.replay.ready),
            self.replay.payload.eq(requests.o.p.data),
            self.replay.p.replay.eq(1),
            self.replay.p.slot.eq(requests.o.p.slot),
        ]

    def _respond(self, m, direct, leaving, result_free):
        """Merge hits and slots that leave; what is not accepted at once waits in ``kept``."""
        offer, kept, full = Signal(), Signal.like(self.result.payload), Signal()
        m.d.comb += [
            result_free.eq(~full),
            offer.eq(direct | leaving.valid),
            leaving.ready.eq(~full & ~direct),
            self.result.valid.eq(full | offer),
        ]
        with m.If(full):
            m.d.comb += self.result.payload.eq(kept)
        with m.Elif(direct):
            m.d.comb += answer_hit(self.result.payload, self.outcome.payload)
        with m.Else():
            m.d.comb += self.result.payload.eq(leaving.p.data)
        m.d.sync += full.eq(self.result.valid & ~self.result.ready)
        with m.If(~full):
            m.d.sync += kept.eq(self.result.payload)

    def _reserve(self, m, pool, direct, leaving):
        """Count the places, and make a gap for a slot that cannot leave."""
        # A place is reserved when a request enters, and is free again a clock after its result, to
        # keep the comparison of sources out of this sum. A gap lets a slot leave that has found no
        # clock without a hit.
        places, passed = Signal(range(self.slots + 1), init=self.slots), Signal()
        waited, gap = Signal(range(PATIENCE)), Signal()
        m.d.comb += self.room.eq((places != 0) & ~gap)
        m.d.sync += [
            pool.release.eq(leaving.valid & leaving.ready),
            pool.released.eq(leaving.payload.slot),
            passed.eq(direct),
            places.eq(places - self.entered + passed + pool.release),
            gap.eq(direct & leaving.valid & (waited == PATIENCE - 1)),
            waited.eq(Mux(direct & leaving.valid, waited + 1, 0)),
        ]
