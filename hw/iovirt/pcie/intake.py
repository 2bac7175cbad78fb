"""First two stages of reception: hold the header, and state the facts."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .header_check import HeaderCheck, HeaderFacts
from .layouts import RxTlpSignature
from .msi_window import window_inputs
from .tlp import PasidPrefix, RequestHeader

__all__ = ["TlpIntake", "checked_beat"]


def checked_beat(data_width):
    """One beat, and what is known of it and its TLP. Header fields are held on every beat."""
    return data.StructLayout({
        "data":    data_width,
        "strb":    data_width // 32,
        "first":   1,
        "last":    1,
        "nullify": 1,
        "final":   1,  # Length says that the payload ends in this beat
        "tail":    1,  # the strobes are right if it does
        "full":    1,  # all strobes are set
        "hdr":     RequestHeader,
        "pv":      1,
        "prefix":  PasidPrefix,  # 0 unless pv
        "segment": 8,
        "len_m1":  10,
        "facts":   HeaderFacts,
    })


class TlpIntake(wiring.Component):
    """Hold the header of each TLP on all its beats, and check header and strobes.

    Latency is 2 clocks, throughput one beat per clock. ``rx.ready`` depends combinationally on
    ``o.ready``; all else comes from registers.

    Parameters
    ----------
    data_width : :class:`int`
        Of the payload.
    max_payload_bytes : :class:`int`
        Largest payload that the block is built for.
    signals : :class:`bool`
        Recognize interrupts.

    Members
    -------
    rx : ``In(RxTlpSignature(data_width))``
        From the core. Beats before the first ``first`` after reset are dropped.
    o : ``Out(stream.Signature(checked_beat(data_width)))``
    max_payload, secondary, subordinate, bus_range_enable, msi_* : ``In``
        See :class:`HeaderCheck`.
    """

    def __init__(self, *, data_width, max_payload_bytes, signals=False):
        if data_width not in (64, 128, 256, 512):
            raise ValueError(f"Data width must be 64, 128, 256 or 512, not {data_width!r}")
        self.data_width        = data_width
        self.max_payload_bytes = max_payload_bytes
        self._check = HeaderCheck(max_payload_bytes=max_payload_bytes, signals=signals)
        super().__init__({
            "rx":               In(RxTlpSignature(data_width)),
            "o":                Out(stream.Signature(checked_beat(data_width))),
            "max_payload":      In(3),
            "secondary":        In(8),
            "subordinate":      In(8),
            "bus_range_enable": In(1),
            **window_inputs(),
        })

    def elaborate(self, platform):
        m = Module()
        rx, o, width = self.rx, self.o, self.data_width // 32

        advance = Signal()
        m.d.comb += [advance.eq(~o.valid | o.ready), rx.ready.eq(advance)]

        # Stage 1: as it came. `left` counts the Dwords that Length promises after the first one of
        # this beat.
        valid, inside, beat = Signal(), Signal(), Signal(checked_beat(self.data_width))
        prefix, left = Signal(32), beat.len_m1
        with m.If(advance):
            m.d.sync += [
                valid.eq(rx.valid & (rx.first | inside)),
                beat.data.eq(rx.data),
                beat.strb.eq(rx.strb),
                beat.first.eq(rx.first),
                beat.last.eq(rx.last),
                beat.nullify.eq(rx.nullify & rx.last),
            ]
            with m.If(rx.valid):
                m.d.sync += inside.eq((rx.first | inside) & ~rx.last)
                m.d.sync += left.eq(left - width)
            with m.If(rx.valid & rx.first):
                m.d.sync += [
                    Value.cast(beat.hdr).eq(rx.hdr),
                    prefix.eq(rx.prefix),
                    beat.pv.eq(rx.prefix_valid),
                    beat.segment.eq(rx.segment),
                    left.eq(RequestHeader(rx.hdr).dw0.length - 1),
                ]

        # Stage 2: the facts. Those on the header are taken at its first beat.
        m.submodules.check = check = self._check
        m.d.comb += [
            check.hdr.eq(beat.hdr),
            check.prefix.eq(prefix),
            check.prefix_valid.eq(beat.pv),
            check.len_m1.eq(left),
            *(getattr(check, name).eq(getattr(self, name)) for name in (
                "max_payload", "secondary", "subordinate", "bus_range_enable", *window_inputs())),
        ]
        bits = width.bit_length() - 1
        tail = Cat(n <= left[:bits] for n in range(width))
        with m.If(advance):
            m.d.sync += o.valid.eq(valid)
            m.d.sync += [o.payload[name].eq(beat[name])
                         for name in ("data", "strb", "first", "last", "nullify")]
            m.d.sync += [
                o.payload.final.eq(left[bits:] == 0),
                o.payload.tail.eq(beat.strb == tail),
                o.payload.full.eq(beat.strb.all()),
            ]
            with m.If(valid & beat.first):
                m.d.sync += [o.payload[name].eq(beat[name])
                             for name in ("hdr", "pv", "segment", "len_m1")]
                m.d.sync += Value.cast(o.payload.prefix).eq(Mux(beat.pv, prefix, 0))
                m.d.sync += o.payload.facts.eq(check.facts)
        return m
