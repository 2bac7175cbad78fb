"""Advanced error reporting of the root port: the errors that it finds itself."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..pcie.layouts import ErrorCause
from .header_memory import HeaderBusSignature
from .header_words import AER_ERRORS, Word

__all__ = ["Aer", "PortEventSignature"]

#: Which error a cause is, and whether it is always an advisory one (PCIe Base, 6.2.3.2.4).
_CAUSES = {
    ErrorCause.MALFORMED:             ("malformed", False),
    ErrorCause.UNSUPPORTED:           ("unsupported", False),
    ErrorCause.BUS_RANGE:             ("source", False),
    ErrorCause.POISONED_WRITE:        ("poisoned", False),
    ErrorCause.UNEXPECTED_COMPLETION: ("unexpected", True),
    ErrorCause.MEMORY_READ_ABORT:     ("abort", True),
    ErrorCause.PIO_TIMEOUT:           ("timeout", False),
    ErrorCause.PIO_POISON:            ("poisoned", False),
    ErrorCause.COMPLETION_MISMATCH:   ("unexpected", True),
    ErrorCause.COMPLETION_LATE:       ("unexpected", True),
}
_NAMES = tuple(AER_ERRORS)


class PortEventSignature(wiring.Signature):
    """An error, one per clock, seen from who finds it.

    Members
    -------
    valid : ``Out(1)``
    cause : ``Out(ErrorCause)``
    advisory : ``Out(1)``
        With UNSUPPORTED: the request was answered UR, so its requester tells (PCIe Base,
        6.2.3.2.4.1). Without it, the error counts as one of a posted request.
    """

    def __init__(self):
        super().__init__({"valid": Out(1), "cause": Out(ErrorCause), "advisory": Out(1)})


class Aer(wiring.Component):
    """Status, masks and severity of errors, and what is reported of them (PCIe Base, 6.2).

    Errors of the link itself are not told apart here: the core knows them. The header log is not
    built, it reads 0. Latency from an event to ``report`` is 2 clocks, throughput is 1 event per
    clock.

    Members
    -------
    bus : ``In(HeaderBusSignature())``
    event : ``In(PortEventSignature())``
        Errors. Causes that are none for AER are ignored.
    surprise : ``In(1)``
        Pulse: the link went down, and nobody had asked for it.
    enable : ``In(4)``, ``serr`` : ``In(1)``
        As :class:`PortControl` gives them (``report``).
    detected : ``Out(4)``
        Pulses: correctable, non-fatal, fatal errors, and UR, for the Device Status register.
    report : ``Out(3)``
        Pulses: correctable, non-fatal, fatal errors, to be reported like received messages.
    """

    def __init__(self):
        super().__init__({
            "bus":      In(HeaderBusSignature()),
            "event":    In(PortEventSignature()),
            "surprise": In(1),
            "enable":   In(4),
            "serr":     In(1),
            "detected": Out(4),
            "report":   Out(3),
        })

    def elaborate(self, platform):
        m = Module()
        bits = list(AER_ERRORS.values())
        seen, role = self._collect(m)

        # Settings and status: one flip-flop for each error, in the order of AER_ERRORS.
        status, mask, severity = Signal(len(bits)), Signal(len(bits)), Signal(len(bits))
        advised, advice_mask   = Signal(), Signal()
        pick = lambda word: Cat(word[bit] for bit in bits)
        here = lambda word: self.bus.word == word
        for word, register, value in (
                (Word.AER_MASK, mask, pick(self.bus.value)),
                (Word.AER_SEVERITY, severity, pick(self.bus.value)),
                (Word.AER_COR_MASK, advice_mask, self.bus.value[13])):
            with m.If(self.bus.stored & here(word)):
                m.d.sync += register.eq(value)

        # An error whose requester or sender tells it is only advice, unless it is fatal.
        fatal, plain, advice, new = (Signal(len(bits)) for _ in range(4))
        cleared = Signal(len(bits))
        m.d.comb += [
            fatal.eq(seen & severity),
            advice.eq(seen & ~severity & role),
            plain.eq(seen & ~severity & ~role),
            new.eq(fatal | plain | (advice & ~advice_mask.replicate(len(bits)))),
            cleared.eq(pick(self.bus.ones) & here(Word.AER_STATUS).replicate(len(bits))),
        ]
        clear_advised = self.bus.ones[13] & here(Word.AER_COR_STATUS)
        m.d.sync += [
            status.eq(status & ~cleared | new),
            advised.eq(advised & ~clear_advised | advice.any()),
        ]
        self._report(m, fatal & ~mask, plain & ~mask, advice & ~advice_mask.replicate(len(bits)))
        unsupported = seen[_NAMES.index("unsupported")]
        m.d.sync += self.detected.eq(Cat(advice.any(), plain.any(), fatal.any(), unsupported))
        self._point(m, new & ~mask, cleared)

        live = {bit: status[n] for n, bit in enumerate(bits)}
        m.d.sync += self.bus.live.eq(0)
        with m.Switch(self.bus.word):
            with m.Case(Word.AER_STATUS):
                m.d.sync += self.bus.live.eq(Cat(live.get(bit, C(0, 1)) for bit in range(32)))
            with m.Case(Word.AER_COR_STATUS):
                m.d.sync += self.bus.live.eq(Cat(C(0, 13), advised))
            with m.Case(Word.AER_CONTROL):
                m.d.sync += self.bus.live.eq(self._pointer)
        return m

    def _collect(self, m):
        """Return which errors there are now, and which of them are advice if not fatal."""
        seen, role = Signal(len(_NAMES)), Signal(len(_NAMES))
        m.d.sync += [seen.eq(0), role.eq(0)]
        with m.If(self.event.valid):
            with m.Switch(self.event.cause):
                for cause, (name, always) in _CAUSES.items():
                    asked = self.event.advisory if name == "unsupported" else int(always)
                    with m.Case(cause):
                        m.d.sync += [seen[_NAMES.index(name)].eq(1),
                                     role[_NAMES.index(name)].eq(asked)]
        with m.If(self.surprise):
            m.d.sync += seen[_NAMES.index("surprise_down")].eq(1)
        return seen, role

    def _report(self, m, fatal, plain, advice):
        """Report what is not masked, as far as that is switched on."""
        correctable, nonfatal, deadly, ur = self.enable
        at    = _NAMES.index("unsupported")
        asked = Signal(len(_NAMES))  # errors that the Device Control register lets through
        m.d.comb += asked.eq(Cat(ur if n == at else 1 for n in range(len(_NAMES))))
        serr = self.serr.replicate(len(_NAMES))
        m.d.sync += self.report.eq(Cat(
            (advice & asked & correctable.replicate(len(_NAMES))).any(),
            (plain & (asked & nonfatal.replicate(len(_NAMES)) | serr)).any(),
            (fatal & (asked & deadly.replicate(len(_NAMES)) | serr)).any()))

    def _point(self, m, new, cleared):
        """Keep the number of the first error whose status has not been cleared."""
        first, code = Signal(len(_NAMES)), Signal(5)
        self._pointer = code
        with m.If(((first & ~cleared) == 0) & new.any()):
            m.d.sync += first.eq(new & -new)
            for name, bit in reversed(AER_ERRORS.items()):
                with m.If(new[_NAMES.index(name)]):
                    m.d.sync += code.eq(bit)
        with m.Else():
            m.d.sync += first.eq(first & ~cleared)
