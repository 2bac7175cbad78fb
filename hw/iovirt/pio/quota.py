"""Quotas: how many tags each of many holders may have."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

__all__ = ["CountTable", "Quota", "count_ask"]


def count_ask(*, entries, width):
    """Ask for a count; it comes 1 clock later and is held. Seen from the asker.

    In a clock in which it is there, ``step`` adds 1 to it.
    """
    return wiring.Signature({
        "en":    Out(1),
        "index": Out(range(entries)),
        "count": In(width),
        "step":  Out(1),
    })


class CountTable(wiring.Component):
    """Keep a count for each of many indexes, with one reader who may increment what he has read.

    Counts are in RAM, with one writer; 1 count per clock, also of one index again and again.
    After reset all counts are cleared, in ``entries`` clocks.

    Parameters
    ----------
    entries : :class:`int`
        Number of counts, at least 2.
    width : :class:`int`
        Width of a count; counts are modulo.

    Members
    -------
    ask : ``In(count_ask(...))``
    peek : ``In(count_ask(...))``
        The same without ``step``. The count may lack what ``ask`` steps in that clock or the
        next one.
    ready : ``Out(1)``
        Counts are cleared.
    """

    def __init__(self, *, entries, width):
        self.entries = entries
        self.width   = width
        super().__init__({
            "ask":   In(count_ask(entries=entries, width=width)),
            "peek":  In(count_ask(entries=entries, width=width)),
            "ready": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        # One copy for each reader. Look-up table RAM has its read register at its output.
        ports = []
        for name, port in (("asked", self.ask), ("peeked", self.peek)):
            copy = Memory(shape=self.width, depth=self.entries, init=[],
                          attrs={"ram_style": "distributed"})
            m.submodules[name] = copy
            read = copy.read_port()
            m.d.comb += [read.en.eq(port.en), read.addr.eq(port.index)]
            ports.append((copy.write_port(), read))

        # A count that was stepped while it was read again is passed on beside the memory.
        index, passed = Signal(range(self.entries)), Signal()
        newest, following = Signal(self.width), Signal(self.width)
        clear = Signal(range(self.entries))
        m.d.comb += [
            self.ask.count.eq(Mux(passed, newest, ports[0][1].data)),
            self.peek.count.eq(ports[1][1].data),
            following.eq(self.ask.count + 1),
        ]
        with m.If(self.ask.en):
            m.d.sync += [
                index.eq(self.ask.index),
                passed.eq(self.ask.step & (index == self.ask.index)),
                newest.eq(following),
            ]
        with m.Elif(self.ask.step):
            m.d.sync += [passed.eq(1), newest.eq(following)]
        with m.If(~self.ready):
            m.d.sync += [clear.eq(clear + 1), self.ready.eq(clear == self.entries - 1)]
        for write, _ in ports:
            m.d.comb += [
                write.en.eq(~self.ready | self.ask.step),
                write.addr.eq(Mux(self.ready, index, clear)),
                write.data.eq(Mux(self.ready, following, 0)),
            ]
        return m


class Quota(wiring.Component):
    """Say whether a holder may have one tag more, and count what he has.

    Given and freed tags are counted apart, because each memory has one writer. A tag that was
    freed is seen to be free 3 clocks later.

    1 question, 1 tag given and 1 freed per clock.

    Parameters
    ----------
    entries : :class:`int`
        Number of holders, at least 2.
    width : :class:`int`
        Width of counts: twice the number of tags must fit.

    Members
    -------
    ask : ``In(count_ask(...))``
        Who asks. ``count`` is the number of tags that he was ever given; ``step`` gives him one.
    room : ``Out(1)``
        With ``count``: he has fewer tags than the limit. It may come too late, never too early.
    limit : ``In(width - 1)``
        Most tags for each holder; 0 counts as 1.
    freed_en : ``In(1)``, ``freed`` : ``In(range(entries))``
        A tag of this holder was freed.
    ready : ``Out(1)``
        Counts are cleared, which takes ``entries`` clocks after reset.
    """

    def __init__(self, *, entries, width):
        self.entries = entries
        self.width   = width
        super().__init__({
            "ask":      In(count_ask(entries=entries, width=width)),
            "room":     Out(1),
            "limit":    In(width - 1),
            "freed_en": In(1),
            "freed":    In(range(entries)),
            "ready":    Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.given = given = CountTable(entries=self.entries, width=self.width)
        m.submodules.back  = back  = CountTable(entries=self.entries, width=self.width)
        wiring.connect(m, wiring.flipped(self.ask), given.ask)

        # given - back - limit < 0, modulo. As a sum of three it has one carry chain, because the
        # three are first made two: x - y is x + ~y + 1, and x - z is x + ~(z - 1).
        step, least = Signal(), Signal(self.width)
        x, y, z = self.ask.count, Signal(self.width), Signal(self.width, init=-1)
        m.d.sync += [
            step.eq(self.freed_en),
            z.eq(~Mux(self.limit == 0, 0, self.limit - 1)),
        ]
        m.d.comb += [
            back.ask.en.eq(self.freed_en),
            back.ask.index.eq(self.freed),
            back.ask.step.eq(step),
            back.peek.en.eq(self.ask.en),
            back.peek.index.eq(self.ask.index),
            y.eq(~back.peek.count),
            least.eq((x ^ y ^ z) + Cat(C(1, 1), (x & y) | (x & z) | (y & z))),
            self.room.eq(least[-1]),
            self.ready.eq(given.ready & back.ready),
        ]
        return m
