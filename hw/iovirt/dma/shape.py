"""Sizes of the DMA data path."""

from dataclasses import dataclass

from amaranth.lib import stream
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from .align import DWORD
from .layouts import number_width, slot_write, ticket
from .share_layouts import (
    contained_signature,
    patch_beat,
    patched_beat,
    read_share,
    write_share,
)

__all__ = ["DmaShape", "share_members"]

#: Writes on AXI per class, for each payload slot: a slot is free again once its data has gone out.
OUTSTANDING_PER_SLOT = 4

#: Posted requests that may be under way where they have no slot: in front of the intake, in its
#: queue, or in the registers that tell of their end.
POSTED_MARGIN = 32


@dataclass(frozen=True)
class DmaShape:
    """Sizes of the data path, from the configuration."""

    data_width: int
    address_width: int
    max_payload_bytes: int
    writes: int
    reads: int
    pieces: int
    classes: int
    signals: int = 0
    patches: int = 0

    @property
    def lanes(self):
        """Dwords in a beat."""
        return self.data_width // DWORD

    @property
    def rows(self):
        """Beats of the largest payload."""
        return self.max_payload_bytes * 8 // self.data_width

    @property
    def largest_payload(self):
        """Encoding of the largest payload: 0 is 128 bytes."""
        return exact_log2(self.max_payload_bytes // 128)

    @property
    def tickets(self):
        """Slots that a ticket can name."""
        return max(self.writes, self.reads, self.signals)

    @property
    def ticket_width(self):
        """Width of the `id` of translations."""
        return self.ticket.size

    @property
    def shared(self):
        """Whether there may be functions that are shared."""
        return self.patches > 0

    @property
    def ticket(self):
        """The `id` of translations."""
        return ticket(slots=self.tickets, classes=self.classes, shared=self.shared)

    @property
    def outstanding(self):
        """Writes without response per class."""
        return OUTSTANDING_PER_SLOT * self.writes

    @property
    def number_width(self):
        """Width of sequence numbers of writes."""
        return number_width(writes=self.writes, outstanding=self.outstanding,
                            waiting=max(self.reads, self.signals))

    @property
    def posted(self):
        """Posted requests that the receiver has let in and that are not done, at most."""
        return self.writes + self.classes * self.outstanding + self.signals + POSTED_MARGIN

    @property
    def bus_id_width(self):
        """Width of AXI IDs: the class of a write, the buffer of a read."""
        return max(exact_log2(self.classes), exact_log2(self.pieces))


def share_members(shape):
    """Members of the data path that are only there if functions may be shared."""
    return {
        "share_read":   In(slot_write(read_share(), shape.reads)),
        "share_write":  In(slot_write(write_share(), shape.writes)),
        "unpatched":    Out(stream.Signature(patch_beat(data_width=shape.data_width,
                                                        reads=shape.reads))),
        "patched":      In(stream.Signature(patched_beat(shape.data_width))),
        "contained":    Out(contained_signature(shape.tickets, shape.reads)),
        "patches_used": Out(range(shape.patches + 1)),
    }
