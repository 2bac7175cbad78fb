"""Places for what has to wait, in the order of each source."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .picker import SlotPicker, index_of

__all__ = ["OrderPool"]


class OrderPool(wiring.Component):
    """Give slots to what parks, and let the slots of one source go in the order they were given.

    Sources do not wait for each other. A slot knows the slot given before it to the same source:
    the youngest slot of each source is found by comparing all slots with ``source``.

    ``slot`` and ``given`` come 1 clock after ``park``; 1 slot is given per clock and 1 goes per
    clock, also if all are of one source. A slot goes 2 clocks after it has become finished and
    nothing is before it. There is a combinational path from ``source`` to ``waits``.

    Parameters
    ----------
    source_width : :class:`int`
        Width of a source, at least 1.
    slots : :class:`int`
        Number of slots, at least 2.

    Members
    -------
    source : ``In(source_width)``
        Source of what arrives.
    waits : ``Out(1)``
        Something of ``source`` is parked, so what arrives must not pass.
    park : ``In(1)``
        What arrives parks. Only if a slot is free: the user must count, and must not count on a
        slot earlier than 2 clocks after its ``release``.
    given : ``Out(1)``
        What parked in the previous clock gets ``slot``.
    slot : ``Out(range(slots))``
        See ``given``.
    finished : ``In(slots)``
        Slots that are ready to go; must not fall before the release.
    o : ``Out(stream.Signature(range(slots)))``
        Slots that go. They are still parked until they are released.
    release : ``In(1)``, ``released`` : ``In(range(slots))``
        This slot, which has gone, is free again. Slots are released in the order of ``o``.

    Raises
    ------
    ValueError
        If a parameter is not an integer or is less than its minimum.
    """

    def __init__(self, *, source_width, slots):
        if not isinstance(source_width, int) or source_width < 1:
            raise ValueError(f"Width of source must be an integer of at least 1, "
                             f"not {source_width!r}")
        if not isinstance(slots, int) or slots < 2:
            raise ValueError(f"Number of slots must be an integer of at least 2, not {slots!r}")
        self.source_width = source_width
        self.slots = slots
        super().__init__({
            "source":   In(source_width),
            "waits":    Out(1),
            "park":     In(1),
            "given":    Out(1),
            "slot":     Out(range(slots)),
            "finished": In(slots),
            "o":        Out(stream.Signature(range(slots))),
            "release":  In(1),
            "released": In(range(slots)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.free = free = SlotPicker(slots=self.slots)
        m.submodules.out = out = SlotPicker(slots=self.slots)

        taken    = Signal(self.slots)  # given, or about to be given
        present  = Signal(self.slots)  # given and not released
        youngest = Signal(self.slots)  # the last one given to its source
        blocked  = Signal(self.slots)  # waits for the slot in `previous`
        picked   = Signal(self.slots)  # has gone, or is about to
        sources  = [Signal(self.source_width, name=f"source_{n}") for n in range(self.slots)]
        previous = [Signal(range(self.slots), name=f"previous_{n}") for n in range(self.slots)]

        # Arrival: find the youngest slot of this source. It may be the one given in this clock.
        last, match, same = Signal(self.source_width), Signal(self.slots), Signal()
        before, given = Signal(self.slots), Signal(self.slots)
        m.d.comb += [
            *(match[n].eq(present[n] & youngest[n] & (sources[n] == self.source))
              for n in range(self.slots)),
            same.eq(self.given & (last == self.source)),
            self.waits.eq(match.any() | same),
        ]
        m.d.sync += self.given.eq(self.park)
        with m.If(self.park):
            m.d.sync += [last.eq(self.source), before.eq(Mux(same, given, match))]

        # Giving: a slot that is released or picked already does not block.
        m.d.comb += [
            self.slot.eq(free.o.payload),
            free.o.ready.eq(self.given),
            given.eq(Mux(self.given, 1 << self.slot, 0)),
            free.want.eq(~taken),
        ]
        for n in range(self.slots):
            with m.If(given[n]):
                m.d.sync += [
                    sources[n].eq(last),
                    previous[n].eq(index_of(before)),
                ]

        # Going: as soon as the slot before is picked, because those that are picked stay in order.
        # `follow` keeps a lone source going at one slot per clock.
        # `ready` is a register of its own to keep the arbiter's clock short.
        unblock, may_go = Signal(self.slots), Signal(self.slots)
        ready, released = Signal(self.slots), Signal(self.slots)
        m.d.comb += [
            *(unblock[n].eq(blocked[n] & out.o.valid & (previous[n] == out.o.payload))
              for n in range(self.slots)),
            may_go.eq(present & self.finished & ~picked),
            out.want.eq(ready),
            out.follow.eq(may_go & unblock),
            released.eq(Mux(self.release, 1 << self.released, 0)),
        ]
        wiring.connect(m, wiring.flipped(self.o), out.o)

        m.d.sync += [
            taken.eq((taken & ~released) | free.taken),
            present.eq((present & ~released) | given),
            ready.eq((ready | (may_go & (~blocked | unblock))) & ~out.taken),
            picked.eq((picked & ~released) | out.taken),
            youngest.eq((youngest & ~Mux(self.given, before, 0)) | given),
            blocked.eq((blocked & ~unblock)
                       | Mux((before & present & ~picked).any(), given, 0)),
        ]
        return m
