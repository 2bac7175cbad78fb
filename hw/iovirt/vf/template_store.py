"""The templates, and their copies where they are looked at."""

from amaranth import *
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from ..csr.port import RegisterPortSignature
from .layouts import TemplateWord
from .parity_memory import ParityMemory

__all__ = ["TEMPLATES", "TemplateStore"]

#: Number of templates; 8 words of 64 bits for the template, and 8 for its opcode map.
TEMPLATES = 8


class TemplateStore(wiring.Component):
    """Hold the templates, and give each reader its part of any of them in each clock.

    Software's copy is in a memory with parity. All readers but that of opcode maps have their bits
    in small memories, which are refreshed from it, word after word, and always again. A word with a
    wrong parity is not used: its template counts as invalid until software writes it again, and
    readers that have begun with it have what was there before.

    A write takes effect within 1500 clocks, word by word: a template should be invalid, or not be
    used, while it is written.

    Parameters
    ----------
    parts : :class:`dict`
        Bits of the template word that each reader wants, by its name.
    data_width, address_width : :class:`int`
        As of :class:`RegisterPortSignature`.

    Members
    -------
    port : ``In(RegisterPortSignature(...))``
        128 bytes for each template: its word, then its opcode map.
    <name>_en : ``In(1)``, <name>_place : ``In(3)``
        Read a template.
    <name> : ``Out(TemplateWord)``
        The template that was read last, from the next clock on; 0 in all bits that are not in its
        part.
    map_en : ``In(1)``, map_place : ``In(3)``, opcode : ``In(8)``
        Look up an opcode.
    opcode_class : ``Out(2)``, map_good : ``Out(1)``
        Its class, 1 clock later, and whether the parity is right.
    usable : ``Out(8)``
        Templates whose words have the right parity; 0 until they were read after reset.
    wait : ``Out(1)``
        Somebody waits for a clock in which ``map_en`` is 0. This is the case in one of 16 clocks.
    """

    def __init__(self, parts, *, data_width, address_width):
        self._parts = dict(parts)
        self._words = ParityMemory(words=16 * TEMPLATES, data_width=data_width,
                                   address_width=address_width)
        ports = {}
        for name in self._parts:
            ports |= {f"{name}_en": In(1), f"{name}_place": In(3), name: Out(TemplateWord)}
        super().__init__({
            "port": In(RegisterPortSignature(data_width=data_width, address_width=address_width)),
            **ports,
            "map_en":       In(1),
            "map_place":    In(3),
            "opcode":       In(8),
            "opcode_class": Out(2),
            "map_good":     Out(1),
            "usable":       Out(TEMPLATES),
            "wait":         Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.words = words = self._words
        wiring.connect(m, words.port, wiring.flipped(self.port))

        # Opcode maps are read in place.
        opcode = Signal(5)
        m.d.sync += opcode.eq(self.opcode)
        m.d.comb += [
            self.opcode_class.eq(words.data.word_select(opcode, 2)),
            self.map_good.eq(words.good.bit_select(opcode[2:], 1)),
        ]

        # Refresh: {template, word}.
        scan, scanned, fresh, good = Signal(6), Signal(6), Signal(), Signal()
        late, step = Signal(4), Signal()
        m.d.comb += [
            step.eq(~self.map_en & ~words.wait),
            self.wait.eq(words.wait | late.all()),
            words.en.eq(self.map_en | ~words.wait),
            words.address.eq(Mux(self.map_en, Cat(self.opcode[5:], C(1, 1), self.map_place),
                                 Cat(scan[:3], C(0, 1), scan[3:]))),
        ]
        m.d.sync += [scanned.eq(scan), fresh.eq(step), late.eq(late + ~late.all())]
        with m.If(step):
            m.d.sync += [scan.eq(scan + 1), late.eq(0)]
        whole = Signal()
        m.d.comb += whole.eq(words.good.all())
        with m.If(fresh):
            m.d.sync += good.eq(whole & (good | (scanned[:3] == 0)))
            with m.If(~whole):
                m.d.sync += self.usable.bit_select(scanned[3:], 1).eq(0)
            with m.Elif(scanned[:3].all()):
                m.d.sync += self.usable.bit_select(scanned[3:], 1).eq(good)

        for name, bits in self._parts.items():
            self._part(m, name, bits, fresh & whole, scanned, words.data)
        return m

    def _part(self, m, name, bits, fresh, scanned, word):
        value = []
        for number in range(8):
            wanted = [n for n in range(64) if bits >> (64 * number + n) & 1]
            lane   = dict.fromkeys(range(64), C(0, 1))
            if wanted:
                m.submodules[f"{name}_{number}"] = copy = memory.Memory(
                    shape=len(wanted), depth=TEMPLATES, init=[],
                    attrs={"ram_style": "distributed", "no_rw_check": 1})
                write, read = copy.write_port(), copy.read_port()
                m.d.comb += [
                    write.en.eq(fresh & (scanned[:3] == number)),
                    write.addr.eq(scanned[3:]),
                    write.data.eq(Cat(word[n] for n in wanted)),
                    read.en.eq(getattr(self, f"{name}_en")),
                    read.addr.eq(getattr(self, f"{name}_place")),
                ]
                lane |= {n: read.data[at] for at, n in enumerate(wanted)}
            value += lane.values()
        m.d.comb += Value.cast(getattr(self, name)).eq(Cat(value))
