"""A table of 64-bit words that software writes and hardware reads."""

from amaranth import *
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from ..csr.port import RegisterPortSignature

__all__ = ["ParityMemory"]


class ParityMemory(wiring.Component):
    """Keep words of 64 bits with a parity bit for each byte.

    Hardware reads a word in each clock, and has it 1 clock later; accesses of software wait for a
    clock in which it does not: ``wait`` asks for one. An access takes 3 clocks, or 4 if it reads.
    Reads of a word that has a wrong parity, and accesses beyond the table, answer an error.

    A single port reads and a single one writes; contents survive a reset.

    Parameters
    ----------
    words : :class:`int`
        Words, a power of two of at least 2.
    data_width, address_width : :class:`int`
        As of :class:`RegisterPortSignature`.

    Members
    -------
    port : ``In(RegisterPortSignature(...))``
        Accesses of software; the word n is at 8 n.
    en : ``In(1)``, ``address`` : ``In(range(words))``
        Read a word.
    data : ``Out(64)``, ``good`` : ``Out(8)``
        The word read in the clock before, and which of its bytes have the right parity.
    wait : ``Out(1)``
        Software waits for a clock in which ``en`` is 0.
    """

    def __init__(self, *, words, data_width, address_width):
        if type(words) is not int or words < 2 or words & (words - 1):
            raise ValueError(f"Number of words must be a power of two of at least 2, not {words!r}")
        if 8 * words > 1 << address_width:
            raise ValueError(f"Address width must cover {8 * words} bytes, because there are "
                             f"{words} words, not be {address_width!r}")
        self.words      = words
        self.data_width = data_width
        self._table = memory.Memory(shape=72, depth=words, init=[], attrs={"no_rw_check": 1})
        super().__init__({
            "port": In(RegisterPortSignature(data_width=data_width, address_width=address_width)),
            "en":      In(1),
            "address": In(range(words)),
            "data":    Out(64),
            "good":    Out(8),
            "wait":    Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        request, response = self.port.request, self.port.response
        m.submodules.table = table = self._table
        write, read = table.write_port(granularity=9), table.read_port()
        access, free, missing = Signal.like(request.p), Signal(), Signal()
        number = access.address[3:3 + len(self.address)]
        copies = 64 // self.data_width
        high   = access.address[2] if copies == 2 else C(0, 1)
        value, strobe = Cat([access.data] * copies), Signal(8)
        m.d.comb += [
            strobe.eq(access.strobe << Mux(high, 4, 0) if copies == 2 else access.strobe),
            missing.eq(access.address[3 + len(self.address):].any()),
            write.addr.eq(number),
            write.data.eq(Cat(Cat(byte, byte.xor()) for byte in
                              (value[8 * n:8 * n + 8] for n in range(8)))),
            free.eq(~self.en),
            read.en.eq(1),
            read.addr.eq(Mux(self.en, self.address, number)),
            self.data.eq(Cat(read.data[9 * n:9 * n + 8] for n in range(8))),
            self.good.eq(Cat(~read.data[9 * n:9 * n + 9].xor() for n in range(8))),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += request.ready.eq(1)
                m.d.sync += [access.eq(request.p), response.p.eq(0)]
                with m.If(request.valid):
                    m.next = "ACCESS"
            with m.State("ACCESS"):
                m.d.sync += response.p.error.eq(missing)
                with m.If(missing):
                    m.next = "RESPOND"
                with m.Elif(access.write):
                    m.d.comb += write.en.eq(strobe)
                    m.next = "RESPOND"
                with m.Else():
                    m.d.comb += self.wait.eq(1)
                    with m.If(free):
                        m.next = "DATA"
            with m.State("DATA"):
                with m.If(self.good.all()):
                    part = Mux(high, self.data[32:], self.data[:32]) if copies == 2 else self.data
                    m.d.sync += response.p.data.eq(part)
                with m.Else():
                    m.d.sync += response.p.error.eq(1)
                m.next = "RESPOND"
            with m.State("RESPOND"):
                m.d.comb += response.valid.eq(1)
                with m.If(response.ready):
                    m.next = "IDLE"
        return m
