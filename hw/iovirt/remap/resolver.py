"""Last stage of the lookup pipeline: from matches to an outcome."""

from functools import reduce
from operator import or_

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .layouts import lookup_request, outcome
from .stages import context_match, line_match, superpage_match

__all__ = ["Resolver"]


def _select(hits, values):
    """Return the value whose hit is set; zero if none is."""
    return reduce(or_, (Value.cast(value) & hit.replicate(len(Value.cast(value)))
                        for hit, value in zip(hits, values, strict=True)))


class Resolver(wiring.Component):
    """Join the matches of context cache, IOTLB and superpages, select, and check permission.

    All inputs belong to the same lookup. ``outcome`` is combinational; the touches follow 1 cycle
    later.

    An entry of the IOTLB or of the superpages counts if its GSCID equals that of the context that
    hits. If both count (one is stale then), the IOTLB alone decides.

    Parameters
    ----------
    id_width, slot_width, address_width :
        As in the layouts.
    gpa_bits : :class:`int`
        Width of the widest IOVA that is translated.
    ways, context_ways, superpages : :class:`int`
        Sizes of the matches.
    levels : :class:`int`
        Leaves of levels 1 to this are in the superpage array.

    Members
    -------
    valid : ``In(1)``
        There is a lookup.
    direct : ``In(1)``
        ddtp is Bare.
    passable : ``In(1)``
        The request is untranslated, without process_id, and its IOVA not wider than an SPA.
    request, contexts, lines, superpages : ``In``
        The lookup and its matches.
    outcome : ``Out(outcome(...))``
        Answer.
    line_touch, context_touch : ``Out``
        Ways that were used, 1 cycle later. A prefetch probe and a bypass use none.
    """

    def __init__(self, *, id_width, slot_width, address_width, ways, context_ways, superpages,
                 levels):
        self.levels = levels
        super().__init__({
            "valid":         In(1),
            "request":       In(lookup_request(id_width, slot_width)),
            "direct":        In(1),
            "passable":      In(1),
            "contexts":      In(context_match(context_ways)),
            "lines":         In(line_match(ways, context_ways, address_width)),
            "superpages":    In(superpage_match(superpages, context_ways, address_width, levels)),
            "outcome":       Out(outcome(id_width, slot_width, address_width)),
            "line_touch":    Out(ways),
            "context_touch": Out(context_ways),
        })

    def _of_domain(self, found, match):
        # Which of `found` belong to the domain of the context that hits.
        return Cat(bit & (self.contexts.guest & gscid_equal).any()
                   for bit, gscid_equal in zip(found, match.gscid_equal, strict=True))

    def elaborate(self, platform):
        m = Module()
        contexts, lines, superpages = self.contexts, self.lines, self.superpages

        bare = self.direct | (contexts.hit & ~contexts.guest).any()
        line_hits, superpage_hits = Signal(len(self.line_touch)), Signal(len(superpages.leaves))
        m.d.comb += [
            line_hits.eq(self._of_domain(lines.address_equal, lines)),
            superpage_hits.eq(self._of_domain(superpages.address_equal, superpages)),
        ]
        line_hit = line_hits.any()

        # A superpage gives the upper part of the PPN, the IOVA the rest; in Bare the IOVA gives
        # all.
        page = self.request.access.iova[12:12 + len(self.outcome.ppn)]
        wide = Mux(bare, ~0, _select(superpage_hits, [leaf.wide for leaf in superpages.leaves]))
        mask = Cat(*(wide[level].replicate(9) for level in range(self.levels)),
                   bare.replicate(64))[:len(page)]
        superpage_ppn = _select(superpage_hits, [leaf.ppn for leaf in superpages.leaves])

        m.d.comb += [
            self.outcome.request.eq(self.request),
            self.outcome.hit.eq(
                self.request.bypass | (bare & self.passable)
                | self._of_domain(lines.granted, lines).any()
                | (self._of_domain(superpages.granted, superpages).any() & ~line_hit)),
            self.outcome.ppn.eq(Mux(line_hit,
                                    _select(line_hits, [leaf.ppn for leaf in lines.leaves]),
                                    superpage_ppn | (page & mask))),
            self.outcome.context_hit.eq(contexts.hit.any()),
            self.outcome.context.eq(_select(contexts.hit, contexts.contexts)),
        ]
        used = self.valid & ~self.request.probe & ~self.request.bypass
        m.d.sync += [
            self.line_touch.eq(Mux(used, line_hits, 0)),
            self.context_touch.eq(Mux(used, contexts.hit, 0)),
        ]
        return m
