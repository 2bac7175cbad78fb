"""Recognition of interrupts among the writes of devices."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from iovirt.pcie.layouts import DmaHeader

__all__ = ["MsiWindow"]

#: A window is 64 KiB.
_OFFSET = 16


class MsiWindow(wiring.Component):
    """Tell the memory requests that touch an interrupt window, and which of them are interrupts.

    There are two windows of 64 KiB, one for devices with 32-bit MSI addresses. A request is
    ``inside`` if any of its Dwords is in a window that is enabled, whatever it does there; it is an
    ``msi`` if it is also a write of one aligned Dword with all bytes enabled, untranslated, without
    PASID and not poisoned. What is inside and no interrupt must be denied. RO and IDO do not count.

    Combinational, about 5 levels of logic. Nothing is inside after reset, if the enables are clear.

    Parameters
    ----------
    None.

    Members
    -------
    header : ``In(DmaHeader)``
        Of the request.
    write : ``In(1)``
        It is a write.
    inside, msi : ``Out(1)``
        See above.
    offset : ``Out(16)``
        Of the first Dword in its window.
    enable_32, enable_64 : ``In(1)``
        Window is on.
    base_32 : ``In(16)``, base_64 : ``In(48)``
        Address bits 16 and up of the windows. Change them only while the window is off.
    """

    header:    In(DmaHeader)
    write:     In(1)
    inside:    Out(1)
    msi:       Out(1)
    offset:    Out(_OFFSET)
    enable_32: In(1)
    base_32:   In(16)
    enable_64: In(1)
    base_64:   In(64 - _OFFSET)

    def elaborate(self, platform):
        m = Module()
        header = self.header

        # A request of up to 4 KiB can reach into a window from the 64 KiB before it.
        region, crosses = header.address[_OFFSET:], Signal()
        last = header.address[2:_OFFSET] + header.length_dw - 1
        m.d.comb += crosses.eq(last[_OFFSET - 2:_OFFSET - 1].any())
        hits = []
        for enable, base in (self.enable_32, self.base_32), (self.enable_64, self.base_64):
            base = Cat(base, C(0, 64 - _OFFSET - len(base)))
            before = Signal(64 - _OFFSET)
            m.d.sync += before.eq(base - 1)
            hits.append(enable & ((region == base) | (crosses & (region == before))))

        m.d.comb += [
            self.inside.eq(Cat(hits).any()),
            self.msi.eq(self.inside & self.write & (header.length_dw == 1)
                        & header.first_be.all() & (header.at == 0) & ~header.pv & ~header.ep),
            self.offset.eq(header.address[:_OFFSET]),
        ]
        return m
