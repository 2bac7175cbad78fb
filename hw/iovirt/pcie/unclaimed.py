"""Completions and messages that no block of the design deals with."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..stream import StreamArbiter
from .layouts import ErrorCause, ErrorRecord, Message, completion_beat
from .tlp import CompletionHeader, MessageHeader

__all__ = ["Unclaimed"]


class Unclaimed(wiring.Component):
    """Drop completions and messages, one record each.

    A completion is unexpected, because nothing here asks for one; a message is unhandled. Neither
    waits for the log longer than the log takes for one record.

    Latency is 0 clocks to ``error``; combinational paths run from the inputs to ``error`` and back.

    Parameters
    ----------
    data_width : :class:`int`
        Of the payload.

    Members
    -------
    completion : ``In(stream.Signature(completion_beat(data_width)))``
    message : ``In(stream.Signature(Message))``
    error : ``Out(stream.Signature(ErrorRecord))``
    """

    def __init__(self, *, data_width):
        self.data_width = data_width
        super().__init__({
            "completion": In(stream.Signature(completion_beat(data_width))),
            "message":    In(stream.Signature(Message)),
            "error":      Out(stream.Signature(ErrorRecord)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.arbiter = arbiter = StreamArbiter(ErrorRecord, ports=2)
        wiring.connect(m, arbiter.o, wiring.flipped(self.error))

        # One record for a completion, at its end; one that was taken back has its record already.
        ends   = self.completion.p.last & ~self.completion.p.abort
        header = CompletionHeader(self.completion.p.hdr)
        m.d.comb += [
            arbiter.i[0].valid.eq(self.completion.valid & ends),
            self.completion.ready.eq(arbiter.i[0].ready | ~ends),
            arbiter.i[0].p.cause.eq(ErrorCause.UNEXPECTED_COMPLETION),
            arbiter.i[0].p.segment.eq(self.completion.p.segment),
            arbiter.i[0].p.rid.eq(header.cid),
            arbiter.i[1].valid.eq(self.message.valid),
            self.message.ready.eq(arbiter.i[1].ready),
            arbiter.i[1].p.cause.eq(ErrorCause.UNHANDLED_MESSAGE),
            arbiter.i[1].p.segment.eq(self.message.p.segment),
            arbiter.i[1].p.rid.eq(MessageHeader(self.message.p.hdr).rid),
        ]
        return m
