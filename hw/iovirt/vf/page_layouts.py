"""Payloads between the parts that serve the pages of guests."""

from amaranth.lib import data, wiring
from amaranth.lib.wiring import Out

from .share_layouts import COLOUR_WIDTH, PAIR_WIDTH, GuestCounter

__all__ = ["APERTURE_LOG2", "REGION_LOG2", "MailboxAnswerSignature", "MailboxRequest", "PageCall",
           "PageEnd", "PageError", "PageSettings", "RoutedCall", "page_end"]

#: Width of offsets in the aperture of all guests, and in the region of one.
APERTURE_LOG2, REGION_LOG2 = 28, 20


class PageSettings(data.Struct):
    """What is where in the region of a guest, from registers."""

    region_log2:   4   # regions have 4096 << n bytes, n in 1..8
    stride_log2:   4   # doorbells are 4 << n bytes apart
    single:        1   # there are no heads, and queues count from 0
    doorbell_base: 16  # offset of the doorbell of queue 0


class PageCall(data.Struct):
    """An access to a page, and what its address means."""

    write:   1
    be:      4
    data:    32
    legal:   1
    core:    8
    owner:   16
    address: APERTURE_LOG2
    guest:   COLOUR_WIDTH
    nobody:  1              # there is no such region
    header:  1              # in the last 4 KiB of the region
    door:    1              # a doorbell, if the guest has that queue:
    queue:   8
    side:    1              # 1: completion head


class RoutedCall(data.Struct):
    """A doorbell of an own queue of a guest."""

    call: PageCall
    pair: PAIR_WIDTH


class PageError(data.Struct):
    """An access that has failed, for the error ring of programmed I/O."""

    core:    8
    guest:   COLOUR_WIDTH
    address: APERTURE_LOG2


class PageEnd(data.Struct):
    """The end of an access, and what has to be recorded."""

    owner:   16
    write:   1
    ok:      1              # else the core is answered by the policy of the aperture
    data:    32
    core:    8
    guest:   COLOUR_WIDTH
    address: APERTURE_LOG2
    denied:  1              # a doorbell was dropped
    counted: 1              # for the statistics of the guest:
    counter: GuestCounter


class MailboxRequest(data.Struct):
    """The oldest access that waits for the manager."""

    valid:   1
    expired: 1              # its time is over, and its core was told so
    write:   1
    be:      4
    guest:   COLOUR_WIDTH
    offset:  REGION_LOG2    # in the region of the guest
    data:    32


class MailboxAnswerSignature(wiring.Signature):
    """Pulse ``en``: the answer of the manager. Seen from the manager."""

    def __init__(self):
        super().__init__({"en": Out(1), "ok": Out(1), "data": Out(32)})


def page_end(end, call, **fields):
    """Return statements that make ``end`` the end of ``call``, with ``fields``."""
    return [
        *(end[name].eq(call[name]) for name in ("owner", "write", "core", "guest", "address")),
        *(end[name].eq(value) for name, value in fields.items()),
    ]
