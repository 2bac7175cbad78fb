"""What passes between the parts of the front half of the interrupt block."""

from amaranth.lib import data, enum

from .layouts import IrtEntry

__all__ = ["Denial", "Facts", "Forwarded", "Gathered", "Last", "Operation", "OperationKind", "Slot",
           "Waiting", "looked_up", "prepared"]


class OperationKind(enum.Enum, shape=3):
    """What an operation does to its source."""

    ARRIVE = 0  # an interrupt has come
    REPLAY = 1  # deliver what is pending, if possible
    SPILL  = 2  # the event queue had no place for an event: make it pending
    COMMIT = 3  # the entry has been rewritten
    READ   = 4  # software reads the entry


class Gathered(data.Struct):
    """One interrupt, or several of one source that one delivery stands for."""

    count:   16  # saturates
    more:    1   # they are not all of one requester
    segment: 8   # of the first one
    rid:     16  # of the first one
    data:    32  # of the last one


class Operation(data.Struct):
    """Something that is done to a source; all pass one pipeline, one per clock."""

    kind:    OperationKind
    index:   14        # of the entry
    message: 1         # of the message table
    reach:   1         # ARRIVE: the index is in the table
    multi:   1         # ARRIVE: the index depends on the data
    unread:  1         # SPILL: the last record is unread
    tag:     6         # SPILL: of the event
    what:    Gathered  # ARRIVE, SPILL


class Facts(data.Struct):
    """What the comparison of an operation with its entry says."""

    fatal:        1  # the entry has errors that cannot be corrected
    valid:        1  # it is valid, and has no such errors
    deliverable:  1  # its way of delivery exists
    forward:      1  # it is to be forwarded
    reach:        1  # the index is in the table
    multi:        1  # the way in which the index was made is permitted
    same_segment: 1
    same_rid:     1

    def usable(self):
        """Whether the entry delivers anything."""
        return self.valid & self.deliverable

    def admitted(self, message):
        """Whether an interrupt that comes may use the entry (rule S8)."""
        return self.usable() & (message | (self.reach & self.multi & self.same_segment
                                           & self.same_rid))


def looked_up():
    """An operation and the entry of its source."""
    return data.StructLayout({"operation": Operation, "entry": IrtEntry, "fatal": 1})


class Slot(data.Struct):
    """What is kept of a source."""

    pending: 1         # `what` waits
    token:   1         # the source is in the list of those to be looked at
    unread:  1         # its last record was unread: wait until somebody reads
    what:    Gathered  # 0 unless pending
    stamp:   8         # storm interval of the last delivery
    sent:    16        # deliveries in that interval


class Last(data.Struct):
    """Where the last record of a source was put."""

    position: 32
    valid:    1


class Waiting(data.Struct):
    """Why a source may have to wait."""

    blocked: 1  # its queue has no place
    flying:  1  # it has an event without verdict
    awake:   1  # something was read from its queue


def prepared():
    """An operation with all that its outcome depends on."""
    return data.StructLayout({
        "operation": Operation,
        "entry":     IrtEntry,
        "facts":     Facts,
        "waiting":   Waiting,
        "slot":      Slot,
        "last":      Last,
    })


class Forwarded(data.Struct):
    """An interrupt to be forwarded as a write of 4 bytes."""

    address: 54  # SPA[2:56]
    data:    32
    index:   14
    segment: 8
    rid:     16


class Denial(data.Struct):
    """An interrupt that may not use its entry."""

    fatal:   1   # because the entry cannot be trusted
    message: 1
    index:   14
    segment: 8
    rid:     16
