"""What passes between the stages of the pair engine."""

from amaranth import *
from amaranth.lib import data, enum

from .share_layouts import (
    COLOUR_WIDTH,
    COUNT_WIDTH,
    INDEX_WIDTH,
    PAIR_WIDTH,
    WINDOW,
    PairEntry,
    PairState,
)

__all__ = [
    "Counted",
    "Looked",
    "PairClient",
    "PairOp",
    "Placed",
    "check_pairs",
    "line",
    "modulo",
]

#: Signed differences of counts.
DIFFERENCE = signed(COUNT_WIDTH + 1)


def check_pairs(pairs):
    """Check the number of pairs of a table."""
    if type(pairs) is not int or not 4 <= pairs <= 1 << PAIR_WIDTH or pairs & (pairs - 1):
        raise ValueError(f"Number of pairs must be a power of two in 4..{1 << PAIR_WIDTH}, "
                         f"not {pairs!r}")


class PairClient(enum.Enum, shape=2):
    """Who wants something done; in the order in which they are served."""

    RING     = 0
    DOORBELL = 1
    GRANT    = 2
    WINDOW   = 3


class PairOp(data.Struct):
    """Something that is done to a pair; all pass one pipeline."""

    client:   PairClient
    write:    1   # RING: write; DOORBELL: not of a shadow; WINDOW: new entry
    pair:     PAIR_WIDTH
    side:     1   # RING, DOORBELL
    colour:   COLOUR_WIDTH
    function: 2   # RING
    value:    32  # RING: offset; DOORBELL: value; GRANT: limit
    length:   13  # RING
    empty:    1   # RING


class Looked(data.Struct):
    """An operation with what the tables say of its pair."""

    op:      PairOp
    entry:   PairEntry
    state:   PairState
    bad:     1  # a table has errors that cannot be corrected
    missing: 1  # there is no such pair


class Placed(data.Struct):
    """An operation, and where in its rings it is.

    Distances are of indices, modulo the depth of the ring; of indices in the same lap if they are
    called signed.
    """

    client:   PairClient
    write:    1
    pair:     PAIR_WIDTH
    side:     1
    colour:   COLOUR_WIDTH  # who asks
    offset:   22            # RING: of the first byte
    empty:    1
    batch:    8             # GRANT: most to be granted
    value:    COUNT_WIDTH   # DOORBELL
    entry:    PairEntry
    state:    PairState
    bad:      1
    missing:  1
    known:    1  # the entry is valid
    ok:       1  # the operation may be done, as far as its pair and place say
    place:    COUNT_WIDTH   # distance of the value or first entry from the head or first unfetched
    behind:   DIFFERENCE    # the same, signed
    unfetched: COUNT_WIDTH  # distance of the granted tail from the first unfetched entry
    asked:    COUNT_WIDTH   # of the requested tail: GRANT: from the granted one; else from `first`
    whole:    7             # RING: entries touched, up to the last byte of a whole one; at most 64
    part:     1             # RING: the first one is touched partly
    ahead:    1             # RING: the next completion slot is among, or before, those written
    written:  DIFFERENCE    # RING: completions that end in this write, from the next slot on
    skipped:  1             # RING: the first that ends is not the next slot
    ends:     1             # RING: at least one ends
    room:     DIFFERENCE    # GRANT: what the limits of commands in flight leave


class Counted(data.Struct):
    """What becomes of the counts of a pair, and who is to be told."""

    client:    PairClient
    pair:      PAIR_WIDTH
    side:      1
    colour:    COLOUR_WIDTH  # who asked
    owner:     COLOUR_WIDTH
    offset:    22
    write:     1   # the state has to be written
    ok:        1   # the operation was done
    state:     PairState
    value:     16  # DOORBELL: the last value that was accepted
    ring:      1   # DOORBELL: to be told to the device
    granted:   8   # GRANT: now
    more:      1   # GRANT: there is room for more
    tail:      22
    function:  2
    paired:    1
    completed: INDEX_WIDTH  # or given back by a new entry
    wake:      1   # something may be grantable now
    odd:       1   # completions that nothing was granted for
    bad:       1   # the tables have errors


def modulo(difference, size):
    """Return ``difference`` of two numbers below ``size``, modulo ``size``."""
    return Mux(difference < 0, difference + size, difference)[:COUNT_WIDTH]


def line(m, value, clocks):
    """Return ``value`` as it is, as it was a clock ago, and so on."""
    values = [value]
    for n in range(clocks):
        values.append(Signal.like(value, name=f"{getattr(value, 'name', 'line')}_{n + 1}"))
        m.d.sync += values[-1].eq(values[-2])
    return values


assert WINDOW == 64 and INDEX_WIDTH < COUNT_WIDTH
