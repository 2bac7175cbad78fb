# amaranth: UnusedElaboratable=no

"""Rules S2 and S3 on the whole engine: signals behind writes, and the aperture."""

import random

import pytest

from iovirt.config import DmaConfig, PcieConfig
from iovirt.dma import DmaEngine
from iovirt_sim.dma import DmaWorld, Page
from iovirt_sim.harness import simulate
from iovirt_sim.tlp import Kind, Tlp

A, B = 0x100, 0x201  # of different ordering classes
APERTURE = 0x80_0000_0000, 0xFF_0000_0000
FRAMES = {(A, 0): 0x40, (B, 0): 0x80}


def engine(*, signals=4, **dma):
    return DmaEngine(data_width=64, address_width=40, pcie=PcieConfig(max_payload_bytes=128),
                     dma=DmaConfig(**{"writes": 4, "reads": 4, "read_pieces": 4, **dma}),
                     signals=signals)


def world_of(*, latency=60, pages=None, seed=1, signals=4, dma=None, **more):
    pages = {**{key: Page(frame) for key, frame in FRAMES.items()}, **(pages or {})}
    return DmaWorld(engine(signals=signals, **(dma or {})), rng=random.Random(seed), pages=pages,
                    max_payload=128, latency=latency, aperture=APERTURE, **more)


def write(rid, at=0, size=8, **fields):
    return Tlp.write(at, bytes(range(size)), rid=rid, **fields)


def msi(rid, data=0, **fields):
    return Tlp.write(0xFEE0_1230, data.to_bytes(4, "little"), rid=rid, **fields)


def intx(rid, code=0x20):
    return Tlp(Kind.MSG, rid=rid, code=code)


def clocks_of_signals(world):
    """Note the cycle in which each signal is taken."""
    clocks, take = [], world._take_signal

    def taken(got):
        take(got)
        clocks.append(world.memory.cycle)
    world._take_signal = taken
    return clocks


def written(world, rid):
    return [burst for burst in world.memory.bursts
            if burst.write and burst.address >> 12 == FRAMES[rid, 0]]


@pytest.mark.parametrize("signals", [-1, 2, None])
def test_wrong_number_of_signals(signals):
    with pytest.raises(ValueError, match=r"^Number of signals must be 0 or at least 4, not "):
        engine(signals=signals)


@pytest.mark.parametrize("make", [msi, intx])
def test_signal_comes_after_the_responses_of_the_writes_before_it(make):
    world  = world_of()
    clocks = clocks_of_signals(world)
    for n in range(3):
        world.add(write(A, at=64 * n, size=128 if n == 1 else 8))
    world.add_interrupt(make(A))
    world.run(simulate)
    assert clocks[0] > max(burst.done for burst in written(world, A))


def test_signal_waits_for_no_other_source_and_no_read_and_no_later_write():
    world = world_of(latency=lambda: 200)
    clocks = clocks_of_signals(world)
    world.add(write(A))
    world.add(Tlp.read(0, 8, rid=B, tag=1))
    world.add_interrupt(msi(B))
    world.add(write(B))
    world.run(simulate)
    assert clocks[0] < min(burst.done for burst in world.memory.bursts)


def test_signals_that_waited_leave_in_the_order_of_their_source():
    world = world_of(latency=lambda: world.rng.choice([5, 60]), signals=8)
    world.add(write(A))
    for n in range(30):
        if n % 7 == 3:
            world.add(write(world.rng.choice([A, B])))
        world.add_interrupt(world.rng.choice([msi, intx])(A if n % 3 else B))
    world.run(simulate)
    assert len(world.signals) == 30


def test_signal_goes_when_the_write_before_it_is_denied():
    world = world_of(pages={(A, 1): Page(denied="UR")})
    world.add(write(A, at=0x1000))
    world.add_interrupt(msi(A))
    world.run(simulate)
    assert len(world.signals) == 1 and not world.memory.bursts


def test_poisoned_and_aborted_signals_are_dropped():
    world = world_of()
    world.add_interrupt(msi(A, ep=True))
    world.add_interrupt(msi(A), aborted=True)
    world.add_interrupt(msi(A, 5))
    world.run(simulate)
    assert [data for *_, data in world.signals] == [5]
    assert [cause for cause, *_ in world.errors] == [5]


