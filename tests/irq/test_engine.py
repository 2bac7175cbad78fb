"""The interrupt block as a whole, against its model: many sources, readers that sleep, slow memory.

Interrupts of a source carry their number as data, so the model knows which ones a record stands
for. Readers act on notifications alone: what is never read was a lost wake-up.
"""

import pytest

from iovirt_sim.interrupt_bench import InterruptBench
from iovirt_sim.interrupt_engine import (
    COUNT,
    FORWARDS,
    G_ARM,
    G_HEAD,
    G_STATUS,
    IRQ,
    MODERATION,
    TAIL,
    notice_address,
    open_engine,
    ring_base,
)

QUEUES, PLAIN, MULTI, FORWARD, LIMITED = 4, 8, 8, 16, 18
CODES = [*range(0x20, 0x28), 0x30, 0x31, 0x33, 0x18, 0x14]


@pytest.fixture(scope="module", params=[64, 256])
def engine(request):
    with open_engine(IRQ, table_width=request.param) as io:
        yield io, request.param


def make(engine, seed, **changes):
    io, width = engine
    io.reset()
    return InterruptBench(io, IRQ, table_width=width, seed=seed, **changes)


def entry(n, **changes):
    return {"queue": n % QUEUES, "cookie": 0x1000 + n, "guest": n, "priority": n & 3,
            "merge": n >> 2 & 1, "rid_mask": 7, **changes}


def set_up(b, *, sizes=(1, 2, 3, 4), **options):
    """Prepare all kinds of entries, and queues of the given sizes."""
    for n in range(PLAIN):
        yield from b.write_entry(n, **entry(n))
    for n in range(MULTI, MULTI + 8):
        yield from b.write_entry(n, **entry(n, multi=1, urgent=n & 1))
    for n in range(FORWARD, FORWARD + 2):
        yield from b.write_entry(n, delivery=2, address=(FORWARDS >> 2) + n, data=n, multi=1)
    b.io["interval"] = 200
    yield from b.write_entry(LIMITED, **entry(LIMITED, limit=2))
    for kind in range(10):
        yield from b.write_entry(IRQ.entries + kind, **entry(kind, merge=kind & 1))
    for queue, size_log2 in enumerate(sizes):
        yield from b.start(queue, size_log2=size_log2, **options)


def devices(b, count):
    """Send interrupts of all kinds, and some that nobody admits."""
    rng = b.random
    for _ in range(count):
        kind = rng.randrange(100)
        if kind < 60:
            yield from b.msi(rng.choice([*range(PLAIN), LIMITED]), rid=0x100 + rng.randrange(8))
        elif kind < 75:
            n = rng.randrange(8)
            yield from b.msi(MULTI, data=b.model.sent[MULTI + n] << 5 | n,
                             offset=MULTI << 3 | 4)
        elif kind < 80:
            yield from b.msi(FORWARD + rng.randrange(2))
        elif kind < 94:
            yield from b.signal(kind=2, rid=rng.getrandbits(16), data=rng.choice(CODES))
        elif kind < 96:
            yield from b.msi(rng.randrange(PLAIN), rid=0x200)           # forged requester
        elif kind < 98:
            yield from b.msi(rng.choice([60, IRQ.entries, 8191]))       # foreign index
        else:
            yield from b.msi(rng.randrange(PLAIN), offset=4, data=1)    # needs `multi`
        for _ in range(rng.choice([0, 0, 0, 8, 40])):
            yield


def others(b, count):
    """Send notices of other blocks."""
    for _ in range(count):
        port = b.random.randrange(2)
        yield from b.notice(port, 8 + port, data=b.random.getrandbits(32))
        for _ in range(b.random.randrange(100)):
            yield


def owner(b, left):
    """Suspend, resume, migrate and restart while interrupts come, until ``left()`` is 0."""
    rng = b.random
    now = {n: entry(n) for n in range(PLAIN)}
    while left():
        what, n = rng.randrange(4), rng.randrange(PLAIN)
        if what == 0:
            yield from b.write_entry(n, **{**now[n], "suspend": 1})
            for _ in range(rng.randrange(200)):
                yield
            yield from b.write_entry(n, **now[n])
        elif what == 1:
            yield from b.quiesce(n, **now[n])
            now[n] = entry(n, queue=rng.randrange(QUEUES), cookie=rng.getrandbits(32))
            yield from b.write_entry(n, **now[n])
        elif what == 2:
            yield from restart(b, rng.randrange(QUEUES))
        else:
            yield from b.put(rng.randrange(QUEUES), MODERATION, rng.choice([0, 3 | 4 << 16]))


def restart(b, queue):
    """Disable a queue, drain it, and start it at another place with another size."""
    yield from b.stop(queue)
    yield from b.lock(queue)
    while b.check_next(queue):
        pass
    assert b.model.position[queue] == (yield from b.get(queue, TAIL)), "the tail lags behind"
    yield from b.start(queue, size_log2=b.random.randint(1, 5), base=ring_base(
        queue + 8 * b.random.randrange(2)), position=b.random.choice([0, 5, COUNT - 3]))
    b.locked.remove(queue)


def forgers(b, count, stride=1 << 16):
    """Write heads that no reader can have; return nothing has come of it."""
    for _ in range(count):
        queue = b.random.randrange(QUEUES)
        beyond = b.head[queue] + b.random.choice([stride, stride + 77, -1, -5, 1 << 31])
        yield from b.guest_put(queue, G_HEAD, beyond)
        for _ in range(b.random.randrange(400)):
            yield


