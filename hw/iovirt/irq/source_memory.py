"""Memory with an entry for each source of interrupts."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .layouts import MESSAGES

__all__ = ["SourceMemory", "check_entries", "source_width"]


def check_entries(entries):
    """Raise ValueError unless ``entries`` is a size that a remap table can have."""
    if not isinstance(entries, int) or entries & (entries - 1) or not 16 <= entries <= 8192:
        raise ValueError(f"Number of entries must be a power of two in 16..8192, not {entries!r}")


def source_width(entries):
    """Width of a source: an entry of the remap table, or ``entries`` plus a message kind."""
    return entries.bit_length()


class SourceMemory(wiring.Component):
    """Hold a word for each entry of the remap table and for each of the message table behind it.

    A block memory of ``entries`` words, and one of 16 beside it, because a memory of a few words
    more than a power of two would take twice the blocks. One read port, one write port; what is
    read in the clock in which it is written is undefined.

    A read takes 1 clock; one read and one write per clock. Contents survive a reset.

    Parameters
    ----------
    shape : :class:`ShapeLike`
        Shape of a word.
    entries : :class:`int`
        Entries of the remap table, a power of two in 16..8192.

    Members
    -------
    read_source : ``In(source_width(entries))``
        Source to read.
    read_data : ``Out(shape)``
        Its word, 1 clock later; undefined beyond the message table.
    write_enable : ``In(1)``, ``write_source`` : ``In(...)``, ``write_data`` : ``In(shape)``
        Write.
    """

    def __init__(self, shape, *, entries):
        check_entries(entries)
        self.shape   = shape
        self.entries = entries
        super().__init__({
            "read_source":  In(source_width(entries)),
            "read_data":    Out(shape),
            "write_enable": In(1),
            "write_source": In(source_width(entries)),
            "write_data":   In(shape),
        })
        width = Shape.cast(shape).width
        self.words    = Memory(shape=width, depth=entries, init=[], attrs={"no_rw_check": 1})
        self.messages = Memory(shape=width, depth=MESSAGES, init=[],
                               attrs={"no_rw_check": 1, "ram_style": "distributed"})

    def elaborate(self, platform):
        m = Module()
        m.submodules.words    = self.words
        m.submodules.messages = self.messages
        message, data = Signal(), []
        for memory, chosen in (self.words, ~self.write_source[-1]), \
                              (self.messages, self.write_source[-1]):
            write, read = memory.write_port(), memory.read_port()
            m.d.comb += [
                read.addr.eq(self.read_source),
                write.addr.eq(self.write_source),
                write.en.eq(self.write_enable & chosen),
                write.data.eq(self.write_data),
            ]
            data.append(read.data)
        m.d.sync += message.eq(self.read_source[-1])
        m.d.comb += Value.cast(self.read_data).eq(Mux(message, data[1], data[0]))
        return m