def test_link_order_makes_signals_wait_for_all():
    world = world_of(dma={"order_scope": "link"})
    clocks = clocks_of_signals(world)
    world.add(write(A))
    world.add_interrupt(msi(B))
    world._take_signal = lambda got: clocks.append(world.memory.cycle)
    world.run(simulate, check=False)
    assert clocks[0] > written(world, A)[0].done


def blocked(world, *, until):
    """Take no signal until the function ``until`` says so."""
    sink = world._sink

    def made(port, take):
        if port is not world.dut.signal:
            return sink(port, take)

        async def testbench(ctx):
            while not until():
                await ctx.tick()
            await sink(port, take)(ctx)
        return testbench
    world._sink = made


def test_signals_that_nobody_takes_stop_neither_reads_before_them_nor_writes_at_once():
    world = world_of(latency=5)
    for n in range(4):
        world.add_interrupt(msi(B, n))
    for n in range(20):
        world.add(write(A, at=8 * n))
        world.add(Tlp.read(8 * n, 8, rid=A, tag=n))
    blocked(world, until=lambda: world.retired[:2] == [20, 20])
    world.run(simulate)
    assert world.retired == [20, 20, 4]


def test_writes_wait_when_all_slots_for_signals_are_used():
    world = world_of(latency=5)
    for n in range(5):
        world.add_interrupt(msi(B, n))
    world.add(write(A))
    counts = []

    def until():
        counts.append(list(world.retired))
        return len(counts) > 300
    blocked(world, until=until)
    world.run(simulate)
    assert counts[-1] == [0, 0, 0]
    assert world.retired == [1, 0, 5]


def random_ops(world, rng, count):
    tags = dict.fromkeys((A, B, 0x302), 0)
    for _ in range(count):
        rid, kind = rng.choice(list(tags)), rng.random()
        base = rng.randrange(4) << 12
        if kind < 0.4:
            size = rng.choice([1, 4, 8, 60, 120])
            world.add(write(rid, at=base + rng.randrange(4000 - size) // 8 * 8, size=size,
                            ep=rng.random() < 0.05, attr=rng.choice([0, 2, 4])),
                      aborted=rng.random() < 0.05)
        elif kind < 0.75:
            tlp = rng.choice([msi(rid, rng.getrandbits(32), ep=rng.random() < 0.05,
                                  attr=rng.choice([0, 2, 4])),
                              intx(rid, rng.choice([0x20, 0x27, 0x18]))])
            world.add_interrupt(tlp, aborted=tlp.kind == Kind.MWR and rng.random() < 0.05)
        else:
            world.add(Tlp.read(base + rng.randrange(3000), rng.choice([0, 1, 8, 300]), rid=rid,
                               tag=tags[rid]))
            tags[rid] += 1


@pytest.mark.parametrize("seed, dma", [(1, {}), (2, {"fabric_ordered": False}),
                                       (3, {"write_ids": 1}), (4, {"write_ids": 2})])
def test_random_signals_between_writes_and_reads(seed, dma):
    rng   = random.Random(seed)
    pages = {}
    for n, rid in enumerate((A, B, 0x302)):
        for page, how in enumerate(({}, {}, {"denied": "UR"}, {"peer": True})):
            frame = (8 << 24 if how.get("peer") else 1) + 16 * n + page
            pages[rid, page] = Page(frame, **how)
    world = world_of(pages=pages, seed=seed, dma=dma, latency=lambda: rng.choice([1, 5, 40]),
                     stall=lambda: rng.random() < 0.2,
                     translate_latency=lambda: rng.choice([1, 2, 20]),
                     gap=lambda: rng.choice([0, 0, 0, 0, 1, 5]))
    random_ops(world, rng, 60)
    world.run(simulate)
    assert len(world.signals) > 10


@pytest.mark.parametrize("enabled", [False, True])
def test_access_that_leads_into_the_aperture_is_denied_and_recorded(enabled):
    world = world_of(pages={(A, 1): Page(8 << 24 | 5, peer=enabled)})
    if not enabled:
        world.aperture = None
    world.add(write(A, at=0x1008))
    world.add(Tlp.read(0x1010, 8, rid=A, tag=3))
    world.add(write(A, at=8))
    world.run(simulate)
    assert len(world.refusals) == enabled
    assert sorted(world.errors) == [(16, A, 0x1008), (16, A, 0x1010)][:2 * enabled]
