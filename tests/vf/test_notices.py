import itertools
import random

import pytest

from iovirt.vf.notices import ShareNotices, Topic
from iovirt_sim.harness import simulate
from iovirt_sim.streams import receive


def run(events, *, stall=0, tail=40):
    """Pulse ``events``, [(clock, topic, guest)]; return [(topic, guest, more)] offered."""
    dut, seen = ShareNotices(), []
    by_clock = {}
    for clock, topic, guest in events:
        by_clock.setdefault(clock, []).append((topic, guest))
    last = max(by_clock) + tail

    async def source(ctx):
        for clock in range(last):
            for topic in range(3):
                ctx.set(dut.event[topic].valid, 0)
            for topic, guest in by_clock.get(clock, ()):
                ctx.set(dut.event[topic].valid, 1)
                ctx.set(dut.event[topic].colour, guest)
            await ctx.tick()

    async def sink(ctx):
        rng = random.Random(1)
        while True:
            (notice, ), = await receive(ctx, dut.o, 1, gap=lambda: rng.randrange(1 + stall))
            seen.append((Topic(notice.topic), notice.colour, notice.more))

    simulate(dut, source, background=(sink,))
    return seen


def test_an_event_alone_leads_to_a_notice():
    assert run([(0, 1, 7)]) == [(Topic.FROZEN, 7, 0)]


def test_topics_take_turns():
    seen = run([(clock, topic, clock) for clock in range(30) for topic in range(3)], stall=3)
    for one, other in itertools.pairwise(seen):
        assert one[0] != other[0]


@pytest.mark.parametrize("stall", [0, 5, 20])
def test_each_event_is_followed_by_a_notice_of_its_topic(stall):
    rng = random.Random(stall)
    for _ in range(5):
        events = sorted((rng.randrange(60), rng.randrange(3), rng.randrange(256))
                        for _ in range(30))
        events = [event for n, event in enumerate(events)
                  if not any(event[:2] == other[:2] for other in events[:n])]
        seen = run(events, stall=stall, tail=200)
        for topic in Topic:
            guests = [guest for _, number, guest in events if Topic(number) is topic]
            told = [(guest, more) for number, guest, more in seen if number is topic]
            # Notices name guests in order; who is not named stands behind a `more`.
            place = 0
            for guest, more in told:
                assert guests[place] == guest
                place += 1
                named = [later for later, _ in told[told.index((guest, more)) + 1:]]
                while more and place < len(guests) and (not named or guests[place] != named[0]):
                    place += 1
            assert place == len(guests)
