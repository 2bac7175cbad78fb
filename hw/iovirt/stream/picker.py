"""Round-robin choice among the slots of a table."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["SlotPicker", "index_of"]


def index_of(onehot):
    """Return the number of the only bit that is set, or 0."""
    bits = range((len(onehot) - 1).bit_length())
    return Cat(Cat(onehot[n] for n in range(len(onehot)) if n >> bit & 1).any() for bit in bits)


def lowest_of(vector):
    """Return the number of the lowest bit that is set, by a tree of multiplexers."""
    if len(vector) == 1:
        return C(0, 0)
    half = 1 << (len(vector) - 1).bit_length() - 1
    low, high = vector[:half], vector[half:]
    index = Mux(low.any(), lowest_of(low), lowest_of(high))
    return Cat(index, C(0, half.bit_length() - 1 - len(index)), ~low.any())


class SlotPicker(wiring.Component):
    """Choose slots that want something, one per clock, in round-robin order.

    A wanting slot is chosen after at most ``slots - 1`` others. Only if no slot is in ``want``, the
    one in ``follow`` is chosen. The arbiter is a parallel prefix network of depth log2(``slots``).

    Latency is 1 clock, from ``want`` to ``o``; throughput is 1 choice per clock. There is a
    combinational path from ``o.ready`` to ``taken``.

    Parameters
    ----------
    slots : :class:`int`
        Number of slots, at least 2.

    Members
    -------
    want : ``In(slots)``
        Slots that want to be chosen. The bit of a chosen slot must fall (or ask again) in the clock
        after ``taken``.
    follow : ``In(slots)``
        At most one slot, to be chosen if nobody wants.
    taken : ``Out(slots)``
        The slot chosen in this clock, if any.
    o : ``Out(stream.Signature(range(slots)))``
        Chosen slots.

    Raises
    ------
    ValueError
        If ``slots`` is not an integer of at least 2.
    """

    def __init__(self, *, slots):
        if not isinstance(slots, int) or slots < 2:
            raise ValueError(f"Number of slots must be an integer of at least 2, not {slots!r}")
        self.slots = slots
        super().__init__({
            "want":   In(slots),
            "follow": In(slots),
            "taken":  Out(slots),
            "o":      Out(stream.Signature(range(slots))),
        })

    def elaborate(self, platform):
        m = Module()

        # First choice are the slots above the one chosen last.
        above = Signal(self.slots)
        late  = Signal(self.slots)
        m.d.comb += late.eq(self.want & above)
        below_late, below_want = (self._lower_exists(m, vector, name) for vector, name
                                  in ((late, "below_late"), (self.want, "below_want")))

        # The choice as a vector and as a number, side by side.
        grant, index = Signal(self.slots), Signal(range(self.slots))
        with m.If(late.any()):
            m.d.comb += [grant.eq(late & ~below_late), index.eq(lowest_of(late))]
        with m.Elif(self.want.any()):
            m.d.comb += [grant.eq(self.want & ~below_want), index.eq(lowest_of(self.want))]
        with m.Else():
            m.d.comb += [grant.eq(self.follow), index.eq(index_of(self.follow))]

        advance = Signal()
        m.d.comb += advance.eq(~self.o.valid | self.o.ready)
        with m.If(advance):
            m.d.comb += self.taken.eq(grant)
            m.d.sync += [
                self.o.valid.eq(self.want.any() | self.follow.any()),
                self.o.payload.eq(index),
            ]
            with m.If(self.want.any()):
                m.d.sync += above.eq(Mux(late.any(), below_late, below_want))
        return m

    def _lower_exists(self, m, vector, name):
        """Return a vector whose bit ``n`` says whether ``vector`` has a bit below ``n``."""
        result, step = vector << 1, 1
        while True:
            level = Signal(self.slots, name=f"{name}_{step}")
            m.d.comb += level.eq(result)
            if step >= self.slots:
                return level
            result, step = level | (level << step), 2 * step
