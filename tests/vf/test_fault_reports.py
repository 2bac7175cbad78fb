import random

import pytest

from iovirt.vf.fault_reports import FaultReports
from iovirt.vf.share_layouts import DenialCause
from iovirt_sim.harness import simulate
from iovirt_sim.streams import receive

from .guest_bench import gaps


@pytest.mark.parametrize("parameters, message", [
    ({"reads": 1}, r"^Number of reads must be an integer in 2\.\.256, not 1$"),
    ({"writes": 257}, r"^Number of writes must be an integer in 2\.\.256, not 257$"),
])
def test_wrong_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        FaultReports(**{"reads": 8, "writes": 8, **parameters})


class Bench:
    """Tell owners, then contain their accesses; hear who is frozen and what is recorded."""

    def __init__(self, rounds, *, seed, freeze_gap, denial_gap, reads=8, writes=4):
        self.rng = random.Random(seed)
        self.dut = FaultReports(reads=reads, writes=writes)
        self.places = [(0, n) for n in range(reads)] + [(1, n) for n in range(writes)]
        self.rounds, self.gaps = rounds, (freeze_gap, denial_gap)
        self.wanted, self.frozen, self.denials, self.lost = [], [], [], 0

    async def source(self, ctx):
        dut, rng = self.dut, self.rng
        for _ in range(self.rounds):
            owners = {place: (rng.randrange(1, 256), rng.getrandbits(24)) for place in self.places}
            for (write, slot), (colour, device_id) in owners.items():
                for name, value in (("write", write), ("slot", slot), ("colour", colour),
                                    ("device_id", device_id), ("en", 1)):
                    ctx.set(getattr(dut.owner, name), value)
                await ctx.tick()
            ctx.set(dut.owner.en, 0)
            for write, slot in rng.sample(self.places, len(self.places)):
                ctx.set(dut.contained.write, write)
                ctx.set(dut.contained.slot, slot)
                ctx.set(dut.contained.valid, 1)
                self.wanted.append(owners[write, slot])
                await ctx.tick()
                ctx.set(dut.contained.valid, 0)
                if rng.random() < .2:
                    await ctx.tick()
            await ctx.tick().repeat(3 * len(self.places))

    async def freezes(self, ctx):
        for _ in range(self.rounds * len(self.places)):
            (colour,), = await receive(ctx, self.dut.freeze, 1, gap=gaps(1, self.gaps[0]))
            self.frozen.append(colour)

    async def records(self, ctx):
        while True:
            (denial,), = await receive(ctx, self.dut.denial, 1, gap=gaps(2, self.gaps[1]))
            self.denials.append(denial)

    async def losses(self, ctx):
        async for _, _, lost in ctx.tick().sample(self.dut.lost):
            self.lost += lost

    def run(self):
        simulate(self.dut, self.source, self.freezes, background=[self.records, self.losses])
        return self


@pytest.mark.parametrize("seed, freeze_gap, denial_gap", [(1, 1, 1), (2, 4, 3)])
def test_each_contained_access_freezes_its_owner_and_is_recorded(seed, freeze_gap, denial_gap):
    bench = Bench(12, seed=seed, freeze_gap=freeze_gap, denial_gap=denial_gap).run()
    assert bench.lost == 0 and bench.frozen == [colour for colour, _ in bench.wanted]
    assert [(d.colour, d.device_id) for d in bench.denials] == bench.wanted
    assert {(d.cause, d.address) for d in bench.denials} == {(DenialCause.ADDRESS, 0)}


def test_reads_that_memory_aborts_freeze_their_owners_beside_others_that_are_contained():
    rng = random.Random(4)
    dut = FaultReports(reads=8, writes=4)
    wanted, frozen, recorded = [], [], []

    async def source(ctx):
        for _ in range(12):
            owners = {}
            for write, slot in [(0, n) for n in range(8)] + [(1, n) for n in range(4)]:
                owners[write, slot] = colour, device_id = rng.randrange(1, 256), rng.getrandbits(24)
                for name, value in (("write", write), ("slot", slot), ("colour", colour),
                                    ("device_id", device_id), ("en", 1)):
                    ctx.set(getattr(dut.owner, name), value)
                await ctx.tick()
            ctx.set(dut.owner.en, 0)
            # Writes are contained while reads are aborted, in the same clocks.
            for n, slot in enumerate(rng.sample(range(8), 8)):
                ctx.set(dut.contained.valid, n < 4)
                ctx.set(dut.contained.write, 1)
                ctx.set(dut.contained.slot, n)
                ctx.set(dut.contained.abort, 1)
                ctx.set(dut.contained.abort_slot, slot)
                wanted.extend(owners[place] for place in ((1, n), (0, slot)) if place in owners)
                await ctx.tick()
            ctx.set(dut.contained.valid, 0)
            ctx.set(dut.contained.abort, 0)
            await ctx.tick().repeat(40)

    def take(port, got, seed):
        async def testbench(ctx):
            while True:
                (item,), = await receive(ctx, port, 1, gap=gaps(seed, 2))
                got.append(item)
        return testbench

    async def losses(ctx):
        async for _, _, lost in ctx.tick().sample(dut.lost):
            assert not lost

    simulate(dut, source, background=[take(dut.freeze, frozen, 1),
                                      take(dut.denial, recorded, 2), losses])
    assert sorted(frozen) == sorted(colour for colour, _ in wanted)
    assert sorted((d.colour, d.device_id) for d in recorded) == sorted(wanted)


def test_everyone_is_frozen_though_no_record_is_taken():
    bench = Bench(5, seed=3, freeze_gap=2, denial_gap=10_000).run()
    assert bench.frozen == [colour for colour, _ in bench.wanted]
    assert bench.lost == len(bench.wanted) - 12 - len(bench.denials) > 0
