"""Payloads between the parts of attribution."""

from amaranth.lib import data, wiring
from amaranth.lib.wiring import Out

from .share_layouts import (
    COLOUR_WIDTH,
    KEY_WIDTH,
    PAIR_WIDTH,
    DenialCause,
    Kind,
    attributed,
    read_share,
    write_share,
)

__all__ = ["CheckRequest", "Checked", "leaving", "owner_write", "slot_write"]


class CheckRequest(data.Struct):
    """What the check looks at of a request."""

    rid:       16
    pv:        1
    pid:       20
    write:     1
    at:        2
    iova:      64
    bypass:    1
    length_dw: 11
    empty:     1


class Checked(data.Struct):
    """What the check has found of a request, before its ring is asked for."""

    cause:     DenialCause  # why it is denied, or NONE
    freeze:    1            # the guest has to be frozen if it is denied, and may not be so yet
    shared:    1            # of a guest, or denied
    guest:     1            # goes on as the guest's
    strip:     1            # the address goes on as its offset
    coloured:  1            # the parts of the address mean something
    ring:      1            # the ring is asked
    kind:      Kind
    colour:    COLOUR_WIDTH
    key:       KEY_WIDTH
    device_id: 24           # of the guest
    template:  3            # of a list
    number:    PAIR_WIDTH      # by which the guest knows its queue


def leaving(id_width):
    """A request that goes to translation, and what the data path is told of it."""
    return data.StructLayout({
        "request": attributed(id_width),
        "access":  1,  # it has a slot: it is no interrupt
        "slot":    8,
        "read":    read_share(),
        "write":   write_share(),
    })


def slot_write(shape, slots):
    """Write port of a memory with one entry per slot, seen from the writer."""
    return wiring.Signature({"en": Out(1), "slot": Out(range(slots)), "data": Out(shape)})


def owner_write():
    """Who an access of the data path belongs to, by its slot; seen from the teller."""
    return wiring.Signature({
        "en":        Out(1),
        "write":     Out(1),
        "slot":      Out(8),
        "colour":    Out(COLOUR_WIDTH),
        "device_id": Out(24),  # as received
    })
