"""The registers that show the remap table."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from iovirt.csr.port import RegisterPortSignature

from .layouts import MESSAGES, IrtEntry
from .operations import Operation, OperationKind
from .remap_table import entry_write
from .source_memory import check_entries, source_width

__all__ = ["TableWindow"]

#: log2 of the size of an entry in bytes.
_ENTRY = 5


class TableWindow(wiring.Component):
    """Let software read and write the entries of the remap table and of the message table.

    Entry n is at 32 n of the window; message kind k is at 32 (``entries`` + k). Writes are staged;
    the write of the last byte of an entry replaces the entry, all at once. Words that have not been
    written since then, or since the first write to this entry, are 0: so the last word alone makes
    the entry invalid. A write that leaves the entry invalid also drops what is pending for it.

    The response to the last word comes when no event made from the old entry is without its
    verdict, and no interrupt forwarded by it without its response: what comes from now on is made
    from the new one. This takes as long as the event queues take for their verdicts, and memory for
    the writes of interrupts forwarded before, of whatever entry. Reads show what is in the table,
    never what is staged, and answer an error if the entry has errors that cannot be corrected.
    Accesses beyond the tables answer one.

    Parameters
    ----------
    entries : :class:`int`
        Entries of the remap table.
    data_width, address_width : :class:`int`
        As of :class:`RegisterPortSignature`.

    Members
    -------
    port : ``In(RegisterPortSignature(...))``
        Accesses. The window is aligned to the next power of two of its size; address bits above
        that are not looked at.
    write : ``Out(stream.Signature(entry_write(entries)))``
        To the table.
    access : ``Out(stream.Signature(Operation))``
        Operations READ and COMMIT.
    done : ``In(1)``
        The operation has ended, with:
    entry : ``In(IrtEntry)``, ``fatal`` : ``In(1)``
        What has been read.
    old : ``In(1)``
        Something made from the old entry is under way; from 2 clocks after ``done``.
    """

    def __init__(self, *, entries, data_width, address_width):
        check_entries(entries)
        port = RegisterPortSignature(data_width=data_width, address_width=address_width)
        self.entries    = entries
        self.data_width = data_width
        if 1 << address_width < (2 * entries << _ENTRY):
            raise ValueError(f"Address width must cover {2 * entries << _ENTRY} bytes, because "
                             f"there are {entries} entries, not be {address_width!r}")
        super().__init__({
            "port":   In(port),
            "write":  Out(stream.Signature(entry_write(entries))),
            "access": Out(stream.Signature(Operation)),
            "done":   In(1),
            "entry":  In(IrtEntry),
            "fatal":  In(1),
            "old":    In(1),
        })

    def elaborate(self, platform):
        m = Module()
        request, response = self.port.request, self.port.response
        lane  = (self.data_width // 8).bit_length() - 1
        words = 256 // self.data_width

        access = Signal.like(request.p)
        word, last, missing = Signal(range(words)), Signal(), Signal()
        source = Signal(source_width(self.entries))
        m.d.comb += [
            word.eq(access.address[lane:_ENTRY]),
            last.eq((word == words - 1) & access.strobe[-1]),
            source.eq(access.address[_ENTRY:]),
            missing.eq(source >= self.entries + MESSAGES),
        ]

        # What is staged is for one entry.
        staged, staged_source = Signal(256), Signal.like(source)
        bytes_written = Cat(bit.replicate(8) for bit in access.strobe)
        pause = Signal(2)
        with m.FSM() as fsm:
            with m.State("IDLE"):
                m.d.comb += request.ready.eq(1)
                m.d.sync += access.eq(request.p)
                with m.If(request.valid):
                    m.next = "CHOOSE"
            with m.State("CHOOSE"):
                m.d.sync += [response.p.error.eq(missing), response.p.data.eq(0)]
                with m.If(missing):
                    m.next = "RESPOND"
                with m.Elif(access.write):
                    with m.If(source != staged_source):
                        m.d.sync += staged.eq(0)
                    m.d.sync += staged_source.eq(source)
                    m.next = "STAGE"
                with m.Else():
                    m.next = "ACCESS"
            with m.State("STAGE"):
                part = staged.word_select(word, self.data_width)
                m.d.sync += part.eq((part & ~bytes_written) | (access.data & bytes_written))
                with m.If(last):
                    m.next = "WRITE"
                with m.Else():
                    m.next = "RESPOND"
            with m.State("WRITE"):
                with m.If(self.write.ready):
                    m.d.sync += staged.eq(0)
                    m.next = "ACCESS"
            with m.State("ACCESS"):
                with m.If(self.access.ready):
                    m.next = "WAIT"
            with m.State("WAIT"):
                m.d.sync += pause.eq(3)
                with m.If(self.done & access.write):
                    m.next = "OLD"
                with m.Elif(self.done):
                    found = self.entry.as_value().word_select(word, self.data_width)
                    m.d.sync += [response.p.error.eq(self.fatal),
                                 response.p.data.eq(Mux(self.fatal, 0, found))]
                    m.next = "RESPOND"
            with m.State("OLD"):
                with m.If(pause != 0):
                    m.d.sync += pause.eq(pause - 1)
                with m.Elif(~self.old):
                    m.next = "RESPOND"
            with m.State("RESPOND"):
                with m.If(response.ready):
                    m.next = "IDLE"
            m.d.comb += [
                self.write.valid.eq(fsm.ongoing("WRITE")),
                self.access.valid.eq(fsm.ongoing("ACCESS")),
                response.valid.eq(fsm.ongoing("RESPOND")),
            ]

        m.d.comb += [
            self.write.p.source.eq(source),
            self.write.p.entry.eq(staged),
            self.access.p.kind.eq(Mux(access.write, OperationKind.COMMIT, OperationKind.READ)),
            self.access.p.index.eq(source),
        ]
        return m
