"""Rings of records in memory, as the command and the fault queue are."""

from amaranth import *

__all__ = ["beyond", "ring_address", "ring_mask"]


def ring_mask(log2sz_1):
    """Return the 32-bit mask of an index into a ring of ``2 << log2sz_1`` entries.

    ``log2sz_1`` is the field LOG2SZ-1 of cqb or fqb. Indexes that software writes (cqt, fqh) read
    back masked by this.
    """
    return Cat(1, *(log2sz_1 >= bit for bit in range(1, 32)))


def ring_address(ppn, index, *, entry_log2):
    """Return the 56-bit address of entry ``index`` of ``1 << entry_log2`` bytes.

    A ring is aligned to its size, so that no addition is needed.
    """
    return (Cat(C(0, 12), ppn) | Cat(C(0, entry_log2), index))[:56]


def beyond(address, address_width):
    """Return whether ``address`` needs more than ``address_width`` bits."""
    return address[address_width:].any()
