"""What the requester does when the link goes down, and comes up again."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["LinkWatch"]


class LinkWatch(wiring.Component):
    """Look at all tags in turn, and see to it that nothing survives the loss of the link.

    From the clock after ``link_up`` has fallen, requests are not sent, each look ends a request,
    and completions are dropped. When the link is up again, nothing is accepted for one more
    round of looks, and until no request of the old link waits to be sent. So with requests of the
    old link or answers to them no request of the new one can be confused.

    Parameters
    ----------
    depth : :class:`int`
        Number of values of a tag.

    Members
    -------
    link_up : ``In(1)``
    unsent : ``In(1)``
        A request waits to be sent.
    look : ``Out(stream.Signature(range(depth)))``
        Tags to look at, for ever.
    send : ``Out(1)``
        The link is in use.
    hold : ``Out(1)``
        Nothing is to be accepted.
    """

    def __init__(self, *, depth):
        self.depth = depth
        super().__init__({
            "link_up": In(1),
            "unsent":  In(1),
            "look":    Out(stream.Signature(range(depth))),
            "send":    Out(1),
            "hold":    Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        looks, left = Signal(), Signal(range(self.depth + 8))
        m.d.comb += [
            self.look.valid.eq(1),
            looks.eq(self.look.ready),
        ]
        with m.If(looks):
            m.d.sync += self.look.payload.eq(self.look.payload + 1)

        with m.FSM():
            with m.State("DOWN"):
                # A few more than a round, for what is in the pipeline.
                m.d.sync += left.eq(self.depth + 7)
                with m.If(self.link_up):
                    m.next = "CLEAN"
            with m.State("CLEAN"):
                m.d.comb += self.hold.eq(1)
                m.d.sync += left.eq(left - (looks & (left != 0)))
                with m.If(~self.link_up):
                    m.next = "DOWN"
                with m.Elif((left == 0) & ~self.unsent):
                    m.next = "UP"
            with m.State("UP"):
                m.d.comb += self.send.eq(1)
                with m.If(~self.link_up):
                    m.next = "DOWN"
        return m
