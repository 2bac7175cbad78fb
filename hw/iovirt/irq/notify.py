"""Notification of the readers of event queues, by MSI or by wire."""

from amaranth import *
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..axi import TableError, table_write_request, table_write_response
from ..stream import StreamArbiter

__all__ = ["Notifier", "NotifyKind", "notice_setting"]


class NotifyKind(enum.Enum, shape=2):
    """How the reader of a queue is told. 3 is reserved and does nothing."""

    NONE = 0
    MSI  = 1  # write NOTIFY_DATA to NOTIFY_ADDRESS
    WIRE = 2  # raise a wire


#: How a queue notifies, in the order of its four registers.
notice_setting = data.StructLayout({
    "address":    64,
    "data":       32,
    "kind":       NotifyKind,
    "reserved_0": 6,
    "wire":       5,
    "reserved_1": 19,
})


class Notifier(wiring.Component):
    """Notify queues, in the order in which they ask.

    An MSI is a write of 4 bytes at ``address``, whose bits 1:0 are ignored. It is done when it has
    been answered, and has failed if the answer is an error. If ``address`` has bits above the
    physical addresses, nothing is written, and it has failed, too. A wire stays high until software
    clears it.

    Latency is 3 clocks from ``notify`` to ``request``; throughput is 1 notification per 4 clocks.
    MSI writes of different queues do not wait for each other. Combinational paths run from
    ``response`` to ``notified`` and back.

    Parameters
    ----------
    queues : :class:`int`
        Number of queues, at least 2.
    queue_width : :class:`int`
        Width of queue numbers.
    address_width, tag_width : :class:`int`
        Of the table port; the tag of a write is its queue.
    wires : :class:`int`
        Number of wires, 1 to 32.

    Members
    -------
    notify : ``In(stream.Signature(queue_width))``
        Queues to notify.
    notified : ``Out(stream.Signature(...))``
        Queues notified: ``queue``, ``failed``.
    set : ``In(...)``
        Pulse ``en`` sets the 32-bit register ``word`` (0 to 3) of the :data:`notice_setting` of
        ``queue``. All are 0 after reset, from ``queues`` clocks on; not before may they be set.
    wires : ``Out(wires)``
        Wires.
    clear : ``In(wires)``
        Wires to clear; raising wins.
    request, response : ``Out(...)``, ``In(...)``
        Client of the table port.
    """

    def __init__(self, *, queues, queue_width, address_width, tag_width, wires):
        if type(wires) is not int or not 1 <= wires <= 32:
            raise ValueError(f"Number of wires must be an integer in 1..32, not {wires!r}")
        if type(tag_width) is not int or tag_width < queue_width:
            raise ValueError(f"Tag width must be an integer of at least {queue_width}, that of "
                             f"queue numbers, not {tag_width!r}")
        self.queues        = queues
        self.queue_width   = queue_width
        self.address_width = address_width
        self.tag_width     = tag_width
        request = table_write_request(address_width=address_width, tag_width=tag_width)
        super().__init__({
            "notify":   In(stream.Signature(queue_width)),
            "notified": Out(stream.Signature(
                data.StructLayout({"queue": queue_width, "failed": 1}))),
            "set":      In(wiring.Signature({
                "en":    Out(1),
                "queue": Out(queue_width),
                "word":  Out(2),
                "data":  Out(32),
            })),
            "wires":    Out(wires),
            "clear":    In(wires),
            "request":  Out(stream.Signature(request)),
            "response": In(stream.Signature(table_write_response(tag_width=tag_width))),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.settings = settings = Memory(shape=unsigned(128), depth=self.queues, init=[],
                                                  attrs={"no_rw_check": 1})
        write, read = settings.write_port(granularity=32), settings.read_port()
        scrubbed, scrub = Signal(), Signal(range(self.queues))
        with m.If(~scrubbed):
            m.d.sync += [scrub.eq(scrub + 1), scrubbed.eq(scrub == self.queues - 1)]
        m.d.comb += [
            write.addr.eq(Mux(scrubbed, self.set.queue, scrub)),
            write.data.eq(Mux(scrubbed, self.set.data.replicate(4), 0)),
            write.en.eq(Mux(scrubbed, Mux(self.set.en, 1 << self.set.word, 0), 0b1111)),
            read.addr.eq(self.notify.payload),
            read.en.eq(1),
        ]

        setting, wide = Signal(notice_setting), Signal()
        raised = Signal(len(self.wires))
        m.d.comb += [
            self.request.p.address.eq(setting.address & ~C(3, 64)),
            self.request.p.size_log2.eq(2),
            self.request.p.data.eq(setting.data),
            wide.eq((setting.kind == NotifyKind.MSI) & setting.address[self.address_width:].any()),
        ]
        m.d.sync += self.wires.eq((self.wires & ~self.clear) | raised)
        # A queue asks again only when it was told, so its number is a good tag.
        m.submodules.arbiter = arbiter = StreamArbiter(self.notified.p.shape(), ports=2)
        wiring.connect(m, arbiter.o, wiring.flipped(self.notified))
        answer, direct = arbiter.i
        m.d.comb += [
            answer.valid.eq(self.response.valid),
            answer.p.queue.eq(self.response.p.tag),
            answer.p.failed.eq(self.response.p.error != TableError.NONE),
            self.response.ready.eq(answer.ready),
            direct.p.queue.eq(self.request.p.tag),
            direct.p.failed.eq(wide),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.notify.ready.eq(scrubbed)
                m.d.sync += self.request.p.tag.eq(self.notify.payload)
                with m.If(self.notify.valid & scrubbed):
                    m.next = "READ"
            with m.State("READ"):
                m.d.sync += setting.eq(read.data)
                m.next = "CHOOSE"
            with m.State("CHOOSE"):
                m.next = "TELL"
                with m.If((setting.kind == NotifyKind.MSI) & ~wide):
                    m.next = "SEND"
                with m.Elif(setting.kind == NotifyKind.WIRE):
                    m.d.comb += raised.eq(1 << setting.wire)
            with m.State("SEND"):
                m.d.comb += self.request.valid.eq(1)
                with m.If(self.request.ready):
                    m.next = "IDLE"
            with m.State("TELL"):
                m.d.comb += direct.valid.eq(1)
                with m.If(direct.ready):
                    m.next = "IDLE"
        return m
