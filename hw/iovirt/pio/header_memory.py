"""Storage of the root port's configuration space."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .config_layouts import HeaderPortSignature
from .header_words import DEPTH

__all__ = ["HeaderBusSignature", "HeaderMemory"]


class HeaderBusSignature(wiring.Signature):
    """What the parts of the header see of accesses, seen from :class:`HeaderMemory`.

    Members
    -------
    word : ``Out(range(DEPTH))``
        Dword that is accessed, stable from 2 clocks before ``stored`` on.
    live : ``In(32)``
        Bits of that Dword that are not stored, 1 clock later.
    stored : ``Out(1)``
        Pulse: the Dword has been written, or got its value after reset.
    value : ``Out(32)``
        What it holds now.
    ones : ``Out(32)``
        Bits that software wrote as 1; 0 without ``stored``.
    bytes : ``Out(4)``
        Bytes that software wrote; 0 without ``stored``.
    """

    def __init__(self):
        super().__init__({
            "word":   Out(range(DEPTH)),
            "live":   In(32),
            "stored": Out(1),
            "value":  Out(32),
            "ones":   Out(32),
            "bytes":  Out(4),
        })


class HeaderMemory(wiring.Component):
    """Hold what software writes in a memory, and tell the parts of the header.

    What can be written is in a second, read-only memory, beside the values after reset. These are
    copied after a reset, in ``3 * DEPTH`` clocks; until then accesses wait. Parts with flip-flops
    of their own see the copying like writes.

    Latency is 3 clocks; throughput is 1 access per 4 clocks.

    Parameters
    ----------
    words : :class:`dict`
        ``{Dword: (value after reset, bits that software can write)}``.

    Members
    -------
    port : ``In(HeaderPortSignature())``
        Accesses. Dwords from ``DEPTH`` on read 0.
    bus : ``Out(HeaderBusSignature())``
        For the parts.
    """

    def __init__(self, *, words):
        for word, pair in words.items():
            if not 0 <= word < DEPTH or not all(0 <= value < 1 << 32 for value in pair):
                raise ValueError(f"Words must be of 32 bits and below {DEPTH}, not {word!r}: "
                                 f"{pair!r}")
        self.words = words
        super().__init__({"port": In(HeaderPortSignature()), "bus": Out(HeaderBusSignature())})

    def elaborate(self, platform):
        m = Module()
        rule  = data.StructLayout({"value": 32, "mask": 32})
        rules = [{"value": value, "mask": mask}
                 for value, mask in (self.words.get(word, (0, 0)) for word in range(DEPTH))]
        m.submodules.rules  = rom = Memory(shape=rule, depth=DEPTH, init=rules)
        m.submodules.stored = ram = Memory(shape=32, depth=DEPTH, init=[])
        known, old, write = rom.read_port(), ram.read_port(), ram.write_port()

        request, response = self.port.request, self.port.response
        now, word, beyond = Signal.like(request.p), Signal(range(DEPTH)), Signal()
        scrub, writes = Signal(init=1), Signal(4)
        strobes = Signal(32)
        m.d.comb += [
            writes.eq(now.be & (now.write & ~beyond).replicate(4)),
            strobes.eq(Cat(bit.replicate(8) for bit in writes)),
            known.en.eq(1),
            known.addr.eq(word),
            old.en.eq(1),
            old.addr.eq(word),
            write.addr.eq(word),
            write.data.eq(self.bus.value),
            self.bus.word.eq(word),
        ]
        m.d.sync += [self.bus.stored.eq(0), self.bus.ones.eq(0), self.bus.bytes.eq(0)]
        m.d.comb += write.en.eq(self.bus.stored)

        with m.FSM(init="FETCH"):
            with m.State("FETCH"):
                m.next = "MERGE"
            with m.State("MERGE"):
                changed = (old.data & ~(strobes & known.data.mask)
                           | now.data & strobes & known.data.mask)
                m.d.sync += [
                    self.bus.value.eq(Mux(scrub, known.data.value, changed)),
                    self.bus.stored.eq(scrub | writes.any()),
                    self.bus.bytes.eq(writes),
                    self.bus.ones.eq(now.data & strobes),
                    response.p.eq((old.data | self.bus.live) & ~beyond.replicate(32)),
                ]
                m.next = "END"
            with m.State("END"):
                with m.If(scrub):
                    m.d.sync += [word.eq(word + 1), scrub.eq(word != DEPTH - 1)]
                    m.next = "FETCH"
                    with m.If(word == DEPTH - 1):
                        m.next = "TAKE"
                with m.Else():
                    m.d.comb += response.valid.eq(1)
                    with m.If(response.ready):
                        m.next = "TAKE"
            with m.State("TAKE"):
                m.d.comb += request.ready.eq(1)
                m.d.sync += [now.eq(request.p), word.eq(request.p.register),
                             beyond.eq(request.p.register >= DEPTH)]
                with m.If(request.valid):
                    m.next = "FETCH"
        return m
