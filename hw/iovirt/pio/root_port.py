"""The root port's own configuration space."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from .aer import Aer, PortEventSignature
from .config_layouts import HeaderPortSignature
from .header_memory import HeaderMemory
from .header_words import header_words
from .port_control import PortControl
from .port_status import PortStatus
from .root_errors import PortMessageSignature, RootErrors

__all__ = ["PLACEHOLDER_DEVICE", "PLACEHOLDER_VENDOR", "RootPort"]

#: Not given to anybody, as far as known; who ships a chip puts IDs of its own here.
PLACEHOLDER_VENDOR, PLACEHOLDER_DEVICE = 0xfff0, 0x0001

_CONTROL = ("secondary", "subordinate", "mps", "mrrs", "extended_tags", "ten_bit_tags", "timeout",
            "timeout_disable", "ari", "rrs_visibility", "bus_master", "memory", "secondary_reset",
            "link_disable", "retrain")


def _check(name, value, low, high):
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{name} must be an integer in {low}..{high}, not {value!r}")


class RootPort(wiring.Component):
    """Header of type 1, with capabilities for PCI Express, power management, AER and ACS.

    ::

        port --> HeaderMemory --bus--> PortControl --> outputs
                                  '--> PortStatus, Aer, RootErrors <-- event, message, link

    Software that walks buses finds a PCI-to-PCI bridge without BARs and without an I/O window. The
    windows for memory are stored, but nothing decodes them: the windows of programmed I/O say which
    addresses go to devices. There is no slot, no MSI and no DPC; ``interrupt`` is INTA. In D3hot
    nothing but ``memory`` and ``bus_master`` changes.

    An access takes 3 clocks; after reset the first one waits 400. Outputs follow a write by 2.

    Parameters
    ----------
    vendor_id, device_id, revision_id : :class:`int`
        What the port says it is. The defaults are placeholders.
    max_payload_bytes : :class:`int`
        Largest payload that the block handles, 128 to 4096.
    rcb_bytes : :class:`int`
        Read completion boundary, 64 or 128.
    ten_bit_tags : :class:`bool`
        Requests can have tags of 10 bits.
    port_number : :class:`int`
        Of the Link Capabilities register.
    link_speed, link_width : :class:`int`
        Largest speed (code 1 to 6) and number of lanes.

    Members
    -------
    port : ``In(HeaderPortSignature())``
        Accesses.
    primary : ``In(8)``
        Bus of the port itself.
    event : ``In(PortEventSignature())``
        Errors found on the way.
    message : ``In(PortMessageSignature())``
        Messages received.
    link_up : ``In(1)``
        DL_Active.
    speed, width : ``In(4)``, ``In(6)``
        Present speed and width of the link, as in the Link Status register.
    interrupt : ``Out(1)``
        Level; see :class:`RootErrors`.
    system_error : ``Out(1)``
        Pulse; see :class:`RootErrors`.
    secondary, subordinate, mps, mrrs, extended_tags, ten_bit_tags, timeout, timeout_disable, ari, \
    rrs_visibility, bus_master, memory, secondary_reset, link_disable, retrain
        Settings; see :class:`PortControl`.
    """

    def __init__(self, *, vendor_id=PLACEHOLDER_VENDOR, device_id=PLACEHOLDER_DEVICE, revision_id=0,
                 max_payload_bytes=256, rcb_bytes=64, ten_bit_tags=False, port_number=0,
                 link_speed=3, link_width=4):
        _check("Vendor ID", vendor_id, 1, 0xfffe)
        _check("Device ID", device_id, 0, 0xffff)
        _check("Revision ID", revision_id, 0, 0xff)
        _check("Port number", port_number, 0, 0xff)
        _check("Link speed", link_speed, 1, 6)
        if link_width not in (1, 2, 4, 8, 16):
            raise ValueError(f"Link width must be 1, 2, 4, 8 or 16, not {link_width!r}")
        if max_payload_bytes not in (128, 256, 512, 1024, 2048, 4096):
            raise ValueError("Largest payload must be a power of two in 128..4096, not "
                             f"{max_payload_bytes!r}")
        if rcb_bytes not in (64, 128):
            raise ValueError(f"Read completion boundary must be 64 or 128, not {rcb_bytes!r}")
        if type(ten_bit_tags) is not bool:
            raise TypeError(f"Use of tags of 10 bits must be a bool, not {ten_bit_tags!r}")
        code = exact_log2(max_payload_bytes) - 7
        self._memory = HeaderMemory(words=header_words(
            vendor_id=vendor_id, device_id=device_id, revision_id=revision_id,
            max_payload_code=code, rcb_128=int(rcb_bytes == 128), ten_bit_tags=int(ten_bit_tags),
            port_number=port_number, link_speed=link_speed, link_width=link_width))
        self._control = PortControl(max_payload_code=code)
        super().__init__({
            "port":         In(HeaderPortSignature()),
            "primary":      In(8),
            "event":        In(PortEventSignature()),
            "message":      In(PortMessageSignature()),
            "link_up":      In(1),
            "speed":        In(4),
            "width":        In(6),
            "interrupt":    Out(1),
            "system_error": Out(1),
            **{name: self._control.signature.members[name] for name in _CONTROL},
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory  = memory  = self._memory
        m.submodules.control = control = self._control
        m.submodules.status  = status  = PortStatus()
        m.submodules.aer     = aer     = Aer()
        m.submodules.root    = root    = RootErrors()

        wiring.connect(m, wiring.flipped(self.port), memory.port)
        wiring.connect(m, wiring.flipped(self.event), aer.event)
        wiring.connect(m, wiring.flipped(self.event), status.event)
        wiring.connect(m, wiring.flipped(self.message), root.message)
        parts = (control, status, aer, root)
        for part in parts:
            m.d.comb += [getattr(part.bus, name).eq(getattr(memory.bus, name))
                         for name in ("word", "stored", "value", "ones", "bytes")]
        live = Const(0, 32)
        for part in parts:
            live |= part.bus.live
        m.d.comb += memory.bus.live.eq(live)

        m.d.comb += [getattr(self, name).eq(getattr(control, name)) for name in _CONTROL]
        m.d.comb += [
            aer.surprise.eq(status.surprise),
            aer.enable.eq(control.report),
            aer.serr.eq(control.serr),
            status.detected.eq(aer.detected),
            status.report.eq(aer.report),
            status.received.eq(root.received),
            status.pending.eq(root.pending),
            status.link_up.eq(self.link_up),
            status.link_speed.eq(self.speed),
            status.link_width.eq(self.width),
            root.own.eq(aer.report),
            root.rid.eq(Cat(C(0, 8), self.primary)),
            self.interrupt.eq(root.interrupt),
            self.system_error.eq(root.system_error),
        ]
        m.d.comb += [getattr(status, name).eq(getattr(control, name))
                     for name in ("serr", "bridge_parity", "link_disable", "secondary_reset")]
        m.d.comb += [getattr(root, name).eq(getattr(control, name))
                     for name in ("bridge_serr", "pme_interrupt", "intx_disable", "root_errors")]
        return m
