"""Payloads of the streams between the parts of the interrupt block."""

from amaranth.lib import data, enum
from amaranth.utils import ceil_log2

__all__ = ["MESSAGES", "Delivery", "EventRecord", "EventType", "IrtEntry", "MessageKind",
           "MsiWrite", "Notice", "VerdictKind", "event", "queue_width", "room", "verdict"]

#: Entries of the message table; they follow those of the interrupt remap table.
MESSAGES = 16


def queue_width(queues):
    """Width of the number of one of ``queues`` event queues."""
    return max(1, ceil_log2(queues))


class MsiWrite(data.Struct):
    """A write that is an interrupt: all earlier posted writes of its source are observable."""

    segment: 8
    rid:     16
    offset:  16  # in the window; bits 1:0 are 0
    data:    32


class MessageKind(enum.Enum, shape=4):
    """Entry of the message table. 11 to 15 are reserved."""

    INTA         = 0
    INTB         = 1
    INTC         = 2
    INTD         = 3
    ERR_COR      = 4
    ERR_NONFATAL = 5
    ERR_FATAL    = 6
    PM_PME       = 7
    FAULT        = 8  # a translation fault was recorded
    PIO_ERROR    = 9
    SHARING      = 10  # something of a shared device wants its manager


class Notice(data.Struct):
    """Something other than an MSI that wants an interrupt."""

    kind:    MessageKind
    segment: 8
    rid:     16
    data:    32  # INTx: bit 0 is the new level


class EventType(enum.Enum, shape=5):
    """TYPE of an event record. 0 and 10 to 31 are reserved."""

    NONE         = 0
    MSI          = 1
    INTX         = 2  # DATA bit 0 is the level, INDEX tells the pin
    ERR_COR      = 3
    ERR_NONFATAL = 4
    ERR_FATAL    = 5
    PM_PME       = 6
    FAULT        = 7
    PIO_ERROR    = 8
    SHARING      = 9


class Delivery(enum.Enum, shape=2):
    """Where an interrupt goes. 3 is reserved."""

    QUEUE   = 0  # a record in an event queue
    POSTED  = 1  # a bit of a memory-resident interrupt file: not built, denied
    FORWARD = 2  # an MSI write of `address` and `data`


class IrtEntry(data.Struct):
    """Entry of the interrupt remap table and of the message table, 32 bytes.

    Entries of the message table do not check the requester: `rid`, `rid_mask` and `segment` mean
    nothing there.
    """

    # Doubleword 0.
    valid:      1
    delivery:   Delivery
    suspend:    1   # keep interrupts pending
    urgent:     1   # override the moderation of the queue
    merge:      1   # count while the last record is unread
    multi:      1   # admit handle + DATA[4:0]
    reserved_0: 1
    priority:   2
    reserved_1: 6
    rid:        16
    rid_mask:   16  # bits of the requester's RID that do not count; 0: exactly `rid`
    segment:    8
    reserved_2: 8
    # Doubleword 1.
    cookie:     32
    guest:      16
    queue:      8
    reserved_3: 8
    # Doubleword 2: FORWARD only.
    reserved_4: 2
    address:    54  # SPA[2:56]
    reserved_5: 8
    # Doubleword 3.
    data:       32  # FORWARD only
    limit:      16  # interrupts per storm interval; 0: no limit
    reserved_6: 15
    pending:    1   # read only: an interrupt is waiting


def event(*, queue_width, tag_width):
    """An interrupt that asks for a record, or for a verdict why there is none."""
    return data.StructLayout({
        "queue":       queue_width,
        "index":       16,         # of the entry; message kind k: entries + k
        "type":        EventType,
        "cookie":      32,
        "rid":         16,         # of the first interrupt
        "segment":     8,
        "guest":       16,
        "data":        32,         # of the last interrupt
        "priority":    2,
        "urgent":      1,
        "merge_count": 16,         # interrupts that the record stands for, at least 1; saturates
        "more":        1,          # some of them came from another requester
        "last_valid":  1,          # merge: no record is wanted while `last` is unread
        "last":        32,         # count of the tail at which this source's last record was put
        "tag":         tag_width,  # returned with the verdict
    })


class VerdictKind(enum.Enum, shape=3):
    """What became of an event."""

    ACCEPTED = 0  # the record has its place
    FULL     = 1  # no place, and the queue spills: ask again when there is room
    UNREAD   = 2  # `last` is unread: ask again when there is room
    DROPPED  = 3  # no place, and the queue drops: counted there
    OFF      = 4  # the queue is disabled or draining: ask again when there is room


def verdict(*, tag_width):
    """Answer to an event, in the order of events."""
    return data.StructLayout({
        "tag":      tag_width,
        "kind":     VerdictKind,
        "position": 32,          # if ACCEPTED: count of the tail at which the record is put
        "error":    1,           # if OFF: because of an error of the queue
    })


def room(*, queue_width):
    """What a verdict FULL, UNREAD or OFF of this queue waits for may have come."""
    return data.StructLayout({"queue": queue_width})


class EventRecord(data.Struct):
    """Record of an event queue, 32 bytes."""

    # Doubleword 0.
    cookie:      32
    merge_count: 16
    index:       16
    # Doubleword 1.
    rid:         16
    segment:     8
    guest:       16
    more:        1   # some of the merged interrupts came from another requester
    reserved:    23
    # Doubleword 2.
    data:        32
    sequence:    32
    # Doubleword 3.
    time:        56
    type:        EventType
    priority:    2
    phase:       1
