"""Recognition of interrupts among the memory requests of devices."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["MsiWindow", "window_inputs"]

#: A window is 64 KiB.
_OFFSET = 16


def window_inputs():
    """Ports for the places of the windows, with the prefix that they have outside."""
    return {"msi_enable_32": In(1), "msi_base_32": In(16),
            "msi_enable_64": In(1), "msi_base_64": In(64 - _OFFSET)}


class MsiWindow(wiring.Component):
    """Tell the memory requests that touch an interrupt window, and which of them are interrupts.

    There are two windows of 64 KiB, one for devices with 32-bit MSI addresses. A request is
    ``inside`` if any of its Dwords is in a window that is enabled, whatever it does there; it is an
    ``msi`` if it is also a write of one aligned Dword with all bytes enabled, untranslated and
    without PASID. What is inside and no interrupt must be denied. RO and IDO do not count, nor does
    poison, since a poisoned write is dropped whatever it is.

    Combinational, about 5 levels of logic. Nothing is inside after reset, if the enables are clear.

    Parameters
    ----------
    None.

    Members
    -------
    address : ``In(64)``
        Of the first Dword.
    len_m1 : ``In(10)``
        Length in Dwords, minus 1.
    first_be : ``In(4)``
        Byte enables of the first Dword.
    at : ``In(2)``
        0 if the address is untranslated.
    pv : ``In(1)``
        A PASID prefix came with it.
    write : ``In(1)``
        It is a write.
    inside, msi : ``Out(1)``
        See above.
    enable_32, enable_64 : ``In(1)``
        Window is on.
    base_32 : ``In(16)``, base_64 : ``In(48)``
        Address bits 16 and up of the windows. Change them only while the window is off.
    """

    address:   In(64)
    len_m1:    In(10)
    first_be:  In(4)
    at:        In(2)
    pv:        In(1)
    write:     In(1)
    inside:    Out(1)
    msi:       Out(1)
    enable_32: In(1)
    base_32:   In(16)
    enable_64: In(1)
    base_64:   In(64 - _OFFSET)

    def elaborate(self, platform):
        m = Module()

        # A request of up to 4 KiB can reach into a window from the 64 KiB before it.
        region, crosses = self.address[_OFFSET:], Signal()
        last = self.address[2:_OFFSET] + self.len_m1
        m.d.comb += crosses.eq(last[_OFFSET - 2])
        hits = []
        for enable, base in (self.enable_32, self.base_32), (self.enable_64, self.base_64):
            base = Cat(base, C(0, 64 - _OFFSET - len(base)))
            before = Signal(64 - _OFFSET)
            m.d.sync += before.eq(base - 1)
            hits.append(enable & ((region == base) | (crosses & (region == before))))

        m.d.comb += [
            self.inside.eq(Cat(hits).any()),
            self.msi.eq(self.inside & self.write & (self.len_m1 == 0) & self.first_be.all()
                        & (self.at == 0) & ~self.pv),
        ]
        return m
