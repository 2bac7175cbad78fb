"""Configuration requests to devices."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..pcie.layouts import ErrorCause
from .config_layouts import ABSENT_VENDOR, RetrySignature, device_access
from .layouts import FinishStatus, NpKind, PioError, config_answer, finish, np_request
from .retry_timer import RetryTimer

__all__ = ["ConfigRequester"]


class ConfigRequester(wiring.Component):
    """Carry out accesses to devices, one after the other, each by one request or several.

    * Link down: all ones or dropped at once, with a record, and without a request.
    * The end of a request is the answer, so a write is answered only then (Server SoC ECM_020). UR,
      CA, a time-out and the loss of the link read all ones; a poisoned read keeps its data. The
      requester records these.
    * RRS for a read of both bytes of the Vendor ID while ``rrs_visibility``: the answer is
      FFFF0001h (PCIe Base, 2.3.2). Any other request is issued again after ``retry.pause``, while
      the budget lasts and the link is up; then it reads all ones, with a record.

    An access takes at most the budget of time and a time-out of the requester; those behind it
    wait. 2 clocks from ``i`` to ``request``, and 2 from ``finish`` to ``answer``.

    Any completer may answer: until its first configuration write a device does it as bus 0, and a
    switch answers UR in its own name for what is not there (PCIe Base, 2.2.9).

    Parameters
    ----------
    owner_width : :class:`int`
        Of the accesses.
    request_owner_width : :class:`int`
        Of the requests, at least 1; it is always 0.
    max_read_bytes : :class:`int`
        Shapes ``request``.
    clock_mhz : :class:`int`
        Clocks per us.

    Members
    -------
    i : ``In(stream.Signature(device_access(...)))``
    answer : ``Out(stream.Signature(config_answer(...)))``
    error : ``Out(stream.Signature(PioError))``
    request : ``Out(stream.Signature(np_request(...)))``
    finish : ``In(stream.Signature(finish(...)))``
    link_up, rrs_visibility : ``In(1)``
    retry : ``In(RetrySignature())``
    finished, finished_core : ``Out(1)``, ``Out(8)``
        Pulse: an access of that core was answered.
    """

    def __init__(self, *, owner_width, request_owner_width, max_read_bytes, clock_mhz):
        self.owner_width = owner_width
        self._timer = RetryTimer(clock_mhz=clock_mhz)
        request = np_request(owner_width=request_owner_width, max_read_bytes=max_read_bytes)
        super().__init__({
            "i":              In(stream.Signature(device_access(owner_width=owner_width))),
            "answer":         Out(stream.Signature(config_answer(owner_width=owner_width))),
            "error":          Out(stream.Signature(PioError)),
            "request":        Out(stream.Signature(request)),
            "finish":         In(stream.Signature(finish(owner_width=request_owner_width))),
            "link_up":        In(1),
            "rrs_visibility": In(1),
            "retry":          In(RetrySignature()),
            "finished":       Out(1),
            "finished_core":  Out(8),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.timer = timer = self._timer
        wiring.connect(m, wiring.flipped(self.retry), timer.retry)
        now   = Signal.like(self.i.p.access)
        ended = Signal.like(self.finish.p)
        cause = Signal(ErrorCause)
        self._fill(m, now, ended, cause)

        def answer(status, data, why):
            m.d.sync += [
                self.answer.p.status.eq(status),
                self.answer.p.data.eq(data & ~now.write.replicate(32)),
                cause.eq(why),
            ]
            m.next = "ANSWER"

        def fail(status, why=ErrorCause.NONE):
            answer(status, C(0xffffffff, 32), why)

        with m.FSM():
            with m.State("TAKE"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += [now.eq(self.i.p.access), self.request.p.type1.eq(self.i.p.type1)]
                with m.If(self.i.valid):
                    m.next = "START"
            with m.State("START"):
                m.d.comb += timer.start.eq(1)
                m.d.sync += ended.eq(0)
                m.next = "REQUEST"
                with m.If(~self.link_up):
                    fail(FinishStatus.LINK_DOWN, ErrorCause.PIO_LINK_DOWN)
            with m.State("REQUEST"):
                m.d.comb += self.request.valid.eq(1)
                with m.If(self.request.ready):
                    m.next = "WAIT"
            with m.State("WAIT"):
                m.d.comb += self.finish.ready.eq(1)
                m.d.sync += ended.eq(self.finish.p)
                with m.If(self.finish.valid):
                    m.next = "DECIDE"
            with m.State("DECIDE"):
                # Both bytes of the Vendor ID, and no other register.
                vendor = ~now.write & ~now.address[2:12].any() & now.be[:2].all()
                with m.If(ended.status == FinishStatus.RRS):
                    m.next = "PAUSE"
                    with m.If(self.rrs_visibility & vendor):
                        answer(FinishStatus.OK, C(ABSENT_VENDOR, 32), ErrorCause.NONE)
                with m.Elif((ended.status == FinishStatus.OK)
                            | (ended.status == FinishStatus.POISONED)):
                    answer(ended.status, ended.data, ErrorCause.NONE)
                with m.Else():
                    fail(ended.status)
            with m.State("PAUSE"):
                m.d.comb += timer.pausing.eq(1)
                with m.If(~self.link_up):
                    fail(FinishStatus.LINK_DOWN, ErrorCause.PIO_LINK_DOWN)
                with m.Elif(timer.spent):
                    fail(FinishStatus.RRS, ErrorCause.PIO_RETRY)
                with m.Elif(timer.paused):
                    m.d.comb += timer.again.eq(1)
                    m.next = "REQUEST"
            with m.State("ANSWER"):
                m.d.comb += [self.answer.valid.eq(1), self.finished.eq(self.answer.ready)]
                with m.If(self.answer.ready):
                    m.next = "TAKE"
                    with m.If(cause != ErrorCause.NONE):
                        m.next = "RECORD"
            with m.State("RECORD"):
                m.d.comb += self.error.valid.eq(1)
                with m.If(self.error.ready):
                    m.next = "TAKE"
        return m

    def _fill(self, m, now, ended, cause):
        """Fill the payloads with what does not change during an access."""
        request = self.request.p
        m.d.comb += [
            request.kind.eq(Mux(now.write, NpKind.CONFIG_WRITE, NpKind.CONFIG_READ)),
            request.address.eq(Cat(C(0, 2), now.address[2:])),
            request.length_dw.eq(1),
            request.first_be.eq(now.be),
            request.data.eq(now.data),
            request.core.eq(now.core),
            request.completer.eq(now.address[12:]),
            request.completer_mask.eq(0xffff),
            self.answer.p.owner.eq(now.owner),
            self.answer.p.write.eq(now.write),
            self.finished_core.eq(now.core),
            self.error.p.cause.eq(cause),
            self.error.p.core.eq(now.core),
            self.error.p.rid.eq(now.address[12:]),
            self.error.p.tag.eq(ended.tag),
            self.error.p.address.eq(now.address),
        ]
