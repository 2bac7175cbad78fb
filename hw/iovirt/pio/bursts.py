"""AXI4 address channels: bursts, with what the first look at their addresses tells."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from iovirt.stream import StreamQueue

from .windows import PAGE_LOG2, aperture, ecam_mask, ecam_window, inside, memory_window

__all__ = ["BurstIntake", "address_channel", "burst"]


def address_channel(*, id_width, address_width):
    """What counts of AW or AR."""
    return data.StructLayout({
        "id":    id_width,
        "addr":  address_width,
        "len":   8,
        "size":  3,
        "burst": 2,
    })


def burst(*, id_width, address_width, windows):
    """A burst of a core."""
    return data.StructLayout({
        "id":      id_width,
        "address": address_width,
        "end":     PAGE_LOG2,      # offset in its page of the last byte
        "len":     8,              # beats - 1
        "size":    3,
        "legal":   1,              # else it is answered, with errors, and does nothing
        "ecam":    1,              # windows that it hits
        "hits":    windows,
        "blocked": windows,        # windows that are blocked
        "doorbell": 1,
    })


class BurstIntake(wiring.Component):
    """Take the bursts of one AXI4 address channel and compare them with all windows.

    INCR bursts within a page are legal, and FIXED ones of one beat, which are the same. Locks are
    ignored: an exclusive access is answered like any other, without EXOKAY (IHI 0022, A7.2).

    Whether a burst has device memory behind it is decided here, once for all its pieces, so a
    change of registers never changes how many answers it gets. Where a window leads is looked up
    for each piece: to change an enabled window to another place, disable or block it first, and
    wait until the accesses of before are answered.

    Latency is 1 clock and throughput 1 burst per clock; no combinational path runs between ``i``
    and ``o``.

    Parameters
    ----------
    data_width, address_width, id_width : :class:`int`
        Of the AXI4 port.
    windows : :class:`int`
        Number of windows onto device memory.

    Members
    -------
    i : ``In(stream.Signature(address_channel(...)))``
        The channel.
    ecam : ``In(ecam_window(...))``
    windows : ``In(memory_window(...)).array(windows)``
    doorbells : ``In(aperture(...))``
        From registers.
    o : ``Out(stream.Signature(burst(...)))``
    """

    def __init__(self, *, data_width, address_width, id_width, windows):
        self.data_width    = data_width
        self.address_width = address_width
        self.id_width      = id_width
        self.number        = windows
        channel = address_channel(id_width=id_width, address_width=address_width)
        self.shape = burst(id_width=id_width, address_width=address_width, windows=windows)
        super().__init__({
            "i":         In(stream.Signature(channel)),
            "ecam":      In(ecam_window(address_width=address_width)),
            "windows":   In(memory_window(address_width=address_width)).array(windows),
            "doorbells": In(aperture(address_width=address_width)),
            "o":         Out(stream.Signature(self.shape)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.queue = queue = StreamQueue(self.shape, depth=2)
        wiring.connect(m, queue.o, wiring.flipped(self.o))
        i, o = self.i.payload, queue.i.payload
        m.d.comb += [queue.i.valid.eq(self.i.valid), self.i.ready.eq(queue.i.ready)]

        # The last byte: beats after the first are aligned to the size.
        most = exact_log2(self.data_width // 8)
        within, end = Signal(PAGE_LOG2), Signal(PAGE_LOG2 + 5)
        m.d.comb += [
            within.eq((1 << i.size) - 1),
            end.eq(((i.addr[:PAGE_LOG2] & ~within) + (i.len << i.size)) | within),
            o.id.eq(i.id),
            o.address.eq(i.addr),
            o.end.eq(end),
            o.len.eq(i.len),
            o.size.eq(i.size),
            o.legal.eq(((i.burst == 1) | ((i.burst == 0) & (i.len == 0)))
                       & (end[PAGE_LOG2:] == 0) & (i.size <= most)),
        ]

        legal, mask = ecam_mask(m, self.ecam.size_log2)
        doorbells = self.doorbells
        m.d.comb += [
            o.ecam.eq(self.ecam.enable & legal & inside(i.addr, self.ecam.base, mask)),
            o.blocked.eq(Cat(window.blocked for window in self.windows)),
            o.doorbell.eq(doorbells.enable & inside(i.addr, doorbells.base, doorbells.mask)),
            *(o.hits[n].eq(window.enable & inside(i.addr, window.base, window.mask))
              for n, window in enumerate(self.windows)),
        ]
        return m
