"""What the manager of shared functions has to be told."""

from amaranth import *
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

from .share_layouts import COLOUR_WIDTH

__all__ = ["ShareNotice", "ShareNotices", "Topic", "event_signature"]


class Topic(enum.Enum, shape=2):
    """What happened."""

    MAILBOX = 0  # an access of a guest waits for an answer
    FROZEN  = 1  # hardware froze a guest
    HEADER  = 2  # a guest wrote a part of its configuration header that the manager watches


class ShareNotice(data.Struct):
    """A notice. Other guests may have the same topic: tables and the mailbox tell which."""

    topic:  Topic
    colour: COLOUR_WIDTH  # the first guest
    more:   1             # it was not the only event


def event_signature():
    """Pulse ``valid``: it happened to guest ``colour``. Seen from the teller."""
    return wiring.Signature({"valid": Out(1), "colour": Out(COLOUR_WIDTH)})


class ShareNotices(wiring.Component):
    """Offer a notice for the events of each topic; those that come meanwhile gather in the next.

    No event is lost: each is followed by a notice of its topic. Latency is 2 clocks.

    Members
    -------
    event : ``In(event_signature()).array(3)``
        By topic.
    o : ``Out(stream.Signature(ShareNotice))``
        Notices; topics take turns.
    """

    event: In(event_signature()).array(len(Topic))
    o:     Out(stream.Signature(ShareNotice))

    def elaborate(self, platform):
        m = Module()
        topics  = range(len(Topic))
        waiting = [Signal(name=f"waiting_{n}") for n in topics]
        more    = [Signal(name=f"more_{n}") for n in topics]
        first   = [Signal(COLOUR_WIDTH, name=f"first_{n}") for n in topics]
        # The topic after the last one comes first; with three this is a short chain.
        last, takes, free = Signal(Topic), [Signal(name=f"takes_{n}") for n in topics], Signal()
        m.d.comb += free.eq(~self.o.valid | self.o.ready)
        with m.Switch(last):
            for n in topics:
                with m.Case(n):
                    order = [(n + 1 + step) % len(Topic) for step in topics]
                    for place, topic in enumerate(order):
                        before = Cat(waiting[other] for other in order[:place]).any()
                        m.d.comb += takes[topic].eq(free & waiting[topic] & ~before)

        with m.If(free):
            m.d.sync += self.o.valid.eq(Cat(waiting).any())
        for n in topics:
            event = self.event[n]
            with m.If(takes[n]):
                m.d.sync += [
                    self.o.p.topic.eq(n),
                    self.o.p.colour.eq(first[n]),
                    self.o.p.more.eq(more[n]),
                    last.eq(n),
                    waiting[n].eq(event.valid),
                    more[n].eq(0),
                ]
            with m.Elif(event.valid):
                m.d.sync += [waiting[n].eq(1), more[n].eq(waiting[n])]
            with m.If(event.valid & (takes[n] | ~waiting[n])):
                m.d.sync += first[n].eq(event.colour)
        return m
