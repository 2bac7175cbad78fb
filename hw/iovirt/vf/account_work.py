"""What is known of an operation on an account, from stage to stage."""

from amaranth import *
from amaranth.lib import data

from .scheduler_layouts import BACK_WIDTH, Account, AccountOp, Budget, Visit

__all__ = ["ALL", "account_work", "small", "smaller"]

#: Largest number of commands.
ALL = (1 << BACK_WIDTH) - 1


def small(value):
    """Return a signed ``value`` as a number of commands: between 0 and the largest one."""
    return Mux(value < 0, 0, Mux(value[BACK_WIDTH:].any(), ALL, value[:BACK_WIDTH]))


def smaller(a, b):
    """Return the smaller one of two numbers."""
    return Mux(a < b, a, b)


def account_work(guests):
    """What is known of an operation; each stage knows more. Nobody pays for what is not used."""
    return data.StructLayout({
        "op":       AccountOp,
        "guest":    range(guests),
        "visit":    Visit,
        "amount":   21,
        "budget":   Budget,
        "account":  Account,
        # From stage 1 on.
        "cost":     21,          # of bytes
        # From stage 2 on.
        "limited":  1,           # by tokens
        "metered":  1,           # by bytes
        "turn":     16,          # what a turn adds to the deficit
        "base":     signed(22),  # deficit that counts, and what is added
        "addend":   signed(22),
        "tokens":   18,
        "taken":    13,          # from the commands in flight
        "left":     signed(14),
        "units":    13,          # of 512 bytes
        # From stage 3 on.
        "deficit":  signed(23),
        "balance":  signed(23),
        "removed":  13,          # from the commands in flight of all guests
        "own":      signed(14),  # what the limit leaves
        # From stage 4 on.
        "least":    BACK_WIDTH,  # of limit and tokens
        "still":    BACK_WIDTH,  # what the deficit allows
        "others":   BACK_WIDTH,  # what the budget of all, and the size of a grant, allow
        "stop":     1,
        "spent":    1,
        "exact":    1,           # the deficit allows no more
        # From stage 5 on.
        "offer":    BACK_WIDTH,
        "last":     1,
    })
