"""Payloads inside the requester."""

from amaranth import *
from amaranth.lib import data, enum, wiring
from amaranth.lib.wiring import Out
from amaranth.utils import exact_log2

from ..pcie.layouts import STAMP_WIDTH, CompletionStatus
from .layouts import CORE_WIDTH, GUEST_WIDTH, TAG_WIDTH, FinishStatus, NpKind, finish

__all__ = ["CLIENTS", "TIME_WIDTH", "CompletionFacts", "Phase", "allocation", "count_width",
           "free_tag", "position_width", "status_of", "store_beat", "tag_entry", "tag_operation",
           "tag_progress", "tag_result", "unsent_tag"]

#: Clients of the requester: reads of cores, and the configuration unit.
CLIENTS = 2

#: Width of the time, in ticks of a 16th of the time-out period.
TIME_WIDTH = 8


class Phase(enum.Enum, shape=2):
    """Where the request of a tag is in its life. A tag that was given out anew is WAITING."""

    ENDED      = 0  # or never used
    WAITING    = 1  # for completions
    QUARANTINE = 2  # timed out; late completions may come, or the TLP still waits to be sent
    OVER       = 3  # timed out, and nothing can come any more


class CompletionFacts(data.Struct):
    """What the header of a completion says by itself."""

    tag:        TAG_WIDTH
    ours:       1   # Requester ID and tag could be those of a request
    plain:      1   # type, traffic class and attributes are those of the answer to a request
    success:    1   # status SC
    unready:    1   # status RRS
    status:     FinishStatus  # for a request to memory
    has_data:   1
    poisoned:   1   # EP, with data
    byte_count: 13
    lower_addr: 7
    length_dw:  11
    ends:       1   # Length covers all bytes left, without a Dword too many
    cut:        1   # Length covers less, up to a multiple of 64 bytes
    remains:    10  # then: bytes still to come after it


def count_width(max_read_bytes):
    """Width of a number of bytes, 0 to ``max_read_bytes``."""
    return exact_log2(max_read_bytes) + 1


def position_width(max_read_bytes):
    """Width of a place in the buffer of a tag; it holds the lower address of a completion, too."""
    return max(7, exact_log2(max_read_bytes))


def free_tag(depth):
    """A tag, and the lap that its next user will have: it changes with each user."""
    return data.StructLayout({"tag": range(depth), "lap": 1})


def unsent_tag(depth):
    """A tag whose TLP waits to be sent, if `valid`."""
    return data.StructLayout({"valid": 1, "tag": range(depth)})


def tag_entry(*, owner_width, max_read_bytes):
    """What is kept of a request; written once, when it gets its tag."""
    return data.StructLayout({
        "lap":            1,
        "client":         range(CLIENTS),
        "kind":           NpKind,
        "count":          count_width(max_read_bytes),     # bytes to come, as in Byte Count
        "position":       position_width(max_read_bytes),  # of the first byte
        "core":           CORE_WIDTH,
        "guest":          GUEST_WIDTH,
        "completer":      16,
        "completer_mask": 16,
        "owner":          owner_width,
        "address":        64,
        "issued":         TIME_WIDTH,
    })


def tag_progress(*, max_read_bytes):
    """What has become of it; meaningful if the lap is that of the entry, else it is fresh."""
    return data.StructLayout({
        "lap":      1,
        "phase":    Phase,
        "left":     count_width(max_read_bytes),
        "position": position_width(max_read_bytes),  # of the next byte
        "poisoned": 1,
        "since":    TIME_WIDTH,                      # start of the quarantine
        "data":     32,                              # the first Dword
    })


def tag_operation(*, depth, data_width, owner_width, max_read_bytes):
    """A beat of a completion, or a look at a tag, and all that is known then."""
    return data.StructLayout({
        "beat":      1,   # of a completion, else nothing or a look
        "look":      1,
        "tag":       range(depth),
        "known":     1,   # `entry` is of a request
        "unsent":    1,   # its TLP waits to be sent
        "entry":     tag_entry(owner_width=owner_width, max_read_bytes=max_read_bytes),
        "progress":  tag_progress(max_read_bytes=max_read_bytes),
        "returned":  1,   # lap in which the tag was last returned
        "facts":     CompletionFacts,
        "completer": 16,
        "row":       exact_log2(max(1, max_read_bytes * 8 // data_width)),  # beats before this one
        "data":      data_width,
        "strb":      data_width // 32,
        "stamp":     STAMP_WIDTH,
        "passed":    1,   # the stamp had been reached
        "first":     1,
        "last":      1,
        "abort":     1,
    })


def tag_result(*, owner_width):
    """The end of a request, before it waits for earlier posted requests."""
    return data.StructLayout({
        "finish": finish(owner_width=owner_width),
        "client": range(CLIENTS),
        "stamp":  STAMP_WIDTH,
        "passed": 1,  # it waits for nothing
    })


def allocation(*, depth, owner_width, max_read_bytes):
    """Pulse ``en``: the tag was given to a request. Seen from the giver."""
    return wiring.Signature({
        "en":    Out(1),
        "tag":   Out(range(depth)),
        "entry": Out(tag_entry(owner_width=owner_width, max_read_bytes=max_read_bytes)),
    })


def store_beat(*, depth, data_width, max_read_bytes):
    """Pulse ``en``: a beat of data for the buffer of a tag. Seen from the giver."""
    lanes = data_width // 32
    return wiring.Signature({
        "en":    Out(1),
        "tag":   Out(range(depth)),
        "row":   Out(exact_log2(max(1, max_read_bytes // (4 * lanes)))),
        "lane":  Out(exact_log2(lanes)),   # of the first Dword
        "strb":  Out(lanes),
        "data":  Out(data_width),
    })


def status_of(status):
    """Return the :class:`FinishStatus` of a request to memory that was completed so."""
    return Mux(status == CompletionStatus.SC, FinishStatus.OK.value,
               Mux(status == CompletionStatus.CA, FinishStatus.CA.value, FinishStatus.UR.value))
