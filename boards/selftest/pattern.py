"""What a Dword of memory must hold: a hash of its place and of the round of the test."""

import random

from amaranth import *

__all__ = ["KEY_BITS", "ROUND_BITS", "pattern", "pattern_of"]

#: A key is the number of a Dword in memory.
KEY_BITS   = 15
ROUND_BITS = 8

# One word for each bit that is hashed; they are linearly independent, so no two Dwords of any two
# rounds are alike, and data at a wrong place is always noticed.
_random = random.Random(2)
COLUMNS = [_random.getrandbits(32) for _ in range(KEY_BITS + ROUND_BITS)]


def pattern_of(round, key):
    """Return the Dword of place ``key`` in ``round``."""
    hashed, word = round << KEY_BITS | key, 0
    for bit, column in enumerate(COLUMNS):
        if hashed >> bit & 1:
            word ^= column
    return word


def pattern(round, key):
    """Return the same of two values. Combinational: a tree of XORs for each bit."""
    hashed = Cat(key[:KEY_BITS], round[:ROUND_BITS])
    return Cat((hashed & Const(sum((column >> bit & 1) << n for n, column in enumerate(COLUMNS)),
                               len(hashed))).xor()
               for bit in range(32))
