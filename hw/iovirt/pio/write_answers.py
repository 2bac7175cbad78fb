"""Answers to writes."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from iovirt.axi import Resp
from iovirt.stream import PassingQueue, StreamArbiter, StreamQueue

from .answer_order import CLASS_WIDTH, AnswerOrder, class_of, token
from .layouts import FinishStatus, PageAccess, PageAnswer, Policy, config_access, config_answer
from .target import goes_to_page
from .write_layouts import write_end
from .write_send import write_done

__all__ = ["WriteAnswers"]


class WriteAnswers(wiring.Component):
    """Answer writes in the order of their IDs; those of configuration space, and of the pages of
    guests, when they are done (Server SoC ECM_020).

    A posted write is done when it comes, and is answered at once unless an earlier one of its ID
    still waits for configuration space; only then it takes a slot. So a slow access holds the
    answers to its own ID, but no write of anybody, unless ``slots - 5`` writes wait. Then all
    writes stop, because AW is one channel, until an access ends: at the latest by its time-out
    (and repetitions). With slots for all that cores can have outstanding, this does not happen.

    Latency is 4 clocks from ``done`` to ``o`` for a posted write, and 1 clock to ``page``;
    throughput is 1 answer per clock.

    Parameters
    ----------
    id_width, core_id_bits : :class:`int`
        Of the AXI port.
    slots, owner_width : :class:`int`
        Writes that wait for configuration space or behind such a write, at least 8; width of the
        owner of an access.
    pages : :class:`bool`
        The doorbell aperture is served.

    Members
    -------
    room : ``Out(1)``
        One more burst may start to be done.
    done : ``In(stream.Signature(write_done(...), always_ready=True))``
    config_policy : ``In(Policy)``
        Of the ECAM window.
    config : ``Out(stream.Signature(config_access(...)))``
    answer : ``In(stream.Signature(config_answer(...)))``
        Only those of writes.
    page_policy : ``In(Policy)``, \
            ``page`` : ``Out(stream.Signature(PageAccess))``, \
            ``page_answer`` : ``In(stream.Signature(PageAnswer))``
        The same of the pages of guests. Only with ``pages``.
    o : ``Out(stream.Signature(write_end(...)))``
    """

    def __init__(self, *, id_width, core_id_bits, slots, owner_width, pages=False):
        if not isinstance(slots, int) or slots < 8:
            raise ValueError(f"Number of slots must be an integer of at least 8, not {slots!r}")
        self.id_width     = id_width
        self.core_id_bits = core_id_bits
        self.slots        = slots
        self.owner_width  = owner_width
        self.pages        = pages
        done = write_done(id_width=id_width, pages=pages)
        served = {
            "page_policy": In(Policy),
            "page":        Out(stream.Signature(PageAccess)),
            "page_answer": In(stream.Signature(PageAnswer)),
        } if pages else {}
        super().__init__({
            "room":          Out(1),
            "done":          In(stream.Signature(done, always_ready=True)),
            "config_policy": In(Policy),
            "config":        Out(stream.Signature(config_access(owner_width=owner_width))),
            "answer":        In(stream.Signature(config_answer(owner_width=owner_width))),
            **served,
            "o":             Out(stream.Signature(write_end(id_width=id_width))),
        })

    def elaborate(self, platform):
        m = Module()
        order = AnswerOrder(class_width=min(self.id_width, CLASS_WIDTH), slots=self.slots)
        m.submodules.order = self._order = order
        m.submodules.direct = self._direct = StreamQueue(self.o.payload.shape(), depth=16)
        self._elaborate_ends(m, order)
        idle = self._elaborate_turns(m, order)
        self._elaborate_done(m, order, idle)
        return m

    def _elaborate_done(self, m, order, idle):
        # One clock after `look` it is known whether anything of this class is in flight.
        now, valid, takes = Signal.like(self.done.payload), Signal(), Signal()
        waits = now.config | goes_to_page(now)
        used, direct = Signal(range(self.slots + 1)), self._direct
        m.d.sync += [valid.eq(self.done.valid), now.eq(self.done.payload)]
        m.d.comb += [
            order.look.eq(class_of(self.done.payload.end.id)),
            takes.eq(valid & (waits | ~order.head | ~idle)),
            order.free.ready.eq(takes),
            order.take.en.eq(takes),
            order.take.token.eq(order.free.payload),
            order.take.token.head.eq(order.head),
            direct.i.valid.eq(valid & ~takes),
            direct.i.payload.eq(now.end),
        ]
        # What is on its way when `room` falls still finds its place: five bursts at most.
        m.d.sync += [
            used.eq(used + takes - order.put.en),
            self.room.eq(order.free.valid & (used < self.slots - 5) & (direct.level <= 8)),
        ]

        # Queues for all slots: nothing that is done waits for the configuration unit.
        m.submodules.accesses = accesses = StreamQueue(self.config.payload.shape(),
                                                       depth=self.slots)
        wiring.connect(m, accesses.o, wiring.flipped(self.config))
        access = accesses.i.payload
        m.d.comb += [
            accesses.i.valid.eq(takes & now.config),
            access.write.eq(1),
            access.address.eq(now.address),
            access.be.eq(now.be),
            access.data.eq(now.data),
            access.legal.eq(now.register),
            access.core.eq(now.end.id[self.id_width - self.core_id_bits:]),
            access.owner.eq(order.take.token),
            self._posted.i.valid.eq(takes & ~waits),
            self._posted.i.payload.token.eq(order.take.token),
            self._posted.i.payload.resp.eq(now.end.resp),
            self._ids.en.eq(takes),
            self._ids.addr.eq(order.free.payload.slot),
            self._ids.data.eq(now.end.id),
        ]
        if self.pages:
            # The same, but without delay.
            m.submodules.pages = pages = PassingQueue(PageAccess, depth=self.slots)
            wiring.connect(m, pages.o, wiring.flipped(self.page))
            page = pages.i.payload
            m.d.comb += [
                pages.i.valid.eq(valid & now.page),
                *(page[name].eq(access[name])
                  for name in ("write", "address", "be", "data", "legal", "core", "owner")),
            ]

    def _elaborate_ends(self, m, order):
        end = data.StructLayout({"token": token(slots=self.slots), "resp": Resp})
        m.submodules.posted = self._posted = posted = StreamQueue(end, depth=self.slots)
        m.submodules.ends = ends = StreamArbiter(end, ports=2 + self.pages)
        wiring.connect(m, posted.o, ends.i[0])

        def tell(port, answer, failed):
            told = ends.i[port].payload
            m.d.comb += [
                ends.i[port].valid.eq(answer.valid),
                answer.ready.eq(ends.i[port].ready),
                Value.cast(told.token).eq(answer.payload.owner),
                told.resp.eq(Mux(failed, Resp.SLVERR, Resp.OKAY)),
            ]

        tell(1, self.answer, (self.answer.payload.status != FinishStatus.OK)
                             & (self.config_policy == Policy.ERROR))
        if self.pages:
            tell(2, self.page_answer,
                 ~self.page_answer.payload.ok & (self.page_policy == Policy.ERROR))
        m.d.comb += [
            order.finish.valid.eq(ends.o.valid),
            order.finish.payload.eq(ends.o.payload.token),
            ends.o.ready.eq(order.finish.ready),
        ]
        m.submodules.resps = resps = Memory(shape=Resp, depth=self.slots, init=[])
        write, self._resp = resps.write_port(), resps.read_port()
        m.d.comb += [
            write.en.eq(ends.o.valid & ends.o.ready),
            write.addr.eq(ends.o.payload.token.slot),
            write.data.eq(ends.o.payload.resp),
        ]

    def _elaborate_turns(self, m, order):
        m.submodules.waiting = waiting = StreamQueue(token(slots=self.slots), depth=self.slots)
        m.submodules.ids = ids = Memory(shape=self.id_width, depth=self.slots, init=[])
        m.submodules.answers = answers = StreamArbiter(self.o.payload.shape(), ports=2)
        m.submodules.out = out = StreamQueue(self.o.payload.shape(), depth=2)
        self._ids, id = ids.write_port(), ids.read_port()
        wiring.connect(m, self._direct.o, answers.i[0])
        wiring.connect(m, answers.o, out.i)
        wiring.connect(m, out.o, wiring.flipped(self.o))

        turned, valid, advance = Signal(token(slots=self.slots)), Signal(), Signal()
        # Answers that go directly and were there before this one: one may be of its ID.
        ahead, leaves = Signal.like(self._direct.level), Signal()
        o = answers.i[1]
        m.d.comb += [
            leaves.eq(self._direct.o.valid & self._direct.o.ready),
            advance.eq(~valid | (o.valid & o.ready)),
            waiting.i.valid.eq(order.o.valid),
            waiting.i.payload.eq(order.o.payload),
            waiting.o.ready.eq(advance),
            o.valid.eq(valid & (ahead == 0)),
            o.payload.id.eq(id.data),
            o.payload.resp.eq(self._resp.data),
            order.put.en.eq(o.valid & o.ready),
            order.put.token.eq(turned),
        ]
        for port in (id, self._resp):
            m.d.comb += [port.en.eq(advance), port.addr.eq(waiting.o.payload.slot)]
        with m.If(advance):
            m.d.sync += [valid.eq(waiting.o.valid), turned.eq(waiting.o.payload),
                         ahead.eq(self._direct.level - leaves)]
        with m.Elif(ahead != 0):
            m.d.sync += ahead.eq(ahead - leaves)
        # An answer that goes directly must not pass one whose turn has come before.
        return ~valid & (waiting.level == 0) & ~order.o.valid
