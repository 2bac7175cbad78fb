"""End of writes on AXI."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from iovirt.axi import Resp
from iovirt.pcie.layouts import ErrorCause, ErrorRecord
from iovirt.stream import StreamQueue

from .layouts import finish_signature, retire_signature, write_end, write_open
from .order import count_signature
from .write_issue import open_write

__all__ = ["WriteResponses", "write_response"]

ERROR_DEPTH = 4


def write_response(id_width):
    """One transfer on B."""
    return data.StructLayout({"id": id_width, "resp": Resp})


class WriteResponses(wiring.Component):
    """Retire each write when its response has come, and record failed ones.

    Responses of one ID come in the order of the writes, so the ID and the count of responses tell
    which write it was. A write retires 2 clocks after its response is taken; 1 per clock. Responses
    wait only while the error log does.

    Parameters
    ----------
    classes, number_width : :class:`int`
        Number of ordering classes, width of sequence numbers.
    outstanding : :class:`int`
        Writes without response per class, a power of two.
    id_width : :class:`int`
        Of the bus.

    Members
    -------
    i : ``In(stream.Signature(write_response(id_width)))``
        Responses.
    open : ``In(open_write(...))``
        Writes that go out.
    respond : ``Out(count_signature(...))``
        Count of the responses.
    dropped : ``In(stream.Signature(write_end()))``
        Writes that do not go out.
    retire : ``Out(retire_signature())``, finish : ``Out(finish_signature())``
        One pulse for each write.
    error : ``Out(stream.Signature(ErrorRecord))``
        One for each failed write.
    """

    def __init__(self, *, classes, number_width, outstanding, id_width):
        self.classes     = classes
        self.outstanding = outstanding
        super().__init__({
            "i":       In(stream.Signature(write_response(id_width))),
            "open":    In(open_write(classes=classes, number_width=number_width)),
            "respond": Out(count_signature(classes=classes, width=number_width)),
            "dropped": In(stream.Signature(write_end())),
            "retire":  Out(retire_signature()),
            "finish":  Out(finish_signature()),
            "error":   Out(stream.Signature(ErrorRecord)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.errors = errors = StreamQueue(ErrorRecord, depth=ERROR_DEPTH)
        m.submodules.memory = memory = Memory(shape=write_open(), init=[],
                                              depth=self.classes * self.outstanding,
                                              attrs={"no_rw_check": 1})
        wiring.connect(m, errors.o, wiring.flipped(self.error))
        ring = exact_log2(self.outstanding)
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [
            write.en.eq(self.open.en),
            write.addr.eq(Cat(self.open.number[:ring], self.open.order)),
            write.data.eq(self.open.data),
        ]

        # Take, count and look up, finish. Two responses may be on the way when errors are full.
        taken, resp = Signal(), Signal(Resp)
        found, found_resp = Signal(), Signal(Resp)
        m.d.comb += [
            self.i.ready.eq(errors.level < ERROR_DEPTH - 2),
            self.respond.en.eq(taken),
            read.addr.eq(Cat(self.respond.number[:ring], self.respond.order)),
        ]
        m.d.sync += [
            taken.eq(self.i.valid & self.i.ready),
            resp.eq(self.i.payload.resp),
            self.respond.order.eq(self.i.payload.id),
            found.eq(taken),
            found_resp.eq(resp),
        ]

        record = read.data
        m.d.comb += [
            errors.i.valid.eq(found & ((found_resp == Resp.SLVERR) | (found_resp == Resp.DECERR))),
            errors.i.payload.cause.eq(ErrorCause.MEMORY_WRITE_ERROR),
            errors.i.payload.segment.eq(record.segment),
            errors.i.payload.rid.eq(record.rid),
            errors.i.payload.address.eq(record.address),
            self.dropped.ready.eq(~found),
            self.retire.valid.eq(found | self.dropped.valid),
            self.retire.epoch.eq(Mux(found, record.epoch, self.dropped.payload.epoch)),
            self.finish.valid.eq(self.retire.valid),
            self.finish.turn.eq(Mux(found, record.turn, self.dropped.payload.turn)),
        ]
        return m
