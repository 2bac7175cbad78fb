"""Streams and payloads between the PCIe side and the blocks behind it."""

from amaranth.lib import data, enum, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["STAMP_WIDTH", "CompletionRequest", "CompletionStatus", "DmaHeader", "ErrorCause",
           "ErrorRecord", "Message", "PostedSignal", "RxTlpSignature", "SignalKind",
           "TxTlpSignature", "completion_beat", "read_request", "tlp_beat", "write_beat"]

#: Width of a stamp: see ``stamp`` of :func:`completion_beat`.
STAMP_WIDTH = 12


class RxTlpSignature(wiring.Signature):
    """TLPs from the PCIe core, seen from the core (architecture.md, TLP streams)."""

    def __init__(self, data_width):
        self.data_width = data_width
        super().__init__({
            "data":         Out(data_width),        # payload, Dword 0 in bits 31:0
            "strb":         Out(data_width // 32),  # one bit per Dword
            "hdr":          Out(128),               # bit 127 = Fmt[2]; valid with first
            "prefix":       Out(32),                # PASID prefix; valid with first
            "prefix_valid": Out(1),
            "segment":      Out(8),
            "first":        Out(1),
            "last":         Out(1),
            "nullify":      Out(1),                 # with last: drop the whole TLP
            "valid":        Out(1),
            "ready":        In(1),
        })


class TxTlpSignature(wiring.Signature):
    """TLPs to the PCIe core, seen from the block."""

    def __init__(self, data_width):
        self.data_width = data_width
        super().__init__({
            "data":         Out(data_width),
            "strb":         Out(data_width // 32),
            "hdr":          Out(128),
            "prefix":       Out(32),
            "prefix_valid": Out(1),
            "first":        Out(1),
            "last":         Out(1),
            "valid":        Out(1),
            "ready":        In(1),
        })


def tlp_beat(data_width):
    """One beat of a TLP between blocks; ``hdr`` is held on every beat of its TLP."""
    return data.StructLayout({
        "data":  data_width,
        "strb":  data_width // 32,
        "hdr":   128,
        "first": 1,
        "last":  1,
    })


def completion_beat(data_width):
    """One beat of a received completion. ``abort`` (with ``last``): nullified or malformed.

    ``stamp``, held on every beat, names the group of posted requests that came before: they are
    observable when a count that is kept beside has reached it, modulo ``2 ** STAMP_WIDTH``.
    """
    return data.StructLayout({
        "data":    data_width,
        "strb":    data_width // 32,
        "hdr":     128,
        "segment": 8,
        "stamp":   STAMP_WIDTH,
        "first":   1,
        "last":    1,
        "abort":   1,
    })


class Message(data.Struct):
    """A received message, whole."""

    hdr:     128
    segment: 8
    pv:      1   # a PASID prefix came with it
    pid:     20
    priv:    1
    exec:    1
    data:    64  # first two Dwords of the payload, if it has one


class SignalKind(enum.Enum, shape=2):
    """A posted request that is an interrupt, and keeps its place among the writes of its source."""

    NONE    = 0  # a write to memory
    MSI     = 1  # a write of one Dword to an interrupt window
    MESSAGE = 2  # a message; its code is in bits 7:0 of the data


class PostedSignal(data.Struct):
    """An interrupt: all earlier posted writes of its source are observable."""

    kind:    SignalKind
    segment: 8
    rid:     16
    offset:  16  # MSI: in the window; bits 1:0 are 0
    data:    32  # MESSAGE: bits 7:0 are its code


class DmaHeader(data.Struct):
    """A legal memory request of a device, decoded (PCIe Base, 2.2.7)."""

    rid:       16
    segment:   8
    tag:       10
    tc:        3
    attr:      3   # bit 0 NS, bit 1 RO, bit 2 IDO
    at:        2   # 0 untranslated, 1 translation request, 2 translated
    pv:        1   # a PASID prefix came with it
    pid:       20  # PASID; 0 without prefix
    priv:      1   # privileged mode requested; 0 without prefix
    exec:      1   # execute requested; 0 without prefix
    address:   64  # of the first Dword; bits 1:0 are 0
    length_dw: 11  # 1 to 1024
    first_be:  4
    last_be:   4   # 0 if length_dw is 1
    ep:        1   # poisoned
    signal:    SignalKind
    turn:      1   # of the group of posted requests that this one belongs to


def write_beat(data_width):
    """One beat of a posted write. ``header`` is held on every beat; Dword 0 of the payload is at
    bits 31:0 of the first beat. ``abort`` (with ``last``): nullified or malformed, drop it all.
    """
    return data.StructLayout({
        "header": DmaHeader,
        "data":   data_width,
        "first":  1,
        "last":   1,
        "abort":  1,
    })


def read_request():
    """A memory read. ``posted`` counts, modulo 256, the posted writes (aborted ones too) that the
    receiver has started to forward before it: a read may not overtake them.
    """
    return data.StructLayout({"header": DmaHeader, "posted": 8})


class CompletionStatus(enum.Enum, shape=3):
    """Status of a completion (PCIe Base, 2.2.9)."""

    SC  = 0
    UR  = 1
    RRS = 2
    CA  = 4


class CompletionRequest(data.Struct):
    """A completion without data that is to be sent."""

    rid:        16  # of the requester
    tag:        10
    tc:         3
    attr:       3
    status:     CompletionStatus
    byte_count: 13  # 1 to 4096
    lower_addr: 7


class ErrorCause(enum.Enum, shape=5):
    """Why a transaction was dropped or refused outside translation. 0 is never recorded."""

    NONE                  = 0
    MALFORMED             = 1   # TLP breaks a rule of its format: dropped
    UNSUPPORTED           = 2   # request type not served here: UR, or dropped if posted
    NULLIFIED             = 3   # the core took the TLP back
    BUS_RANGE             = 4   # requester outside [secondary, subordinate]
    POISONED_WRITE        = 5   # EP on a write: dropped
    UNEXPECTED_COMPLETION = 6
    MEMORY_WRITE_ERROR    = 7   # BRESP of a DMA write
    MEMORY_READ_POISON    = 8   # SLVERR: completed with EP
    MEMORY_READ_ABORT     = 9   # DECERR: completed with CA
    UNHANDLED_MESSAGE     = 10  # no user of this message is built
    FAULT_LOST            = 11  # a fault record found the queue off, full or failing
    MSI_DENIED            = 12  # access to an interrupt window that no table entry admits: dropped
    MSI_ECC               = 13  # interrupt whose table entry has errors: dropped
    MSI_WRITE_ERROR       = 14  # a forwarded interrupt or a notification could not be written
    QUEUE_STOPPED         = 15  # an event queue stopped: its record could not be written
    PEER_DENIED           = 16  # DMA translated into the aperture of programmed I/O
    PIO_TIMEOUT           = 17  # no completion in time
    PIO_UNSUPPORTED       = 18  # completion with status UR
    PIO_ABORT             = 19  # completion with status CA
    PIO_POISON            = 20  # completion with EP
    PIO_LINK_DOWN         = 21  # request ended because the link is down
    PIO_NO_TARGET         = 22  # no window, no such bus, or not permitted
    PIO_RETRY             = 23  # configuration request answered RRS until its budget was spent
    COMPLETION_MISMATCH   = 24  # completion contradicts the request of its tag: dropped
    COMPLETION_LATE       = 25  # completion of a request that has timed out: dropped
    SHARE_KEY             = 26  # DMA of a shared function for no guest, or with a wrong key
    SHARE_ADDRESS         = 27  # DMA of a guest of one to where it must not go: guest frozen
    SHARE_ENTRY           = 28  # ring or list entry of a guest replaced
    SHARE_DOORBELL        = 29  # doorbell of a guest dropped, or access to its page failed
    SHARE_COMPLETION      = 30  # completion entry that nothing was granted for
    SHARE_TABLE           = 31  # error in a table of guests or queues


class ErrorRecord(data.Struct):
    """One record for the error log."""

    cause:   ErrorCause
    segment: 8
    rid:     16
    address: 64   # of the access, 0 if it has none
