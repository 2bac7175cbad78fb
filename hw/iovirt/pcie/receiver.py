"""Reception of TLPs: checked, and sorted by what has to be done with them."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..config import PcieConfig
from ..stream import StreamQueue
from .intake import TlpIntake
from .layouts import (
    STAMP_WIDTH,
    CompletionRequest,
    CompletionStatus,
    DmaHeader,
    ErrorCause,
    ErrorRecord,
    Message,
    RxTlpSignature,
    SignalKind,
    completion_beat,
    read_request,
    write_beat,
)
from .msi_window import window_inputs
from .tlp import MessageHeader

__all__ = ["Receiver"]

ERRORS = 4  # records that wait for the log


class Receiver(wiring.Component):
    """Take TLPs in link order, check them, and hand each to the block that deals with it.

    * A malformed TLP is dropped whole and recorded. The core has stripped the ECRC, so TD is
      ignored: the payload is Length Dwords, with contiguous strobes from bit 0; a TLP without
      payload is one beat without strobes.
    * Writes and completions are forwarded as they arrive. One whose fault shows only at its end
      (nullified, or a payload of the wrong size) ends with ``abort``, and never has more beats than
      its Length says.
    * Requests that nobody serves (locked reads, I/O, configuration, AtomicOps, deferrable writes,
      AT = 11, requesters outside the bus range) go to ``unsupported``, or are dropped if posted,
      and are recorded. AT = 01 and 10 are the business of translation.
    * With ``signals``, interrupts travel with the writes, in link order: a write of one Dword to an
      interrupt window, and INTx, ERR_COR, ERR_NONFATAL, ERR_FATAL and PM_PME messages, of one beat
      each. Any other access to a window is denied: recorded, and answered with UR or dropped.
    * A posted request takes ``turn`` and a completion ``stamp`` as they are when its first beat is
      routed; the pulses ``posted`` and ``stamped`` tell that clock, and never come together.
    * A non-posted request never makes ``rx`` wait, as long as the core sends only as many as it
      has credits for: ``np_credits``, less those sent, plus ``np_release``.

    Latency is 3 clocks, 4 to ``read`` and ``unsupported``, 5 to ``error``; throughput is one beat
    per clock. Outputs come from registers or RAM; ``rx.ready`` depends on registers only.

    Parameters
    ----------
    data_width : :class:`int`
        Of the payload: 64, 128, 256 or 512.
    pcie : :class:`~iovirt.config.PcieConfig`
        ``max_payload_bytes`` bounds ``max_payload``; ``np_credits`` is the depth of the queues.
    signals : :class:`bool`
        Recognize interrupts; otherwise there are no windows, and ``message`` gets all messages.

    Members
    -------
    rx : ``In(RxTlpSignature(data_width))``
        From the core. Beats before the first ``first`` after reset are ignored.
    write : ``Out(stream.Signature(write_beat(data_width)))``
    read : ``Out(stream.Signature(read_request()))``
    unsupported : ``Out(stream.Signature(CompletionRequest))``
    completion : ``Out(stream.Signature(completion_beat(data_width)))``
    message : ``Out(stream.Signature(Message))``
    error : ``Out(stream.Signature(ErrorRecord))``
    lost : ``Out(1)``
        For one clock: an error found ``error`` full.
    np_release : ``Out(2)``
        Non-posted header credits freed in this clock.
    turn : ``In(1)``, stamp : ``In(STAMP_WIDTH)``, posted : ``Out(1)``, stamped : ``Out(1)``
        See above.
    dma_disable : ``In(1)``
        Memory requests are unsupported (Bus Master Enable of the port is 0; PCIe Base, 7.5.1.1.3).
        May change at any time: a TLP counts as it began.
    max_payload, secondary, subordinate, bus_range_enable, msi_* : ``In``
        See :class:`HeaderCheck`; change them only while no TLP is coming in.
    """

    def __init__(self, *, data_width, pcie, signals=False):
        if data_width not in (64, 128, 256, 512):
            raise ValueError(f"Data width must be 64, 128, 256 or 512, not {data_width!r}")
        if not isinstance(pcie, PcieConfig):
            raise TypeError(f"PCIe configuration must be a PcieConfig, not {pcie!r}")
        if not isinstance(signals, bool):
            raise TypeError(f"Whether there are signals must be true or false, not {signals!r}")
        self.data_width = data_width
        self.pcie       = pcie
        self.signals    = signals
        super().__init__({
            "rx":               In(RxTlpSignature(data_width)),
            "write":            Out(stream.Signature(write_beat(data_width))),
            "read":             Out(stream.Signature(read_request())),
            "unsupported":      Out(stream.Signature(CompletionRequest)),
            "completion":       Out(stream.Signature(completion_beat(data_width))),
            "message":          Out(stream.Signature(Message)),
            "error":            Out(stream.Signature(ErrorRecord)),
            "lost":             Out(1),
            "np_release":       Out(2),
            "turn":             In(1),
            "posted":           Out(1),
            "stamp":            In(STAMP_WIDTH),
            "stamped":          Out(1),
            "max_payload":      In(3),
            "secondary":        In(8),
            "subordinate":      In(8),
            "bus_range_enable": In(1),
            "dma_disable":      In(1),
            **window_inputs(),
        })

    def elaborate(self, platform):
        m = Module()
        queues = {}
        for name, depth in (("write", 2), ("completion", 2), ("message", 2), ("error", ERRORS),
                            ("read", self.pcie.np_credits), ("unsupported", self.pcie.np_credits)):
            port = getattr(self, name)
            m.submodules[name] = queues[name] = queue = StreamQueue(port.payload.shape(),
                                                                    depth=depth)
            wiring.connect(m, queue.o, wiring.flipped(port))

        m.submodules.intake = intake = TlpIntake(
            data_width=self.data_width, max_payload_bytes=self.pcie.max_payload_bytes,
            signals=self.signals)
        wiring.connect(m, wiring.flipped(self.rx), intake.rx)
        for name in ("max_payload", "secondary", "subordinate", "bus_range_enable",
                     *window_inputs()):
            m.d.comb += getattr(intake, name).eq(getattr(self, name))
        self._route(m, intake.o, queues)
        return m

    def _route(self, m, taken, queues):
        """Stage 3: verdict, and into the queue of the output."""
        beat, facts = taken.payload, taken.payload.facts
        write, read, refuse = (queues[name].i for name in ("write", "read", "unsupported"))
        completion, message, error = (queues[name].i for name in ("completion", "message", "error"))

        # Whoever may get this TLP must have room, whatever the verdict: that keeps the verdict out
        # of the path to `rx.ready`. A nullified request needs none: it has no credit.
        posts = facts.is_write | facts.is_notice
        m.d.comb += taken.ready.eq(~(
            (posts & ~write.ready) | (facts.is_completion & ~completion.ready)
            | (facts.is_message & ~facts.is_notice & ~message.ready)
            | ((facts.is_read | facts.is_refused) & beat.last & ~beat.nullify
               & ~(read.ready & refuse.ready))))

        # `broken`: the payload has already shown the wrong size, the rest is swallowed.
        wrong, broken, malformed = Signal(), Signal(), Signal()
        with m.If(beat.hdr.dw0.has_data()):
            m.d.comb += wrong.eq(Mux(beat.final, ~beat.last | ~beat.tail,
                                     beat.last | ~beat.full))
        with m.Else():
            m.d.comb += wrong.eq(~beat.last | beat.strb.any())
        with m.If(taken.valid & taken.ready):
            m.d.sync += broken.eq((broken | wrong) & ~beat.last)

        # A TLP that has begun ends as it began, whatever the setting becomes meanwhile.
        disabled, kept = Signal(), Signal()
        m.d.comb += disabled.eq(Mux(beat.first, self.dma_disable, kept))
        with m.If(taken.valid & taken.ready):
            m.d.sync += kept.eq(disabled)

        denied, flows, ends, sound = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            malformed.eq(facts.malformed()),
            denied.eq(facts.outside | facts.reserved_at | facts.forbidden | disabled),
            flows.eq(taken.valid & ~malformed & ~broken),
            ends.eq(taken.valid & taken.ready & beat.last),
            sound.eq(flows & beat.last & ~wrong & ~beat.nullify),
            write.valid.eq((flows & facts.is_write & ~denied)
                           | (sound & facts.is_notice & ~facts.outside)),
            completion.valid.eq(flows & facts.is_completion),
            read.valid.eq(sound & facts.is_read & ~denied & refuse.ready),
            refuse.valid.eq(sound & (facts.is_refused | (facts.is_read & denied)) & read.ready),
            message.valid.eq(sound & facts.is_message & ~facts.is_notice & ~facts.outside),
        ]
        self._fill(m, taken, wrong, write.payload, completion.payload, message.payload)
        self._fill_requests(m, beat, write, read.payload, refuse.payload)
        self._stamp(m, beat, write, completion)

        # A record waits a clock before its queue, which would end a long path.
        cause, record = Signal(ErrorCause), Signal(ErrorRecord)
        with m.If(ends):
            with m.If(beat.nullify):
                m.d.comb += cause.eq(ErrorCause.NULLIFIED)
            with m.Elif(malformed | broken | wrong):
                m.d.comb += cause.eq(ErrorCause.MALFORMED)
            with m.Elif(facts.outside):
                m.d.comb += cause.eq(ErrorCause.BUS_RANGE)
            with m.Elif(facts.forbidden):
                m.d.comb += cause.eq(ErrorCause.MSI_DENIED)
            with m.Elif(facts.is_refused | ((facts.reserved_at | disabled)
                                            & (facts.is_read | facts.is_write))):
                m.d.comb += cause.eq(ErrorCause.UNSUPPORTED)
        m.d.sync += [
            record.cause.eq(cause),
            record.segment.eq(beat.segment),
            record.rid.eq(beat.hdr.rid),
            record.address.eq(Mux(facts.has_address, beat.hdr.address(), 0)),
            self.lost.eq(error.valid & ~error.ready),
        ]
        m.d.comb += [error.payload.eq(record), error.valid.eq(record.cause != ErrorCause.NONE)]

        # A nullified request has never taken a credit; every other one gives it back where it ends.
        gone = ends & (facts.is_read | facts.is_refused) & ~sound & ~beat.nullify
        m.d.sync += self.np_release.eq(gone + (self.read.valid & self.read.ready)
                                       + (self.unsupported.valid & self.unsupported.ready))

    def _fill(self, m, taken, wrong, write, completion, message):
        beat = taken.payload
        # The first payload Dwords of a message wait for its end.
        start = Signal(64)
        with m.If(taken.valid & beat.first):
            m.d.sync += start.eq(beat.data[:64])
        m.d.comb += [
            message.hdr.eq(beat.hdr),
            message.segment.eq(beat.segment),
            message.pv.eq(beat.pv),
            message.pid.eq(beat.prefix.pid),
            message.priv.eq(beat.prefix.priv),
            message.exec.eq(beat.prefix.exec),
            message.data.eq(Mux(beat.first, beat.data[:64], start)),
            completion.hdr.eq(beat.hdr),
            completion.segment.eq(beat.segment),
            completion.strb.eq(beat.strb),
        ]
        for payload in (write, completion):
            m.d.comb += [
                payload.data.eq(beat.data),
                payload.first.eq(beat.first),
                payload.last.eq(beat.last | wrong),
                payload.abort.eq(beat.nullify | wrong),
            ]
        with m.If(beat.facts.is_notice):
            m.d.comb += write.data[:8].eq(MessageHeader(beat.hdr).code)

    def _stamp(self, m, beat, write, completion):
        # Taken with the first beat, and held for the others.
        for inner, pulse, value, field in (
                (write, self.posted, self.turn, write.p.header.turn),
                (completion, self.stamped, self.stamp, completion.p.stamp)):
            held = Signal.like(value)
            m.d.comb += [
                pulse.eq(inner.valid & inner.ready & beat.first),
                field.eq(Mux(beat.first, value, held)),
            ]
            with m.If(pulse):
                m.d.sync += held.eq(value)

    def _fill_requests(self, m, beat, write, read, refuse):
        hdr, dw0, facts = beat.hdr, beat.hdr.dw0, beat.facts
        header = Signal(DmaHeader)
        m.d.comb += [
            header.rid.eq(hdr.rid),
            header.segment.eq(beat.segment),
            header.tag.eq(hdr.full_tag()),
            header.tc.eq(dw0.tc),
            header.attr.eq(dw0.attr()),
            header.at.eq(dw0.at),
            header.pv.eq(beat.pv),
            header.pid.eq(beat.prefix.pid),
            header.priv.eq(beat.prefix.priv),
            header.exec.eq(beat.prefix.exec),
            header.address.eq(hdr.address()),
            header.length_dw.eq(beat.len_m1 + 1),
            header.first_be.eq(facts.first_be),
            header.last_be.eq(facts.last_be),
            header.ep.eq(dw0.ep & dw0.has_data()),
            header.signal.eq(Mux(facts.is_notice, SignalKind.MESSAGE,
                                 Mux(facts.is_msi, SignalKind.MSI, SignalKind.NONE))),
            write.payload.header.eq(header),
            read.header.eq(header),
        ]

        # Writes that have been started, for the order of reads behind them.
        posted = Signal(8)
        with m.If(self.posted):
            m.d.sync += posted.eq(posted + 1)
        m.d.comb += [
            read.posted.eq(posted),
            refuse.rid.eq(hdr.rid),
            refuse.tag.eq(header.tag),
            refuse.tc.eq(dw0.tc),
            refuse.attr.eq(header.attr),
            refuse.status.eq(CompletionStatus.UR),
            refuse.byte_count.eq(Mux(facts.measured, Cat(C(0, 2), beat.len_m1) + facts.span,
                                     facts.fixed_count)),
            refuse.lower_addr.eq(Mux(facts.measured, Cat(facts.lower, hdr.address()[2:7]), 0)),
        ]
