"""Status registers of the root port outside AER."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..pcie.layouts import ErrorCause
from .aer import PortEventSignature
from .header_memory import HeaderBusSignature
from .header_words import Word

__all__ = ["PortStatus"]

#: Bits of the secondary status register that a cause sets (PCIe Base, 7.5.1.3.7).
_PARITY, _SIGNALED_ABORT, _RECEIVED_ABORT, _RECEIVED_UR, _SYSTEM_ERROR, _POISON = (
    8, 11, 12, 13, 14, 15)
_CAUSES = {
    ErrorCause.MEMORY_READ_ABORT: _SIGNALED_ABORT,
    ErrorCause.PIO_ABORT:         _RECEIVED_ABORT,
    ErrorCause.PIO_UNSUPPORTED:   _RECEIVED_UR,
    ErrorCause.POISONED_WRITE:    _POISON,
    ErrorCause.PIO_POISON:        _POISON,
}


class PortStatus(wiring.Component):
    """Status, Secondary Status, Device Status and Link Status.

    Events are seen 2 clocks later.

    Members
    -------
    bus : ``In(HeaderBusSignature())``
    event : ``In(PortEventSignature())``
        Errors.
    detected : ``In(4)``, ``report`` : ``In(3)``
        As :class:`Aer` gives them.
    serr, bridge_parity, link_disable, secondary_reset : ``In(1)``
        As :class:`PortControl` gives them.
    received : ``In(1)``
        Pulse: a message told a fatal or non-fatal error.
    pending : ``In(1)``
        An interrupt is due.
    link_up : ``In(1)``
    link_speed, link_width : ``In(4)``, ``In(6)``
        As in the Link Status register.
    surprise : ``Out(1)``
        Pulse: the link went down, and nobody had asked for it.
    """

    def __init__(self):
        super().__init__({
            "bus":             In(HeaderBusSignature()),
            "event":           In(PortEventSignature()),
            "detected":        In(4),
            "report":          In(3),
            "serr":            In(1),
            "bridge_parity":   In(1),
            "link_disable":    In(1),
            "secondary_reset": In(1),
            "received":        In(1),
            "pending":         In(1),
            "link_up":         In(1),
            "link_speed":      In(4),
            "link_width":      In(6),
            "surprise":        Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        was_up = Signal()
        m.d.sync += [
            was_up.eq(self.link_up),
            self.surprise.eq(was_up & ~self.link_up & ~self.link_disable & ~self.secondary_reset),
        ]

        # Bits to set in the upper half of the I/O window's Dword.
        new = Signal(16)
        m.d.sync += new.eq(0)
        with m.If(self.event.valid):
            with m.Switch(self.event.cause):
                for cause, bit in _CAUSES.items():
                    with m.Case(cause):
                        m.d.sync += new[bit].eq(1)
                        if cause == ErrorCause.PIO_POISON:
                            m.d.sync += new[_PARITY].eq(self.bridge_parity)
        with m.If(self.received):
            m.d.sync += new[_SYSTEM_ERROR].eq(1)

        def sticky(name, word, setting):
            ones = self.bus.ones[16:16 + len(setting)] & (self.bus.word == word).replicate(
                len(setting))
            bits = Signal(len(setting), name=name)
            m.d.sync += bits.eq(bits & ~ones | setting)
            return bits

        system = self.report[1:].any() & self.serr
        command   = sticky("command", Word.COMMAND, Cat(C(0, 14), system))
        secondary = sticky("secondary", Word.IO_WINDOW, new)
        device    = sticky("device", Word.DEVICE_CONTROL, self.detected)

        link = Cat(self.link_speed, self.link_width, C(0, 3), self.link_up)
        m.d.sync += self.bus.live.eq(0)
        for word, upper in ((Word.COMMAND, command | self.pending << 3),
                            (Word.IO_WINDOW, secondary), (Word.DEVICE_CONTROL, device),
                            (Word.LINK_CONTROL, link)):
            with m.If(self.bus.word == word):
                m.d.sync += self.bus.live.eq(Cat(C(0, 16), upper))
        return m
