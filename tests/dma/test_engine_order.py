# amaranth: UnusedElaboratable=no

"""Rules S5, S11 and S12, on the whole engine."""

import random

import pytest

from iovirt.config import DmaConfig, PcieConfig
from iovirt.dma import DmaEngine
from iovirt_sim.dma import DmaWorld, Page
from iovirt_sim.harness import simulate
from iovirt_sim.tlp import Kind, Tlp

A, B = 0x100, 0x201  # of different ordering classes
FRAMES = {(A, 0): 0x40, (B, 0): 0x80}


def world_of(*, latency=60, denied=(), **dma):
    dut = DmaEngine(data_width=64, address_width=40, pcie=PcieConfig(max_payload_bytes=128),
                    dma=DmaConfig(**{"writes": 4, "reads": 4, "read_pieces": 4, **dma}))
    pages = {**{key: Page(frame) for key, frame in FRAMES.items()},
             **{(rid, 1): Page(denied=how) for rid, how in denied}}
    return DmaWorld(dut, rng=random.Random(1), pages=pages, max_payload=128, latency=latency)


def write(rid, at=0, size=8, **fields):
    return Tlp.write(at, bytes(range(size)), rid=rid, **fields)


def bursts(world, rid, *, of_writes):
    return [burst for burst in world.memory.bursts
            if burst.write == of_writes and burst.address >> 12 == FRAMES[rid, 0]]


def test_read_waits_for_writes_of_its_source_only():
    world = world_of()
    for tlp in (write(A), Tlp.read(0, 8, rid=A, tag=1), Tlp.read(0, 8, rid=B, tag=2)):
        world.add(tlp)
    world.run(simulate)
    written, = bursts(world, A, of_writes=True)
    assert bursts(world, A, of_writes=False)[0].issued >= written.done
    assert bursts(world, B, of_writes=False)[0].issued < written.done


def test_read_does_not_wait_for_later_writes():
    world = world_of(latency=lambda: 60)
    world.add(write(A))
    world.add(Tlp.read(0, 8, rid=A, tag=1))
    for n in range(12):
        world.add(write(A, at=64 + 8 * n))
    world.run(simulate)
    read, = bursts(world, A, of_writes=False)
    done = [burst.done for burst in bursts(world, A, of_writes=True)]
    assert done[0] <= read.issued < done[-1]


def test_denied_write_does_not_stand_for_one_that_is_still_out():
    world = world_of(denied=[(A, "UR")])
    for tlp in (write(A), Tlp.read(0, 8, rid=A, tag=1), *[write(A, at=0x1000)] * 4):
        world.add(tlp)
    world.run(simulate)
    assert bursts(world, A, of_writes=False)[0].issued >= bursts(world, A, of_writes=True)[0].done


def test_flush_waits_like_any_read():
    world = world_of()
    world.add(write(A))
    world.add(Tlp.read(0x10, 0, rid=A, tag=1))
    world.run(simulate)
    assert bursts(world, A, of_writes=False)[0].issued >= bursts(world, A, of_writes=True)[0].done


def test_link_order_makes_one_source_of_all():
    world = world_of(order_scope="link")
    world.add(write(A))
    world.add(Tlp.read(0, 8, rid=B, tag=1))
    world.run(simulate)
    assert bursts(world, B, of_writes=False)[0].issued >= bursts(world, A, of_writes=True)[0].done


@pytest.mark.parametrize("ordered, attr, waits", [(True, 0, False), (False, 0, True),
                                                  (False, 2, False)])
def test_write_waits_for_responses_if_the_fabric_does_not_keep_order(ordered, attr, waits):
    world = world_of(fabric_ordered=ordered)
    world.add(write(A))
    world.add(write(A, at=64, attr=attr))
    world.run(simulate)
    first, second = bursts(world, A, of_writes=True)
    assert (second.issued >= first.done) == waits


def test_writes_go_on_while_no_read_can():
    world = world_of(latency=5)
    for n in range(12):
        world.add(Tlp.read(8 * n, 8, rid=B, tag=n))
    for n in range(20):
        world.add(write(A, at=8 * n))
    sink = world._sink

    def blocked(port, take):
        if port is not world.dut.completion:
            return sink(port, take)

        async def testbench(ctx):
            while world.retired[0] < 20:
                await ctx.tick()
            await sink(port, take)(ctx)
        return testbench

    world._sink = blocked
    world.run(simulate)
    assert world.retired == [20, 12]


@pytest.mark.parametrize("how", ["UR", "CA"])
def test_denied_read_is_answered_and_touches_nothing(how):
    world = world_of(denied=[(A, how)])
    world.add(Tlp.read(0x1003, 300, rid=A, tag=0x2A5, tc=3, attr=1))
    world.run(simulate)
    assert len(world.refusals) == 1 and not world.memory.bursts


def test_dropped_writes_leave_no_trace_in_memory_and_no_hole_in_the_order():
    world = world_of()
    world.add(write(A), aborted=True)
    world.add(write(A, ep=True))
    world.add(Tlp(Kind.MWR, rid=A, first_be=0, payload=bytes(4)))
    world.add(Tlp.read(0, 8, rid=A, tag=1))
    world.run(simulate)
    assert not bursts(world, A, of_writes=True)
    assert [cause for cause, *_ in world.errors] == [5]


def test_read_retires_after_its_last_beat():
    world = world_of(latency=lambda: world.rng.choice([10, 90]))
    world.add(Tlp.read(0x40, 1000, rid=A, tag=1))
    times = []

    async def watch(ctx):
        async for _, _, retired in ctx.tick().sample(world.dut.retire[1].valid):
            if retired:
                times.append(world.cycles)

    world.run(lambda *benches, background, **more: simulate(
        *benches, background=[*background, watch], **more))
    assert len(times) == 1 and times[0] >= max(burst.done for burst in world.memory.bursts)
