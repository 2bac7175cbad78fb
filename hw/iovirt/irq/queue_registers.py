"""Registers of the event queues."""

from amaranth.lib import data, enum

__all__ = ["Control", "GuestWord", "ModerationSetting", "Status", "Word"]


class Word(enum.Enum, shape=4):
    """32-bit registers of a queue in the hypervisor's window, every 4 bytes."""

    BASE_LOW     = 0   # SPA of the ring, a multiple of its size; taken over when RUN is set
    BASE_HIGH    = 1
    CONTROL      = 2
    MODERATION   = 3   # taken over by a write of CONTROL
    NOTIFY_LOW   = 4   # address of the MSI that notifies
    NOTIFY_HIGH  = 5
    NOTIFY_DATA  = 6
    NOTIFY_KIND  = 7   # KIND 1:0 (0 none, 1 MSI, 2 wire), WIRE 12:8
    STATUS       = 8   # read only
    ACCEPTED     = 9   # read only: count that TAIL reaches when what has a place is written
    TAIL         = 10  # a write while stopped sets TAIL, HEAD and ARM
    HEAD         = 11  # read only
    ARM          = 12  # read only
    DROPPED      = 13  # read only: events lost by the policy
    FORGED       = 14  # writes of HEAD refused; a write clears it
    LOST         = 15  # read only: records that could not be written


class GuestWord(enum.Enum, shape=4):
    """32-bit registers of a queue in the page of its guest, every 4 bytes; others read 0."""

    HEAD   = 0
    ARM    = 2
    MASK   = 4  # bit 0: no notification
    TAIL   = 6  # read only
    STATUS = 8  # read only
    SIZE   = 10  # read only: log2 of the number of records


class Control(data.Struct):
    """CONTROL of a queue."""

    run:       1  # 0: verdict OFF, then drain. 1: taken over only if drained
    drop_new:  1  # a full queue drops and counts; else events wait
    once:      1  # one notification per write of ARM
    reserved:  5
    size_log2: 5  # 1 to 16, taken over when RUN is set


class ModerationSetting(data.Struct):
    """MODERATION of a queue."""

    holdoff:   15  # units of time; 0: no moderation
    reserved:  1
    threshold: 8   # records; 0: no limit


class Status(data.Struct):
    """STATUS of a queue."""

    run:       1  # takes events
    busy:      1  # records or a notification are on their way
    error:     1  # a record could not be written; cleared when RUN is set
    notifying: 1
    waiting:   1  # an event got the verdict OFF, FULL or UNREAD
