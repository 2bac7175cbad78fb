"""Payloads between the guest table and who looks guests up."""

from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .share_layouts import COLOUR_WIDTH, PAIR_WIDTH, GuestEntry, GuestState

__all__ = ["READ_LATENCY", "GuestFound", "GuestLookup", "GuestWrite", "check_guests",
           "guest_lookup", "guest_read", "passes"]

#: Clocks from a read to what was found.
READ_LATENCY = 4


def check_guests(guests):
    """Raise ValueError unless a table can have ``guests`` guests."""
    if not isinstance(guests, int) or guests & (guests - 1) or not 4 <= guests <= 256:
        raise ValueError(f"Number of guests must be a power of two in 4..256, not {guests!r}")


class GuestFound(data.Struct):
    """What the table knows of a guest. If ``bad`` or ``odd``, nothing of it can be trusted."""

    entry:  GuestEntry
    state:  GuestState  # FREEZE if it is RUN in software's view, but ``fatal``
    fatal:  1
    exists: 1           # there is such a guest, and it is not the manager
    bad:    1           # the entry has errors that cannot be corrected
    odd:    1           # the state has an error


class GuestLookup(data.Struct):
    """What those who serve guests have to know of one."""

    state:      GuestState
    fatal:      1
    first_pair: PAIR_WIDTH
    pairs:      8
    function:   2
    ok:         1           # there is such a guest, and its entry and state are sound


class GuestWrite(data.Struct):
    """New content of the table."""

    guest:     COLOUR_WIDTH
    set_entry: 1
    entry:     GuestEntry
    set_state: 1
    state:     GuestState
    fatal:     1


def guest_read():
    """Fast read port of the guest table, seen from the reader.

    ``guest`` may be read in each clock with ``valid``; ``found`` comes :data:`READ_LATENCY` clocks
    later. From the clock of ``hold`` on the reader starts nothing new; what it starts in a clock
    without ``hold`` may be read up to 2 clocks later. ``idle`` tells that everything it has
    started has left, together with the verdict about it.
    """
    return wiring.Signature({
        "valid": Out(1),
        "guest": Out(COLOUR_WIDTH),
        "idle":  Out(1),
        "hold":  In(1),
        "found": In(GuestFound),
    })


def guest_lookup():
    """Slow read port of the guest table, seen from the reader: one answer for each request."""
    return wiring.Signature({
        "request": Out(stream.Signature(COLOUR_WIDTH)),
        "answer":  In(stream.Signature(GuestLookup)),
    })


def passes(state):
    """Return whether the DMA of a guest in ``state`` passes."""
    return ((state == GuestState.RUN) | (state == GuestState.FREEZE) | (state == GuestState.DRAIN))
