"""Waiting until what is under way is over, while more keeps coming."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Settling", "progress"]


def progress():
    """What a part on the way has: nothing (``idle``), or something that leaves now."""
    return wiring.Signature({"idle": Out(1), "leaves": Out(1)})


class Settling(wiring.Component):
    """Tell when all that was under way at a ``restart`` has left a chain of parts.

    Each part keeps the order, and what leaves it is in the next one in the clock after. A part is
    done with what came before when it is idle, or when as many as it can hold have left it; so
    whoever fills it again and again cannot keep this from coming to an end.

    Parameters
    ----------
    parts : :class:`int`
        Number of parts, at least 1.
    capacity : :class:`int`
        No part holds more.

    Members
    -------
    restart : ``In(1)``
        Pulse.
    part : ``In(progress()).array(parts)``
        In the order in which they are passed.
    settled : ``Out(1)``
        All of before the last ``restart`` is over.
    """

    def __init__(self, *, parts, capacity):
        for name, value in (("Number of parts", parts), ("Capacity", capacity)):
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} must be an integer of at least 1, not {value!r}")
        self.parts    = parts
        self.capacity = capacity
        super().__init__({
            "restart": In(1),
            "part":    In(progress()).array(parts),
            "settled": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        # One bit for the part that is waited for, and one for the end.
        at   = Signal(self.parts + 1, init=1)
        left = Signal(range(self.capacity + 1), init=self.capacity)
        idle   = Cat(part.idle for part in self.part)
        leaves = Cat(part.leaves for part in self.part)
        m.d.comb += self.settled.eq(at[-1])
        with m.If(self.restart):
            m.d.sync += [at.eq(1), left.eq(self.capacity)]
        with m.Elif(~at[-1]):
            with m.If((at & idle).any() | (left == 0)):
                m.d.sync += [at.eq(at << 1), left.eq(self.capacity)]
            with m.Elif((at & leaves).any()):
                m.d.sync += left.eq(left - 1)
        return m
