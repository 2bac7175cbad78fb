"""Sending of writes."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from iovirt.axi import Resp
from iovirt.pcie.layouts import ErrorCause, tlp_beat
from iovirt.pcie.tlp import Fmt, RequestHeader, Type

from .layouts import PioError, Policy
from .target import goes_to_page
from .write_layouts import write_end, write_job

__all__ = ["WriteSend", "write_done"]


def write_done(*, id_width, pages=False):
    """A burst of which nothing is left to send; a write of configuration space, or of the pages of
    guests, is not done yet.
    """
    return data.StructLayout({
        "end":      write_end(id_width=id_width),
        "config":   1,
        "address":  28,
        "be":       4,
        "data":     32,
        "register": 1,
        **({"page": 1} if pages else {}),
    })


class WriteSend(wiring.Component):
    """Send jobs in order, as posted memory writes, and say when a burst is done.

    The transfer of the last beat is the point from which on nothing can pass the write, so the
    burst is done then and not before. A write that finds the link down when it starts is dropped.

    A dropped or refused write is answered as the policy of its window says: SLVERR under ``ERROR``,
    OKAY otherwise; and an illegal burst always with SLVERR. Each leaves a record.

    Latency is 0 clocks (1 to ``done``); throughput is 1 beat per clock. ``tx`` is driven by queues
    through few levels of logic.

    Parameters
    ----------
    data_width, id_width, core_id_bits : :class:`int`
        Of the TLP streams; of the AXI port.
    pages : :class:`bool`
        The doorbell aperture is served.

    Members
    -------
    job : ``In(stream.Signature(write_job(...)))``
    row : ``In(stream.Signature(data_width))``
    requester_id : ``In(16)``
    link_up : ``In(1)``
    tx : ``Out(stream.Signature(tlp_beat(data_width)))``
    room : ``In(1)``
        ``done`` can be taken; once it was up, it is taken although ``room`` has fallen.
    done : ``Out(stream.Signature(write_done(...), always_ready=True))``
    error : ``Out(stream.Signature(PioError, always_ready=True))``
    sent : ``Out(1)``
        Pulse: a TLP was sent.
    """

    def __init__(self, *, data_width, id_width, core_id_bits, pages=False):
        self.pages        = pages
        self.data_width   = data_width
        self.id_width     = id_width
        self.core_id_bits = core_id_bits
        done = write_done(id_width=id_width, pages=pages)
        super().__init__({
            "job":          In(stream.Signature(write_job(id_width=id_width, pages=pages))),
            "row":          In(stream.Signature(data_width)),
            "requester_id": In(16),
            "link_up":      In(1),
            "tx":           Out(stream.Signature(tlp_beat(data_width))),
            "room":         In(1),
            "done":         Out(stream.Signature(done, always_ready=True)),
            "error":        Out(stream.Signature(PioError, always_ready=True)),
            "sent":         Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        job = self.job.payload
        lanes = self.data_width // 32

        # What was decided in the first clock of a job is kept until its end.
        fresh, granted, dropping = Signal(init=1), Signal(), Signal()
        drops, may, ends, moves = Signal(), Signal(), Signal(), Signal()
        index, left = Signal(11), Signal(11)
        m.d.comb += [
            may.eq(self.room | granted),
            drops.eq(Mux(fresh, ~self.link_up, dropping)),
            left.eq(job.length_dw - index),
            ends.eq(~job.tlp | (left <= lanes)),
            self.tx.valid.eq(self.job.valid & job.tlp & may & ~drops),
            self.tx.payload.data.eq(self.row.payload),
            self.tx.payload.strb.eq(Cat(left > n for n in range(lanes))),
            self.tx.payload.hdr.eq(self._header(m, job)),
            self.tx.payload.first.eq(index == 0),
            self.tx.payload.last.eq(left <= lanes),
            moves.eq(self.job.valid & may & (~job.tlp | drops | self.tx.ready)),
            self.row.ready.eq(moves & job.tlp),
            self.job.ready.eq(moves & ends),
        ]
        with m.If(self.job.valid & may):
            m.d.sync += [fresh.eq(moves & ends), dropping.eq(drops), granted.eq(~(moves & ends))]
        with m.If(moves):
            m.d.sync += index.eq(Mux(ends, 0, index + lanes))
        self._elaborate_done(m, job, drops, moves & ends)
        return m

    def _header(self, m, job):
        header  = Signal(RequestHeader)
        address = Cat(C(0, 2), job.word, job.source.target.address[12:])
        wide    = address[32:] != 0
        m.d.comb += [
            header.dw0.fmt.eq(Mux(wide, Fmt.DW4_DATA, Fmt.DW3_DATA)),
            header.dw0.type.eq(Type.MEMORY),
            header.dw0.length.eq(job.length_dw),
            header.rid.eq(self.requester_id),
            header.last_be.eq(job.last_be),
            header.first_be.eq(job.first_be),
            header.dw2.eq(Mux(wide, address[32:], address[:32])),
            header.dw3.eq(Mux(wide, address[:32], 0)),
        ]
        return header

    def _elaborate_done(self, m, job, drops, over):
        # A burst is dropped as a whole for its answer: `failed` remembers its earlier jobs.
        where, failed, fails = job.source.target, Signal(), Signal()
        refused = ~where.memory & ~where.config & ~goes_to_page(where)
        dropped = job.tlp & drops
        done, error = self.done.payload, self.error.payload
        m.d.comb += [
            fails.eq(refused | dropped | failed),
            self.sent.eq(over & job.tlp & ~drops),
        ]
        with m.If(over):
            m.d.sync += failed.eq(fails & ~job.ends)
        if self.pages:
            m.d.sync += done.page.eq(job.page)
        bad = ~job.source.legal | (fails & (where.policy == Policy.ERROR))
        m.d.sync += [
            self.done.valid.eq(over & job.ends),
            done.end.id.eq(job.source.id),
            done.end.resp.eq(Mux(bad, Resp.SLVERR, Resp.OKAY)),
            done.config.eq(job.config),
            done.address.eq(Cat(C(0, 2), job.word, where.address[12:28])),
            done.be.eq(job.first_be),
            done.data.eq(job.data),
            done.register.eq(job.register),

            self.error.valid.eq(over & (refused | dropped)),
            error.cause.eq(Mux(refused, ErrorCause.PIO_NO_TARGET, ErrorCause.PIO_LINK_DOWN)),
            error.core.eq(job.source.id[self.id_width - self.core_id_bits:]),
            error.guest.eq(where.guest),
            error.address.eq(Mux(refused, where.address,
                                 Cat(C(0, 2), job.word, where.address[12:]))),
        ]
