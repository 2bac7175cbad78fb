"""Tags that are free."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from iovirt.stream import StreamQueue

from .request_layouts import CLIENTS, free_tag

__all__ = ["TagAllocator", "tag_holder"]


def tag_holder(*, core_width, guest_width):
    """Against whose quota a tag counts."""
    return data.StructLayout({"client": range(CLIENTS), "core": core_width, "guest": guest_width})


#: Tags of 5 bits.
SHORT = 32


class TagAllocator(wiring.Component):
    """Give out tags, each at most once until it is given back (rule S6).

    The list of free tags is in RAM; 1 tag is given and 1 taken back per clock. Tags are reused in
    the order in which they come back, so that a tag rests as long as possible. ``reserve`` tags
    are kept for client 1, which may have no more than these.

    After reset, all ``depth`` entries of the tables that are indexed by tag are cleared, one per
    clock; until then nothing is given out. If ``split`` is given, tags from 0 to ``split - 1``
    are in use while ``upper`` is 0, and those from ``split`` on while it is 1; after a change of
    it, nothing is given out until all tags are back and the tables are cleared again. The same
    holds for ``five_bit``, with which only tags 0 to 31 are in use.

    Parameters
    ----------
    depth : :class:`int`
        Number of values of a tag, a power of two of at least 4.
    split : :class:`int` or None
        First of the upper tags.
    reserve : :class:`int`
        Tags for client 1, at least 1.
    core_width, guest_width : :class:`int`
        Of the holders of tags.

    Members
    -------
    free : ``Out(free_tag(depth))``
        A free tag, if any bit of ``permit`` is set.
    permit : ``Out(CLIENTS)``
        Client n may have it.
    take : ``In(1)``, ``holder`` : ``In(tag_holder(...))``
        The tag is given to ``holder``, whose client has a ``permit``.
    put : ``In(stream.Signature(free_tag(depth)))``
        A tag comes back; it must be out. Always accepted.
    freed : ``Out(tag_holder(...))``, ``freed_en`` : ``Out(1)``
        Who had it, 1 clock after ``put``.
    clear : ``Out(1)``, ``clear_tag`` : ``Out(range(depth))``
        The tables' entries of this tag are to be cleared, with lap 0.
    ready : ``Out(1)``
        Tags are given out.
    upper, five_bit : ``In(1)``
        See above.
    used : ``Out(range(depth + 1))``
        Tags that are out.

    Raises
    ------
    ValueError
        If a parameter is out of range.
    """

    def __init__(self, *, depth, split=None, reserve, core_width, guest_width):
        if type(depth) is not int or depth < 4 or depth & (depth - 1):
            raise ValueError(f"Depth must be a power of two of at least 4, not {depth!r}")
        if split is not None and (type(split) is not int or not 0 < split < depth):
            raise ValueError(f"First upper tag must be None or an integer in 1..{depth - 1}, "
                             f"not {split!r}")
        smallest = depth if split is None else min(split, depth - split)
        if type(reserve) is not int or not 1 <= reserve < smallest:
            raise ValueError(f"Reserve must be an integer in 1..{smallest - 1}, not {reserve!r}")
        self.depth   = depth
        self.split   = split
        self.reserve = reserve
        self._holder = tag_holder(core_width=core_width, guest_width=guest_width)
        super().__init__({
            "free":      Out(free_tag(depth)),
            "permit":    Out(CLIENTS),
            "take":      In(1),
            "holder":    In(self._holder),
            "put":       In(stream.Signature(free_tag(depth), always_ready=True)),
            "freed":     Out(self._holder),
            "freed_en":  Out(1),
            "clear":     Out(1),
            "clear_tag": Out(range(depth)),
            "ready":     Out(1),
            "upper":     In(1),
            "five_bit":  In(1),
            "used":      Out(range(depth + 1)),
        })

    def elaborate(self, platform):
        m = Module()
        entries, restart = free_tag(self.depth), Signal()
        m.submodules.list = free = ResetInserter(restart)(StreamQueue(entries, depth=self.depth))
        m.submodules.offer = offer = ResetInserter(restart)(StreamQueue(entries, depth=2))
        m.submodules.holders = holders = Memory(shape=Value.cast(self.holder).shape(),
                                                depth=self.depth, init=[],
                                                attrs={"no_rw_check": 1})
        write, read = holders.write_port(), holders.read_port()

        now, mode = Signal(2), Signal(2)
        upper, short = mode
        count = Signal(range(self.depth))
        first = 0 if self.split is None else Mux(upper, self.split, 0)
        last  = self.depth - 1 if self.split is None else Mux(upper, self.depth - 1, self.split - 1)
        if self.depth > SHORT:
            first, last = Mux(short, 0, first), Mux(short, SHORT - 1, last)
        takes, change = self.take, Signal()
        m.d.comb += [
            now.eq(Cat(self.upper if self.split is not None else 0,
                       self.five_bit if self.depth > SHORT else 0)),
            change.eq(now != mode),
            restart.eq(self.ready & change & (self.used == 0)),
            self.clear.eq(~self.ready),
            self.clear_tag.eq(count),
            # All that is given out next is on a lap of its own, after the cleared one.
            free.i.valid.eq(Mux(self.ready, self.put.valid, (count >= first) & (count <= last))),
            free.i.p.tag.eq(Mux(self.ready, self.put.p.tag, count)),
            free.i.p.lap.eq(~self.ready | self.put.p.lap),
            offer.i.valid.eq(free.o.valid),
            offer.i.p.eq(free.o.p),
            free.o.ready.eq(offer.i.ready),
            self.free.eq(offer.o.p),
            offer.o.ready.eq(takes),
            write.en.eq(takes),
            write.addr.eq(self.free.tag),
            write.data.eq(self.holder),
            read.addr.eq(self.put.p.tag),
            Value.cast(self.freed).eq(read.data),
        ]
        m.d.sync += [
            self.freed_en.eq(self.put.valid),
            self.used.eq(self.used + takes - self.put.valid),
        ]
        with m.If(restart):
            m.d.sync += [self.ready.eq(0), mode.eq(now), count.eq(0)]
        with m.Elif(~self.ready):
            m.d.sync += [count.eq(count + 1), self.ready.eq(count == self.depth - 1)]

        # What each client may still have. While a change waits, nobody gets any.
        shares = (Signal(range(self.depth + 1)), Signal(range(self.depth + 1)))
        whole = Signal(range(self.depth + 1))
        m.d.comb += whole.eq(last - first + 1)
        for client, share in enumerate(shares):
            down = takes & (self.holder.client == client)
            up   = self.freed_en & (self.freed.client == client)
            m.d.comb += self.permit[client].eq((share != 0) & offer.o.valid & self.ready & ~change)
            m.d.sync += share.eq(Mux(self.ready, share + up - down,
                                     self.reserve if client else whole - self.reserve))
        return m
