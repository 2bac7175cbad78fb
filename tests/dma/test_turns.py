# amaranth: UnusedElaboratable=no

"""Rule S4: a completion waits for the posted requests before it, and for nothing else."""

import random

import pytest
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from iovirt.config import DmaConfig, PcieConfig
from iovirt.dma import DmaEngine
from iovirt.dma.turns import PostedTurns
from iovirt_sim.dma import DmaWorld, Page
from iovirt_sim.harness import simulate
from iovirt_sim.tlp import Tlp

A, B = 0x100, 0x201


def released(done, stamp):
    return not (done - stamp) >> 11 & 1


@pytest.mark.parametrize("change, message", [
    ({"capacity": 0}, r"^Capacity must be an integer of at least 1, not 0$"),
    ({"signals": 1}, r"^Whether there are signals must be true or false, not 1$"),
    ({"finishes": None}, r"^Number of finish ports must be an integer of at least 1, not None$"),
])
def test_wrong_parameters(change, message):
    with pytest.raises((TypeError, ValueError), match=message):
        PostedTurns(**{"capacity": 4, "signals": True, "finishes": 2} | change)


class Traffic:
    """Posted requests and completions at random, and what must be true of them."""

    def __init__(self, dut, rng, *, starts, longest):
        self.dut, self.rng, self.starts, self.longest = dut, rng, starts, longest
        self.clock   = 0
        self.alive   = {}   # number: [turn, clock of the end, clock when the signal is dealt with]
        self.handed  = {}   # the same, once the interrupt block has it
        self.waiting = []   # (stamp, numbers of what came before, clock)
        self.waits   = []   # clocks from when nothing before is left to the release
        self.number  = 0

    async def testbench(self, ctx):
        dut, rng = self.dut, self.rng
        asked, quiet = set(), 0
        for self.clock in range(1500):
            ending = self.clock > 1300
            kind   = rng.random()
            start  = not ending and kind < self.starts and len(self.alive) < dut.capacity - 4
            comes  = not ending and not start and kind > 0.9
            due    = [n for n, entry in self.alive.items() if entry[1] <= self.clock]
            ends   = rng.sample(due, min(len(due), len(dut.finish)))
            for port in dut.finish:
                ctx.set(port.valid, 0)
            for n, port in zip(ends, dut.finish, strict=False):
                ctx.set(port.valid, 1)
                ctx.set(port.turn, self.alive[n][0])
            for n in [n for n, entry in self.handed.items() if entry[2] <= self.clock]:
                del self.handed[n]
            ctx.set(dut.settled, not self.handed)
            ctx.set(dut.snapshot_done, not asked & set(self.handed))
            ctx.set(dut.start, start)
            ctx.set(dut.stamped, comes)
            _, _, turn, stamp, done, snapshot = await ctx.tick().sample(
                dut.turn, dut.stamp, dut.done, dut.snapshot)
            self.check(done)
            if snapshot:
                asked = set(self.handed)
            if comes:
                before = set(self.alive) | set(self.handed)
                self.waiting.append([stamp, before, self.clock if not before else None])
                assert before or quiet < 9 or released(done, stamp), "delayed while idle"
            quiet = 0 if self.alive or self.handed else quiet + 1
            for n in ends:
                entry = self.alive.pop(n)
                if entry[2]:
                    self.handed[n] = [*entry[:2], self.clock + entry[2]]
            if start:
                self.number += 1
                self.alive[self.number] = [turn, self.clock + rng.randrange(1, self.longest),
                                           dut.signals and rng.choice([0, 0, 3, 40])]
        assert not self.waiting, "completions were held for ever"

    def check(self, done):
        """Nothing goes too early."""
        present, left = set(self.alive) | set(self.handed), []
        for entry in self.waiting:
            stamp, before, since = entry
            before &= present
            if not before and since is None:
                entry[2] = self.clock
            if released(done, stamp):
                assert not before, f"a completion passed {before}"
                self.waits.append(self.clock - entry[2])
            else:
                left.append(entry)
        self.waiting = left


@pytest.mark.parametrize("signals", [False, True])
@pytest.mark.parametrize("starts, longest", [(0.02, 20), (0.5, 12), (0.7, 60)])
def test_completions_go_when_what_came_before_is_done(signals, starts, longest):
    rng = random.Random(longest)
    dut = PostedTurns(capacity=64, signals=signals, finishes=3)
    traffic = Traffic(dut, rng, starts=starts, longest=longest)
    simulate(dut, traffic.testbench)
    assert len(traffic.waits) > 50
    # A completion waits for two turns at most, each of which ends with its longest request.
    assert max(traffic.waits) <= 2 * (longest + 8 + 2 * 40 * signals)


