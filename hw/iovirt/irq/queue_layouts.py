"""Payloads between the parts of the event queues."""

from amaranth.lib import data, enum

__all__ = ["MAX_SIZE_LOG2", "SlotOp", "SlotOpKind", "TailOp", "TailOpKind", "access", "completion",
           "record_write", "slot_state", "tail_state"]

#: Most records of a ring, as a power of two.
MAX_SIZE_LOG2 = 16


class SlotOpKind(enum.Enum, shape=2):
    """What to do to the slots of a queue, other than to take an event."""

    READ  = 0
    START = 1  # run; sets everything but `waiting` and `dropped`. `settings`: policy only
    STOP  = 2  # verdict OFF from now on
    FREE  = 3  # the reader gave `amount` slots back


class SlotOp(data.Struct):
    """Operation on the slots of a queue."""

    kind:      SlotOpKind
    error:     1   # STOP: because a record could not be written
    settings:  1   # START: the queue ran when software looked; it may have stopped since
    drop_new:  1
    size_log2: 5
    reserved:  32  # count of records so far
    amount:    17  # START: slots in use; FREE: slots freed
    base:      64  # address of the ring


class TailOpKind(enum.Enum, shape=4):
    """What to do to the tail of a queue."""

    READ     = 0
    COMPLETE = 1  # a record was written, or has failed (`flag`); `urgent`
    SWEEP    = 2  # refresh what follows from `beyond`, and notify if it is time
    NOTIFIED = 3  # a notification was written, or has failed (`flag`)
    HEAD     = 4  # the reader is done with `value` records
    ARM      = 5  # new armed index `value`
    MASK     = 6  # new mask `flag`
    START    = 7  # run with the settings given
    STOP     = 8
    PRESET   = 9  # all counts become `value`
    SETTINGS = 10  # new moderation


class TailOp(data.Struct):
    """Operation on the tail of a queue."""

    kind:      TailOpKind
    flag:      1
    urgent:    1
    value:     32
    size_log2: 5
    once:      1
    threshold: 8
    holdoff:   16


def slot_state(address_width):
    """What is kept for the slots of a queue."""
    return data.StructLayout({
        "run":       1,
        "error":     1,   # stopped by an error
        "drop_new":  1,
        "waiting":   1,   # an event waits for room
        "size_log2": 5,   # 1 to 16
        "reserved":  32,  # count of the next record
        "used":      17,  # records reserved and not yet read
        "issued":    8,   # records reserved since power-up, modulo 256
        "dropped":   32,  # events lost by policy
        "base":      address_width,
    })


class tail_state(data.Struct):
    """What is kept for the tail of a queue."""

    run:       1
    error:     1   # a record could not be written
    tail:      32  # records written
    unread:    17  # tail - head
    done:      8   # records that left the writer since power-up, modulo 256
    lost:      16  # records that could not be written, or came behind such a one
    mask:      1
    beyond:    32  # tail - arm - 1
    inside:    1   # tail - arm is in 1..size
    last:      1   # one more record makes it so
    end:       1   # one more record ends it
    fresh:     1   # `count` follows from `beyond`
    fired:     1   # notified since the last write of arm
    notifying: 1   # a notification is on its way
    failing:   1   # the last notification could not be written
    once:      1
    plain:     1   # no moderation
    urgent:    1   # an urgent record is not yet notified
    count:     8   # records not yet notified, saturating
    threshold: 8
    holdoff:   16
    timing:    1   # `deadline` is valid
    deadline:  16
    size_log2: 5


def record_write(queue_width, address_width):
    """A record and its place."""
    return data.StructLayout({
        "queue":   queue_width,
        "urgent":  1,
        "address": address_width,
        "record":  256,
    })


def completion(queue_width):
    """What became of the writing of a record."""
    return data.StructLayout({"queue": queue_width, "urgent": 1, "failed": 1})


def access(queue_width):
    """Access to one 32-bit register of a queue."""
    return data.StructLayout({
        "queue": queue_width,
        "guest": 1,   # through the page of the guest
        "word":  4,
        "write": 1,
        "data":  32,
    })
