"""Check of a received header against the rules of its format."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .msi_window import MsiWindow, window_inputs
from .tlp import Fmt, MessageCode, MessageHeader, PasidPrefix, RequestHeader, Type

__all__ = ["HeaderCheck", "HeaderFacts"]

#: Messages that are interrupts, besides INTx.
_INTERRUPTS = (MessageCode.ERR_COR, MessageCode.ERR_NONFATAL, MessageCode.ERR_FATAL,
               MessageCode.PM_PME)


class HeaderFacts(data.Struct):
    """What the header of a TLP says; at most one ``is_*`` is set, none if Fmt/Type is undefined."""

    is_write:       1
    is_read:        1
    is_refused:     1  # non-posted request that is not served: answered with UR
    is_completion:  1
    is_message:     1
    is_notice:      1  # a message that is an interrupt; only together with `is_message`
    is_msi:         1  # a write that is an interrupt; only together with `is_write`
    forbidden:      1  # touches an interrupt window and is no interrupt
    bad_form:       1  # the malformed ones: Fmt/Type, prefix, fields that must be 0
    bad_size:       1  # payload above the limit
    bad_extent:     1  # crosses 4 KiB
    bad_enables:    1
    bad_atomic:     1  # operand size or alignment
    outside:        1  # requester not in the bus range
    reserved_at:    1  # AT = 11
    has_address:    1
    measured:       1  # a completion carries the bytes that the enables select; else `fixed_count`
    lower:          2  # offset of the first enabled byte
    span:           signed(4)  # bytes enabled - 4 * (length - 1)
    fixed_count:    5
    first_be:       4  # as they count, so all ones with TH
    last_be:        4

    def malformed(self):
        """Whether the TLP must be dropped whole."""
        return (self.bad_form | self.bad_size | self.bad_extent | self.bad_enables
                | self.bad_atomic)


class HeaderCheck(wiring.Component):
    """Decode a header into facts (PCIe Base, 2.2 and 2.3.1).

    Combinational, but for a register behind the bases of the interrupt windows. Facts are compares
    only, so that this fits one clock between registers; they are combined in the next one.

    Parameters
    ----------
    max_payload_bytes : :class:`int`
        Largest payload that the block is built for.
    signals : :class:`bool`
        Recognize interrupts. Otherwise there are no windows, and no message is an interrupt.

    Members
    -------
    hdr, prefix, prefix_valid : ``In``
        As received.
    len_m1 : ``In(10)``
        Length in Dwords, minus 1.
    max_payload : ``In(3)``
        Largest payload in force: ``128 << max_payload`` bytes, but not above ``max_payload_bytes``;
        6 and 7 are reserved and count as 0.
    secondary, subordinate, bus_range_enable : ``In``
        Requesters have a bus in [secondary, subordinate], if enabled.
    msi_enable_32, msi_base_32, msi_enable_64, msi_base_64 : ``In``
        Interrupt windows: see :class:`MsiWindow`. Without effect unless ``signals``.
    facts : ``Out(HeaderFacts)``
    """

    def __init__(self, *, max_payload_bytes, signals=False):
        if max_payload_bytes not in (128, 256, 512, 1024, 2048, 4096):
            raise ValueError("Maximum payload must be a power of two in 128..4096, not "
                             f"{max_payload_bytes!r}")
        self.max_payload_bytes = max_payload_bytes
        self.signals           = signals
        super().__init__({
            "hdr":              In(128),
            "prefix":           In(32),
            "prefix_valid":     In(1),
            "len_m1":           In(10),
            "max_payload":      In(3),
            "secondary":        In(8),
            "subordinate":      In(8),
            "bus_range_enable": In(1),
            **window_inputs(),
            "facts":            Out(HeaderFacts),
        })

    def elaborate(self, platform):
        m = Module()
        request = RequestHeader(self.hdr)
        dw0     = request.dw0
        facts   = self.facts

        memory, atomic, config, dmwr, locked = self._classify(m, dw0)
        m.d.comb += [
            facts.reserved_at.eq(dw0.at == 3),
            facts.has_address.eq(memory | atomic | dw0.is_type(Type.IO)),
            facts.outside.eq(self.bus_range_enable & ~facts.is_completion
                             & ((request.rid[8:] < self.secondary)
                                | (request.rid[8:] > self.subordinate))),
        ]
        self._check_form(m, dw0, config)
        self._check_size(m, dw0)
        self._check_memory(m, request, memory)
        self._check_atomic(m, request, atomic)
        if self.signals:
            self._find_interrupts(m, request, memory | atomic)

        # Completions without data of requests that are refused.
        cas = dw0.is_type(Type.CAS)
        m.d.comb += facts.measured.eq(facts.is_read | locked)
        with m.If(dmwr | config):
            m.d.comb += facts.fixed_count.eq(4)
        with m.Else():
            operand = (self.len_m1[:3] + 1)[:4]
            m.d.comb += facts.fixed_count.eq(Mux(cas, operand << 1, operand << 2))
        return m

    def _classify(self, m, dw0):
        facts, has_data, wide = self.facts, dw0.has_data(), dw0.is_wide()
        defined = dw0.fmt < Fmt.PREFIX.value

        def named(condition, name):
            signal = Signal(name=name)
            m.d.comb += signal.eq(condition & defined)
            return signal

        plain   = dw0.is_type(Type.MEMORY)
        dmwr    = named(dw0.is_type(Type.DMWR) & has_data, "dmwr")
        locked  = named(dw0.is_type(Type.LOCKED) & ~has_data, "locked")
        atomic  = named(dw0.is_type(Type.FETCH_ADD, Type.SWAP, Type.CAS) & has_data, "atomic")
        config  = named(dw0.is_type(Type.IO, Type.CONFIG_0, Type.CONFIG_1) & ~wide, "config")
        memory  = named(plain | dmwr | locked, "memory")
        m.d.comb += [
            facts.is_write.eq(defined & plain & has_data),
            facts.is_read.eq(defined & plain & ~has_data),
            facts.is_refused.eq(dmwr | locked | atomic | config),
            facts.is_completion.eq(defined & ~wide
                                   & dw0.is_type(Type.COMPLETION, Type.CPL_LOCKED)),
            facts.is_message.eq(defined & wide & dw0.is_message()),
        ]
        return memory, atomic, config, dmwr, locked

    def _find_interrupts(self, m, request, memory):
        facts, dw0, code = self.facts, request.dw0, MessageHeader(self.hdr).code
        m.submodules.window = window = MsiWindow()
        m.d.comb += [
            window.address.eq(request.address()),
            window.len_m1.eq(self.len_m1),
            window.first_be.eq(request.first_be),
            window.at.eq(dw0.at),
            window.pv.eq(self.prefix_valid),
            window.write.eq(facts.is_write),
            *(getattr(window, name.removeprefix("msi_")).eq(getattr(self, name))
              for name in window_inputs()),
            facts.is_msi.eq(window.msi),
            facts.forbidden.eq(memory & window.inside & ~window.msi),
            facts.is_notice.eq(facts.is_message & ~dw0.has_data()
                               & ((code[3:] == MessageCode.ASSERT_INTA.value >> 3)
                                  | Cat(code == kind for kind in _INTERRUPTS).any())),
        ]

    def _check_form(self, m, dw0, config):
        facts   = self.facts
        message = MessageHeader(self.hdr)
        known   = (facts.is_write | facts.is_read | facts.is_refused | facts.is_completion
                   | facts.is_message)
        prefix_wrong  = self.prefix_valid & (~PasidPrefix(self.prefix).is_pasid()
                                             | facts.is_completion)
        config_wrong  = config & Cat(self.len_m1, RequestHeader(self.hdr).last_be, dw0.tc,
                                     dw0.attr(), dw0.at).any()
        message_wrong = facts.is_message & (dw0.tc != 0) & message.is_tc0_only()
        m.d.comb += facts.bad_form.eq(~known | prefix_wrong | config_wrong | message_wrong)

    def _check_size(self, m, dw0):
        # length > 2**n exactly if a bit from n up is set in length - 1.
        largest = (self.max_payload_bytes // 128).bit_length() - 1
        above   = Signal()
        with m.Switch(self.max_payload):
            for encoding in range(1, 6):
                with m.Case(encoding):
                    m.d.comb += above.eq(self.len_m1[5 + min(encoding, largest):].any())
            with m.Default():
                m.d.comb += above.eq(self.len_m1[5:].any())
        m.d.comb += self.facts.bad_size.eq(dw0.has_data() & above)

    def _check_memory(self, m, request, memory):
        facts, dw0, address = self.facts, request.dw0, request.address()

        # The last Dword lies in another page. An ATS request has no extent: its length says how
        # many translations are asked for.
        end = Signal(11)
        m.d.comb += [
            end.eq(address[2:12] + self.len_m1),
            facts.bad_extent.eq(memory & (dw0.at != 1) & end[10]),
        ]

        # With TH, the byte of the enables holds a steering tag, except in a memory write.
        single  = self.len_m1 == 0
        implied = dw0.th & ~facts.is_write
        m.d.comb += [
            facts.first_be.eq(Mux(implied, 0xF, request.first_be)),
            facts.last_be.eq(Mux(implied, Mux(single, 0, 0xF), request.last_be)),
        ]

        # Holes are for one Dword, or for two that an aligned 8-byte word holds.
        first, last = facts.first_be, facts.last_be
        holes_first = ~first[3] | (first[1] & ~first[2]) | (first[0] & ~first[1])
        holes_last  = ~last[0] | (last[2] & ~last[1]) | (last[3] & ~last[2])
        aligned     = (self.len_m1 == 1) & ~address[2]
        with m.If(single):
            m.d.comb += facts.bad_enables.eq(memory & (last != 0))
        with m.Else():
            m.d.comb += facts.bad_enables.eq(
                memory & ((first == 0) | (last == 0) | (~aligned & (holes_first | holes_last))))

        # Offset of the first enabled byte, and the count relative to the Dwords before the last.
        top = Signal(range(4))
        be  = Mux(single, first, last)
        with m.If(first != 0):
            m.d.comb += facts.lower.eq(Mux(first[:2].any(), ~first[0], Cat(~first[2], 1)))
        m.d.comb += [
            top.eq(Mux(be[2:].any(), Cat(be[3], 1), be[1])),
            facts.span.eq((top - facts.lower) + 1),
        ]

    def _check_atomic(self, m, request, atomic):
        # Operands of 4 and 8 bytes, CAS also of 16 and with two of them; aligned to one operand.
        address, wrong = request.address(), Signal()
        with m.Switch(Cat(self.len_m1[:3], request.dw0.is_type(Type.CAS))):
            with m.Case(0b0_000, 0b1_001):
                pass
            with m.Case(0b0_001, 0b1_011):
                m.d.comb += wrong.eq(address[2])
            with m.Case(0b1_111):
                m.d.comb += wrong.eq(address[2:4].any())
            with m.Default():
                m.d.comb += wrong.eq(1)
        m.d.comb += self.facts.bad_atomic.eq(atomic & (wrong | self.len_m1[3:].any()))
