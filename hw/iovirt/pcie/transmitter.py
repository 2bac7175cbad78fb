"""Transmission of TLPs: one at a time, each with its flow-control credits."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..stream import StreamQueue
from .credits import DATA_BITS, HEADER_BITS, CreditGate
from .layouts import TxTlpSignature, tlp_beat
from .tlp import CREDIT_BYTES, RequestHeader

__all__ = ["Transmitter"]

#: What a port sends, and the names of the credit counts that it needs.
KINDS = {
    "posted":     ("tx_fc_ph", "tx_fc_pd"),
    "non_posted": ("tx_fc_nph", "tx_fc_npd"),
    "completion": ("tx_fc_cplh", "tx_fc_cpld"),
}


class Transmitter(wiring.Component):
    """Send the TLPs of several ports, in round-robin order, each as one piece.

    A TLP is started only if the link partner has header and data credits for it, and then nothing
    but ``tx.ready`` and its own port can delay it. A TLP that waits for credits does not stop other
    ports, so posted requests and completions pass non-posted requests that wait. Order is kept
    within a port, not between ports.

    While the link is down, TLPs are taken without credits and dropped, so that nobody waits for a
    link that is gone and nothing old is sent to what is plugged in next; but one that has been
    offered on ``tx`` stays there until the core has taken it to its end, or takes it and drops it.

    Latency is 1 clock, throughput is one beat per clock, also across TLPs while each count in use
    leaves room for three of the largest TLPs; below that a TLP starts every third clock at most.
    ``tx`` comes from registers; paths run from ``i[*].valid`` to ``i[*].ready``.

    Parameters
    ----------
    data_width : :class:`int`
        Of the payload: 64, 128, 256 or 512.
    ports : :class:`int`
        Number of inputs, at least 1.
    kinds : sequence of "posted", "non_posted" or "completion"
        What each port sends; completions if not given.
    max_payload_bytes : :class:`int`
        Largest payload of a posted request or completion; that of a non-posted request is at most
        32 bytes.
    credit_lag : :class:`int`
        Clocks from the transfer of the first beat of a TLP to the first one at which the counts
        are sure to have fallen by its credits.

    Members
    -------
    i : ``In(stream.Signature(tlp_beat(data_width))).array(ports)``
    tx : ``Out(TxTlpSignature(data_width))``
        To the core.
    link_up : ``In(1)``
        The link is up.
    tx_fc_ph, tx_fc_nph, tx_fc_cplh : ``In(8)``
    tx_fc_pd, tx_fc_npd, tx_fc_cpld : ``In(12)``
        Credits available, as the core counts them; all ones is infinite.
    """

    def __init__(self, *, data_width, ports, kinds=None, max_payload_bytes=4096, credit_lag=4):
        if data_width not in (64, 128, 256, 512):
            raise ValueError(f"Data width must be 64, 128, 256 or 512, not {data_width!r}")
        if not isinstance(ports, int) or ports < 1:
            raise ValueError(f"Number of ports must be an integer of at least 1, not {ports!r}")
        kinds = ("completion",) * ports if kinds is None else tuple(kinds)
        if len(kinds) != ports or not set(kinds) <= set(KINDS):
            raise ValueError(f"Kinds of ports must be {ports} of {', '.join(KINDS)}, not {kinds!r}")
        if max_payload_bytes not in (128, 256, 512, 1024, 2048, 4096):
            raise ValueError("Maximum payload must be a power of two in 128..4096, not "
                             f"{max_payload_bytes!r}")
        self.data_width        = data_width
        self.ports             = ports
        self.kinds             = kinds
        self.max_payload_bytes = max_payload_bytes
        self.credit_lag        = credit_lag
        # A non-posted request with data has at most one unit here: configuration writes, operands.
        units = max_payload_bytes // CREDIT_BYTES
        self._gates = {kind: CreditGate(max_units=2 if kind == "non_posted" else units,
                                        lag=credit_lag) for kind in KINDS if kind in kinds}
        super().__init__({
            "i":  In(stream.Signature(tlp_beat(data_width))).array(ports),
            "tx": Out(TxTlpSignature(data_width)),
            "link_up": In(1),
            **{header: In(HEADER_BITS) for header, _ in KINDS.values()},
            **{units: In(DATA_BITS) for _, units in KINDS.values()},
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.queue = queue = StreamQueue(
            data.StructLayout({"beat": tlp_beat(self.data_width), "port": range(self.ports)}),
            depth=2)
        m.submodules += self._gates.values()

        # At a boundary the winner is the first port after the most recent one that may start;
        # inside a TLP it is the port that started it. Later assignments take precedence.
        may_start = self._may_start(m, queue)
        recent, inside = Signal(range(self.ports), init=self.ports - 1), Signal()
        winner, start  = Signal.like(recent), Signal()
        m.d.comb += [winner.eq(recent), start.eq(~inside & may_start.any())]
        with m.If(~inside):
            for port in reversed(range(self.ports)):
                with m.If(may_start[port]):
                    m.d.comb += winner.eq(port)
            for port in reversed(range(self.ports)):
                with m.If(may_start[port] & (recent < port)):
                    m.d.comb += winner.eq(port)

        with m.Switch(winner):
            for port, i in enumerate(self.i):
                with m.Case(port):
                    m.d.comb += [
                        queue.i.payload.beat.eq(i.payload),
                        queue.i.valid.eq(i.valid & (inside | start)),
                        i.ready.eq(queue.i.ready & (inside | start)),
                    ]
        m.d.comb += queue.i.payload.port.eq(winner)
        moves = queue.i.valid & queue.i.ready
        with m.If(moves):
            m.d.sync += [recent.eq(winner), inside.eq(~queue.i.payload.beat.last)]
        m.d.comb += self._granted.eq(moves & ~inside)

        beat = queue.o.payload.beat
        m.d.comb += [getattr(self.tx, name).eq(beat[name])
                     for name in ("data", "strb", "hdr", "first", "last")]
        self._drop(m, queue)
        return m

    def _drop(self, m, queue):
        # Whole TLPs are dropped, and none of which a beat was offered. Before the link counts as up
        # again, the gates have had time to see the counts of the core.
        up, settled = Signal(init=1), Signal(2 * self.credit_lag, init=-1)
        offered, dropping, drop = Signal(), Signal(), Signal()
        moves = queue.o.valid & queue.o.ready
        m.d.sync += [
            up.eq(self.link_up),
            settled.eq(Mux(up, Cat(1, settled), 0)),
            offered.eq(self.tx.valid & ~self.tx.ready),
        ]
        with m.If(moves):
            m.d.sync += dropping.eq(drop & ~queue.o.payload.beat.last)
        m.d.comb += [
            self._flows.eq(~up | settled[-1]),
            drop.eq(Mux(queue.o.payload.beat.first, ~settled[-1] & ~offered, dropping)),
            self.tx.valid.eq(queue.o.valid & ~drop),
            queue.o.ready.eq(self.tx.ready | drop),
        ]
        for kind, gate in self._gates.items():
            for port, name in zip((gate.header_credits, gate.data_credits), KINDS[kind],
                                  strict=True):
                m.d.comb += port.eq(getattr(self, name) | ~up.replicate(len(port)))

    def _may_start(self, m, queue):
        # Two stages, so that compare and choice do not share a clock: a port `fits` by the credits
        # of two clocks ago, which is good if nothing was granted since, or if there is plenty.
        self._granted = granted = Signal()
        self._flows   = Signal()
        recently = Signal(2)
        m.d.sync += recently.eq(Cat(granted, recently[0]))

        may_start = Signal(self.ports)
        for port, (i, kind) in enumerate(zip(self.i, self.kinds, strict=True)):
            gate, fits = self._gates[kind], Signal(name=f"fits_{port}")
            needs = RequestHeader(i.payload.hdr).dw0.data_credits()
            m.d.sync += fits.eq(i.valid & i.payload.first & (gate.header_room != 0)
                                & (needs <= gate.data_room))
            m.d.comb += may_start[port].eq(i.valid & i.payload.first & self._flows
                                           & (gate.plenty | (fits & ~recently.any())))

        def among(kind, port):
            return Cat(port == n for n, name in enumerate(self.kinds) if name == kind).any()

        out = queue.o.payload
        for kind, gate in self._gates.items():
            m.d.comb += [
                gate.grant.eq(granted & among(kind, queue.i.payload.port)),
                gate.grant_units.eq(
                    RequestHeader(queue.i.payload.beat.hdr).dw0.data_credits()),
                gate.sent.eq(queue.o.valid & queue.o.ready & out.beat.first
                             & among(kind, out.port)),
                gate.sent_units.eq(RequestHeader(out.beat.hdr).dw0.data_credits()),
            ]
        return may_start
