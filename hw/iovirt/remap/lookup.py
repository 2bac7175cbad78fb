"""Lookup pipeline of the remap engine."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..config import RemapConfig
from ..stream import CreditQueue
from .contexts import ContextCache
from .iotlb import Iotlb
from .layouts import InvalidateOp, context_fill, line_fill, lookup_request, outcome, superpage_fill
from .resolver import Resolver
from .superpages import Superpages
from .sweep import Sweep

__all__ = ["Lookup"]

#: Cycles from the acceptance of a request to its outcome.
LATENCY = 3


class Lookup(wiring.Component):
    """Say for each request whether the caches translate and permit it.

    ```
    request ->[read: contexts, tags, leaves]->[compare]->[select, permission]->[queue]-> outcome
                   ^ borrowed by fills and invalidations
    ```

    An outcome is offered 3 cycles after its request was accepted, in order, one per cycle. There is
    a place for each outcome before its request is accepted, so that the pipeline never stops; a
    request waits while there is none, while a fill or an invalidation reads a set, and after reset.

    A request with ``bypass`` is a *hit*, whatever it is. Any other needs to be untranslated. If
    ddtp is Bare, an IOVA that is not wider than an SPA hits and is the SPA. If it is Off, nothing
    hits. Else {device_id, pv, pid} must be in the context cache (the walker fills a context for a
    process_id only if the device may use one), and either its second stage is Bare (the IOVA is the
    SPA), or the IOTLB or the superpages hold a leaf of its GSCID that covers the IOVA and permits
    what is wanted: W (and D) for a write, X for a read for execute, R for any other read.
    Everything else is a miss. A lookup that reads a set or page while it is written misses.

    Invalidations are transferred when they are done: nothing that was to be dropped is in an
    outcome that has not left by then. Cycles, apart from waiting for running fills and for outcomes
    to leave:

    * IOTLB, everything: ``sets + 4``; a GSCID: ``sets + 6``; a page: 14 (10 with 4 sets), and 8
      more while a NAPOT leaf may be cached in 16 sets or more. The last two borrow a slot of a
      lookup for each set they read.
    * CONTEXT, everything: ``context sets + 4``; a device: 5, one slot.

    A line fill takes 10 cycles and a slot, a context fill 3 cycles and a slot, a superpage fill 5
    cycles.

    Context caches and IOTLB clear themselves in ``scrub_cycles`` cycles after reset; requests wait.

    Combinational paths run from ``valid`` and ``payload`` of the fills and of ``invalidate`` to
    ``request.ready``; none from ``outcome.ready``.

    RISC-V IOMMU 1.0, 2.3; capacities are of ``remap``.

    Parameters
    ----------
    id_width, slot_width : :class:`int`
        Widths of the fields of the request.
    remap : :class:`RemapConfig`
        Sizes of the caches.

    Members
    -------
    request : ``In(stream.Signature(lookup_request(id_width, slot_width)))``
        Requests, replays and probes.
    outcome : ``Out(stream.Signature(outcome(id_width, slot_width, address_width)))``
        Outcomes.
    in_flight : ``Out(range(places + 1))``
        Number of requests accepted whose outcome has not left.
    line_fill : ``In(stream.Signature(line_fill(address_width)))``
        Lines for the IOTLB, pages 0 to 7.
    superpage_fill : ``In(stream.Signature(superpage_fill(address_width)))``
        Leaves above level 0.
    context_fill : ``In(stream.Signature(context_fill()))``
        Device contexts.
    invalidate : ``In(stream.Signature(InvalidateOp))``
        What to drop. Fills that were accepted before are dropped as well.
    ddtp_mode : ``In(4)``
        ddtp.iommu_mode: 0 Off, 1 Bare, else contexts count. Taken 1 cycle after a request.
    """

    def __init__(self, *, id_width, slot_width, remap):
        for name, value in ("id_width", id_width), ("slot_width", slot_width):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be an integer of at least 1, not {value!r}")
        if not isinstance(remap, RemapConfig):
            raise TypeError(f"remap must be a RemapConfig, not {remap!r}")
        self.id_width = id_width
        self.slot_width = slot_width
        self.remap = remap
        self.address_width = address_width = remap.physical_address_bits
        self.sets = remap.iotlb_tags // remap.iotlb_ways
        self.context_sets = remap.contexts // remap.context_ways
        #: Outcomes that may be in the pipeline and the queue; enough for one per cycle.
        self.places = LATENCY + 1
        #: Cycles after reset until requests are accepted.
        self.scrub_cycles = max(self.sets, self.context_sets)
        super().__init__({
            "request":        In(stream.Signature(lookup_request(id_width, slot_width))),
            "outcome":        Out(stream.Signature(outcome(id_width, slot_width, address_width))),
            "in_flight":      Out(range(self.places + 1)),
            "line_fill":      In(stream.Signature(line_fill(address_width))),
            "superpage_fill": In(stream.Signature(superpage_fill(address_width))),
            "context_fill":   In(stream.Signature(context_fill())),
            "invalidate":     In(stream.Signature(InvalidateOp)),
            "ddtp_mode":      In(4),
        })

    def elaborate(self, platform):
        m = Module()
        remap, address_width, gpa_bits = self.remap, self.address_width, self.remap.gpa_bits

        m.submodules.contexts = contexts = ContextCache(
            sets=self.context_sets, ways=remap.context_ways)
        m.submodules.iotlb = iotlb = Iotlb(
            sets=self.sets, ways=remap.iotlb_ways, context_ways=remap.context_ways,
            address_width=address_width, gpa_bits=gpa_bits)
        m.submodules.superpages = superpages = Superpages(
            entries=remap.superpages, context_ways=remap.context_ways,
            address_width=address_width, gpa_bits=gpa_bits)
        m.submodules.resolver = resolver = Resolver(
            id_width=self.id_width, slot_width=self.slot_width, address_width=address_width,
            ways=remap.iotlb_ways, context_ways=remap.context_ways, superpages=remap.superpages,
            levels=superpages.levels)
        m.submodules.queue = queue = CreditQueue(self.outcome.payload.shape(), depth=self.places)
        m.submodules.sweep = sweep = Sweep(parts=3, places=self.places)

        wiring.connect(m, wiring.flipped(self.context_fill), contexts.fill)
        wiring.connect(m, wiring.flipped(self.line_fill), iotlb.fill)
        wiring.connect(m, wiring.flipped(self.superpage_fill), superpages.fill)
        wiring.connect(m, wiring.flipped(self.invalidate), sweep.i)
        for part, cache in zip(sweep.o, (contexts, iotlb, superpages), strict=True):
            wiring.connect(m, part, cache.invalidate)
        wiring.connect(m, queue.o, wiring.flipped(self.outcome))

        # One signal a stage: what is being compared, what is being resolved.
        compared = Signal(self.request.payload.shape(), reset_less=True)
        resolved = Signal(self.request.payload.shape(), reset_less=True)
        compared_valid, resolved_valid = Signal(), Signal()
        access, now = self.request.payload.access, compared.access
        mode, plain = Signal(4), now.at == 0
        ready = queue.free & contexts.scrubbed & iotlb.scrubbed & ~contexts.borrow & ~iotlb.borrow
        m.d.comb += [
            self.request.ready.eq(ready),
            queue.reserve.eq(self.request.valid & ready),
            contexts.key.device_id.eq(access.device_id),
            contexts.key.pv.eq(access.pv),
            contexts.key.pid.eq(access.pid),
            iotlb.device_id.eq(access.device_id),
            iotlb.iova.eq(access.iova[12:]),
            superpages.iova.eq(now.iova[12:]),
            contexts.enable.eq(mode > 1),
        ]
        for cache in iotlb, superpages:
            m.d.comb += [
                cache.want.eligible.eq(plain & ~now.iova[gpa_bits:].any()),
                cache.want.write.eq(now.write),
                cache.want.exec.eq(now.exec),
                *(cache.gscids[way].eq(gscid) for way, gscid in enumerate(contexts.gscids)),
            ]
        m.d.sync += [
            mode.eq(self.ddtp_mode),
            compared.eq(self.request.payload),
            compared_valid.eq(queue.reserve),
            resolved.eq(compared),
            resolved_valid.eq(compared_valid),
            resolver.direct.eq(mode == 1),
            resolver.passable.eq(plain & ~now.iova[address_width:].any()),
        ]
        m.d.comb += [
            resolver.valid.eq(resolved_valid),
            resolver.request.eq(resolved),
            resolver.contexts.eq(contexts.match),
            resolver.lines.eq(iotlb.match),
            resolver.superpages.eq(superpages.match),
            iotlb.touch.eq(resolver.line_touch),
            contexts.touch.eq(resolver.context_touch),
            queue.i.payload.eq(resolver.outcome),
            queue.i.valid.eq(resolved_valid),
            self.in_flight.eq(queue.level),
            sweep.in_flight.eq(queue.level),
            sweep.leaves.eq(queue.o.valid & queue.o.ready),
        ]
        return m
