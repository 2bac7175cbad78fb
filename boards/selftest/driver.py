"""The software of the self-test: a program of register accesses, again and again."""

from amaranth import *
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from iovirt.axi import AxiLiteSignature, Resp

from .image import POLL, RUN, WRITE
from .pattern import ROUND_BITS

__all__ = ["Driver"]


class Driver(wiring.Component):
    """Play a program of register accesses on an AXI4-Lite bus, once per round.

    A failure is final: a response that is not OKAY, a step that lasts longer than ``patience``
    clocks, or ``mismatch``. One access is under way at a time.

    Parameters
    ----------
    program : sequence of :class:`~boards.selftest.image.Step`
        What to do in a round. Registers are 64 bits wide.
    address_width : :class:`int`
        Of the bus.
    rounds : :class:`int`
        After how many rounds the test has passed; it goes on.
    patience : :class:`int`
        In clocks, a power of two.

    Members
    -------
    bus : ``Out(AxiLiteSignature(...))``
        To the registers.
    run : ``Out(1)``
        The accesses of devices may go on; low between rounds.
    round : ``Out(ROUND_BITS)``
        Number of the round, modulo its range.
    done : ``In(1)``
        All accesses are done and answered; low while ``run`` is.
    mismatch : ``In(1)``
        An answer was wrong.
    passed : ``Out(1)``
        ``rounds`` rounds are over, and nothing has failed so far.
    failed, stuck, refused : ``Out(1)``
        Something has failed; a step took too long; a register access was answered with an error.
    """

    def __init__(self, program, *, address_width, rounds=2, patience=1 << 16):
        if not isinstance(rounds, int) or not 1 <= rounds < 1 << ROUND_BITS:
            raise ValueError(f"Rounds must be an integer in 1..{(1 << ROUND_BITS) - 1}, not "
                             f"{rounds!r}")
        self.program  = program
        self.rounds   = rounds
        self.patience = patience
        self.step = data.StructLayout({"kind": 2, "address": address_width, "data": 64, "mask": 64})
        super().__init__({
            "bus": Out(AxiLiteSignature(data_width=64, address_width=address_width)),
            "run": Out(1), "round": Out(ROUND_BITS), "done": In(1), "mismatch": In(1),
            "passed": Out(1), "failed": Out(1), "stuck": Out(1), "refused": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        rows = [{"kind": step.kind, "address": step.address, "data": step.data, "mask": step.mask}
                for step in self.program]
        m.submodules.rom = rom = memory.Memory(shape=self.step, depth=len(rows), init=rows)
        port, bus = rom.read_port(), self.bus
        at, waited = Signal(range(len(rows))), Signal(range(self.patience))
        step, last = port.data, Signal()
        advance = Signal()
        m.d.comb += [
            port.addr.eq(at), port.en.eq(1), last.eq(at == len(rows) - 1),
            bus.awaddr.eq(step.address), bus.araddr.eq(step.address),
            bus.wdata.eq(step.data), bus.wstrb.eq(step.mask),
            self.failed.eq(self.stuck | self.refused | self.mismatch),
        ]
        m.d.sync += waited.eq(Mux(advance, 0, waited + 1))
        with m.If(waited.all()):
            m.d.sync += self.stuck.eq(1)
        with m.If((bus.bvalid & bus.bready & (bus.bresp != Resp.OKAY))
                  | (bus.rvalid & bus.rready & (bus.rresp != Resp.OKAY))):
            m.d.sync += self.refused.eq(1)

        read, same = Signal(64), Signal()
        m.d.comb += same.eq((read & step.mask) == step.data)
        with m.FSM():
            with m.State("FETCH"):
                m.next = "START"
            with m.State("START"):
                m.d.sync += [bus.awvalid.eq(step.kind == WRITE), bus.wvalid.eq(step.kind == WRITE),
                             bus.arvalid.eq(step.kind == POLL), self.run.eq(step.kind == RUN)]
                m.next = "WAIT"
            with m.State("WAIT"):
                m.d.comb += [bus.bready.eq(1), bus.rready.eq(1)]
                for name in ("aw", "w", "ar"):
                    with m.If(getattr(bus, f"{name}ready")):
                        m.d.sync += getattr(bus, f"{name}valid").eq(0)
                m.d.sync += read.eq(bus.rdata)
                with m.If(bus.rvalid):
                    m.next = "COMPARE"
                with m.If(bus.bvalid | (self.run & self.done)):
                    m.next = "ADVANCE"
            with m.State("COMPARE"):
                with m.If(same):
                    m.next = "ADVANCE"
                with m.Else():
                    m.next = "START"
            with m.State("ADVANCE"):
                with m.If(~self.failed):
                    m.d.comb += advance.eq(1)
                    m.d.sync += [self.run.eq(0), at.eq(Mux(last, 0, at + 1))]
                    with m.If(last):
                        m.d.sync += self.round.eq(self.round + 1)
                    m.next = "FETCH"
        over = Signal()
        with m.If(self.round == self.rounds):
            m.d.sync += over.eq(1)
        m.d.comb += self.passed.eq(over & ~self.failed)
        return m
