"""Sequence numbers of posted writes."""

from functools import reduce
from operator import xor

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

__all__ = ["WriteOrder", "ask_signature", "before_signature", "count_signature", "order_class"]


def order_class(source, *, classes):
    """Return the class of ordering source ``source``: a hash of all its bits."""
    bits = exact_log2(classes)
    if not bits:
        return C(0, 0)
    return reduce(xor, (source[n:n + bits] for n in range(0, len(source), bits)))


def count_signature(*, classes, width):
    """Count one write of class ``order``; ``number`` is the count before."""
    return wiring.Signature({
        "en":     Out(1),
        "order":  Out(exact_log2(classes)),
        "number": In(width),
    })


def before_signature(*, classes, width):
    """How many writes of class ``order`` have arrived."""
    return wiring.Signature({"order": Out(exact_log2(classes)), "number": In(width)})


def ask_signature(*, classes, width):
    """How far responses are behind ``number`` writes of class ``order``.

    ``distance`` is the number of responses still to come, modulo; if none, it is 0 or its top bit
    is set.
    """
    return wiring.Signature({
        "order":    Out(exact_log2(classes)),
        "number":   Out(width),
        "distance": In(width),
    })


class WriteOrder(wiring.Component):
    """Number the writes of each ordering class, and count their responses (rule S12).

    All writes of a class carry one AXI ID, so responses come in the order of the numbers. Only
    writes that really go to memory are counted: a denied one is done at once.

    Answers are combinational. Those of ``ask`` and ``arrive`` see the counts of the previous clock;
    that of ``before`` sees what arrives in this clock as well.

    Parameters
    ----------
    classes : :class:`int`
        Number of classes, a power of two.
    width : :class:`int`
        Width of the numbers, at least 2. Twice the largest distance must fit.
    asks : :class:`int`
        Number of those who ask.

    Members
    -------
    arrive : ``In(count_signature(...))``
        A write will go to memory. ``number`` is meaningful without ``en`` too.
    before : ``In(wiring.Signature({"order": Out(...), "number": In(width)}))``
        Writes of class ``order`` that have arrived.
    respond : ``In(count_signature(...))``
        The response to the oldest write of the class has come.
    ask : ``In(ask_signature(...)).array(asks)``
        Questions, of the write side, of the read side and of signals.

    Raises
    ------
    ValueError
        If a parameter is not such a number.
    """

    def __init__(self, *, classes, width, asks=2):
        if not isinstance(classes, int) or classes < 1 or classes & (classes - 1):
            raise ValueError(f"Number of classes must be a power of two, not {classes!r}")
        if not isinstance(width, int) or width < 2:
            raise ValueError(f"Width of numbers must be an integer of at least 2, not {width!r}")
        self.classes = classes
        self.width   = width
        super().__init__({
            "arrive":  In(count_signature(classes=classes, width=width)),
            "respond": In(count_signature(classes=classes, width=width)),
            "before":  In(before_signature(classes=classes, width=width)),
            "ask":     In(ask_signature(classes=classes, width=width)).array(asks),
        })

    def elaborate(self, platform):
        m = Module()
        arrived = [Signal(self.width, name=f"arrived_{n}") for n in range(self.classes)]
        done    = [Signal(self.width, name=f"done_{n}") for n in range(self.classes)]

        def select(counts, order):
            return Array(counts)[order] if self.classes > 1 else counts[0]

        for port, counts in ((self.arrive, arrived), (self.respond, done)):
            m.d.comb += port.number.eq(select(counts, port.order))
            for n, count in enumerate(counts):
                with m.If(port.en & (port.order == n)):
                    m.d.sync += count.eq(count + 1)
        now = self.arrive.en & (self.arrive.order == self.before.order)
        m.d.comb += self.before.number.eq(select(arrived, self.before.order) + now)
        for port in self.ask:
            m.d.comb += port.distance.eq(port.number - select(done, port.order))
        return m
