"""Accesses of cores to configuration space."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..config import PioConfig
from ..stream import StreamArbiter, StreamQueue
from .config_layouts import HeaderPortSignature, RetrySignature, device_access
from .config_requester import ConfigRequester
from .config_router import ConfigRouter
from .layouts import PioError, config_access, config_answer, finish, np_request

__all__ = ["ConfigUnit"]


class ConfigUnit(wiring.Component):
    """Serve the ECAM window: the port's own header, the devices behind it, and what is not there.

    ::

        access --> ConfigRouter --> queue --> ConfigRequester --> request
                      |   |                        |      ^------ finish
                   header '---> answer <-----------'

    One request to a device is under way at a time, and ``waiting`` accesses to devices can be
    behind it. Until that many wait, accesses to what is not there pass them, and to the header
    those of other cores; so answers come in any order. Further accesses wait for the device: for
    at most ``waiting + 1`` times what :class:`ConfigRequester` says. While the link is down, none
    waits.

    Each access gets one answer, and sends at most one request, or one and its repetitions after
    RRS. Failures are told by the status; a core should get OKAY, whatever it is (Server SoC
    ECM_090, ECM_100).

    Latency is 3 clocks from ``access`` to the answer of what is not there, and 3 more than the
    header takes to that of the header; 5 from ``access`` to ``request``, 3 from ``finish`` to
    ``answer``.

    Parameters
    ----------
    owner_width : :class:`int`
        Of the accesses, at least 1.
    pio : :class:`PioConfig`
        ``core_id_bits``, ``max_read_bytes`` and ``clock_mhz`` count.
    waiting : :class:`int`
        Number of accesses to devices that wait, at least 1.
    request_owner_width : :class:`int`
        Of the requests, at least 1; it is always 0.

    Members
    -------
    access : ``In(stream.Signature(config_access(...)))``
        Accesses to the window.
    answer : ``Out(stream.Signature(config_answer(...)))``
        What became of each.
    request : ``Out(stream.Signature(np_request(...)))``
        For the requester.
    finish : ``In(stream.Signature(finish(...)))``
        From the requester. The tag is not given back here.
    header : ``Out(HeaderPortSignature())``
        For the header of the port.
    error : ``Out(stream.Signature(PioError))``
        Accesses that are not legal, that met a link that is down, or whose retries were in vain.
    primary, secondary, subordinate : ``In(8)``
        Bus of the port itself, and buses behind it.
    ari, rrs_visibility : ``In(1)``
        ARI forwarding, and visibility of RRS to software, of the port.
    link_up : ``In(1)``
        The link is up (DL_Active).
    retry : ``In(RetrySignature())``
        Budget of repetitions.
    absent : ``Out(1)``
        Pulse: an access met no function or bus.
    """

    def __init__(self, *, owner_width, pio, waiting=4, request_owner_width=1):
        if not isinstance(pio, PioConfig):
            raise TypeError(f"Configuration must be a PioConfig, not {pio!r}")
        self.owner_width         = owner_width
        self.pio                 = pio
        self.waiting             = waiting
        self.request_owner_width = request_owner_width
        self._router = ConfigRouter(owner_width=owner_width, core_bits=pio.core_id_bits,
                                    waiting=waiting)
        self._requester = ConfigRequester(
            owner_width=owner_width, request_owner_width=request_owner_width,
            max_read_bytes=pio.max_read_bytes, clock_mhz=pio.clock_mhz)
        request = np_request(owner_width=request_owner_width, max_read_bytes=pio.max_read_bytes)
        super().__init__({
            "access":         In(stream.Signature(config_access(owner_width=owner_width))),
            "answer":         Out(stream.Signature(config_answer(owner_width=owner_width))),
            "request":        Out(stream.Signature(request)),
            "finish":         In(stream.Signature(finish(owner_width=request_owner_width))),
            "header":         Out(HeaderPortSignature()),
            "error":          Out(stream.Signature(PioError)),
            "primary":        In(8),
            "secondary":      In(8),
            "subordinate":    In(8),
            "ari":            In(1),
            "rrs_visibility": In(1),
            "link_up":        In(1),
            "retry":          In(RetrySignature()),
            "absent":         Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        answer, access = self.answer.p.shape(), device_access(owner_width=self.owner_width)
        m.submodules.router    = router    = self._router
        m.submodules.requester = requester = self._requester
        m.submodules.waits     = waits     = StreamQueue(access, depth=self.waiting)
        m.submodules.merge     = merge     = StreamArbiter(answer, ports=2)
        m.submodules.answers   = answers   = StreamQueue(answer, depth=2)
        m.submodules.errors    = errors    = StreamArbiter(PioError, ports=2)

        wiring.connect(m, wiring.flipped(self.access), router.access)
        wiring.connect(m, router.header, wiring.flipped(self.header))
        wiring.connect(m, router.device, waits.i)
        wiring.connect(m, waits.o, requester.i)
        wiring.connect(m, requester.request, wiring.flipped(self.request))
        wiring.connect(m, wiring.flipped(self.finish), requester.finish)
        wiring.connect(m, wiring.flipped(self.retry), requester.retry)
        for port, part in enumerate((router, requester)):
            wiring.connect(m, part.answer, merge.i[port])
            wiring.connect(m, part.error, errors.i[port])
        wiring.connect(m, merge.o, answers.i)
        wiring.connect(m, answers.o, wiring.flipped(self.answer))
        wiring.connect(m, errors.o, wiring.flipped(self.error))
        m.d.comb += [
            router.finished.eq(requester.finished),
            router.finished_core.eq(requester.finished_core),
            requester.link_up.eq(self.link_up),
            requester.rrs_visibility.eq(self.rrs_visibility),
            self.absent.eq(router.absent),
        ]
        m.d.comb += [getattr(router, name).eq(getattr(self, name))
                     for name in ("primary", "secondary", "subordinate", "ari")]
        return m
