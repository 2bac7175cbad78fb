"""The interrupt remap table."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from iovirt.ram import Secded

from .layouts import MESSAGES, IrtEntry
from .operations import Operation, looked_up
from .source_memory import SourceMemory, check_entries, source_width

__all__ = ["RemapTable", "entry_write"]

#: Clocks from an operation to its entry.
LATENCY = 4


def _stored(entry):
    """Return the fields of ``entry`` that are kept in memory."""
    return [Value.cast(entry[name]) for name, _ in IrtEntry.as_shape()
            if not name.startswith("reserved") and name != "pending"]


def entry_write(entries):
    """New content of an entry."""
    return data.StructLayout({"source": source_width(entries), "entry": IrtEntry})


class RemapTable(wiring.Component):
    """Keep the entries of the interrupt remap table and of the message table, with SECDED.

    Each half of an entry is a code word of its own. A wrong bit is corrected on the way out, and
    the corrected entry is written back; two wrong bits of a half make the entry ``fatal``.

    An operation may come in each clock; its entry is there 4 clocks later. A write waits until the
    operations before it have left, and keeps others out meanwhile, so that an entry never changes
    under an operation: it costs up to 6 clocks, a correction 1. All entries are made invalid after
    reset, one in each clock; operations are accepted then.

    Parameters
    ----------
    entries : :class:`int`
        Entries of the remap table, a power of two in 16..8192.

    Members
    -------
    i : ``In(stream.Signature(Operation))``
        Operations; ``index`` beyond the tables reads anything. ``ready`` depends on registers and
        ``write.valid``.
    o_valid : ``Out(1)``, ``o`` : ``Out(looked_up())``
        The operation of 4 clocks ago. Reserved fields and ``pending`` of the entry are 0.
    write : ``In(stream.Signature(entry_write(entries)))``
        Replace an entry, all at once.
    corrected, uncorrectable : ``Out(1)``
        Pulses, one for each operation that met an error.
    """

    def __init__(self, *, entries):
        check_entries(entries)
        self.entries = entries
        super().__init__({
            "i":             In(stream.Signature(Operation)),
            "o_valid":       Out(1),
            "o":             Out(looked_up()),
            "write":         In(stream.Signature(entry_write(entries))),
            "corrected":     Out(1),
            "uncorrectable": Out(1),
        })
        width = sum(len(field) for field in _stored(Signal(IrtEntry)))
        self._halves = [Secded(width=width // 2), Secded(width=width - width // 2)]
        self.memory  = SourceMemory(sum(half.code_width for half in self._halves), entries=entries)

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = self.memory

        # Operations move on in each clock.
        running = Signal(LATENCY)
        stages  = [Signal(Operation, name=f"operation_{n}") for n in range(LATENCY)]
        m.d.comb += [
            memory.read_source.eq(self.i.p.index),
            self.o_valid.eq(running[-1]),
            self.o.operation.eq(stages[-1]),
        ]
        m.d.sync += running.eq(Cat(self.i.valid & self.i.ready, running))
        for stage, before in zip(stages, [self.i.p, *stages], strict=False):
            m.d.sync += stage.eq(before)

        fixed, single, fatal = self._correct(m)
        m.d.sync += [
            Cat(_stored(self.o.entry)).eq(fixed),
            self.o.fatal.eq(fatal),
            self.corrected.eq(single & running[2]),
            self.uncorrectable.eq(fatal & running[2]),
        ]
        self._store(m, calm=~running.any(), repair=running[2] & single, index=stages[2].index,
                    fixed=fixed)
        return m

    def _correct(self, m):
        """Take the word from the memory; find what is wrong; correct it. 1 clock each."""
        word, late = Signal.like(self.memory.read_data), Signal.like(self.memory.read_data)
        m.d.sync += [word.eq(self.memory.read_data), late.eq(word)]
        fixed, single, fatal, low = [], [], [], 0
        for half in self._halves:
            syndrome, high = Signal(half.checks + 1), low + half.code_width
            m.d.sync += syndrome.eq(half.syndrome(word[low:high]))
            fixed.append(half.correct(late[low:high], syndrome))
            single.append(half.is_single(syndrome))
            fatal.append(half.is_fatal(syndrome))
            low = high
        return Cat(fixed), Cat(single).any() & ~Cat(fatal).any(), Cat(fatal).any()

    def _store(self, m, *, calm, repair, index, fixed):
        """Write new entries, corrected ones, and invalid ones after reset."""
        memory = self.memory
        writing, source, content = Signal(), Signal.like(memory.write_source), Signal.like(fixed)
        scrubbed, scrub = Signal(), Signal.like(source)
        m.d.comb += [
            self.write.ready.eq(scrubbed & calm & ~writing),
            # Nothing is read in the clock of a write, and nothing between the two of a new entry.
            self.i.ready.eq(scrubbed & ~writing & ~self.write.valid),
        ]

        # What is written is kept for a clock, in which it is encoded. A correction that finds
        # another one under way is left for the next time.
        m.d.sync += writing.eq(0)
        with m.If(self.write.valid & self.write.ready):
            m.d.sync += [
                writing.eq(1),
                source.eq(self.write.p.source),
                content.eq(Cat(_stored(self.write.p.entry))),
            ]
        with m.Elif(repair):
            m.d.sync += [writing.eq(1), source.eq(index), content.eq(fixed)]

        low, high = self._halves
        code = Cat(low.encode(content[:low.width]), high.encode(content[low.width:]))
        m.d.comb += [
            memory.write_enable.eq(writing | ~scrubbed),
            memory.write_source.eq(Mux(scrubbed, source, scrub)),
            memory.write_data.eq(Mux(scrubbed, code, 0)),
        ]
        with m.If(~scrubbed):
            m.d.sync += [
                scrub.eq(scrub + 1),
                scrubbed.eq(scrub == self.entries + MESSAGES - 1),
            ]
