"""Payloads of the streams between users of the table port and its reader and writer."""

from amaranth.lib import data, enum

__all__ = ["MAX_WRITE_BITS", "TableError", "table_read_beat", "table_read_request",
           "table_write_request", "table_write_response"]

#: Widest single write, one 32-byte record.
MAX_WRITE_BITS = 256


class TableError(enum.Enum, shape=2):
    """What became of an access on the table port (architecture.md, errors on AXI)."""

    NONE   = 0
    ACCESS = 1  # DECERR: access fault
    POISON = 2  # SLVERR: data corruption


def table_read_request(*, address_width, tag_width):
    """One naturally aligned read of ``8 << (size_log2 - 3)`` bytes."""
    return data.StructLayout({
        "address":   address_width,
        "size_log2": 3,          # 3 to 6: 8, 16, 32 or 64 bytes
        "tag":       tag_width,  # returned with each beat
    })


def table_read_beat(*, data_width, tag_width):
    """One beat of read data, in the byte lanes of its address (a read narrower than the port uses
    the lanes that its address selects).
    """
    return data.StructLayout({
        "data":  data_width,
        "error": TableError,
        "last":  1,
        "tag":   tag_width,
    })


def table_write_request(*, address_width, tag_width):
    """One naturally aligned write of ``4 << (size_log2 - 2)`` bytes, low end first in ``data``."""
    return data.StructLayout({
        "address":   address_width,
        "size_log2": 3,               # 2 to 5: 4, 8, 16 or 32 bytes
        "data":      MAX_WRITE_BITS,
        "tag":       tag_width,
    })


def table_write_response(*, tag_width):
    """The write of ``tag`` is observable by every observer, or has failed."""
    return data.StructLayout({"error": TableError, "tag": tag_width})
