"""Whether an interrupt may use the entry that it names."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .layouts import Delivery
from .operations import Facts, looked_up

__all__ = ["SourceCheck"]


class SourceCheck(wiring.Component):
    """Compare an operation with its entry (rule S8). :class:`Facts` says what follows from it; of
    a message, the requester does not count.

    Combinational, about 3 levels of logic.

    Parameters
    ----------
    queues : :class:`int`
        Number of event queues, 1 to 256.

    Members
    -------
    i : ``In(looked_up())``
    facts : ``Out(Facts)``
    """

    def __init__(self, *, queues):
        if not isinstance(queues, int) or not 1 <= queues <= 256:
            raise ValueError(f"Number of queues must be an integer in 1..256, not {queues!r}")
        self.queues = queues
        super().__init__({"i": In(looked_up()), "facts": Out(Facts)})

    def elaborate(self, platform):
        m = Module()
        operation, entry, facts = self.i.operation, self.i.entry, self.facts
        to_queue = (entry.delivery == Delivery.QUEUE) & (entry.queue < self.queues)
        m.d.comb += [
            facts.fatal.eq(self.i.fatal),
            facts.valid.eq(entry.valid & ~self.i.fatal),
            facts.forward.eq(entry.delivery == Delivery.FORWARD),
            facts.deliverable.eq(to_queue | facts.forward),
            facts.reach.eq(operation.reach),
            facts.multi.eq(entry.multi | ~operation.multi),
            facts.same_segment.eq(operation.what.segment == entry.segment),
            facts.same_rid.eq(((operation.what.rid ^ entry.rid) & ~entry.rid_mask) == 0),
        ]
        return m
