"""Device-context cache."""

from itertools import pairwise

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..ram import Plru, WayTable
from .layouts import Context, InvalidateKind, InvalidateOp, SecondStage, context_fill, context_key
from .stages import context_match, fold

__all__ = ["ContextCache"]


def _entry():
    return data.StructLayout({"valid": 1, "key": context_key(), "context": Context})


class ContextCache(wiring.Component):
    """Hold device contexts, keyed by device_id, pv and process_id. Indexed by a hash of device_id.

    A lookup starts each cycle with ``key``; ``gscids`` belong to the key of 1 cycle before,
    ``match`` to that of 2 cycles before. A lookup that meets a write to its set does not match.

    Fills and invalidations borrow the read of the lookups: ``borrow`` says when. A fill replaces
    the entry of the same key, else an empty way, else the tree-PLRU victim, so that a key is never
    held twice. A fill and an invalidation of one device take 3 cycles, one of all devices
    ``sets + 2``, one of a kind that is not for this cache 2. They are done one after the other,
    invalidations first; when ``invalidate.ready`` is asserted, the invalidation and all earlier
    fills have been written.

    After reset the cache clears itself in ``sets`` cycles and then asserts ``scrubbed``.

    Parameters
    ----------
    sets, ways : :class:`int`
        Geometry, powers of two of at least 2.

    Members
    -------
    key : ``In(context_key())``
        Key to look up.
    enable : ``In(1)``
        Contexts count at all (ddtp is neither Off nor Bare); for the key of 1 cycle before.
    gscids : ``Out(16).array(ways)``
        GSCID of each way, whether it matches or not.
    match : ``Out(context_match(ways))``
        Result of the lookup.
    touch : ``In(ways)``
        Way that served the lookup of 3 cycles before; zero for none.
    borrow : ``Out(1)``
        No lookup starts in this cycle.
    scrubbed : ``Out(1)``
        Lookups may start.
    fill : ``In(stream.Signature(context_fill()))``
        Contexts to keep.
    invalidate : ``In(stream.Signature(InvalidateOp))``
        Invalidations; a transfer means that it is done.
    """

    def __init__(self, *, sets, ways):
        self.sets = sets
        self.ways = ways
        self._table = WayTable(_entry(), sets=sets, ways=ways)
        self._plru = Plru(sets=sets, ways=ways)
        super().__init__({
            "key":        In(context_key()),
            "enable":     In(1),
            "gscids":     Out(16).array(ways),
            "match":      Out(context_match(ways)),
            "touch":      In(ways),
            "borrow":     Out(1),
            "scrubbed":   Out(1),
            "fill":       In(stream.Signature(context_fill())),
            "invalidate": In(stream.Signature(InvalidateOp)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.table = self._table
        m.submodules.plru = self._plru
        self._elaborate_lookup(m)
        self._elaborate_maintenance(m)
        return m

    def _set_of(self, device_id):
        return fold(device_id, (self.sets - 1).bit_length())

    def _elaborate_lookup(self, m):
        key = Signal(context_key(), reset_less=True)
        m.d.sync += key.eq(self.key)
        for way, entry in enumerate(self._table.entries):
            m.d.comb += self.gscids[way].eq(entry.context.gscid)
            hit = Signal(name=f"hit_{way}")
            m.d.comb += hit.eq(self.enable & ~self._table.collided & entry.valid
                               & (entry.key.as_value() == key.as_value()))
            m.d.sync += [
                self.match.hit[way].eq(hit),
                self.match.guest[way].eq(hit & (entry.context.mode != SecondStage.BARE)),
                self.match.contexts[way].eq(entry.context),
            ]

    def _elaborate_maintenance(self, m):
        table, plru = self._table, self._plru
        op, fill = self.invalidate.payload, self.fill.payload

        counter  = Signal(range(self.sets))
        clearing = Signal()  # an invalidation, as opposed to a fill
        now_set  = Signal(range(self.sets))
        same     = Signal(self.ways)  # entries that the operation concerns
        fallback = Signal(self.ways)  # where to put a new key, one-hot

        # Lookups of 1, 2, 3 cycles ago, for `touch`.
        looked = [Signal(range(self.sets), name=f"looked_{n}", reset_less=True) for n in range(4)]
        m.d.comb += looked[0].eq(table.read_set)
        m.d.sync += [older.eq(newer) for newer, older in pairwise(looked)]

        device_id, target = Signal(24), Signal(24)
        m.d.comb += [
            device_id.eq(Mux(self.invalidate.valid, op.device_id, fill.key.device_id)),
            table.read_set.eq(Mux(self.borrow, self._set_of(device_id),
                                  self._set_of(self.key.device_id))),
            plru.read_set.eq(table.read_set),
            plru.touch_set.eq(looked[3]),
            plru.touch_ways.eq(self.touch),
        ]
        for entry in table.write_data:
            m.d.comb += [entry.key.eq(fill.key), entry.context.eq(fill.context)]

        empty = Cat(~entry.valid for entry in table.entries)
        with m.FSM():
            with m.State("SCRUB"):
                m.d.comb += [table.write_set.eq(counter), table.write_ways.eq(~0)]
                m.d.sync += counter.eq(counter + 1)
                with m.If(counter == self.sets - 1):
                    m.d.sync += self.scrubbed.eq(1)
                    with m.If(self.scrubbed):
                        m.next = "DONE"
                    with m.Else():
                        m.next = "IDLE"
            with m.State("IDLE"):
                m.d.sync += [clearing.eq(self.invalidate.valid), target.eq(device_id),
                             now_set.eq(table.read_set)]
                with m.If(self.invalidate.valid):
                    m.d.comb += self.borrow.eq((op.kind == InvalidateKind.CONTEXT) & op.dv)
                    with m.If(op.kind != InvalidateKind.CONTEXT):
                        m.next = "DONE"
                    with m.Elif(op.dv):
                        m.next = "COMPARE"
                    with m.Else():
                        m.next = "SCRUB"
                with m.Elif(self.fill.valid):
                    m.d.comb += self.borrow.eq(1)
                    m.next = "COMPARE"
            with m.State("COMPARE"):
                m.d.sync += fallback.eq(Mux(empty.any(), empty & -empty, plru.victim))
                for way, entry in enumerate(table.entries):
                    same_device = entry.key.device_id == target
                    same_process = (entry.key.pv == fill.key.pv) & (entry.key.pid == fill.key.pid)
                    m.d.sync += same[way].eq(entry.valid & same_device & (clearing | same_process))
                m.next = "WRITE"
            with m.State("WRITE"):
                m.d.comb += [
                    table.write_set.eq(now_set),
                    table.write_ways.eq(Mux(clearing | same.any(), same, fallback)),
                    self.invalidate.ready.eq(clearing),
                    self.fill.ready.eq(~clearing),
                ]
                # A new context is the last to be replaced.
                with m.If(~clearing):
                    m.d.comb += [entry.valid.eq(1) for entry in table.write_data]
                    m.d.comb += [plru.touch_set.eq(now_set), plru.touch_ways.eq(table.write_ways)]
                m.next = "IDLE"
            with m.State("DONE"):
                m.d.comb += self.invalidate.ready.eq(1)
                m.next = "IDLE"
