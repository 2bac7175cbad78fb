"""The beginning of a walk."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .layouts import walk_request
from .rules import check_physical
from .walk_state import Step, walk_state

__all__ = ["WalkStart"]


class WalkStart(wiring.Component):
    """Give a free walk to what asks for one. Demand comes first, prefetches get spare walks only.

    A walk starts every other clock. It gets its first turn when ``first`` transfers, from the clock
    after its start on. There are combinational paths from ``walk.valid`` to ``prefetch.ready``, and
    from both streams to the other outputs.

    Parameters
    ----------
    walks : :class:`int`
        Walks in flight, at least 2.
    slot_width, address_width : :class:`int`
        Widths of the number of a miss-file entry and of a physical address.

    Members
    -------
    walk, prefetch : ``In(stream.Signature(walk_request(slot_width)))``
        Walks that are wanted.
    go : ``In(1)``
        Walks may start.
    busy : ``In(1)``
        The memory of walks is being written by somebody else.
    free, index, spare : ``In(1)``, ``In(range(walks))``, ``In(1)``
        The walk that is free, and whether a prefetch may have it.
    take, state : ``Out(1)``, ``Out(walk_state(...))``
        The free walk starts, with this state.
    first : ``Out(stream.Signature(range(walks)))``
        Walks that have started.
    """

    def __init__(self, *, walks, slot_width, address_width):
        check_physical(address_width)
        self.walks         = walks
        self.slot_width    = slot_width
        self.address_width = address_width
        super().__init__({
            "walk":     In(stream.Signature(walk_request(slot_width))),
            "prefetch": In(stream.Signature(walk_request(slot_width))),
            "go":       In(1),
            "busy":     In(1),
            "free":     In(1),
            "index":    In(range(walks)),
            "spare":    In(1),
            "take":     Out(1),
            "state":    Out(walk_state(slot_width, address_width)),
            "first":    Out(stream.Signature(range(walks))),
        })

    def elaborate(self, platform):
        m = Module()
        room, new = Signal(), Signal.like(self.walk.p)
        m.d.comb += [
            room.eq(self.go & ~self.busy & self.free & (~self.first.valid | self.first.ready)),
            self.walk.ready.eq(room),
            self.prefetch.ready.eq(room & self.spare & ~self.walk.valid),
            self.take.eq(room & (self.walk.valid | (self.prefetch.valid & self.spare))),
            new.eq(Mux(self.walk.valid, self.walk.p, self.prefetch.p)),
            self.state.access.eq(new.access),
            self.state.slot.eq(new.slot),
            self.state.prefetch.eq(~self.walk.valid),
            self.state.step.eq(Step.DIRECTORY),
        ]
        # A context that is known was found by this process_id, so the process_id is permitted.
        with m.If(new.context_hit):
            m.d.comb += [
                self.state.context.eq(new.context),
                self.state.pdtv.eq(1),
                self.state.step.eq(Step.START),
            ]
        with m.If(~self.first.valid | self.first.ready):
            m.d.sync += [self.first.valid.eq(self.take), self.first.p.eq(self.index)]
        return m
