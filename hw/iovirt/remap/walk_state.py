"""What the parts of the walker pass to each other."""

from amaranth.lib import data, enum

from .layouts import Access, Cause, Context

__all__ = ["Step", "ddtp_layout", "finding", "line_job", "walk_job", "walk_state"]


class Step(enum.Enum, shape=4):
    """What a walk does when its turn comes. Names what has been read for it, if anything."""

    DIRECTORY = 0  # nothing yet: start at ddtp
    DDT       = 1  # a non-leaf entry of the device directory
    CONTEXT   = 2  # a device context; a turn for each doubleword
    START     = 3  # nothing: the device context is known, start at the second stage
    TABLE     = 4  # a second-stage entry above level 0
    LINE      = 5  # the 64-byte line around a level-0 entry
    ALONE     = 6  # a level-0 entry, after the read of its line failed


def ddtp_layout():
    """Mode and PPN of ddtp."""
    return data.StructLayout({"mode": 4, "ppn": 44})


def walk_state(slot_width, address_width):
    """A walk, as kept in the memory of walks."""
    return data.StructLayout({
        "access":   Access,
        "slot":     slot_width,
        "prefetch": 1,
        "context":  Context,             # as far as known; dtf is 0 before it is known
        "pdtv":     1,                   # tc.PDTV: a process_id is permitted
        "step":     Step,
        "level":    3,                   # DDT, TABLE: level of the entry
        "word":     3,                   # place in its 64 bytes of the doubleword to look at
        "table":    address_width - 12,  # LINE: page number of the table
    })


def finding(slot_width, address_width):
    """What a turn of a walk has found, if the walk is not stale."""
    return data.StructLayout({
        "state":         walk_state(slot_width, address_width),  # as it goes on
        "step":          Step,                # of this turn
        "off":           1,                   # the faults, first one counts: ddtp is Off
        "disallowed":    1,                   # this type of transaction
        "access":        1,                   # access fault on the read
        "poison":        1,                   # data corruption on the read
        "invalid":       1,                   # directory entry or device context
        "misconfigured": 1,                   # directory entry or device context
        "guest":         1,                   # guest page fault
        "beyond":        1,                   # `ppn` is no physical address
        "end":           1,                   # if no fault: `ppn` is the answer
        "napot":         1,                   # if `end`: leaf of 64 KiB
        "r":             1,
        "w":             1,
        "x":             1,
        "ppn":           address_width - 12,  # answer, or the next table
        "offset":        14,                  # of the next read
    })


def walk_job(walk_width, slot_width, address_width):
    """A finished walk: what is left to send."""
    return data.StructLayout({
        "walk":      walk_width,
        "slot":      slot_width,
        "access":    Access,
        "gscid":     16,
        "prefetch":  1,
        "ok":        1,
        "cause":     Cause,
        "record":    1,                   # send a fault record
        "line":      1,                   # fill a line
        "superpage": 1,                   # fill a superpage
        "level":     3,                   # of the superpage
        "napot":     1,
        "r":         1,
        "w":         1,
        "x":         1,
        "ppn":       address_width - 12,
    })


def line_job(walk_width):
    """Pages to be made of a line that has been read."""
    return data.StructLayout({
        "walk":  walk_width,
        "word":  3,  # the entry that was demanded
        "napot": 1,  # make all pages of it
        "half":  1,  # if so: upper half of the 64 KiB
        "alone": 1,  # it was read again: its beat holds no neighbours
    })
