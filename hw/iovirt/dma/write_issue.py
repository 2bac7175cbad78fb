"""Start of writes on AXI."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from iovirt.pcie.layouts import ErrorCause, ErrorRecord
from iovirt.stream import StreamQueue

from .layouts import write_answer, write_end, write_entry, write_job, write_open
from .order import ask_signature
from .share_layouts import write_share
from .transactions import transaction

__all__ = ["WriteIssue", "address_request", "open_write"]


def address_request(*, address_width, id_width):
    """One burst on AW or AR: INCR, full width."""
    return data.StructLayout({"id": id_width, "address": address_width, "last_row": 8})


def open_write(*, classes, number_width):
    """A write goes out: keep ``data`` until its response."""
    return wiring.Signature({
        "en":     Out(1),
        "order":  Out(exact_log2(classes)),
        "number": Out(number_width),
        "data":   Out(write_open()),
    })


class WriteIssue(wiring.Component):
    """Turn each permitted write into one AXI burst, and drop the others. Those that lead into the
    aperture are recorded.

    Bursts start at the row of the first byte; byte enables select what is written. A write waits
    while ``outstanding`` writes of its class have no response, and, if the fabric does not keep
    writes of one ID in order, until all of them have one, unless it carries RO.

    Latency is 3 clocks; throughput is 1 write per clock.

    Parameters
    ----------
    lanes, rows : :class:`int`
        Dwords in a row, rows in a slot.
    slots : :class:`int`
        Number of slots for writes.
    classes, number_width : :class:`int`
        Number of ordering classes, width of sequence numbers.
    outstanding : :class:`int`
        Writes without response per class, a power of two.
    address_width, id_width : :class:`int`
        Of the bus.
    fabric_ordered : :class:`bool`
        Writes of one ID become visible in issue order.
    shared : :class:`bool`
        Functions may be shared: payloads may have to be changed.

    Members
    -------
    i : ``In(stream.Signature(transaction(...)))``
        Translated writes.
    ask : ``Out(ask_signature(...))``
        Asks for the responses of the class.
    address : ``Out(stream.Signature(address_request(...)))``
        Bursts.
    job : ``Out(stream.Signature(write_job(...)))``
        Payloads to send, in the same order, and slots to free.
    open : ``Out(open_write(...))``
        What the response needs.
    dropped : ``Out(stream.Signature(write_end()))``
        Writes that do not go out.
    error : ``Out(stream.Signature(ErrorRecord))``
        One for each write into the aperture.
    """

    def __init__(self, *, lanes, rows, slots, classes, number_width, outstanding, address_width,
                 id_width, fabric_ordered, shared=False):
        self.lanes          = lanes
        self.outstanding    = outstanding
        self.fabric_ordered = fabric_ordered
        self.shared         = shared
        answer = write_answer(classes=classes, number_width=number_width,
                              address_width=address_width)
        write  = transaction(write_entry(), answer, slots=slots,
                             share=write_share() if shared else None)
        job    = write_job(slots=slots, lanes=lanes, rows=rows, shared=shared)
        super().__init__({
            "i":       In(stream.Signature(write)),
            "ask":     Out(ask_signature(classes=classes, width=number_width)),
            "address": Out(stream.Signature(address_request(address_width=address_width,
                                                            id_width=id_width))),
            "job":     Out(stream.Signature(job)),
            "open":    Out(open_write(classes=classes, number_width=number_width)),
            "dropped": Out(stream.Signature(write_end())),
            "error":   Out(stream.Signature(ErrorRecord)),
        })

    def elaborate(self, platform):
        m = Module()
        queues = {}
        for name in ("address", "job", "dropped", "error"):
            port = getattr(self, name)
            m.submodules[name] = queue = StreamQueue(port.payload.shape(), depth=2)
            wiring.connect(m, queue.o, wiring.flipped(port))
            queues[name] = queue

        # The distance is computed a clock before it is judged. Being old only makes it longer.
        held     = Signal.like(self.i.payload)
        valid    = Signal()
        distance = Signal.like(self.ask.distance)
        asked    = Mux(self.i.ready, self.i.payload.answer, held.answer)
        m.d.comb += [
            self.ask.order.eq(data.View(self.i.payload.answer.shape(), asked).order),
            self.ask.number.eq(data.View(self.i.payload.answer.shape(), asked).number),
        ]
        m.d.sync += distance.eq(self.ask.distance)

        answer = held.answer
        may_go, fire = Signal(), Signal()
        m.d.comb += [
            may_go.eq(distance[exact_log2(self.outstanding):] == 0),
            fire.eq(valid & (may_go | ~answer.go)
                    & Cat(queue.i.ready for queue in queues.values()).all()),
            self.i.ready.eq(~valid | fire),
        ]
        if not self.fabric_ordered:
            m.d.comb += may_go.eq((distance == 0)
                                  | (held.entry.relaxed
                                     & (distance[exact_log2(self.outstanding):] == 0)))
        with m.If(self.i.ready):
            m.d.sync += [valid.eq(self.i.valid), held.eq(self.i.payload)]

        m.d.comb += [
            queues["address"].i.valid.eq(fire & answer.go),
            queues["job"].i.valid.eq(fire),
            queues["dropped"].i.valid.eq(fire & ~answer.go),
            queues["dropped"].i.payload.epoch.eq(answer.epoch),
            queues["dropped"].i.payload.turn.eq(held.entry.turn),
            queues["error"].i.valid.eq(fire & answer.peer),
            queues["error"].i.payload.cause.eq(ErrorCause.PEER_DENIED),
            *(queues["error"].i.payload[name].eq(held.entry[name])
              for name in ("segment", "rid", "address")),
            self.open.en.eq(fire & answer.go),
        ]
        self._elaborate_burst(m, held, queues["address"].i.payload, queues["job"].i.payload)
        return m

    def _elaborate_burst(self, m, held, address, job):
        entry, answer = held.entry, held.answer
        bits = exact_log2(self.lanes)
        # Dwords from the start of the first row to the last one of the payload.
        first = entry.address[2:2 + bits]
        span  = Signal(12)
        m.d.comb += [
            span.eq(first + entry.length_dw - 1),
            address.id.eq(answer.order),
            address.address.eq(Cat(C(0, 2 + bits), entry.address[2 + bits:12], answer.ppn)),
            address.last_row.eq(span[bits:]),
            job.slot.eq(held.slot),
            job.empty.eq(~answer.go),
            job.first_lane.eq(first),
            job.last_lane.eq(span[:bits]),
            job.last_row.eq(span[bits:]),
            job.first_be.eq(entry.first_be),
            job.last_be.eq(entry.last_be),
            self.open.order.eq(answer.order),
            self.open.number.eq(answer.number),
            self.open.data.epoch.eq(answer.epoch),
            *(self.open.data[name].eq(entry[name])
              for name in ("turn", "rid", "segment", "address")),
        ]
        if self.shared:
            m.d.comb += [
                job.odd.eq(entry.address[3]),
                job.patch_id.eq(held.share.shared & held.share.patch_id),
                job.id.eq(held.share.id),
            ]
