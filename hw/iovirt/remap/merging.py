"""One walk for all requests that need the same line."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..stream.picker import SlotPicker, index_of

__all__ = ["WalkMerger"]


class WalkMerger(wiring.Component):
    """Decide which of the slots that missed walk, and when the others are replayed.

    The first slot that misses a line owns the line and walks. Slots that miss the line of an owner
    wait until the owner's walk is done and are then replayed, one per clock. A slot that misses
    again after two replays walks in any case. Lines are compared by a hash: if two lines have the
    same hash, the second waits without need, and walks after its replay.

    A slot is offered 2 clocks after it has missed, or 3 clocks after its owner is done.

    Parameters
    ----------
    slots : :class:`int`
        Number of slots, at least 2.
    hash_width : :class:`int`
        Width of the hash of a line, at least 1.

    Members
    -------
    missed : ``In(...)``
        Pulse ``en``: ``slot`` missed the line with this ``hash``; ``replayed``, not for the first
        time. A slot that misses for the third time walks in any case, so that no slot waits for
        more than two walks before its own: others of its hash could come for ever, and a device
        can choose them.
    done : ``In(...)``
        Pulse ``en``: the walk of ``slot`` is done.
    hold : ``In(1)``
        No new slot is chosen for a walk.
    walk : ``Out(stream.Signature(range(slots)))``
        Slots to walk.
    replay : ``Out(stream.Signature(range(slots)))``
        Slots to replay.

    Raises
    ------
    ValueError
        If a parameter is not an integer or is less than its minimum.
    """

    def __init__(self, *, slots, hash_width):
        if not isinstance(slots, int) or slots < 2:
            raise ValueError(f"Number of slots must be an integer of at least 2, not {slots!r}")
        if not isinstance(hash_width, int) or hash_width < 1:
            raise ValueError(f"Width of hash must be an integer of at least 1, not {hash_width!r}")
        self.slots = slots
        self.hash_width = hash_width
        super().__init__({
            "missed": In(wiring.Signature({
                "en":       Out(1),
                "slot":     Out(range(slots)),
                "hash":     Out(hash_width),
                "replayed": Out(1),
            })),
            "done":   In(wiring.Signature({"en": Out(1), "slot": Out(range(slots))})),
            "hold":   In(1),
            "walk":   Out(stream.Signature(range(slots))),
            "replay": Out(stream.Signature(range(slots))),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.walks = walks = SlotPicker(slots=self.slots)
        m.submodules.replays = replays = SlotPicker(slots=self.slots)

        owner     = Signal(self.slots)  # its walk is wanted or runs
        unstarted = Signal(self.slots)  # its walk is wanted
        waiting   = Signal(self.slots)  # for the walk of the slot in `owners`
        again     = Signal(self.slots)  # to be replayed
        hashes    = [Signal(self.hash_width, name=f"hash_{n}") for n in range(self.slots)]
        owners    = [Signal(range(self.slots), name=f"owner_{n}") for n in range(self.slots)]

        # At most one owner has a given hash, since only the first becomes one.
        match, missed = Signal(self.slots), Signal(self.slots)
        m.d.comb += [
            *(match[n].eq(owner[n] & (hashes[n] == self.missed.hash)) for n in range(self.slots)),
            missed.eq(Mux(self.missed.en, 1 << self.missed.slot, 0)),
        ]
        for n in range(self.slots):
            with m.If(missed[n]):
                m.d.sync += [hashes[n].eq(self.missed.hash), owners[n].eq(index_of(match))]

        # Waking comes one clock after `owner` has fallen, when nobody can begin to wait for it.
        done, ended = Signal(self.slots), Signal(range(self.slots))
        woken, awake = Signal(), Signal(self.slots)
        m.d.comb += [
            done.eq(Mux(self.done.en, 1 << self.done.slot, 0)),
            *(awake[n].eq(woken & waiting[n] & (owners[n] == ended)) for n in range(self.slots)),
        ]
        m.d.sync += [woken.eq(self.done.en), ended.eq(self.done.slot)]

        tried  = Signal(self.slots)  # waits for the second time
        third  = self.missed.replayed & (tried & missed).any()
        first  = Mux(match.any(), 0, missed)
        alone  = Mux(match.any() & third, missed, 0)  # walks, but owns nothing
        second = Mux(match.any() & ~third, missed, 0)
        m.d.sync += tried.eq((tried & ~missed) | Mux(self.missed.replayed, second, 0))
        m.d.sync += [
            owner.eq((owner & ~done) | first),
            unstarted.eq((unstarted & ~walks.taken) | first | alone),
            waiting.eq((waiting & ~awake) | second),
            again.eq((again & ~replays.taken) | awake),
        ]
        m.d.comb += [
            walks.want.eq(Mux(self.hold, 0, unstarted)),
            replays.want.eq(again),
        ]
        wiring.connect(m, wiring.flipped(self.walk), walks.o)
        wiring.connect(m, wiring.flipped(self.replay), replays.o)
        return m
