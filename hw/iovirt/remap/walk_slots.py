"""Which walks run, and which of them an invalidation concerns."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .layouts import InvalidateKind, InvalidateOp

__all__ = ["WalkSlots", "fold"]

#: Width of the hashes that invalidations are compared with.
FOLD = 6


def fold(value):
    """Return a hash of :data:`FOLD` bits; equal values have equal hashes."""
    parts = [value[n:n + FOLD] for n in range(0, len(value), FOLD)]
    result = parts[0]
    for part in parts[1:]:
        result = result ^ part
    return result


class WalkSlots(wiring.Component):
    """Allocate walks, and mark the running ones stale.

    Of each walk a hash of its device_id and of its GSCID is kept, so that all are compared with an
    invalidation at once. A walk of another guest is marked if its hash happens to be the same,
    which costs it time and nothing else. A walk whose device context is not known is concerned by
    every invalidation of translations.

    A free walk is offered every other clock. A mark made in a clock is seen by ``stale`` in that
    clock already.

    Parameters
    ----------
    walks : :class:`int`
        Walks in flight, at least 2.

    Members
    -------
    free, index : ``Out(1)``, ``Out(range(walks))``
        A free walk.
    take : ``In(1)``
        The offered walk starts. Only while ``free``.
    spare : ``Out(1)``
        Besides the walks that are kept for demand (a quarter, at least one), one is free.
    release : ``In(1)``, ``release_index`` : ``In(range(walks))``
        The walk is over.
    update : ``In(1)``
        What is known of walk ``update_index`` is ``device_id``, and if ``known`` its ``gscid``.
    op : ``In(InvalidateOp)``, ``mark`` : ``In(1)``
        Mark the walks that ``op`` concerns; ``op`` must have been there a clock before ``mark``.
    look, stale : ``In(range(walks))``, ``Out(1)``
        Whether walk ``look`` is stale.
    fresh : ``In(1)``, ``fresh_index`` : ``In(range(walks))``
        The walk starts again: it is no longer stale, unless it is being marked.
    """

    def __init__(self, *, walks):
        if type(walks) is not int or walks < 2:
            raise ValueError(f"Number of walks must be an integer of at least 2, not {walks!r}")
        self.walks = walks
        super().__init__({
            "free":          Out(1),
            "index":         Out(range(walks)),
            "take":          In(1),
            "spare":         Out(1),
            "release":       In(1),
            "release_index": In(range(walks)),
            "update":        In(1),
            "update_index":  In(range(walks)),
            "device_id":     In(24),
            "known":         In(1),
            "gscid":         In(16),
            "op":            In(InvalidateOp),
            "mark":          In(1),
            "look":          In(range(walks)),
            "stale":         Out(1),
            "fresh":         In(1),
            "fresh_index":   In(range(walks)),
        })

    def elaborate(self, platform):
        m = Module()
        bit = lambda enable, index: Mux(enable, 1 << index, 0)[:self.walks]

        # Allocation. The offer is made in one clock and stands until it is taken.
        running, used = Signal(self.walks), Signal(range(self.walks + 1))
        kept = max(1, self.walks // 4)
        m.d.sync += [
            running.eq((running | bit(self.take, self.index))
                       & ~bit(self.release, self.release_index)),
            used.eq(used + self.take - self.release),
            self.spare.eq(used + self.take < self.walks - kept),
        ]
        with m.If(~self.free | self.take):
            m.d.sync += self.free.eq(~self.take & ~running.all())
            for walk in reversed(range(self.walks)):
                with m.If(~running[walk]):
                    m.d.sync += self.index.eq(walk)

        # Marks. The comparison has a clock of its own.
        device_hash, guest_hash = Signal(FOLD), Signal(FOLD)
        m.d.comb += [device_hash.eq(fold(self.op.device_id)), guest_hash.eq(fold(self.op.gscid))]
        concerned, stale, marked = (Signal(self.walks) for _ in range(3))
        for walk in range(self.walks):
            device, guest = (Signal(FOLD, name=f"{name}_{walk}") for name in ("device", "guest"))
            known = Signal(name=f"known_{walk}")
            with m.If(self.update & (self.update_index == walk)):
                m.d.sync += [
                    device.eq(fold(self.device_id)),
                    guest.eq(fold(self.gscid)),
                    known.eq(self.known),
                ]
            m.d.sync += concerned[walk].eq(Mux(
                self.op.kind == InvalidateKind.CONTEXT,
                ~self.op.dv | (device == device_hash),
                ~self.op.gv | ~known | (guest == guest_hash)))
        m.d.comb += [
            marked.eq(stale | Mux(self.mark, concerned, 0)),
            self.stale.eq(marked.bit_select(self.look, 1)),
        ]
        m.d.sync += stale.eq((stale & ~bit(self.fresh, self.fresh_index)
                              & ~bit(self.take, self.index)) | Mux(self.mark, concerned, 0))
        return m
