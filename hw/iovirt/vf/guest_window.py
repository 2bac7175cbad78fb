"""The registers that show the guest table."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from iovirt.csr.port import RegisterPortSignature

from .guest_layouts import GuestFound, GuestWrite, check_guests
from .share_layouts import COLOUR_WIDTH, GuestState

__all__ = ["GuestWindow"]

#: log2 of the size of an entry in bytes, and of a word.
_ENTRY, _WORD = 6, 3


class GuestWindow(wiring.Component):
    """Let software read and write the entries and the states of guests.

    Guest n is at 64 n of the window: words 0 and 1 are its :class:`GuestEntry`, word 2 its state in
    bits 2:0 and ``fatal`` in bit 3. Writes to the entry are staged; the write of the last byte of
    word 1 replaces the entry, all at once, and bytes that have not been written since then, or
    since the first write to this guest, are 0. A write of the first byte of word 2 sets the state;
    numbers that are no state mean OFF. A guest that is ``fatal`` does not RUN but FREEZE.

    The response to a write that changes something comes when everything that was checked against
    the old content has gone on to translation. Reads show what is in the table, and answer an error
    if that cannot be corrected. Other words read 0. Accesses beyond the
    table answer an error, too.

    Parameters
    ----------
    guests : :class:`int`
        Number of guests, a power of two in 4..256.
    data_width, address_width : :class:`int`
        As of :class:`RegisterPortSignature`.

    Members
    -------
    port : ``In(RegisterPortSignature(...))``
        Accesses. The window is aligned to its size or to 4 KiB, whichever is larger; address bits
        above that are not looked at.
    write : ``Out(stream.Signature(GuestWrite))``
    read : ``Out(stream.Signature(COLOUR_WIDTH))``
        Read this guest.
    done : ``In(1)``, ``found`` : ``In(GuestFound)``
        What has been read.
    """

    def __init__(self, *, guests, data_width, address_width):
        check_guests(guests)
        port = RegisterPortSignature(data_width=data_width, address_width=address_width)
        if 1 << address_width < guests << _ENTRY:
            raise ValueError(f"Address width must cover {guests << _ENTRY} bytes, because there "
                             f"are {guests} guests, not be {address_width!r}")
        self.guests     = guests
        self.data_width = data_width
        super().__init__({
            "port":  In(port),
            "write": Out(stream.Signature(GuestWrite)),
            "read":  Out(stream.Signature(COLOUR_WIDTH)),
            "done":  In(1),
            "found": In(GuestFound),
        })

    def elaborate(self, platform):
        m = Module()
        request, response = self.port.request, self.port.response

        # Where the access is: which word, which part of it, if words are wider than the bus.
        access = Signal.like(request.p)
        lanes  = 64 // self.data_width
        word, part = Signal(_ENTRY - _WORD), Signal(range(lanes))
        guest  = Signal(COLOUR_WIDTH)
        in_entry, in_state, beyond = Signal(), Signal(), Signal()
        end    = _ENTRY + exact_log2(self.guests)
        m.d.comb += [
            word.eq(access.address[_WORD:]),
            part.eq(access.address[2:] if lanes == 2 else 0),
            guest.eq(access.address[_ENTRY:end]),
            beyond.eq(access.address[end:max(12, end)].any()),
            in_entry.eq(word < 2),
            in_state.eq((word == 2) & (part == 0)),
        ]

        # What is staged is for one guest.
        staged, staged_guest = Signal(128), Signal.like(guest)
        bytes_written = Cat(bit.replicate(8) for bit in access.strobe)
        place = Cat(part, word[0]) if lanes == 2 else word[0]
        slice_ = staged.word_select(place, self.data_width)
        state = Signal(GuestState)
        with m.If(access.data[:3] <= GuestState.QUARANTINE.value):
            m.d.comb += state.eq(access.data[:3])

        found = self.found.entry.as_value().word_select(place, self.data_width)
        with m.FSM() as fsm:
            with m.State("IDLE"):
                m.d.comb += request.ready.eq(1)
                m.d.sync += access.eq(request.p)
                with m.If(request.valid):
                    m.next = "CHOOSE"
            with m.State("CHOOSE"):
                m.d.sync += [response.p.data.eq(0), response.p.error.eq(beyond)]
                m.next = "RESPOND"
                with m.If(beyond):
                    m.next = "RESPOND"
                with m.Elif(access.write & in_entry):
                    with m.If(guest != staged_guest):
                        m.d.sync += staged.eq(0)
                    m.d.sync += staged_guest.eq(guest)
                    m.next = "STAGE"
                with m.Elif(access.write & in_state & access.strobe[0]):
                    m.next = "WRITE"
                with m.Elif(~access.write & (in_entry | in_state)):
                    m.next = "READ"
            with m.State("STAGE"):
                m.d.sync += slice_.eq((slice_ & ~bytes_written) | (access.data & bytes_written))
                m.next = "RESPOND"
                with m.If((place == 2 * lanes - 1) & access.strobe[-1]):
                    m.next = "WRITE"
            with m.State("WRITE"):
                with m.If(self.write.ready):
                    with m.If(in_entry):
                        m.d.sync += staged.eq(0)
                    m.next = "RESPOND"
            with m.State("READ"):
                with m.If(self.read.ready):
                    m.next = "WAIT"
            with m.State("WAIT"):
                with m.If(self.done & in_entry):
                    m.d.sync += [response.p.error.eq(self.found.bad),
                                 response.p.data.eq(Mux(self.found.bad, 0, found))]
                with m.Elif(self.done):
                    m.d.sync += [response.p.error.eq(self.found.odd),
                                 response.p.data.eq(Mux(self.found.odd, 0, Cat(
                                     Value.cast(self.found.state), self.found.fatal)))]
                with m.If(self.done):
                    m.next = "RESPOND"
            with m.State("RESPOND"):
                with m.If(response.ready):
                    m.next = "IDLE"
            m.d.comb += [
                self.write.valid.eq(fsm.ongoing("WRITE")),
                self.read.valid.eq(fsm.ongoing("READ")),
                response.valid.eq(fsm.ongoing("RESPOND")),
            ]

        m.d.comb += [
            self.write.p.guest.eq(guest),
            self.write.p.set_entry.eq(in_entry),
            self.write.p.entry.eq(staged),
            self.write.p.set_state.eq(~in_entry),
            self.write.p.state.eq(state),
            self.write.p.fatal.eq(access.data[3]),
            self.read.payload.eq(guest),
        ]
        return m
