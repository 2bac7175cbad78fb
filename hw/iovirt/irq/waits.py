"""Queues that are known to take no events."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["QueueWaits"]


class QueueWaits(wiring.Component):
    """Remember which queues refused an event and have not told of room since.

    Parameters
    ----------
    queues : :class:`int`
        Number of event queues, 1 to 256.

    Members
    -------
    full : ``In(1)``, ``full_queue`` : ``In(range(queues))``
        The queue has refused an event.
    room : ``In(1)``, ``room_queue`` : ``In(range(queues))``
        The queue may have room.
    blocked : ``Out(queues)``
        1 clock later.
    """

    def __init__(self, *, queues):
        if not isinstance(queues, int) or not 1 <= queues <= 256:
            raise ValueError(f"Number of queues must be an integer in 1..256, not {queues!r}")
        self.queues = queues
        super().__init__({
            "full":       In(1),
            "full_queue": In(range(queues)),
            "room":       In(1),
            "room_queue": In(range(queues)),
            "blocked":    Out(queues),
        })

    def elaborate(self, platform):
        m = Module()
        full = Mux(self.full, 1 << self.full_queue, 0)
        room = Mux(self.room, 1 << self.room_queue, 0)
        m.d.sync += self.blocked.eq((self.blocked & ~room) | full)
        return m
