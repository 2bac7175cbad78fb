"""Check completions against what the requests must be answered with."""

from amaranth import *
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from iovirt.pcie.layouts import CompletionStatus, TxTlpSignature
from iovirt.pcie.tlp import CompletionHeader, Fmt, Type

from .image import REPLY
from .pattern import KEY_BITS, ROUND_BITS, pattern

__all__ = ["Checker"]

BOUNDARY_DW = 16  # completions of one request meet at multiples of 64 bytes


class Checker(wiring.Component):
    """Compare completions with the script: header, number, and each byte of the data.

    Completions of a request must come in address order, those of different requests in any. Takes a
    completion in 4 clocks and one more per beat.

    Parameters
    ----------
    script : sequence of :class:`~boards.selftest.image.Access`
        Requests whose tags are their positions.

    Members
    -------
    tlp : ``In(TxTlpSignature(64))``
        From the block.
    run, round : ``In``
        From the :class:`~boards.selftest.driver.Driver`.
    answered : ``Out(9)``
        Number of reads of this round that have been answered in full.
    done : ``Out(1)``
        All have; low while ``run`` is.
    bad_header, bad_data : ``Out(1)``
        A completion nobody waits for or with a wrong header; a wrong byte. They stay until reset.
    """

    def __init__(self, script):
        self.script = script
        self.entry = data.StructLayout({
            "live": 1, "rid": 16, "status": CompletionStatus, "left": 13,
            "skip": 2,  # byte of the first Dword at which it begins
            "key": KEY_BITS,
        })
        super().__init__({
            "tlp": In(TxTlpSignature(64)), "run": In(1), "round": In(ROUND_BITS),
            "answered": Out(9), "done": Out(1), "bad_header": Out(1), "bad_data": Out(1),
        })

    def rows(self):
        """Return what is expected for each tag at the start of a round."""
        return [{"live": not access.write, "rid": access.rid, "status": REPLY[access.expect],
                 "left": access.length, "skip": access.address % 4, "key": access.key}
                for access in self.script]

    def elaborate(self, platform):
        m = Module()
        count, reads = len(self.script), sum(not access.write for access in self.script)
        m.submodules.rom   = rom   = memory.Memory(shape=self.entry, depth=count, init=self.rows())
        m.submodules.state = state = memory.Memory(shape=self.entry, depth=256, init=[])
        fresh, read, write = rom.read_port(), state.read_port(), state.write_port()

        header = CompletionHeader(self.tlp.hdr)
        tag, at = Signal(8), Signal(range(count + 1))
        entry = Signal(self.entry)
        length = Signal(11)              # Dwords of this completion
        until = Signal(14)               # bytes of it that are left, those skipped included
        skip, key = Signal(2), Signal(KEY_BITS)
        ending = Signal()                # nothing may follow it
        m.d.comb += [
            fresh.en.eq(1), fresh.addr.eq(at),
            read.en.eq(1), read.addr.eq(header.tag),
            write.addr.eq(tag),
            self.done.eq(self.run & (self.answered == reads)),
        ]

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [at.eq(0), self.answered.eq(0)]
                with m.If(self.run):
                    m.next = "FETCH"
                with m.Elif(self.tlp.valid):  # a completion between rounds
                    m.d.sync += self.bad_header.eq(1)
            with m.State("FETCH"):
                m.d.sync += tag.eq(at)
                m.next = "ARM"
            with m.State("ARM"):
                m.d.comb += [write.en.eq(1), write.data.eq(fresh.data)]
                m.d.sync += at.eq(at + 1)
                m.next = "FETCH"
                with m.If(at == count - 1):
                    m.next = "WAIT"
            with m.State("WAIT"):
                m.d.sync += tag.eq(header.tag)
                with m.If(self.tlp.valid):
                    m.next = "LOOK"
                with m.Elif(~self.run):
                    m.next = "IDLE"
            with m.State("LOOK"):
                m.d.sync += [
                    entry.eq(read.data),
                    length.eq(Mux(header.dw0.has_data(), Cat(header.dw0.length,
                                                             header.dw0.length == 0), 0)),
                ]
                m.next = "CHECK"
            with m.State("CHECK"):
                self._check_header(m, header, entry, length, tag)
                whole, here = entry.skip + entry.left, length << 2
                m.d.sync += [
                    ending.eq((entry.status != CompletionStatus.SC) | (here >= whole)),
                    until.eq(Mux(here >= whole, whole, here)),
                    skip.eq(entry.skip), key.eq(entry.key),
                ]
                m.next = "TAKE"
            with m.State("TAKE"):
                m.d.comb += self.tlp.ready.eq(1)
                with m.If(self.tlp.valid):
                    m.d.sync += [skip.eq(0), key.eq(key + 2), until.eq(until - 8)]
                    with m.If(self.tlp.last):
                        m.next = "STORE"
            with m.State("STORE"):
                m.d.comb += [
                    write.en.eq(1), write.data.eq(entry),
                    write.data.live.eq(~ending), write.data.skip.eq(0),
                    write.data.left.eq(entry.left + entry.skip - (length << 2)),
                    write.data.key.eq(entry.key + length),
                ]
                m.d.sync += self.answered.eq(self.answered + ending)
                m.next = "WAIT"

        taken = self.tlp.valid & self.tlp.ready & (entry.status == CompletionStatus.SC)
        self._check_data(m, taken, skip, until, key)
        return m

    def _check_header(self, m, header, entry, length, tag):
        """Flag what must not be, from registers only."""
        ok     = entry.status == CompletionStatus.SC
        whole  = entry.skip + entry.left
        excess = (length << 2) - whole   # bytes behind the end, in the last Dword
        stops  = (entry.key[:4] + length)[:4] == 0
        wrong  = [
            ~entry.live,
            tag >= len(self.script),
            header.dw0.type != Type.COMPLETION,
            header.dw0.fmt != Mux(ok, Fmt.DW3_DATA.value, Fmt.DW3.value),
            header.dw0.ep, header.dw0.tag_8, header.dw0.tag_9,
            header.status != entry.status,
            header.rid != entry.rid,
            header.byte_count != entry.left[:12],
            ok & (header.lower_addr != Cat(entry.skip, entry.key[:5])),
            ok & (length == 0),
            ok & ~(((excess >= 0) & (excess < 4)) | ((excess < 0) & stops)),
        ]
        with m.If(Cat(wrong).any()):
            m.d.sync += self.bad_header.eq(1)

    def _check_data(self, m, taken, skip, until, key):
        """Compare a beat with what it must be, in the clock after it."""
        seen, words, wanted = Signal(64), Signal(64), Signal(8)
        strobes = Cat(1, until > 4)
        m.d.sync += [
            seen.eq(self.tlp.data),
            words.eq(Cat(pattern(self.round, key), pattern(self.round, (key + 1)[:KEY_BITS]))),
            wanted.eq(Mux(taken, Cat((byte >= skip) & (byte < until) for byte in range(8)), 0)),
        ]
        different = seen ^ words
        with m.If(Cat(different.word_select(byte, 8).any() & wanted[byte]
                      for byte in range(8)).any()):
            m.d.sync += self.bad_data.eq(1)
        with m.If(taken & ((self.tlp.strb != strobes) | (self.tlp.last != (until <= 8)))):
            m.d.sync += self.bad_header.eq(1)