class TurnedEngine(wiring.Component):
    """An engine whose writes are counted in turns, with a port for completions."""

    def __init__(self, engine):
        self.engine, self.dma, self.shape = engine, engine.dma, engine.shape
        self.turns  = PostedTurns(capacity=engine.posted, signals=True,
                                  finishes=len(engine.finish))
        super().__init__({
            **engine.signature.members,
            "stamped": In(1), "stamp": Out(12), "done": Out(12),
            "settled": In(1, init=1), "snapshot_done": In(1, init=1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.engine, m.submodules.turns = engine, turns = self.engine, self.turns
        for name, member in engine.signature.members.items():
            outer, inner = getattr(self, name), getattr(engine, name)
            if not member.is_signature:
                m.d.comb += inner.eq(outer) if member.flow == In else outer.eq(inner)
            elif member.dimensions:
                for n in range(len(inner)):
                    wiring.connect(m, inner[n], wiring.flipped(outer[n]))
            elif member.flow == In:
                wiring.connect(m, wiring.flipped(outer), inner)
            else:
                wiring.connect(m, inner, wiring.flipped(outer))
        held, first = Signal(), self.write.payload.first
        m.d.comb += [
            engine.write.payload.header.turn.eq(Mux(first, turns.turn, held)),
            turns.start.eq(self.write.valid & self.write.ready & first),
            *(getattr(turns, name).eq(getattr(self, name))
              for name in ("stamped", "settled", "snapshot_done")),
            self.stamp.eq(turns.stamp),
            self.done.eq(turns.done),
        ]
        with m.If(turns.start):
            m.d.sync += held.eq(turns.turn)
        for n, port in enumerate(engine.finish):
            m.d.comb += [turns.finish[n].valid.eq(port.valid), turns.finish[n].turn.eq(port.turn)]
        return m


@pytest.mark.parametrize("seed", [1, 2])
def test_completion_waits_for_the_responses_of_all_earlier_writes(seed):
    rng = random.Random(seed)
    dut = TurnedEngine(DmaEngine(data_width=64, address_width=40, signals=4,
                                 pcie=PcieConfig(max_payload_bytes=128),
                                 dma=DmaConfig(writes=4, reads=4, read_pieces=4)))
    pages = {(A, 0): Page(0x40), (B, 0): Page(0x80), (A, 1): Page(denied="UR")}
    world = DmaWorld(dut, rng=rng, pages=pages, max_payload=128,
                     latency=lambda: rng.choice([2, 30, 120]), gap=lambda: rng.choice([0, 0, 9]))
    for n in range(60):
        rid = rng.choice([A, B])
        if rng.random() < 0.2:
            world.add_interrupt(Tlp.write(0x1000, bytes(4), rid=rid, ep=rng.random() < 0.2))
        else:
            world.add(Tlp.write(rng.choice([8 * n, 0x1000 if rid == A else 0]), bytes(40), rid=rid),
                      aborted=rng.random() < 0.1)
    frames = {A: 0x40, B: 0x80}
    waiting, waits = [], []

    def check(started):
        """The first ``started`` posted requests are done."""
        for rid, frame in frames.items():
            done = sum(burst.done is not None and burst.address >> 12 == frame
                       for burst in world.memory.bursts)
            assert done >= world.writes_before(started, rid), "a completion passed a write"
        sent = {index for index in world.interrupts if index < started
                and not (world.ops[index][0].ep or world.ops[index][2])}
        assert sent <= {index for index, *_ in world.signals}, "a completion passed a signal"

    async def completions(ctx):
        started = 0
        while True:
            comes = rng.random() < 0.1 and not ctx.get(dut.turns.start)
            ctx.set(dut.stamped, comes)
            _, _, starts, stamp, done = await ctx.tick().sample(dut.turns.start, dut.stamp,
                                                                dut.done)
            for entry in list(waiting):
                if released(done, entry[0]):
                    check(entry[1])
                    waits.append(world.memory.cycle - entry[2])
                    waiting.remove(entry)
            started += starts
            if comes and not starts:
                waiting.append((stamp, started, world.memory.cycle))

    world.run(lambda *benches, background, **more: simulate(
        *benches, background=[*background, completions], **more))
    assert len(waits) > 20 and max(waits) > 30 and not waiting
