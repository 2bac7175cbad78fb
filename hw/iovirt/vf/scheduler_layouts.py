"""What the parts of the scheduler tell each other."""

from amaranth import signed
from amaranth.lib import data, enum, wiring
from amaranth.lib.wiring import Out

from .share_layouts import COUNT_WIDTH

__all__ = ["BACK_WIDTH", "Account", "AccountOp", "Amount", "Budget", "SchedulerSettings", "Visit",
           "account_op", "device_doorbell", "guest_pulse", "software_op", "visit_result"]

#: Width of numbers of commands that are granted at once.
BACK_WIDTH = 8


def guest_pulse(guests):
    """Something happened to a guest, seen from where."""
    return wiring.Signature({"valid": Out(1), "guest": Out(range(guests))})


class SchedulerSettings(data.Struct):
    """From registers, the same for all guests."""

    quantum:    8   # cost that a guest of weight 1 may run up per turn; 0: nothing is granted
    burst:      8   # most commands granted at once; 0 counts as 1
    most:       12  # commands in flight of all guests
    byte_shift: 5   # a command costs 1, and its bytes >> this; 31: only 1


#: A write to a doorbell of a device.
device_doorbell = data.StructLayout({
    "function": 2,
    "tail":     22,  # in Dwords from the BAR of the function
    "value":    16,
})


class Budget(data.Struct):
    """What a guest may use, as software wrote it: 4 bytes of one word, and another word."""

    weight:        8
    reserved_0:    8
    limit:         COUNT_WIDTH  # commands in flight; 0: no limit
    reserved_1:    3
    command_rate:  16  # per unit of time; 0: no limit
    command_burst: 16
    byte_rate:     16  # units of 512 bytes
    byte_burst:    16


class Account(data.Struct):
    """What a guest has used."""

    deficit:   signed(22)   # cost that it may still run up in this turn; negative: debt
    tokens:    17           # commands; more than the burst only by what was given back
    balance:   signed(22)   # units of 512 bytes; paid after the fetch, so it may be negative
    in_flight: COUNT_WIDTH
    fraction:  9            # bytes that do not make a unit yet
    next:      8            # pair whose turn it is, counted from the first one of the guest
    waiting:   1            # for a completion or for time


class AccountOp(enum.Enum, shape=3):
    """Who changes an account."""

    VISIT    = 0
    COMPLETE = 1
    CHARGE   = 2
    REFILL   = 3  # a unit of time is over
    SOFTWARE = 4


class Visit(data.Struct):
    """Give back what was reserved and not granted, and perhaps reserve again."""

    fresh: 1           # the turn begins
    ask:   1
    back:  BACK_WIDTH  # commands to give back
    gone:  BACK_WIDTH  # these, and those granted that nobody tells the completion of
    count: BACK_WIDTH  # commands granted, for statistics
    next:  8           # unless fresh


class Amount(data.Struct):
    """Commands that completed, or bytes of commands."""

    amount: 21
    unused: 13


def account_op(guests):
    """An operation on an account."""
    return data.StructLayout({
        "op":       AccountOp,
        "guest":    range(guests),
        "argument": data.UnionLayout({"visit": Visit, "amount": Amount}),
    })


def visit_result():
    """What came of a visit that asked."""
    return data.StructLayout({
        "offer": BACK_WIDTH,  # commands that were reserved
        "last":  1,           # nothing is left of the turn if all are granted. If there are none:
        "spent": 1,           # the turn is over, and the next one will come
        "stop":  1,           # there is no turn before something happens; neither: others are ahead
        "next":  8,           # as stored
    })


def software_op():
    """Access of software to an account, held until it is done."""
    return data.StructLayout({
        "write":  1,
        "word":   2,
        "data":   64,
        "strobe": 8,
    })
