"""What the address of an access to the pages of guests means."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from .guest_layouts import check_guests
from .page_layouts import REGION_LOG2, PageCall, PageSettings
from .share_layouts import PageAccess

__all__ = ["PageDecoder"]


class PageDecoder(wiring.Component):
    """Find the guest, and the doorbell, of each access.

    Region n of the aperture belongs to guest n. From ``doorbell_base`` on it has the doorbells:

    ================ ======================================= ================================
    ``single``       doorbell of queue q                     of its completion head
    ================ ======================================= ================================
    0 (NVM Express)  ``base + (8 << stride) * q``, q >= 1    ``4 << stride`` bytes further
    1                ``base + (4 << stride) * q``, q >= 0    none
    ================ ======================================= ================================

    Latency is 3 clocks and throughput is 1 access per clock.

    Parameters
    ----------
    guests : :class:`int`
        A power of two in 4..256.
    headers : :class:`bool`
        The last page of a region is a configuration header.

    Members
    -------
    settings : ``In(PageSettings)``
        From registers. They count 1 clock later.
    i : ``In(stream.Signature(PageAccess))``
    o : ``Out(stream.Signature(PageCall))``
    """

    def __init__(self, *, guests, headers):
        check_guests(guests)
        if not isinstance(headers, bool):
            raise TypeError(f"Headers must be True or False, not {headers!r}")
        self.guests  = guests
        self.headers = headers
        super().__init__({
            "settings": In(PageSettings),
            "i":        In(stream.Signature(PageAccess)),
            "o":        Out(stream.Signature(PageCall)),
        })

    def elaborate(self, platform):
        m = Module()
        # Registers that hold still, and what follows from them.
        settings, region, within = Signal(PageSettings), Signal(REGION_LOG2), Signal(16)
        legal = Signal()
        log2 = self.settings.region_log2
        m.d.sync += [
            settings.eq(self.settings),
            region.eq((8192 << (log2 - 1)[:3]) - 1),
            legal.eq((log2 != 0) & (log2 <= REGION_LOG2 - 12)),
            within.eq((1 << self.settings.stride_log2) - 1),
        ]

        # Three registers, each left when the one after it is free.
        last = data.StructLayout({"call": PageCall, "offset": REGION_LOG2})
        found, placed, done = (Signal(last, name=name) for name in ("found", "placed", "done"))
        valids  = [Signal(name=f"valid_{n}") for n in range(3)]
        advance = [Signal(name=f"advance_{n}") for n in range(3)]
        for n in range(3):
            below = advance[n + 1] if n < 2 else self.o.ready
            m.d.comb += advance[n].eq(~valids[n] | below)
            with m.If(advance[n]):
                m.d.sync += valids[n].eq(valids[n - 1] if n else self.i.valid)
        with m.If(advance[0]):
            self._find(m, settings, region, legal, found)
        with m.If(advance[1]):
            self._place(m, settings, found, placed)
        with m.If(advance[2]):
            self._count(m, settings, within, placed, done)
        m.d.comb += [
            self.i.ready.eq(advance[0]),
            self.o.valid.eq(valids[2]),
            self.o.payload.eq(done.call),
        ]
        return m

    def _find(self, m, settings, region, legal, found):
        access, call = self.i.payload, found.call
        number = access.address[13:] >> (settings.region_log2 - 1)[:3]
        m.d.sync += [
            *(call[name].eq(access[name])
              for name in ("write", "be", "data", "legal", "core", "owner", "address")),
            found.offset.eq(access.address & region),
            call.guest.eq(number),
            call.nobody.eq(~legal | number[exact_log2(self.guests):].any()),
            call.header.eq(self.headers & (access.address | ~region)[12:REGION_LOG2].all()),
        ]

    def _place(self, m, settings, found, placed):
        # From here on the offset counts from the doorbells.
        words = Signal(REGION_LOG2 - 1)
        m.d.comb += words.eq(found.offset[2:] - settings.doorbell_base[2:])
        m.d.sync += [
            placed.call.eq(found.call),
            placed.offset.eq(words),
            placed.call.door.eq(~words[-1] & ~found.call.header),
        ]

    def _count(self, m, settings, within, placed, done):
        words = placed.offset[:REGION_LOG2 - 2]
        number, queue = Signal(len(words)), Signal(len(words))
        m.d.comb += [
            number.eq(words >> settings.stride_log2),
            queue.eq(Mux(settings.single, number, number >> 1)),
        ]
        m.d.sync += [
            done.call.eq(placed.call),
            done.call.side.eq(number[0] & ~settings.single),
            done.call.queue.eq(queue),
            # A guest has at most 255 queues.
            done.call.door.eq(placed.call.door & ~(words & within).any() & ~queue[8:].any()
                              & (settings.single | queue.any())),
        ]
