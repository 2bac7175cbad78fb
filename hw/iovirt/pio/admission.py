"""Requests that wait for the quotas of their guests and cores."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from iovirt.stream import StreamArbiter, StreamQueue

from .layouts import np_request
from .quota import CountTable, Quota

__all__ = ["Admission"]

#: Pairs of core and guest are told apart by so many bits; the rest is folded onto them.
PAIR_WIDTH = 8


class Admission(wiring.Component):
    """Let a request go when its guest and its core have room in their quotas (rule S9).

    A request that must wait goes round in a loop, and is looked at again and again; requests of
    other cores and guests pass it. Those of one core to one guest go in the order in which they
    came: each draws a ticket, and goes when all tickets before it have gone. With more than
    ``2 ** PAIR_WIDTH`` pairs of core and guest, some of them share their tickets. If several cores
    wait for the quota of one guest, whoever is looked at first goes.

    A request that need not wait is offered 1 clock after it came. Throughput is 1 per clock; while
    some wait, every second clock is for new ones. Nothing is accepted until the counts are
    cleared, nor while ``depth`` requests wait. ``o.valid`` comes from registers through a compare;
    there is a combinational path from ``o.ready`` to ``i.ready``.

    Parameters
    ----------
    owner_width, max_read_bytes : :class:`int`
        Shape requests.
    cores, guests : :class:`int`
        Number of cores and guests, powers of two of at least 2; the low bits of their numbers
        count.
    tags : :class:`int`
        Most tags that can be out.
    depth : :class:`int`
        Number of requests that may wait, at least 4.

    Members
    -------
    i : ``In(stream.Signature(np_request(...)))``
        Requests.
    o : ``Out(stream.Signature(np_request(...)))``
        Requests that may have a tag; counted as given with the transfer.
    core_limit, guest_limit : ``In(10)``
        Most tags of one core, and of one guest; 0 counts as 1.
    freed_en : ``In(1)``
    freed_core : ``In(range(cores))``, ``freed_guest`` : ``In(range(guests))``
        A tag came back, and who had it.
    idle : ``Out(1)``
        No request is inside.
    """

    def __init__(self, *, owner_width, max_read_bytes, cores, guests, tags, depth):
        for name, value in (("cores", cores), ("guests", guests)):
            if type(value) is not int or value < 2 or value & (value - 1):
                raise ValueError(f"Number of {name} must be a power of two of at least 2, "
                                 f"not {value!r}")
        if type(depth) is not int or depth < 4:
            raise ValueError(f"Depth must be an integer of at least 4, not {depth!r}")
        self.cores  = cores
        self.guests = guests
        self.tags   = tags
        self.depth  = depth
        self._request = np_request(owner_width=owner_width, max_read_bytes=max_read_bytes)
        # Tickets and counts differ by no more than all that wait and all tags.
        self._width = max(11, (depth + tags).bit_length() + 1)
        super().__init__({
            "i":           In(stream.Signature(self._request)),
            "o":           Out(stream.Signature(self._request)),
            "core_limit":  In(10),
            "guest_limit": In(10),
            "freed_en":    In(1),
            "freed_core":  In(range(cores)),
            "freed_guest": In(range(guests)),
            "idle":        Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        waiting = data.StructLayout({"request": self._request, "ticket": self._width, "new": 1})
        m.submodules.arbiter = arbiter = StreamArbiter(waiting, ports=2)
        m.submodules.again   = again   = StreamQueue(waiting, depth=self.depth)
        pairs = exact_log2(self.cores * self.guests)
        counts = {"entries": 1 << min(pairs, PAIR_WIDTH), "width": self._width}
        m.submodules.tickets = tickets = CountTable(**counts)
        m.submodules.gone    = gone    = CountTable(**counts)
        m.submodules.guests  = guests  = Quota(entries=self.guests, width=self._width)
        m.submodules.cores   = cores   = Quota(entries=self.cores, width=self._width)
        # The second queue ends the path of `advance`.
        m.submodules.next = following = StreamQueue(waiting, depth=2)
        wiring.connect(m, again.o, following.i)
        wiring.connect(m, following.o, arbiter.i[1])

        # `inside` counts what has a place in the loop, so the loop never stops.
        inside, ready, enters, leaves = Signal(range(self.depth + 1)), Signal(), Signal(), Signal()
        place = Signal()
        m.d.comb += [
            ready.eq(tickets.ready & gone.ready & guests.ready & cores.ready),
            place.eq(ready & (inside != self.depth)),
            arbiter.i[0].valid.eq(self.i.valid & place),
            arbiter.i[0].p.request.eq(self.i.p),
            arbiter.i[0].p.new.eq(1),
            self.i.ready.eq(arbiter.i[0].ready & place),
            enters.eq(self.i.valid & self.i.ready),
            leaves.eq(self.o.valid & self.o.ready),
            self.idle.eq(inside == 0),
        ]
        m.d.sync += inside.eq(inside + enters - leaves)

        # One clock later the counts are there.
        now, valid, advance = Signal(waiting), Signal(), Signal()
        request = arbiter.o.p.request
        guest, core = request.guest[:exact_log2(self.guests)], request.core[:exact_log2(self.cores)]
        pair = Cat(core, guest)
        pair = pair[:PAIR_WIDTH] ^ pair[PAIR_WIDTH:]
        for ask, index in ((tickets.ask, pair), (gone.ask, pair), (guests.ask, guest),
                           (cores.ask, core)):
            m.d.comb += [ask.en.eq(advance), ask.index.eq(index)]
        with m.If(advance):
            m.d.sync += [valid.eq(arbiter.o.valid), now.eq(arbiter.o.p)]

        ticket, goes, waits = Signal(self._width), Signal(), Signal()
        m.d.comb += [
            ticket.eq(Mux(now.new, tickets.ask.count, now.ticket)),
            goes.eq(valid & (ticket == gone.ask.count) & guests.room & cores.room),
            waits.eq(valid & ~goes),
            self.o.valid.eq(goes),
            self.o.p.eq(now.request),
            advance.eq(~goes | self.o.ready),
            arbiter.o.ready.eq(advance),
            again.i.valid.eq(waits),
            again.i.p.request.eq(now.request),
            again.i.p.ticket.eq(ticket),
            tickets.ask.step.eq(valid & now.new & advance),
            gone.ask.step.eq(leaves),
            guests.ask.step.eq(leaves),
            cores.ask.step.eq(leaves),
        ]
        for quota, limit, index in ((guests, self.guest_limit, self.freed_guest),
                                    (cores, self.core_limit, self.freed_core)):
            m.d.comb += [
                quota.limit.eq(limit),
                quota.freed_en.eq(self.freed_en),
                quota.freed.eq(index),
            ]
        return m
