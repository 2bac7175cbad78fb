"""What the root port received: error messages, and power management events."""

from amaranth import *
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out

from .header_memory import HeaderBusSignature
from .header_words import Word

__all__ = ["PortMessageSignature", "RootErrors"]


class _Code(enum.Enum, shape=8):
    PM_PME       = 0x18
    ERR_COR      = 0x30
    ERR_NONFATAL = 0x31
    ERR_FATAL    = 0x33


class PortMessageSignature(wiring.Signature):
    """A received message, one per clock, seen from the receiver. Other codes are ignored."""

    def __init__(self):
        super().__init__({"valid": Out(1), "code": Out(8), "rid": Out(16)})


class RootErrors(wiring.Component):
    """Root Error Status, Error Source Identification, Root Status, and the interrupt of the port.

    Errors of the port itself count like messages of its own (PCIe Base, 7.8.4.10). Messages count
    only if SERR# is enabled in the Bridge Control register (PCIe Base, 6.2.5). If both come in
    one clock, the message is the first.

    One power management event may wait behind the one in Root Status; another is dropped, because
    its sender repeats it (PCIe Base, 5.3.3.3).

    Latency is 4 clocks from ``message`` to ``interrupt``.

    Members
    -------
    bus : ``In(HeaderBusSignature())``
    message : ``In(PortMessageSignature())``
    own : ``In(3)``
        Pulses: correctable, non-fatal, fatal errors of the port itself.
    rid : ``In(16)``
        Of the port.
    bridge_serr, pme_interrupt, intx_disable : ``In(1)``
    root_errors : ``In(3)``
        As :class:`PortControl` gives them.
    received : ``Out(1)``
        Pulse: a message told a fatal or non-fatal error.
    interrupt : ``Out(1)``
        Level: software is to look at a root error or a power management event.
    pending : ``Out(1)``
        The same, whether or not the Command register permits it.
    system_error : ``Out(1)``
        Pulse: an error that Root Control makes a system error.
    """

    def __init__(self):
        super().__init__({
            "bus":           In(HeaderBusSignature()),
            "message":       In(PortMessageSignature()),
            "own":           In(3),
            "rid":           In(16),
            "bridge_serr":   In(1),
            "pme_interrupt": In(1),
            "intx_disable":  In(1),
            "root_errors":   In(3),
            "received":      Out(1),
            "interrupt":     Out(1),
            "pending":       Out(1),
            "system_error":  Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        told, rid, event = Signal(3), Signal(16), Signal()
        codes = (_Code.ERR_COR, _Code.ERR_NONFATAL, _Code.ERR_FATAL)
        is_code = lambda code: self.message.valid & (self.message.code == code.value)
        m.d.sync += [
            told.eq(Cat(is_code(code) & self.bridge_serr for code in codes)),
            event.eq(is_code(_Code.PM_PME)),
            rid.eq(self.message.rid),
            self.received.eq(is_code(_Code.ERR_NONFATAL) | is_code(_Code.ERR_FATAL)),
            self.system_error.eq(((told | self.own) & self.root_errors).any()),
        ]

        here   = lambda word: self.bus.word == word
        enable = Signal(3)
        with m.If(self.bus.stored & here(Word.AER_COMMAND)):
            m.d.sync += enable.eq(self.bus.value)

        status, sources = self._errors(m, told, rid, here)
        root_status     = self._events(m, event, rid, here)
        due = Cat(status[0], status[5], status[6]) & enable
        m.d.sync += [
            self.pending.eq(due.any() | (root_status[16] & self.pme_interrupt)),
            self.interrupt.eq(self.pending & ~self.intx_disable),
        ]

        m.d.sync += self.bus.live.eq(0)
        for word, value in ((Word.AER_ROOT_STATUS, status), (Word.AER_SOURCE, sources),
                            (Word.ROOT_STATUS, root_status)):
            with m.If(here(word)):
                m.d.sync += self.bus.live.eq(value)
        return m

    def _errors(self, m, told, rid, here):
        """Keep what was reported, and by whom first. Return both registers."""
        status, kept = Signal(7), Signal(7)
        correctable, uncorrectable = Signal(16), Signal(16)
        m.d.comb += kept.eq(status & ~(self.bus.ones[:7] & here(Word.AER_ROOT_STATUS)
                                       .replicate(7)))
        own = self.own
        both, either = Signal(), Signal()
        m.d.comb += [
            both.eq(told[1:].any() & own[1:].any() | own[1:].all()),
            either.eq(told[1:].any() | own[1:].any()),
        ]
        first_fatal = Mux(told[1:].any(), told[2], own[2])
        m.d.sync += status.eq(Cat(
            kept[0] | told[0] | own[0],
            kept[1] | kept[0] & (told[0] | own[0]) | told[0] & own[0],
            kept[2] | either,
            kept[3] | kept[2] & either | both,
            Mux(kept[2], kept[4], kept[4] | either & first_fatal),
            kept[5] | told[1] | own[1],
            kept[6] | told[2] | own[2]))
        with m.If(~kept[0] & (told[0] | own[0])):
            m.d.sync += correctable.eq(Mux(told[0], rid, self.rid))
        with m.If(~kept[2] & either):
            m.d.sync += uncorrectable.eq(Mux(told[1:].any(), rid, self.rid))
        return status, Cat(correctable, uncorrectable)

    def _events(self, m, event, rid, here):
        """Keep a power management event, and one behind it. Return Root Status."""
        first, second = Signal(16), Signal(16)
        valid, waits, done = Signal(), Signal(), Signal()
        m.d.comb += done.eq(self.bus.ones[16] & here(Word.ROOT_STATUS) & valid)
        with m.If(done & waits):
            # The second takes the place of the first, and leaves its own to a third.
            m.d.sync += [first.eq(second), waits.eq(event), second.eq(rid)]
        with m.Elif(done | ~valid):
            m.d.sync += valid.eq(event)
            with m.If(event):
                m.d.sync += first.eq(rid)
        with m.Elif(event & ~waits):
            m.d.sync += [waits.eq(1), second.eq(rid)]
        return Cat(first, valid, waits)
