"""The block of programmed I/O."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from iovirt.config import PcieConfig, PioConfig
from iovirt.pcie.layouts import (
    STAMP_WIDTH,
    ErrorCause,
    ErrorRecord,
    completion_beat,
    tlp_beat,
)

from .aer import PortEventSignature
from .cfg_mgmt import CfgMgmtPort
from .config_layouts import CfgMgmtSignature, PioNotice, RetrySignature
from .config_unit import ConfigUnit
from .error_ring import COUNT_WIDTH, ErrorRing
from .front import PioFront
from .layouts import PageAccess, PageAnswer, PageError, PioError, Policy
from .requester import Requester
from .root_errors import PortMessageSignature
from .root_port import RootPort
from .windows import aperture, ecam_window, memory_window

__all__ = ["PioEngine", "PortSettings", "RingSignature"]


class PortSettings(wiring.Signature):
    """What the header of a port decides, seen from the header (PCIe Base, 7.5)."""

    def __init__(self):
        super().__init__({
            "secondary":       Out(8),
            "subordinate":     Out(8),
            "mps":             Out(3),
            "mrrs":            Out(3),
            "timeout":         Out(4),
            "timeout_disable": Out(1),
            "ari":             Out(1),
            "rrs_visibility":  Out(1),
            "ten_bit_tags":    Out(1),
            "extended_tags":   Out(1),  # 8 bits; else 5, unless 10
            "bus_master":      Out(1),
            "memory":          Out(1),
        })


class RingSignature(wiring.Signature):
    """Registers of the ring of errors, seen from the ring. See :class:`ErrorRing`."""

    def __init__(self, *, errors):
        super().__init__({
            "mask":       In(32),
            "first":      Out(PioError),
            "more":       Out(1),
            "clear":      In(1),
            "tail":       Out(COUNT_WIDTH),
            "head":       Out(COUNT_WIDTH),
            "head_write": In(1),
            "head_data":  In(COUNT_WIDTH),
            "select":     In(range(errors)),
            "record":     Out(PioError),
        })


class PioEngine(wiring.Component):
    """Carry accesses of cores to devices (architecture.md, 6; rules S4, S5, S6, S9, S11).

    ::

        bus <-> PioFront --posted
                  |  ^ '--request, finish--> Requester --non_posted
                  v  |                        ^  ^ '-- completion
               ConfigUnit --request, finish---'  |
                  '--> RootPort (or cfg_mgmt)    '-- error --> ErrorRing --> error, notice

    * A read is answered when the posted requests that came before its completion are observable; a
      write when its TLP has been handed to the transmitter, a configuration write when it is
      completed. Whatever a device does or does not do, each access gets one answer in bounded time,
      as its window says.
    * With the header of the port built in, it decides about buses, payloads and time-outs, and
      nothing is sent to device memory while its Memory Space Enable is 0.

    Idle, 4 clocks from AR to ``non_posted`` and 6 from the last beat of ``completion`` to R.
    1 access per clock in each direction; see the parts.

    Parameters
    ----------
    data_width : :class:`int`
        Of the TLP streams.
    pio : :class:`PioConfig`
    pcie : :class:`PcieConfig`
    pages : :class:`bool`
        Somebody serves the doorbell aperture.

    Members
    -------
    bus : ``In(Axi4Signature(...))``
        Port of the cores.
    posted, non_posted : ``Out(stream.Signature(tlp_beat(data_width)))``
        To the transmitter.
    completion : ``In(stream.Signature(completion_beat(data_width)))``
    done : ``In(STAMP_WIDTH)``
        The count that stamps of completions wait for.
    link_up : ``In(1)``
    requester_id : ``In(16)``
        RID of the port; its bus is the primary one.
    ecam, windows, doorbells, no_window : ``In(...)``
        See :class:`PioFront`.
    core_limit, guest_limit : ``In(10)``
        Quotas; see :class:`Requester`.
    retry : ``In(RetrySignature())``
        See :class:`ConfigUnit`.
    page : ``Out(stream.Signature(PageAccess))``, page_answer, page_error : ``In(...)``
        See :class:`PioFront`; records of what has failed there. Only with ``pages``.
    ring : ``Out(RingSignature(...))``, segment : ``In(8)``
        Errors.
    port : ``Out(PortSettings())``
        What counts.
    given : ``In(PortSettings())``, cfg_mgmt : ``Out(CfgMgmtSignature())``
        Settings, and configuration port, of a PCIe core that has the header. Only then.
    event : ``In(PortEventSignature())``, message : ``In(PortMessageSignature())``, \
            interrupt : ``Out(1)``, secondary_reset : ``Out(1)``, link_disable : ``Out(1)``, \
            link_speed : ``In(4)``, link_width : ``In(6)``
        See :class:`RootPort`. Only with the header built in.
    error : ``Out(stream.Signature(ErrorRecord))``
    notice : ``Out(stream.Signature(PioNotice))``
    lost : ``Out(1)``
        Pulse: a record found no place.
    absent, masked : ``Out(1)``
        Pulses: a configuration access met nobody, an error was masked.
    read_sent, write_sent : ``Out(1)``
        Pulses.
    idle, ready : ``Out(1)``, used : ``Out(range(1025))``
        See :class:`Requester`.
    """

    def __init__(self, *, data_width, pio, pcie, pages=False):
        if not isinstance(pio, PioConfig):
            raise TypeError(f"Programmed I/O configuration must be a PioConfig, not {pio!r}")
        if not isinstance(pcie, PcieConfig):
            raise TypeError(f"PCIe configuration must be a PcieConfig, not {pcie!r}")
        self.pio     = pio
        self.pcie    = pcie
        self.pages   = pages
        self.builtin = pio.root_port == "builtin"
        self._front  = PioFront(data_width=data_width, pio=pio,
                                max_payload_bytes=pcie.max_payload_bytes, pages=pages)
        self._requester = Requester(data_width=data_width, pio=pio,
                                    owner_width=self._front.owner_width)
        self._config = ConfigUnit(owner_width=self._front.owner_width, pio=pio,
                                  request_owner_width=self._front.owner_width)
        tlp, width = stream.Signature(tlp_beat(data_width)), pio.address_width
        served = {
            "page":        Out(stream.Signature(PageAccess)),
            "page_answer": In(stream.Signature(PageAnswer)),
            "page_error":  In(stream.Signature(PageError)),
        } if pages else {}
        header = {
            "event":           In(PortEventSignature()),
            "message":         In(PortMessageSignature()),
            "interrupt":       Out(1),
            "secondary_reset": Out(1),
            "link_disable":    Out(1),
            "link_speed":      In(4),
            "link_width":      In(6),
        } if self.builtin else {
            "given":    In(PortSettings()),
            "cfg_mgmt": Out(CfgMgmtSignature()),
        }
        super().__init__({
            "bus":          self._front.signature.members["bus"],
            "posted":       Out(tlp),
            "non_posted":   Out(tlp),
            "completion":   In(stream.Signature(completion_beat(data_width))),
            "done":         In(STAMP_WIDTH),
            "link_up":      In(1),
            "requester_id": In(16),
            "ecam":         In(ecam_window(address_width=width)),
            "windows":      In(memory_window(address_width=width)).array(pio.windows),
            "doorbells":    In(aperture(address_width=width)),
            "no_window":    In(Policy),
            "core_limit":   In(10),
            "guest_limit":  In(10),
            "retry":        In(RetrySignature()),
            "ring":         Out(RingSignature(errors=pio.errors)),
            "segment":      In(8),
            "port":         Out(PortSettings()),
            **header,
            **served,
            "error":        Out(stream.Signature(ErrorRecord)),
            "notice":       Out(stream.Signature(PioNotice)),
            **{name: Out(1) for name in ("lost", "absent", "masked", "read_sent", "write_sent",
                                         "idle", "ready")},
            "used":         Out(range(1025)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.front     = front     = self._front
        m.submodules.requester = requester = self._requester
        m.submodules.config    = config    = self._config
        m.submodules.errors    = ring      = ErrorRing(pio=self.pio, ports=3 + self.pages)
        outer, port = flipped(self), self.port
        connect(m, outer.bus, front.bus)
        connect(m, front.tx, outer.posted)
        connect(m, requester.tx, outer.non_posted)
        connect(m, outer.completion, requester.completion)
        connect(m, front.config, config.access)
        connect(m, config.answer, front.answer)
        for n, client in enumerate((front, config)):
            connect(m, client.request, requester.request[n])
            connect(m, requester.finish[n], client.finish)
        connect(m, front.fetch, requester.fetch)
        connect(m, outer.retry, config.retry)
        for n, source in enumerate((front, requester, config)):
            connect(m, source.error, ring.i[n])
        connect(m, ring.error, outer.error)
        connect(m, ring.notice, outer.notice)
        m.d.comb += [
            requester.release.valid.eq(front.release.valid),
            requester.release.p.tag.eq(front.release.p),
            front.release.ready.eq(requester.release.ready),
            *(part.link_up.eq(self.link_up) for part in (front, requester, config)),
            *(part.requester_id.eq(self.requester_id) for part in (front, requester)),
            front.ecam.eq(self.ecam),
            front.doorbells.eq(self.doorbells),
            front.no_window.eq(self.no_window),
            front.max_payload.eq(port.mps),
            front.max_read.eq(port.mrrs),
            requester.done.eq(self.done),
            requester.core_limit.eq(self.core_limit),
            requester.guest_limit.eq(self.guest_limit),
            requester.ten_bit.eq(port.ten_bit_tags),
            requester.five_bit.eq(~port.extended_tags & ~port.ten_bit_tags),
            requester.timeout_code.eq(port.timeout),
            requester.timeout_disable.eq(port.timeout_disable),
            config.primary.eq(self.requester_id[8:]),
            *(getattr(config, name).eq(getattr(port, name))
              for name in ("secondary", "subordinate", "ari", "rrs_visibility")),
            self.lost.eq(front.error_lost | requester.lost | ring.lost),
            *(getattr(self, name).eq(getattr(front, name)) for name in ("read_sent", "write_sent")),
            *(getattr(self, name).eq(getattr(requester, name))
              for name in ("idle", "ready", "used")),
            self.absent.eq(config.absent),
            self.masked.eq(ring.masked),
            ring.segment.eq(self.segment),
            *(getattr(ring, name).eq(getattr(self.ring, name))
              for name in ("mask", "clear", "head_write", "head_data", "select")),
            *(getattr(self.ring, name).eq(getattr(ring, name))
              for name in ("first", "more", "tail", "head", "record")),
        ]
        # Device memory is behind the port only while its header says so.
        for inner, given in zip(front.windows, self.windows, strict=True):
            m.d.comb += [inner.eq(given), inner.blocked.eq(~port.memory)]
        self._header(m, config)
        if self.pages:
            self._serve_pages(m, front, ring.i[3])
        return m

    def _serve_pages(self, m, front, ring):
        connect(m, front.page, flipped(self.page))
        connect(m, flipped(self.page_answer), front.page_answer)
        error, record = self.page_error, ring.payload
        m.d.comb += [
            ring.valid.eq(error.valid),
            error.ready.eq(ring.ready),
            # A cause of its own, so that a storm of guests can be masked without losing others.
            record.cause.eq(ErrorCause.SHARE_DOORBELL),
            *(record[name].eq(error.payload[name]) for name in ("core", "guest", "address")),
        ]

    def _header(self, m, config):
        port = self.port
        if not self.builtin:
            m.submodules.cfg_mgmt = cfg_mgmt = CfgMgmtPort()
            connect(m, config.header, cfg_mgmt.port)
            connect(m, cfg_mgmt.cfg_mgmt, flipped(self.cfg_mgmt))
            m.d.comb += [getattr(port, name).eq(getattr(self.given, name))
                         for name in port.signature.members]
            return
        m.submodules.root_port = root_port = RootPort(
            max_payload_bytes=self.pcie.max_payload_bytes, rcb_bytes=self.pcie.rcb_bytes,
            ten_bit_tags=self.pio.tags == 768, vendor_id=self.pio.vendor_id,
            device_id=self.pio.device_id)
        connect(m, config.header, root_port.port)
        connect(m, flipped(self.event), root_port.event)
        connect(m, flipped(self.message), root_port.message)
        m.d.comb += [
            root_port.primary.eq(self.requester_id[8:]),
            root_port.link_up.eq(self.link_up),
            root_port.speed.eq(self.link_speed),
            root_port.width.eq(self.link_width),
            *(getattr(port, name).eq(getattr(root_port, name)) for name in port.signature.members),
            *(getattr(self, name).eq(getattr(root_port, name))
              for name in ("interrupt", "secondary_reset", "link_disable")),
        ]
