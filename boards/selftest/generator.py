"""Memory requests of devices, as TLPs."""

from amaranth import *
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from iovirt.pcie.layouts import RxTlpSignature
from iovirt.pcie.tlp import Fmt, RequestHeader, Type

from .pattern import KEY_BITS, ROUND_BITS, pattern

__all__ = ["Generator", "header_of"]


def header_of(access, tag):
    """Return the header of a request as an integer of 128 bits."""
    wide = access.address >> 32 != 0
    low, high = access.address & 0xffff_fffc, access.address >> 32
    first, last = access.byte_enables
    fmt = (Fmt.DW4_DATA if wide else Fmt.DW3_DATA) if access.write else Fmt.DW4 if wide else Fmt.DW3
    return RequestHeader.const({
        "dw0": {"fmt": fmt.value, "type": Type.MEMORY.value, "length": access.dwords},
        "rid": access.rid, "tag": tag, "first_be": first, "last_be": last,
        "dw2": high if wide else low, "dw3": low if wide else 0,
    }).as_bits()


class Generator(wiring.Component):
    """Send a list of requests, once for each time that ``run`` rises.

    Tags are positions in the list. The payload of a write is the pattern of its place; bytes that
    are not enabled, and all bytes of a write that will be denied, are inverted, so that a byte
    written in error shows.

    Sends at most one TLP per 4 clocks and one beat per 2 clocks, in registers.

    Parameters
    ----------
    script : sequence of :class:`~boards.selftest.image.Access`
        Requests, at most 256.
    credits : :class:`int`
        Non-posted requests that may be sent before any is given back.

    Members
    -------
    tlp : ``Out(RxTlpSignature(64))``
        To the block.
    np_release : ``In(2)``
        Non-posted credits given back.
    run, round : ``In``
        From the :class:`~boards.selftest.driver.Driver`.
    answered : ``In(9)``
        Number of reads of this round that have been answered.
    """

    def __init__(self, script, *, credits):
        if not 1 <= len(script) <= 256:
            raise ValueError(f"Number of requests must be in 1..256, not {len(script)}")
        self.script  = script
        self.credits = credits
        self.entry = data.StructLayout({
            "header": 128, "key": KEY_BITS, "write": 1, "invert": 1,
            "after": 9,  # reads to wait for
        })
        super().__init__({
            "tlp": Out(RxTlpSignature(64)), "np_release": In(2),
            "run": In(1), "round": In(ROUND_BITS), "answered": In(9),
        })

    def rows(self):
        """Return the entries of the script."""
        rows, reads = [], 0
        for tag, access in enumerate(self.script):
            rows.append({"header": header_of(access, tag), "key": access.key, "write": access.write,
                         "invert": access.expect != "SC", "after": reads * access.settled})
            reads += not access.write
        return rows

    def elaborate(self, platform):
        m = Module()
        m.submodules.rom = rom = memory.Memory(shape=self.entry, depth=len(self.script),
                                               init=self.rows())
        port, tlp = rom.read_port(), self.tlp
        entry, header = port.data, RequestHeader(port.data.header)
        at = Signal(range(len(self.script) + 1))
        key, left = Signal(KEY_BITS), Signal(10)
        credit, taken = Signal(range(self.credits + 4), init=self.credits), Signal()
        m.d.comb += [port.en.eq(1), port.addr.eq(at), tlp.hdr.eq(entry.header)]
        m.d.sync += credit.eq(credit + self.np_release - taken)

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += at.eq(0)
                with m.If(self.run):
                    m.next = "FETCH"
            with m.State("FETCH"):
                m.next = "CHECK"
            with m.State("CHECK"):
                m.d.sync += [key.eq(entry.key), left.eq(header.dw0.length), tlp.first.eq(1)]
                with m.If((self.answered >= entry.after) & (entry.write | (credit != 0))):
                    m.d.comb += taken.eq(~entry.write)
                    m.next = "BEAT"
            with m.State("BEAT"):
                m.d.sync += [
                    tlp.data.eq(self._payload(entry, header, key, left)),
                    tlp.strb.eq(Mux(entry.write, Cat(1, left > 1), 0)),
                    tlp.last.eq(~entry.write | (left <= 2)),
                    tlp.valid.eq(1),
                ]
                m.next = "SEND"
            with m.State("SEND"):
                with m.If(tlp.ready):
                    m.d.sync += [tlp.valid.eq(0), tlp.first.eq(0), key.eq(key + 2),
                                 left.eq(left - 2)]
                    m.next = "BEAT"
                    with m.If(tlp.last):
                        m.d.sync += at.eq(at + 1)
                        m.next = "NEXT"
            with m.State("NEXT"):
                m.next = "FETCH"
                with m.If(at == len(self.script)):
                    m.next = "DONE"
            with m.State("DONE"):
                with m.If(~self.run):
                    m.next = "IDLE"
        return m

    def _payload(self, entry, header, key, left):
        # Bytes of the first and of the last Dword may be disabled, all others are not.
        last = Mux(header.dw0.length == 1, header.first_be, header.last_be)
        lower = Mux(self.tlp.first, header.first_be, Mux(left == 1, last, 0xf))
        upper = Mux(left == 2, last, 0xf)
        enabled = Cat(lower, upper)
        words = Cat(pattern(self.round, key), pattern(self.round, (key + 1)[:KEY_BITS]))
        return words ^ Cat((~bit | entry.invert).replicate(8) for bit in enabled)
