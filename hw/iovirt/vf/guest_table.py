"""The guest table."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from iovirt.csr.port import RegisterPortSignature
from iovirt.stream import StreamArbiter

from .guest_layouts import guest_lookup, guest_read
from .guest_lookups import GuestLookups
from .guest_memory import GuestMemory
from .guest_window import GuestWindow
from .notices import event_signature
from .share_layouts import COLOUR_WIDTH, GuestState, Weaken

__all__ = ["GuestTable"]


class GuestTable(wiring.Component):
    """Hold who the guests of shared functions are, and what each of them may do.

    Entries have SECDED and states parity; a guest with an error that cannot be corrected is denied
    everything. A guest that hardware froze is ``fatal``, and does not RUN until software has
    cleared that. See :class:`GuestMemory` for clocks, and :class:`GuestWindow` for software's view.
    A lookup takes 5 clocks, and up to 8 more while every clock has a fast read.

    Parameters
    ----------
    guests : :class:`int`
        Number of guests, the manager included; a power of two in 4..256.
    freezers : :class:`int`
        Number of those who may freeze a guest, at least 1.
    lookups : :class:`int`
        Number of slow readers, at least 1.
    data_width, address_width : :class:`int`
        As of :class:`RegisterPortSignature`.
    weak : :class:`bool`
        There is a member ``weaken`` for tests; ``ecc`` is looked at.

    Members
    -------
    fast : ``In(guest_read())``
        For the attribution of requests.
    lookup : ``In(guest_lookup()).array(lookups)``
        For others.
    port : ``In(RegisterPortSignature(...))``
        Window of 64 bytes per guest.
    freeze : ``In(stream.Signature(COLOUR_WIDTH)).array(freezers)``
        Guests to freeze; 1 per clock.
    frozen : ``Out(event_signature())``
        Hardware froze a guest that was not ``fatal``.
    changed : ``Out(event_signature())``, changed_off : ``Out(1)``
        Software has set the state of a guest; to OFF or QUARANTINE.
    ready : ``Out(1)``
        The table is clear; until then nothing is accepted.
    corrected, uncorrectable : ``Out(1)``
        For one clock: a read met an error.
    """

    def __init__(self, *, guests, freezers, data_width, address_width, lookups=2, weak=False):
        self.window  = GuestWindow(guests=guests, data_width=data_width,
                                   address_width=address_width)
        self.lookups = GuestLookups(clients=lookups)
        self.memory  = GuestMemory(guests=guests, tags=lookups + 1, weak=weak)
        self.freezes = StreamArbiter(COLOUR_WIDTH, ports=freezers)
        self.guests  = guests
        self.weak    = weak
        super().__init__({
            "fast":          In(guest_read()),
            "lookup":        In(guest_lookup()).array(lookups),
            "port":          In(RegisterPortSignature(data_width=data_width,
                                                      address_width=address_width)),
            "freeze":        In(stream.Signature(COLOUR_WIDTH)).array(freezers),
            "frozen":        Out(event_signature()),
            "changed":       Out(event_signature()),
            "changed_off":   Out(1),
            "ready":         Out(1),
            "corrected":     Out(1),
            "uncorrectable": Out(1),
            **({"weaken": In(Weaken)} if weak else {}),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory  = memory  = self.memory
        m.submodules.window  = window  = self.window
        m.submodules.lookups = lookups = self.lookups
        m.submodules.freezes = freezes = self.freezes

        connect(m, flipped(self.fast), memory.fast)
        connect(m, flipped(self.port), window.port)
        connect(m, window.write, memory.write)
        connect(m, window.read, lookups.window)
        connect(m, lookups.o, memory.slow)
        connect(m, freezes.o, memory.freeze)
        connect(m, memory.frozen, flipped(self.frozen))
        for outer, inner in zip(self.lookup, lookups.lookup, strict=True):
            connect(m, flipped(outer), inner)
        for outer, inner in zip(self.freeze, freezes.i, strict=True):
            connect(m, flipped(outer), inner)
        m.d.sync += [
            self.changed.valid.eq(window.write.valid & window.write.ready
                                  & window.write.p.set_state),
            self.changed.colour.eq(window.write.p.guest),
            self.changed_off.eq((window.write.p.state == GuestState.OFF)
                                | (window.write.p.state == GuestState.QUARANTINE)),
        ]
        m.d.comb += [
            lookups.done.eq(memory.found),
            lookups.tag.eq(memory.tag),
            lookups.found.eq(memory.fast.found),
            window.done.eq(lookups.window_done),
            window.found.eq(memory.fast.found),
            self.ready.eq(memory.ready),
            self.corrected.eq(memory.corrected),
            self.uncorrectable.eq(memory.uncorrectable),
        ]
        if self.weak:
            m.d.comb += memory.weaken.eq(self.weaken)
        return m