def check_end(b):
    assert not b.model.outstanding() and not b.model.errors
    assert b.pulses["lost"] == 0
    assert all(b.model.written[n] > 0 for n in range(FORWARD, FORWARD + 2))


@pytest.mark.parametrize(("latency", "stall"), [((2, 6), 0.0), ((10, 120), 0.1)])
def test_no_interrupt_is_lost_or_told_twice_whatever_software_does(engine, latency, stall):
    b = make(engine, f"soup {latency}", latency=latency, stall=stall)
    done = []

    def testbench():
        yield from set_up(b)
        parts = [devices(b, 1500), others(b, 60), forgers(b, 20)]
        alive = [True] * len(parts)
        boss  = owner(b, lambda: any(alive))
        while any(alive) or boss:
            for n, part in enumerate(parts):
                if alive[n]:
                    alive[n] = next(part, "end") != "end"
            if boss and next(boss, "end") == "end":
                boss = None
            yield
        yield from b.settle()
        done.append(True)

    b.run(testbench(), background=[b.serve(pause=60)], deadline=400_000)
    check_end(b)
    assert done and b.pulses["forged"] == 20
    assert max(record["merge_count"] for *_, record in b.seen) > 3
    assert any(record["more"] for *_, record in b.seen)


def test_overflow_for_long_loses_nothing_and_holds_nobody_up(engine):
    b = make(engine, 3, latency=(2, 20))

    def testbench():
        yield from set_up(b, sizes=(1, 8, 8, 8))
        yield from b.guest_put(0, G_ARM, 0)
        for n in range(2500):
            start = b.clock
            yield from b.msi(n % PLAIN)
            assert b.clock - start <= 5, "a full queue stops interrupts of others"
        assert b.model.position[0] == 0 and (yield from b.is_pending(4)) == 1
        before = b.model.outstanding()
        assert before[0] > 300 and before[4] > 300
        b.notified[0] = True
        awake.append(True)
        yield from b.settle()

    awake = []

    def reader():
        while True:
            for queue in list(b.notified):
                if queue or awake:
                    del b.notified[queue]
                    yield from b.service(queue)
            yield

    b.run(testbench(), background=[reader()], deadline=400_000)
    assert not b.model.outstanding()
    counts = [record["merge_count"] for *_, record in b.seen if record["index"] == 0]
    assert sum(counts) == b.model.sent[0] and len(counts) < 10


def test_a_queue_that_drops_counts_and_keeps_what_it_accepts(engine):
    b = make(engine, 4, latency=(2, 20), drops=[0])

    def testbench():
        yield from set_up(b, drop_new=0)
        yield from b.stop(0)
        yield from b.start(0, size_log2=2, drop_new=1)
        for n in range(800):
            yield from b.msi(n % PLAIN)
            for _ in range(b.random.choice([0, 1, 30])):
                yield
        while set(b.model.outstanding()) - {0, 4}:
            yield
        yield from b.service(0)

    b.run(testbench(), background=[b.serve(pause=300)], deadline=400_000)
    left = b.model.outstanding()
    assert set(left) <= {0, 4}, "only sources of the queue that drops"
    lost = sum(left.values()) + b.model.dropped[0] + b.model.dropped[4]
    assert 0 < b.pulses["dropped"] <= lost


def test_a_queue_whose_record_cannot_be_written_stops_alone_and_is_reported(engine):
    b = make(engine, 5)
    errors = []
    b.denied = lambda *what: errors.append(what)
    bad = []
    b.memory.fails = lambda address: address & ~31 in bad

    def testbench():
        yield from set_up(b, sizes=(4, 4, 4, 4))
        bad.append(ring_base(1) + 32 * 2)
        for n in range(40):
            yield from b.msi(n % 4)
            for _ in range(30):
                yield
        while set(b.model.outstanding()) != {1}:
            yield
        assert (yield from b.guest_get(1, G_STATUS)) & 5 == 4
        assert errors == [("QUEUE_STOPPED", 0, 0, 1)]
        # The one record that could not be written is lost, and counted; what came later waits.
        assert b.model.outstanding() == {1: 8}
        b.model.sources[1].waiting.popleft()
        bad.clear()
        yield from b.lock(1)
        yield from b.start(1, size_log2=4)
        b.locked.remove(1)
        yield from b.settle()

    b.run(testbench(), background=[b.serve()], deadline=100_000)
    assert not b.model.outstanding()


def test_a_notification_that_cannot_be_written_stops_nothing_and_is_reported(engine):
    b, errors = make(engine, 6), []
    b.denied = lambda *what: errors.append(what)
    b.memory.fails = lambda address: address == notice_address(1)

    def testbench():
        yield from set_up(b)
        for n in range(200):
            yield from b.msi(n % 4)
            if n % 20 == 19:
                yield from b.service(1)
        yield from b.settle()

    b.run(testbench(), background=[b.serve(), poll(b)], deadline=100_000)
    assert not b.model.outstanding()
    assert errors == [("MSI_WRITE_ERROR", 0, 0, 2 * 1 + 1)]


def poll(b):
    while True:
        for _ in range(200):
            yield
        if 1 in b.model.position:
            yield from b.service(1)
