"""Rule S4: a snapshot is done when all that was handed over before is visible or kept pending."""

import pytest

from iovirt_sim.interrupt_engine import IRQ, open_engine

from .test_engine import QUEUES, entry, make, restart, set_up

SOURCES, MANY = 8, 100


@pytest.fixture(scope="module", params=[64])
def engine(request):
    with open_engine(IRQ, table_width=request.param) as io:
        yield io, request.param


def take(b, taken, check):
    """Take snapshots, one after the other; ``check(handed)`` may be a generator."""
    io = b.io
    while True:
        for _ in range(b.random.randrange(60)):
            yield
        handed, start = dict(b.handed), b.clock
        io["snapshot"] = 1
        yield
        io["snapshot"] = 0
        yield
        while not io["snapshot_done"]:
            yield
        taken.append(b.clock - start)
        yield from check(handed)


def sender(b, count, *, gaps=(0, 0, 0, 8, 40)):
    for _ in range(count):
        if b.random.random() < 0.9:
            yield from b.msi(b.random.randrange(SOURCES))
        else:
            yield from b.signal(kind=2, data=b.random.choice([*range(0x20, 0x28), 0x30]))
        for _ in range(b.random.choice(gaps)):
            yield


def settled(b):
    """While nothing is in flight, everything handed over is visible."""
    while True:
        if b.io["settled"]:
            behind = {n: count for n, count in b.handed.items() if b.visible_of[n] < count}
            assert not behind, "settled too early"
        yield


@pytest.mark.parametrize("latency", [(1, 3), (20, 200)])
def test_all_handed_over_before_is_visible_if_there_is_room(engine, latency):
    b, taken = make(engine, 1, latency=latency, stall=0.05), []

    def check(handed):
        behind = {n: count for n, count in handed.items() if b.visible_of[n] < count}
        assert not behind, f"done too early: {behind}"
        return
        yield

    def testbench():
        yield from set_up(b, sizes=(8,) * QUEUES)
        for n in range(MANY):
            yield from b.write_entry(n, **entry(n, merge=0))
        for _ in range(1200):
            # A second one of its source, or one too many, is kept pending, and visible later.
            while b.visible_of[n := b.random.randrange(MANY)] < b.handed[n] \
                    or b.handed.total() - b.visible_of.total() > 12:
                yield
            yield from b.msi(n)
            for _ in range(b.random.choice([0, 0, 0, 8, 40])):
                yield

    b.run(testbench(), background=[b.serve(), take(b, taken, check), settled(b)])
    # Traffic goes on all the time, but a snapshot does not wait for it.
    assert len(taken) > 20 and max(taken) < 60 + 8 * latency[1]


def test_what_finds_no_room_is_pending_when_the_snapshot_is_done(engine):
    b, taken = make(engine, 2, latency=(5, 50)), []

    def check(handed):
        for n, count in handed.items():
            if b.visible_of[n] < count:
                assert (yield from b.is_pending(n)) == 1, "neither visible nor pending"

    def testbench():
        # Nobody reads, so that what is pending stays so.
        yield from set_up(b, sizes=(1, 2, 3, 4))
        yield from sender(b, 1000)

    b.run(testbench(), background=[take(b, taken, check)])
    assert len(taken) > 5


def test_an_idle_block_is_settled_and_a_snapshot_takes_three_clocks(engine):
    b, taken = make(engine, 3), []

    def testbench():
        yield from set_up(b)
        yield from b.msi(0)
        yield
        assert not b.io["settled"]
        for _ in range(100):
            yield
        assert b.io["settled"]
        taker = take(b, taken, lambda handed: iter(()))
        while not taken:
            next(taker)
            yield

    b.run(testbench())
    assert taken == [4]


def test_link_down_is_told_before_the_block_is_settled(engine):
    b = make(engine, 4, latency=(10, 30))

    def testbench():
        yield from set_up(b, sizes=(4,) * QUEUES)
        for pin in range(4):
            yield from b.signal(kind=2, rid=0x100, data=0x20 + pin)
        for _ in range(200):
            yield
        b.model.link_down()
        b.io["clear"] = 1
        yield
        b.io["clear"] = 0
        for _ in range(2):
            yield
        while not b.io["settled"]:
            yield
        for queue in range(QUEUES):
            yield from b.service(queue)

    b.run(testbench(), background=[b.serve()])
    assert not b.model.outstanding()
    levels = [(record["index"], record["data"]) for *_, record in b.seen]
    assert sorted(levels) == sorted((IRQ.entries + pin, level)
                                    for pin in range(4) for level in (0, 1))


def test_reset_in_mid_burst_leaves_nothing_behind(engine):
    for seed in range(4):
        b = make(engine, seed, latency=(5, 100), stall=0.2)

        def testbench(b=b, seed=seed):
            yield from set_up(b)
            yield from sender(b, 60 + 10 * seed, gaps=(0, 1))

        b.run(testbench(), background=[b.serve()])
        # Records, notifications and accesses are under way here.
        fresh = make(engine, 10 + seed, latency=(5, 30))

        def again(b=fresh):
            assert b.io["settled"]
            yield
            for n in range(SOURCES):
                assert (yield from b.is_pending(n)) == 0
            yield from set_up(b)
            yield from sender(b, 100)
            yield from restart(b, 1)
            yield from b.settle()

        fresh.run(again(), background=[fresh.serve()])
        assert sum(fresh.handed.values()) == sum(fresh.model.told.values()) > 0
