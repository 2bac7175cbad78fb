"""Page-table walker of the remap engine."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from ..axi import table_read_beat, table_read_request
from ..config import RemapConfig
from .layouts import (
    FaultRecord,
    InvalidateOp,
    context_fill,
    line_fill,
    superpage_fill,
    walk_done,
    walk_request,
)
from .pointers import PointerCache
from .walk_beats import WalkBeats
from .walk_contexts import WalkContexts
from .walk_finish import WalkFinish
from .walk_invalidation import WalkInvalidation
from .walk_lines import LineReader
from .walk_slots import WalkSlots
from .walk_start import WalkStart
from .walk_state import ddtp_layout
from .walk_steps import WalkSteps

__all__ = ["Walker"]


class Walker(wiring.Component):
    """Find device contexts and translations in memory, many at a time (RISC-V IOMMU 1.0, 2.3).

    ::

        walk, prefetch --> WalkStart --> WalkSteps --> read      WalkInvalidation <-- invalidate
                               |          ^  ^  |                     |     | sweep
                           WalkSlots <----+--|--|---------- mark -----+     v
                                             |  +------- pointers ----- PointerCache
               beats --> WalkBeats ----------+  +--> WalkContexts --> context_fill
                             |                  +--> WalkFinish   --> line_fill, superpage_fill,
                             +--> LineReader --------^                fault, done

    Each walk ends in one ``done``, or is a prefetch and ends silently. It is answered after its
    fault has been taken by ``fault``, or after what it found has been taken by ``line_fill`` or
    ``superpage_fill``. Device contexts are only offered; if four wait, more are dropped.

    A walk that ``invalidate`` concerns fills nothing and does not fault with what it has read: a
    prefetch ends, a demand walk starts again at ``ddtp``. ``invalidate`` transfers when all that
    ended before has been taken, at least 5 clocks after it was offered; if pointers are swept
    (IOTLB with ``av`` clear), ``pointers + 6``.

    A walk takes 6 clocks from its start, and from the last beat of a read, to its next read.
    ``done`` of a line comes 17 clocks after its last beat, other answers 6 or 7. A turn of any walk
    takes a clock, and a line 9, so that lines are found at 1 per 9 clocks at best. While ``hold``,
    and while an invalidation runs, requests wait. A combinational path runs from ``walk.valid`` to
    ``prefetch.ready``.

    Parameters
    ----------
    slot_width : :class:`int`
        Width of the number of a miss-file entry, at least 1.
    table_width : :class:`int`
        Width of a beat of ``beats``: 64, 128, 256 or 512.
    remap : :class:`RemapConfig`
        Geometry.

    Members
    -------
    walk : ``In(stream.Signature(walk_request(slot_width)))``
        Demand walks. ``prefetch`` is ignored. A request that waits while device contexts are
        invalidated is not marked: it must not carry a context from before.
    prefetch : ``In(stream.Signature(walk_request(slot_width)))``
        Prefetches; they start only while ``spare`` and while no demand walk can.
    spare : ``Out(1)``
        A walk is free besides those that are kept for demand.
    done : ``Out(stream.Signature(walk_done(slot_width, address_width)))``
        Answers to demand walks.
    line_fill, superpage_fill, context_fill : ``Out(stream.Signature(...))``
        What the caches may keep.
    read : ``Out(stream.Signature(table_read_request(...)))``
        Reads; the tag is the walk.
    beats : ``In(stream.Signature(table_read_beat(...)))``
        Their data: beats of one read in order, beats of several in any order. Always accepted.
    fault : ``Out(stream.Signature(FaultRecord))``
        Faults to be recorded.
    ddtp : ``In(ddtp_layout())``
        Mode and root of the device directory.
    hold : ``In(1)``
        Start no walk, and none again.
    invalidate : ``In(stream.Signature(InvalidateOp))``
        Invalidations.
    """

    def __init__(self, *, slot_width, table_width, remap):
        if type(slot_width) is not int or slot_width < 1:
            raise ValueError("Width of a slot number must be an integer of at least 1, not "
                             f"{slot_width!r}")
        if table_width not in (64, 128, 256, 512):
            raise ValueError(f"Table width must be 64, 128, 256 or 512, not {table_width!r}")
        if not isinstance(remap, RemapConfig):
            raise TypeError(f"Configuration must be a RemapConfig, not {remap!r}")
        self.slot_width  = slot_width
        self.table_width = table_width
        self.remap       = remap
        self.tag_width   = (remap.walks - 1).bit_length()
        address_width    = remap.physical_address_bits
        read = table_read_request(address_width=address_width, tag_width=self.tag_width)
        beat = table_read_beat(data_width=table_width, tag_width=self.tag_width)
        super().__init__({
            "walk":           In(stream.Signature(walk_request(slot_width))),
            "prefetch":       In(stream.Signature(walk_request(slot_width))),
            "spare":          Out(1),
            "done":           Out(stream.Signature(walk_done(slot_width, address_width))),
            "line_fill":      Out(stream.Signature(line_fill(address_width))),
            "superpage_fill": Out(stream.Signature(superpage_fill(address_width))),
            "context_fill":   Out(stream.Signature(context_fill())),
            "read":           Out(stream.Signature(read)),
            "beats":          In(stream.Signature(beat)),
            "fault":          Out(stream.Signature(FaultRecord)),
            "ddtp":           In(ddtp_layout()),
            "hold":           In(1),
            "invalidate":     In(stream.Signature(InvalidateOp)),
        })

    def elaborate(self, platform):
        m = Module()
        remap, size = self.remap, {"address_width": self.remap.physical_address_bits}
        walks = remap.walks
        m.submodules.start = start = WalkStart(walks=walks, slot_width=self.slot_width, **size)
        m.submodules.slots = slots = WalkSlots(walks=walks)
        m.submodules.steps = steps = WalkSteps(slot_width=self.slot_width, remap=remap)
        m.submodules.beats = beats = WalkBeats(walks=walks, data_width=self.table_width)
        m.submodules.pointers = pointers = PointerCache(
            entries=remap.pointers, gpa_bits=remap.gpa_bits, **size)
        m.submodules.contexts = contexts = WalkContexts()
        m.submodules.lines = lines = LineReader(walks=walks, data_width=self.table_width, **size)
        m.submodules.finish = finish = WalkFinish(walks=walks, slot_width=self.slot_width, **size)
        m.submodules.invalidation = invalidation = WalkInvalidation(
            walks=walks, contexts=contexts.depth)

        # Streams between the parts, and to the ports.
        connect(m, flipped(self.walk), start.walk)
        connect(m, flipped(self.prefetch), start.prefetch)
        connect(m, start.first, steps.first)
        connect(m, flipped(self.beats), beats.beats)
        connect(m, steps.read, flipped(self.read))
        connect(m, steps.job, finish.job)
        connect(m, steps.line, lines.job)
        connect(m, steps.context, contexts.i)
        connect(m, contexts.o, flipped(self.context_fill))
        connect(m, lines.pages, finish.pages)
        connect(m, finish.done, flipped(self.done))
        connect(m, finish.fault, flipped(self.fault))
        connect(m, finish.line_fill, flipped(self.line_fill))
        connect(m, finish.superpage_fill, flipped(self.superpage_fill))
        connect(m, flipped(self.invalidate), invalidation.invalidate)
        connect(m, invalidation.sweep, pointers.sweep)

        m.d.comb += [
            # Starts
            invalidation.hold.eq(self.hold),
            start.go.eq(invalidation.go), start.busy.eq(steps.acting),
            start.free.eq(slots.free), start.index.eq(slots.index), start.spare.eq(slots.spare),
            slots.take.eq(start.take), self.spare.eq(slots.spare),
            steps.take.eq(start.take), steps.start.eq(start.state), steps.index.eq(slots.index),
            steps.go.eq(invalidation.go), steps.ddtp.eq(self.ddtp),
            # Reads
            beats.issue.eq(steps.issue), beats.issue_walk.eq(steps.actor),
            beats.issue_word.eq(steps.issue_word),
            steps.completed.eq(beats.completed), steps.walk.eq(beats.walk),
            steps.access.eq(beats.access), steps.poison.eq(beats.poison),
            beats.looking.eq(steps.looking), beats.look.eq(steps.look), beats.peek.eq(lines.peek),
            steps.word.eq(beats.word), steps.error.eq(beats.error),
            lines.word.eq(beats.word), lines.error.eq(beats.error),
            lines.grant.eq(~steps.looking),
            # Pointers
            pointers.look.eq(steps.look_pointer),
            steps.hit.eq(pointers.hit), steps.pointer.eq(pointers.table),
            pointers.fill.eq(steps.point), pointers.fill_key.eq(steps.point_key),
            pointers.fill_table.eq(steps.point_table),
            # Marks
            slots.update.eq(steps.acting | start.take), slots.update_index.eq(steps.actor),
            slots.device_id.eq(steps.device_id), slots.known.eq(steps.known),
            slots.gscid.eq(steps.gscid), slots.op.eq(self.invalidate.p),
            slots.mark.eq(invalidation.mark), slots.look.eq(steps.look_stale),
            steps.stale.eq(slots.stale), slots.fresh.eq(steps.fresh),
            slots.fresh_index.eq(steps.actor),
            # Ends
            slots.release.eq(finish.release), slots.release_index.eq(finish.walk),
            invalidation.job_level.eq(finish.level), invalidation.job_left.eq(finish.release),
            invalidation.context_level.eq(contexts.level),
            invalidation.context_left.eq(contexts.left),
        ]
        return m
