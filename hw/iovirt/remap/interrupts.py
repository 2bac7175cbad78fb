"""Interrupts of the engine itself, on wires (RISC-V IOMMU 1.0, ipsr and icvec)."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

__all__ = ["Interrupts"]


class Interrupts(wiring.Component):
    """Keep ipsr, and drive the wire that icvec names while a bit of it is set.

    cip is set while cie and any of cqmf, cmd_to, cmd_ill, fence_w_ip are; fip while fie and fqmf
    or fqof are, and by a new record. Both stay set until software clears them, and are set
    again on the next clock if the condition still holds. Setting wins over clearing. pmip and pip
    do not exist (no performance monitor, no page requests) and read 0.

    capabilities.IGS is 1: only wires exist, and fctl.WSI is a constant 1. Several bits may share
    a wire. Latency is 1 clock from cause to ipsr, and 1 from ipsr to wire.

    Parameters
    ----------
    vectors : :class:`int`
        Number of wires: 1, 2, 4, 8 or 16. Of each field of icvec the low ``vector_bits`` bits are
        writable, the others read 0.

    Members
    -------
    cie, cqmf, cmd_to, cmd_ill, fence_w_ip : ``In(1)``
        Bits of cqcsr.
    fie, fqmf, fqof : ``In(1)``
        Bits of fqcsr.
    new_record : ``In(1)``
        Pulse: a fault record was written.
    civ, fiv : ``In(4)``
        Fields of icvec.
    clear : ``In(4)``
        Bits of ipsr to clear: what software writes, in the clock of the write, else 0.
    ipsr : ``Out(4)``
        {pip, pmip, fip, cip}.
    wsi : ``Out(vectors)``
        Interrupt wires, level, active high.
    """

    def __init__(self, *, vectors=4):
        if vectors not in (1, 2, 4, 8, 16):
            raise ValueError(f"Number of vectors must be 1, 2, 4, 8 or 16, not {vectors!r}")
        self.vectors = vectors
        super().__init__({
            "cie":        In(1),
            "cqmf":       In(1),
            "cmd_to":     In(1),
            "cmd_ill":    In(1),
            "fence_w_ip": In(1),
            "fie":        In(1),
            "fqmf":       In(1),
            "fqof":       In(1),
            "new_record": In(1),
            "civ":        In(4),
            "fiv":        In(4),
            "clear":      In(4),
            "ipsr":       Out(4),
            "wsi":        Out(vectors),
        })

    @property
    def vector_bits(self):
        """Writable bits of each field of icvec."""
        return exact_log2(self.vectors)

    def elaborate(self, platform):
        m = Module()
        command = self.cqmf | self.cmd_to | self.cmd_ill | self.fence_w_ip
        fault   = self.fqmf | self.fqof | self.new_record
        raised  = Cat(self.cie & command, self.fie & fault)
        m.d.sync += self.ipsr.eq((self.ipsr & ~self.clear) | raised)

        for vector in range(self.vectors):
            m.d.sync += self.wsi[vector].eq(
                self.ipsr[0] & (self.civ[:self.vector_bits] == vector) |
                self.ipsr[1] & (self.fiv[:self.vector_bits] == vector))
        return m
