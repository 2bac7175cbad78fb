"""Virtual configuration headers of guests."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from iovirt.csr.port import RegisterPortSignature

from .guest_layouts import check_guests
from .notices import event_signature
from .page_layouts import PageCall, PageEnd, page_end
from .share_layouts import COLOUR_WIDTH

__all__ = ["WRITTEN", "GuestHeaders"]

#: Dwords of a header that there is a template for, and that each guest can have written.
DWORDS, SLOTS = 64, 8
#: Where the window shows what guests have written.
WRITTEN = 0x4000


class GuestHeaders(wiring.Component):
    """Serve a configuration header to each guest, made of one template.

    Dword n of the header is ``value`` of entry n of the template. If the entry has ``kept`` set,
    what a guest writes is kept in its ``slot``, and bits of ``mask`` read as written; so a base
    address register of 2**k bytes whose mask has bits 31:k set tells its size as PCI demands. Bytes
    are written alone. If it has ``notify`` set, a write is an event for the manager. Beyond byte
    255 everything reads 0, and is not written.

    An access takes 6 clocks, one at a time; they take turns with the window. ``clear`` comes first
    and takes 4 clocks. After reset it takes 4 clocks for each guest until anything is served; the
    template keeps its contents.

    Parameters
    ----------
    guests : :class:`int`
        A power of two in 4..256.
    data_width, address_width : :class:`int`
        As of :class:`RegisterPortSignature`.

    Members
    -------
    i : ``In(stream.Signature(PageCall))``, end : ``Out(stream.Signature(PageEnd))``
        Accesses. All succeed.
    port : ``In(RegisterPortSignature(...))``
        16 bytes for each entry of the template: {value 31:0, mask 63:32}, {slot 2:0, kept 3, notify
        4}; and from :data:`WRITTEN` on 32 bytes for each guest: its slots.
    clear : ``In(stream.Signature(COLOUR_WIDTH))``
        Forget what this guest has written.
    event : ``Out(event_signature())``
        A guest wrote a Dword with ``notify``.
    ready : ``Out(1)``
        What was written before reset has been cleared.
    """

    def __init__(self, *, guests, data_width, address_width):
        check_guests(guests)
        self.guests        = guests
        self.data_width    = data_width
        self.address_width = address_width
        port = RegisterPortSignature(data_width=data_width, address_width=address_width)
        if 1 << address_width < WRITTEN + 32 * guests:
            raise ValueError(f"Address width must cover {WRITTEN + 32 * guests} bytes, because "
                             f"there are {guests} guests, not be {address_width!r}")
        super().__init__({
            "i":     In(stream.Signature(PageCall)),
            "end":   Out(stream.Signature(PageEnd)),
            "port":  In(port),
            "clear": In(stream.Signature(COLOUR_WIDTH)),
            "event": Out(event_signature()),
            "ready": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        flags = data.StructLayout({"slot": exact_log2(SLOTS), "kept": 1, "notify": 1})
        # What is read in the clock of its write is never looked at.
        free = {"init": [], "attrs": {"no_rw_check": 1}}
        m.submodules.images  = images  = Memory(shape=64, depth=DWORDS, **free)
        m.submodules.places  = places  = Memory(shape=flags, depth=DWORDS, **free)
        m.submodules.written = written = Memory(shape=64, depth=self.guests * SLOTS // 2, **free)
        self._image, self._image_write = images.read_port(), images.write_port(granularity=8)
        self._place, self._place_write = places.read_port(), places.write_port()
        self._kept, self._kept_write = written.read_port(), written.write_port(granularity=8)

        # One access at a time: of a guest, or of the window.
        self._call, self._word = Signal(PageCall), Signal.like(self.port.request.payload)
        self._window, self._strobe = Signal(), Signal(8)
        self._sweeps, self._uses, self._row = Signal(), Signal(), Signal(range(written.depth))
        self._found, self._known = Signal(flags), Signal()
        address, half = self._word.address, 0
        if self.data_width == 32:
            half = address[2]
        self._in_template, self._in_written = Signal(), Signal()
        m.d.comb += [
            self._strobe.eq(Mux(half, self._word.strobe << 4, self._word.strobe)),
            self._in_template.eq(~address[10:15].any()),
            self._in_written.eq(address[14] & (address[5:14] < self.guests)),
            self._known.eq(~self._call.address[8:12].any()),
        ]
        self._elaborate_template(m)
        self._elaborate_written(m)
        self._elaborate_steps(m, half)
        return m

    def _elaborate_template(self, m):
        word, address = self._word, Mux(self._window, self._word.address[4:10],
                                        self._call.address[2:8])
        writes, image, place = Signal(), self._image_write, self._place_write
        with m.If(self._uses):
            m.d.sync += self._found.eq(self._place.data)
        m.d.comb += [
            writes.eq(self._uses & self._window & word.write & self._in_template),
            self._image.addr.eq(address),
            self._place.addr.eq(address),
            image.addr.eq(word.address[4:10]),
            image.data.eq(word.data.replicate(64 // self.data_width)),
            image.en.eq(Mux(writes & ~word.address[3], self._strobe, 0)),
            place.addr.eq(word.address[4:10]),
            place.data.eq(word.data),
            place.en.eq(writes & word.address[3] & self._strobe[0]),
        ]

    def _elaborate_written(self, m):
        # Rows of two slots.
        call, place, kept = self._call, self._place.data, self._kept_write
        writes, row = Signal(), Cat(place.slot[1:], call.guest)
        m.d.comb += [
            writes.eq(self._uses & ~self._window & call.write & self._known),
            self._kept.addr.eq(Mux(self._window, self._word.address[3:], row)),
            kept.addr.eq(Mux(self._sweeps, self._row, self._kept.addr)),
            kept.data.eq(Mux(self._sweeps, 0, Mux(self._window, self._image_write.data,
                                                  call.data.replicate(2)))),
            self.event.valid.eq(writes & place.notify),
            self.event.colour.eq(call.guest),
        ]
        with m.If(self._sweeps):
            m.d.comb += kept.en.eq(0xFF)
        with m.Elif(writes & place.kept):
            m.d.comb += kept.en.eq(Mux(place.slot[0], call.be << 4, call.be))
        with m.Elif(self._uses & self._window & self._word.write & self._in_written):
            m.d.comb += kept.en.eq(self._strobe)

    def _elaborate_steps(self, m, half):
        request, response = self.port.request, self.port.response
        # Sweeps clear the rows from `row` on, those of a guest or all. Guests and the window take
        # turns if both want something.
        full, turn, asks, row = Signal(init=1), Signal(), Signal(), self._row
        result = Signal(64)
        m.d.comb += asks.eq(request.valid & (turn | ~self.i.valid))
        with m.FSM(init="SWEEP"):
            with m.State("SWEEP"):
                m.d.comb += self._sweeps.eq(1)
                m.d.sync += row.eq(row + 1)
                with m.If(Mux(full, row.all(), row[:2].all())):
                    m.next = "IDLE"
            with m.State("IDLE"):
                m.d.comb += [
                    self.clear.ready.eq(1),
                    request.ready.eq(asks & ~self.clear.valid),
                    self.i.ready.eq(~asks & ~self.clear.valid),
                ]
                m.d.sync += [
                    self.ready.eq(1), full.eq(0), row.eq(self.clear.payload << 2),
                    self._call.eq(self.i.payload), self._word.eq(request.payload),
                    self._window.eq(asks), turn.eq(~asks),
                ]
                with m.If(self.clear.valid):
                    m.next = "SWEEP"
                with m.Elif(request.valid | self.i.valid):
                    m.next = "LOOK"
            with m.State("LOOK"):
                m.next = "USE"
            with m.State("USE"):
                m.d.comb += self._uses.eq(1)
                m.next = "SHOW"
            with m.State("SHOW"):
                m.d.sync += result.eq(self._shown(m))
                m.next = "MASK"
            with m.State("MASK"):
                value, mask = result[:32], result[32:]
                mine = self._kept.data.word_select(self._found.slot[0], 32)
                with m.If(~self._window):
                    m.d.sync += value.eq(Mux(self._found.kept, (value & ~mask) | (mine & mask),
                                             value))
                m.next = "END"
            with m.State("END"):
                m.d.comb += [self.end.valid.eq(~self._window), response.valid.eq(self._window)]
                with m.If(Mux(self._window, response.ready, self.end.ready)):
                    m.next = "IDLE"
        m.d.comb += [
            *page_end(self.end.payload, self._call, ok=1, data=result),
            response.payload.data.eq(result.word_select(half, self.data_width)),
        ]

    def _shown(self, m):
        found, image, seen = self._found, self._image.data, Signal(64)
        with m.If(~self._window):
            m.d.comb += seen.eq(Mux(self._known, image, 0))
        with m.Elif(~self._word.write & self._in_written):
            m.d.comb += seen.eq(self._kept.data)
        with m.Elif(~self._word.write & self._in_template):
            m.d.comb += seen.eq(Mux(self._word.address[3], found.as_value(), image))
        return seen
