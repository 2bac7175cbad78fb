"""What software sets in the header of the root port, for those whom it concerns."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .header_memory import HeaderBusSignature
from .header_words import Word

__all__ = ["PortControl"]


class PortControl(wiring.Component):
    """Copies, in flip-flops, of the fields that control something: 1 clock or 2 after a write.

    Parameters
    ----------
    max_payload_code : :class:`int`
        Largest payload, coded as in the Device Control register, 0 to 5.

    Members
    -------
    bus : ``In(HeaderBusSignature())``
    memory, bus_master : ``Out(1)``
        Requests of cores to devices, and of devices to memory, may pass. Both are 0 in D3hot.
    parity, serr, intx_disable : ``Out(1)``
        Of the Command register.
    secondary, subordinate : ``Out(8)``
        Buses behind the port.
    bridge_parity, bridge_serr, secondary_reset : ``Out(1)``
        Of the Bridge Control register.
    report : ``Out(4)``
        Reports of correctable, non-fatal, fatal errors, and of UR, are on.
    mps, mrrs : ``Out(3)``
        Codes of the largest payload (never more than is built), and read request.
    extended_tags : ``Out(1)``
        Tags have 8 bits; else 5.
    link_disable : ``Out(1)``
        The link is to be down.
    retrain : ``Out(1)``
        Pulse: the link is to be trained again.
    root_errors : ``Out(3)``
        Correctable, non-fatal, fatal errors are system errors.
    pme_interrupt, rrs_visibility : ``Out(1)``
        Of the Root Control register.
    timeout : ``Out(4)``
        Code of the completion time-out.
    timeout_disable, ari, ten_bit_tags : ``Out(1)``
        Of the Device Control 2 register.
    """

    def __init__(self, *, max_payload_code):
        if max_payload_code not in range(6):
            raise ValueError("Code of the largest payload must be an integer in 0..5, not "
                             f"{max_payload_code!r}")
        self.max_payload_code = max_payload_code
        self._fields = {
            "memory_enable":   (Word.COMMAND, 1, 1),
            "master_enable":   (Word.COMMAND, 2, 1),
            "parity":          (Word.COMMAND, 6, 1),
            "serr":            (Word.COMMAND, 8, 1),
            "intx_disable":    (Word.COMMAND, 10, 1),
            "secondary":       (Word.BUSES, 8, 8),
            "subordinate":     (Word.BUSES, 16, 8),
            "bridge_parity":   (Word.BRIDGE_CONTROL, 16, 1),
            "bridge_serr":     (Word.BRIDGE_CONTROL, 17, 1),
            "secondary_reset": (Word.BRIDGE_CONTROL, 22, 1),
            "report":          (Word.DEVICE_CONTROL, 0, 4),
            "mps_code":        (Word.DEVICE_CONTROL, 5, 3),
            "extended_tags":   (Word.DEVICE_CONTROL, 8, 1),
            "mrrs":            (Word.DEVICE_CONTROL, 12, 3),
            "link_disable":    (Word.LINK_CONTROL, 4, 1),
            "root_errors":     (Word.ROOT_CONTROL, 0, 3),
            "pme_interrupt":   (Word.ROOT_CONTROL, 3, 1),
            "rrs_visibility":  (Word.ROOT_CONTROL, 4, 1),
            "timeout":         (Word.DEVICE_CONTROL2, 0, 4),
            "timeout_disable": (Word.DEVICE_CONTROL2, 4, 1),
            "ari":             (Word.DEVICE_CONTROL2, 5, 1),
            "ten_bit_tags":    (Word.DEVICE_CONTROL2, 12, 1),
        }
        inner = ("memory_enable", "master_enable", "mps_code")
        super().__init__({
            "bus":        In(HeaderBusSignature()),
            **{name: Out(width) for name, (_, _, width) in self._fields.items()
               if name not in inner},
            "memory":     Out(1),
            "bus_master": Out(1),
            "mps":        Out(3),
            "retrain":    Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        fields = {name: getattr(self, name, None) for name in self._fields}
        for name in ("memory_enable", "master_enable", "mps_code"):
            fields[name] = Signal(self._fields[name][2], name=name)
        for word in sorted({word for word, _, _ in self._fields.values()}):
            with m.If(self.bus.stored & (self.bus.word == word)):
                m.d.sync += [fields[name].eq(self.bus.value[low:low + width])
                             for name, (of, low, width) in self._fields.items() if of == word]

        # A power state that is not built is not entered. Only D0 and D3hot are.
        asleep = Signal()
        with m.If((self.bus.word == Word.POWER_STATE) & self.bus.bytes[0]):
            with m.If(self.bus.ones[0] == self.bus.ones[1]):
                m.d.sync += asleep.eq(self.bus.ones[0])
        m.d.sync += [
            self.bus.live.eq(Mux(self.bus.word == Word.POWER_STATE, asleep.replicate(2), 0)),
            self.memory.eq(fields["memory_enable"] & ~asleep),
            self.bus_master.eq(fields["master_enable"] & ~asleep),
            self.mps.eq(Mux(fields["mps_code"] > self.max_payload_code, self.max_payload_code,
                            fields["mps_code"])),
            self.retrain.eq((self.bus.word == Word.LINK_CONTROL) & self.bus.ones[5]),
        ]
        return m
