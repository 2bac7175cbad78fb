"""Where an access to the ECAM window goes."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..pcie.layouts import ErrorCause
from .config_layouts import HeaderPortSignature, device_access
from .layouts import FinishStatus, PioError, config_access, config_answer

__all__ = ["ConfigRouter"]


class ConfigRouter(wiring.Component):
    """Send accesses to the port's own header, to the devices, or to nowhere.

    ===================== =======================================================================
    bus                   goes to
    ===================== =======================================================================
    ``primary``           the header if device and function are 0, else nowhere
    ``secondary``         devices, type 0; without ARI forwarding only if the device is 0
    up to ``subordinate`` devices, type 1
    any other             nowhere
    ===================== =======================================================================

    (PCIe Base, 7.2.2 and 7.3.3; Server SoC ECM_050, ECM_080.) An access that goes nowhere reads all
    ones, or is dropped, without a TLP. One that is not legal does too, and leaves a record. A
    secondary bus of 0 means that the port has not been set up. The link does not matter here.

    Accesses are executed in the order of their arrival, but one to a device counts as executed when
    it is handed on. So that a core sees its own in order all the same, one to the header waits
    until those to devices of the same core are answered. (Cores are told apart by up to 4 bits.)

    Latency is 1 clock to ``device`` and ``header``, and 2 to the answer to what goes nowhere.
    Throughput is 1 access per 3 clocks, or as the header serves them. ``access`` waits while
    ``device`` does not take the access before.

    Parameters
    ----------
    owner_width : :class:`int`
        Of the accesses.
    core_bits : :class:`int`
        Bits of a core's number that can differ, 0 to 8.
    waiting : :class:`int`
        Number of accesses that may be behind ``device``, at least 1.

    Members
    -------
    access : ``In(stream.Signature(config_access(...)))``
    answer : ``Out(stream.Signature(config_answer(...)))``
    error : ``Out(stream.Signature(PioError))``
    header : ``Out(HeaderPortSignature())``
    device : ``Out(stream.Signature(device_access(...)))``
    finished, finished_core : ``In(1)``, ``In(8)``
        Pulse: an access of that core to a device is answered.
    primary, secondary, subordinate : ``In(8)``
        Bus numbers.
    ari : ``In(1)``
        ARI forwarding is on.
    absent : ``Out(1)``
        Pulse: a legal access went nowhere.
    """

    def __init__(self, *, owner_width, core_bits, waiting):
        if not isinstance(owner_width, int) or owner_width < 1:
            raise ValueError("Width of owner must be an integer of at least 1, not "
                             f"{owner_width!r}")
        if not isinstance(core_bits, int) or not 0 <= core_bits <= 8:
            raise ValueError(f"Bits of a core must be an integer in 0..8, not {core_bits!r}")
        if not isinstance(waiting, int) or waiting < 1:
            raise ValueError("Number of waiting accesses must be an integer of at least 1, not "
                             f"{waiting!r}")
        self.owner_width = owner_width
        self.core_bits   = core_bits
        self.waiting     = waiting
        super().__init__({
            "access":        In(stream.Signature(config_access(owner_width=owner_width))),
            "answer":        Out(stream.Signature(config_answer(owner_width=owner_width))),
            "error":         Out(stream.Signature(PioError)),
            "header":        Out(HeaderPortSignature()),
            "device":        Out(stream.Signature(device_access(owner_width=owner_width))),
            "finished":      In(1),
            "finished_core": In(8),
            "primary":       In(8),
            "secondary":     In(8),
            "subordinate":   In(8),
            "ari":           In(1),
            "absent":        Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        now   = Signal.like(self.access.p)
        goes  = Signal(data.StructLayout({"header": 1, "device": 1, "type1": 1}))
        clear = self._order(m, now.core)
        m.d.comb += [
            self.device.p.access.eq(now),
            self.device.p.type1.eq(goes.type1),
            self.header.request.p.write.eq(now.write),
            self.header.request.p.register.eq(now.address[2:12]),
            self.header.request.p.be.eq(now.be),
            self.header.request.p.data.eq(now.data),
            self.answer.p.owner.eq(now.owner),
            self.answer.p.write.eq(now.write),
            self.error.p.cause.eq(ErrorCause.PIO_NO_TARGET),
            self.error.p.core.eq(now.core),
            self.error.p.rid.eq(now.address[12:]),
            self.error.p.address.eq(now.address),
        ]

        m.d.sync += self.absent.eq(0)
        with m.FSM():
            with m.State("TAKE"):
                m.d.comb += self.access.ready.eq(1)
                m.d.sync += [now.eq(self.access.p), goes.eq(self._target(self.access.p))]
                with m.If(self.access.valid):
                    m.next = "SEND"
            with m.State("SEND"):
                m.d.sync += [
                    self.answer.p.status.eq(FinishStatus.NO_TARGET),
                    self.answer.p.data.eq(Mux(now.write, 0, 0xffffffff)),
                ]
                with m.If(goes.header):
                    m.d.comb += self.header.request.valid.eq(clear)
                    with m.If(clear & self.header.request.ready):
                        m.next = "HEADER"
                with m.Elif(goes.device):
                    m.d.comb += self.device.valid.eq(1)
                    with m.If(self.device.ready):
                        m.next = "TAKE"
                with m.Else():
                    m.d.sync += self.absent.eq(now.legal)
                    m.next = "ANSWER"
            with m.State("HEADER"):
                m.d.comb += self.header.response.ready.eq(1)
                m.d.sync += [
                    self.answer.p.status.eq(FinishStatus.OK),
                    self.answer.p.data.eq(Mux(now.write, 0, self.header.response.p)),
                ]
                with m.If(self.header.response.valid):
                    m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += self.answer.valid.eq(1)
                with m.If(self.answer.ready):
                    m.next = "TAKE"
                    with m.If(~now.legal):
                        m.next = "RECORD"
            with m.State("RECORD"):
                m.d.comb += self.error.valid.eq(1)
                with m.If(self.error.ready):
                    m.next = "TAKE"
        return m

    def _target(self, access):
        """Decide where ``access`` goes."""
        bus, device = access.address[20:28], access.address[15:20]
        primary   = bus == self.primary
        set_up    = self.secondary.any() & ~primary & access.legal
        type0     = (bus == self.secondary) & (self.ari | ~device.any())
        type1     = (bus > self.secondary) & (bus <= self.subordinate)
        return Cat(primary & ~access.address[12:20].any() & access.legal,
                   set_up & (type0 | type1), type1)

    def _order(self, m, core):
        """Count the accesses under way to devices by core; return whether ``core`` has none."""
        bits   = min(self.core_bits, 4)
        counts = Array(Signal(range(self.waiting + 2), name=f"under_way_{n}")
                       for n in range(1 << bits))
        start  = self.device.valid & self.device.ready
        for n, count in enumerate(counts):
            m.d.sync += count.eq(count + (start & (core[:bits] == n))
                                 - (self.finished & (self.finished_core[:bits] == n)))
        clear = Signal()
        m.d.comb += clear.eq(counts[core[:bits]] == 0)
        return clear
