"""The registers of the budgets of guests."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from iovirt.csr.port import RegisterPortSignature

from .guest_layouts import check_guests
from .scheduler_layouts import AccountOp, account_op, software_op

__all__ = ["BudgetWindow"]

#: log2 of the bytes of a guest.
_SIZE = 5


class BudgetWindow(wiring.Component):
    """Let software read and write budgets, and read and clear accounts; 32 bytes per guest.

    Word 0 is {weight 7:0, limit 28:16}, word 1 {command rate 15:0, command burst 31:16, byte rate
    47:32, byte burst 63:48}, word 2 {in flight 12:0, drained 15}; word 3 is 0. A write to word 2
    clears the account, and what it had in flight is in flight no more. Bytes are written alone.
    Accesses beyond the last guest answer an error.

    About 15 clocks per access, for word 2 also the time of an offer.

    Parameters
    ----------
    guests : :class:`int`
        A power of two in 4..256.
    data_width, address_width : :class:`int`
        As of :class:`RegisterPortSignature`.

    Members
    -------
    port : ``In(RegisterPortSignature(...))``
        Accesses. The window is aligned to its size or to 4 KiB, whichever is larger.
    op : ``Out(stream.Signature(account_op(guests)))``
    software : ``Out(software_op())``
    shown : ``In(64)``, ``done`` : ``In(1)``
        To the accounts and back.
    hold : ``Out(1)``, ``quiet`` : ``In(1)``
        Nothing must be reserved while an account is cleared or its commands are shown.
    """

    def __init__(self, *, guests, data_width, address_width):
        check_guests(guests)
        port = RegisterPortSignature(data_width=data_width, address_width=address_width)
        self.guests        = guests
        self.data_width    = data_width
        self.address_width = address_width
        super().__init__({
            "port":     In(port),
            "op":       Out(stream.Signature(account_op(guests))),
            "software": Out(software_op()),
            "shown":    In(64),
            "done":     In(1),
            "hold":     Out(1),
            "quiet":    In(1),
        })

    def elaborate(self, platform):
        m = Module()
        request, response = self.port.request, self.port.response
        software, guest = self.software, Signal(range(self.guests))
        top   = max(12, _SIZE + guest.shape().width)
        high  = Signal()
        m.d.comb += [
            self.op.p.op.eq(AccountOp.SOFTWARE),
            self.op.p.guest.eq(guest),
        ]
        with m.FSM() as fsm:
            with m.State("IDLE"):
                m.d.comb += request.ready.eq(1)
                m.d.sync += [
                    guest.eq(request.p.address[_SIZE:]),
                    software.write.eq(request.p.write),
                    software.word.eq(request.p.address[3:_SIZE]),
                    software.data.eq(request.p.data.replicate(64 // self.data_width)),
                    software.strobe.eq(request.p.strobe),
                    high.eq(request.p.address[2] if self.data_width == 32 else 0),
                    response.p.data.eq(0), response.p.error.eq(0),
                ]
                if self.data_width == 32:
                    with m.If(request.p.address[2]):
                        m.d.sync += software.strobe.eq(request.p.strobe << 4)
                with m.If(request.valid):
                    m.next = "ISSUE"
                    with m.If(request.p.address[_SIZE:top] >= self.guests):
                        m.d.sync += response.p.error.eq(1)
                        m.next = "RESPOND"
                    with m.Elif(request.p.write & ~request.p.strobe.any()):
                        m.next = "RESPOND"
                    with m.Elif(request.p.address[3:_SIZE] == 2):
                        m.next = "HOLD"
            with m.State("HOLD"):
                with m.If(self.quiet):
                    m.next = "ISSUE"
            with m.State("ISSUE"):
                m.d.comb += self.op.valid.eq(1)
                with m.If(self.op.ready):
                    m.next = "WAIT"
            with m.State("WAIT"):
                with m.If(self.done):
                    with m.If(~software.write):
                        m.d.sync += response.p.data.eq(self.shown.word_select(
                            high, self.data_width) if self.data_width == 32 else self.shown)
                    m.next = "RESPOND"
            with m.State("RESPOND"):
                m.d.comb += response.valid.eq(1)
                with m.If(response.ready):
                    m.next = "IDLE"
            m.d.comb += self.hold.eq((software.word == 2) & ~fsm.ongoing("IDLE")
                                     & ~fsm.ongoing("RESPOND"))
        return m
