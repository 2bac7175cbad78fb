"""Payloads and ports inside the configuration part of programmed I/O, and of its errors."""

from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..pcie.layouts import ErrorCause
from .layouts import TAG_WIDTH, config_access

__all__ = ["ABSENT_VENDOR", "CfgMgmtSignature", "HeaderPortSignature", "HeaderRequest",
           "PioNotice", "PioNoticeData", "RetrySignature", "device_access"]

#: What a read of the Vendor and Device ID returns while RRS is visible (PCIe Base, 2.3.2).
ABSENT_VENDOR = 0xffff0001


class HeaderRequest(data.Struct):
    """An access to the configuration space of the port itself."""

    write:    1
    register: 10  # number of the Dword
    be:       4
    data:     32  # in the lanes of `be`


class HeaderPortSignature(wiring.Signature):
    """Accesses to the port's own configuration space, one at a time, seen from who asks.

    Members
    -------
    request : ``Out(stream.Signature(HeaderRequest))``
        The next is offered only after the response of the one before was taken.
    response : ``In(stream.Signature(32))``
        One for each request, also for a write, whose data has no meaning.
    """

    def __init__(self):
        super().__init__({
            "request":  Out(stream.Signature(HeaderRequest)),
            "response": In(stream.Signature(32)),
        })


class CfgMgmtSignature(wiring.Signature):
    """Access to the configuration space of a PCIe core, seen from the block.

    A transfer of ``valid`` and ``ready`` is an access; all else is stable while ``valid``.
    ``done``, in the same clock or later, ends it; ``read_data`` counts in that clock. The core must
    end each access, and gets the next one only then.
    """

    def __init__(self):
        super().__init__({
            "valid":     Out(1),
            "ready":     In(1),
            "write":     Out(1),
            "address":   Out(12),  # of the first byte of the Dword
            "be":        Out(4),
            "data":      Out(32),
            "done":      In(1),
            "read_data": In(32),
        })


class RetrySignature(wiring.Signature):
    """Budget for configuration requests that are answered RRS, seen from the registers.

    A request is issued again while both budgets last. Either at 0 means: never.
    """

    def __init__(self):
        super().__init__({
            "pause": Out(16),  # between a completion and the next request, us
            "count": Out(16),  # how often it is issued again
            "time":  Out(16),  # from the first request on, 1024 us
        })


def device_access(*, owner_width):
    """An access to a device, on the way to the one who requests it."""
    return data.StructLayout({
        "access": config_access(owner_width=owner_width),
        "type1":  1,
    })


class PioNoticeData(data.Struct):
    """What an event says about an error of programmed I/O."""

    cause:    ErrorCause
    reserved: 1
    tag:      TAG_WIDTH
    guest:    16


class PioNotice(data.Struct):
    """An error of programmed I/O, for the interrupt block."""

    segment: 8
    rid:     16
    data:    PioNoticeData
