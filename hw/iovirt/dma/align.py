"""Moving Dwords between the start of a payload and the byte lanes of its address."""

from amaranth import *

__all__ = ["DWORD", "lanes_below", "rotate_lanes"]

#: Bits in a Dword, the unit in which payloads are moved.
DWORD = 32


def rotate_lanes(value, amount):
    """Return ``value`` with Dword 0 moved up to lane ``amount``, the top ones wrapping around.

    One 2:1 multiplexer per bit of ``amount``.
    """
    for bit in range(len(amount)):
        value = Mux(amount[bit], value.rotate_left(DWORD << bit), value)
    return value


def lanes_below(amount):
    """Return a mask of the lanes below ``amount``; there are ``2 ** len(amount)`` lanes."""
    return Cat(amount > lane for lane in range(1 << len(amount)))
