"""Slow reads of the guest table."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from iovirt.stream import StreamArbiter

from .guest_layouts import GuestFound, guest_lookup
from .guest_memory import slow_read
from .share_layouts import COLOUR_WIDTH

__all__ = ["GuestLookups"]


class GuestLookups(wiring.Component):
    """Serve those who look guests up, and the registers, in turn.

    Each has one read under way at a time. The request is passed on in the same clock; the answer
    comes 1 clock after it was found.

    Parameters
    ----------
    clients : :class:`int`
        Number of those who look guests up, at least 1.

    Members
    -------
    lookup : ``In(guest_lookup()).array(clients)``
        For users of the table.
    window : ``In(stream.Signature(COLOUR_WIDTH))``, ``window_done`` : ``Out(1)``
        For the registers, which take what is found by themselves.
    o : ``Out(stream.Signature(slow_read(clients + 1)))``
        To the table.
    done : ``In(1)``, ``tag`` : ``In(...)``, ``found`` : ``In(GuestFound)``
        From the table.
    """

    def __init__(self, *, clients):
        if not isinstance(clients, int) or clients < 1:
            raise ValueError("Number of slow readers must be an integer of at least 1, "
                             f"not {clients!r}")
        self.clients = clients
        super().__init__({
            "lookup":      In(guest_lookup()).array(clients),
            "window":      In(stream.Signature(COLOUR_WIDTH)),
            "window_done": Out(1),
            "o":           Out(stream.Signature(slow_read(clients + 1))),
            "done":        In(1),
            "tag":         In(range(clients + 1)),
            "found":       In(GuestFound),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.arbiter = arbiter = StreamArbiter(slow_read(self.clients + 1),
                                                       ports=self.clients + 1)
        wiring.connect(m, arbiter.o, wiring.flipped(self.o))
        found = self.found
        for n, (client, i) in enumerate(zip(self.lookup, arbiter.i, strict=False)):
            request, answer, busy = client.request, client.answer, Signal(name=f"busy_{n}")
            m.d.comb += [
                i.valid.eq(request.valid & ~busy),
                i.p.guest.eq(request.payload),
                i.p.tag.eq(n),
                request.ready.eq(i.ready & ~busy),
            ]
            with m.If(i.valid & i.ready):
                m.d.sync += busy.eq(1)
            with m.If(self.done & (self.tag == n)):
                m.d.sync += [
                    answer.valid.eq(1),
                    answer.p.state.eq(found.state),
                    answer.p.fatal.eq(found.fatal),
                    answer.p.first_pair.eq(found.entry.first_pair),
                    answer.p.pairs.eq(found.entry.pairs),
                    answer.p.function.eq(found.entry.function),
                    answer.p.ok.eq(found.exists & ~found.bad & ~found.odd),
                ]
            with m.If(answer.valid & answer.ready):
                m.d.sync += [answer.valid.eq(0), busy.eq(0)]

        window = arbiter.i[self.clients]
        m.d.comb += [
            window.valid.eq(self.window.valid),
            window.p.guest.eq(self.window.payload),
            window.p.tag.eq(self.clients),
            self.window.ready.eq(window.ready),
            self.window_done.eq(self.done & (self.tag == self.clients)),
        ]
        return m
