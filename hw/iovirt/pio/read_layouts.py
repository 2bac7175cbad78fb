"""Payloads inside the path of reads."""

from amaranth.lib import data
from amaranth.utils import exact_log2

from .answer_order import token
from .layouts import TAG_WIDTH, FinishStatus, Policy

__all__ = ["read_end", "read_owner", "read_record", "read_result", "released",
           "row_width", "tag_depth"]


def tag_depth(tags):
    """Number of values of a tag, if ``tags`` are in use at once."""
    return 1024 if tags == 768 else tags


def released():
    """A tag that is given back."""
    return data.StructLayout({"tag": TAG_WIDTH})


def row_width(*, data_width, max_read_bytes):
    """Width of the number of a row in the data of a tag."""
    return exact_log2(max_read_bytes * 8 // data_width)


def read_owner(*, data_width, max_read_bytes, slots):
    """Owner of a request: what its end brings back."""
    return data.StructLayout({
        "token": token(slots=slots),
        "row":   row_width(data_width=data_width, max_read_bytes=max_read_bytes),  # the first
    })


def read_end(*, data_width, max_read_bytes, slots):
    """The end of a piece of a read."""
    return data.StructLayout({
        "owner":  read_owner(data_width=data_width, max_read_bytes=max_read_bytes, slots=slots),
        "tagged": 1,             # its data is in the buffer of `tag`
        "tag":    TAG_WIDTH,
        "status": FinishStatus,
        "data":   32,            # if not tagged
    })


def read_result():
    """What is kept of it for each slot."""
    return data.StructLayout({"value": 32, "tagged": 1, "status": FinishStatus})


def read_record(*, id_width, max_read_bytes):
    """What is kept of a piece from its request to its data."""
    return data.StructLayout({
        "id":      id_width,
        "offset":  exact_log2(max_read_bytes),  # of the first byte
        "within":  6,                           # size of a beat - 1
        "beats":   8,                           # less 1
        "last":    1,                           # ends the burst
        "illegal": 1,                           # SLVERR whatever the policy
        "policy":  Policy,
    })
