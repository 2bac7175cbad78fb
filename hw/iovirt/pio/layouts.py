"""Payloads of the streams between the parts of the programmed I/O block."""

from amaranth.lib import data, enum
from amaranth.utils import exact_log2

from iovirt.pcie.layouts import ErrorCause

__all__ = [
    "CORE_WIDTH",
    "GUEST_WIDTH",
    "TAG_WIDTH",
    "FinishStatus",
    "NpKind",
    "PageAccess",
    "PageAnswer",
    "PageError",
    "PioError",
    "Policy",
    "config_access",
    "config_answer",
    "finish",
    "length_width",
    "np_request",
]

#: Width of a tag, of the number of a core, of that of a guest in requests and records.
TAG_WIDTH, CORE_WIDTH, GUEST_WIDTH = 10, 8, 16


class NpKind(enum.Enum, shape=2):
    """A non-posted request."""

    MEMORY_READ  = 0
    CONFIG_READ  = 1
    CONFIG_WRITE = 2


class FinishStatus(enum.Enum, shape=4):
    """What became of an access."""

    OK         = 0
    UR         = 1  # completion with status UR, or a reserved one
    CA         = 2  # completion with status CA
    RRS        = 3  # completion with status RRS, of a configuration request
    TIMEOUT    = 4
    POISONED   = 5  # a completion had EP
    LINK_DOWN  = 6  # the link was down, or went down
    NO_TARGET  = 7  # no window, no such bus, or not permitted: no TLP was sent


class Policy(enum.Enum, shape=2):
    """What a core gets for a failed read of a window. A failed write is OKAY under ONES."""

    ONES   = 0  # all ones, OKAY
    ERROR  = 1  # all ones, SLVERR
    POISON = 2  # all ones, or the poisoned data, OKAY, RUSER[0] set


def length_width(max_read_bytes):
    """Width of a length in Dwords, 1 to ``max_read_bytes / 4``."""
    return exact_log2(max_read_bytes // 4) + 1


def np_request(*, owner_width, max_read_bytes):
    """A non-posted request that wants a tag. It never crosses a multiple of `max_read_bytes`."""
    return data.StructLayout({
        "kind":           NpKind,
        "type1":          1,            # configuration request of type 1
        "address":        64,           # of the first Dword; configuration: {bus, device, function,
                                        # register} as in an ECAM offset, bits 27:2
        "length_dw":      length_width(max_read_bytes),
        "first_be":       4,
        "last_be":        4,            # 0 if length_dw is 1
        "data":           32,           # CONFIG_WRITE
        "core":           CORE_WIDTH,
        "guest":          GUEST_WIDTH,
        "completer":      16,           # the only RID that may complete it, ...
        "completer_mask": 16,           # but for these bits: all ones admits any
        "owner":          owner_width,  # returned with the end
    })


def finish(*, owner_width):
    """The end of a request. `owner` gives `tag` back when it has fetched the data."""
    return data.StructLayout({
        "owner":  owner_width,
        "tag":    TAG_WIDTH,
        "status": FinishStatus,
        "data":   32,           # the first Dword; meaningful for OK and POISONED reads
        "rid":    16,           # of the completer; 0 if there was no completion
    })


def config_access(*, owner_width):
    """An access to the ECAM window."""
    return data.StructLayout({
        "write":   1,
        "address": 28,           # {bus 8, device 5, function 3, register 10, byte 2}
        "be":      4,
        "data":    32,           # in the lanes of `be`
        "legal":   1,            # 1, 2 or 4 bytes, aligned; else no TLP may be sent
        "core":    CORE_WIDTH,
        "owner":   owner_width,  # returned with the answer
    })


def config_answer(*, owner_width):
    """Its end. A failed read has all ones as data."""
    return data.StructLayout({
        "owner":  owner_width,
        "write":  1,
        "status": FinishStatus,
        "data":   32,           # in the lanes of `be`
    })


class PageAccess(data.Struct):
    """An access to the pages of guests."""

    write:   1
    address: 28         # offset in the doorbell aperture
    be:      4
    data:    32         # in the lanes of `be`
    legal:   1          # 1, 2 or 4 bytes, aligned
    core:    CORE_WIDTH
    owner:   16         # returned with the answer


class PageAnswer(data.Struct):
    """Its end."""

    owner: 16
    write: 1
    ok:    1   # else the policy of the aperture says what the core gets
    data:  32  # in the lanes of `be`


class PageError(data.Struct):
    """A record of a failed access to the pages of guests."""

    core:    CORE_WIDTH
    guest:   8
    address: 28


class PioError(data.Struct):
    """One record for the error ring of programmed I/O."""

    cause:   ErrorCause
    core:    CORE_WIDTH
    guest:   GUEST_WIDTH
    rid:     16           # of the completer, 0 if there is none
    tag:     TAG_WIDTH
    address: 64           # of the request on PCIe or in the ECAM window, 0 if unknown
