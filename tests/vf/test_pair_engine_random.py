import pytest

from iovirt_sim.harness import simulate

from .pairs_bench import Bench, nvme, ring_access

#: Depth of the ring and of its completions, entry sizes, limit.
SHAPES = [(2, 2, 3, 1, 0), (16, 5, 3, 1, 0), (65, 4096, 3, 1, 0), (100, 64, 1, 1, 9),
          (4096, 100, 3, 1, 200), (130, 37, 0, 0, 0), (64, 64, 2, 1, 0), (200, 3, 1, 3, 5)]


class Traffic:
    """What guests, a device and the scheduler might do to the pairs, and what they must not."""

    def __init__(self, bench):
        self.bench, self.rng = bench, bench.rng

    def pick(self, useful):
        """Return the number of a pair, most often a useful one, and what is known of it.

        Now and then the number is beyond the table.
        """
        model  = self.bench.model
        usual  = [number for number, pair in enumerate(model.pairs) if pair.valid and useful(pair)]
        number = self.rng.randrange(model.number)
        if usual and self.rng.random() < .7:
            number = self.rng.choice(usual)
        pair   = model.pairs[number]
        return (number if self.rng.random() < .98 else number + model.number), pair

    def colour(self, pair):
        return pair.owner if self.rng.random() < .95 else self.rng.randrange(256)

    def entry(self):
        rng = self.rng
        depth, cq_depth, size, cq_size, limit = rng.choice(SHAPES)
        broken = rng.random() < .05
        return nvme(
            owner=rng.randrange(1, 4), depth=rng.choice([0, 1, 4097]) if broken else depth,
            cq_depth=cq_depth, size_log2=size, cq_size_log2=cq_size, limit=limit,
            once=rng.random() < .8, paired=rng.random() < .75, device_writes=rng.random() < .3,
            template=rng.randrange(8), function=rng.randrange(4), patch_id=rng.randrange(2),
            shift=rng.randrange(16), tail=rng.getrandbits(22))

    def grant(self):
        number, _ = self.pick(lambda pair: pair.room())
        return {"pair": number, "limit": self.rng.choice([0, 1, 2, 5, 64, 255])}

    def doorbell(self):
        rng = self.rng
        number, pair = self.pick(lambda pair: pair.requested == pair.granted)
        side  = rng.randrange(2)
        depth = (pair.cq_depth if side else pair.depth) or 1
        if side:
            value = (pair.head + rng.randint(0, pair.unread)) % depth
        else:
            free  = (pair.first - pair.requested - 1) % depth
            value = (pair.requested + rng.randint(0, min(free, rng.choice([2, 80])))) % depth
        if rng.random() < .15:
            value = rng.choice([depth, depth - 1, value + 1, rng.randrange(depth),
                                1 << 13, 1 << 31, rng.getrandbits(32)])
        return {"read": rng.random() < .1, "pair": number, "colour": self.colour(pair),
                "side": side, "value": value & 0xffff_ffff}

    def ring(self):
        rng = self.rng
        number, pair = self.pick(lambda pair: pair.once and pair.waiting)
        side, write  = rng.choice([(0, 0), (0, 0), (1, 1), (1, 1), (0, 1), (1, 0)])
        size  = 8 << (pair.cq_size_log2 if side else pair.size_log2)
        depth = (pair.cq_depth if side else pair.depth) or 1
        if side:
            first, count = pair.next, rng.choice([1, 1, 1, 2, 4])
        else:
            first, count = pair.first, rng.choice([1, 1, 2, 8, 64, 4096])
            first += rng.choice([0, 0, 0, 1, 3, len(pair.waiting) // 2])
        first = (first if rng.random() < .85 else rng.randrange(depth)) % depth
        start, end = first * size, min(first + count, depth) * size
        if rng.random() < .1:
            start, end = start + rng.choice([0, 4, size - 4]), end - rng.choice([0, 4, size - 4])
        if rng.random() < .05:
            end += rng.choice([4, size])
        if rng.random() < .02:
            start |= 1 << rng.randrange(22)
        start &= (1 << 22) - 1
        return ring_access(
            write=write, pair=number, side=side, colour=self.colour(pair),
            function=pair.function if rng.random() < .97 else rng.randrange(4), offset=start,
            length=max(4, min(end - start, 4096)), empty=rng.random() < .03)


GAPS = {"none": {}, "some": dict.fromkeys(["ring", "doorbell", "grant", "completed"], 2),
        "stalls": {"ring": 1, "doorbell": 15, "grant": 20, "completed": 8, "denial": 40}}


@pytest.mark.parametrize("seed, data_width, gaps", [(1, 32, "none"), (2, 64, "some"),
                                                    (3, 64, "stalls")])
def test_random_traffic_is_judged_like_in_the_model(seed, data_width, gaps):
    bench   = Bench(pairs=8, data_width=data_width, seed=seed, gaps=GAPS[gaps])
    traffic = Traffic(bench)
    running, ended = [], []

    def client(name, count):
        async def testbench(ctx):
            while len(running) < 8:
                await ctx.tick()
            for _ in range(count):
                await bench.send(ctx, name, getattr(traffic, name)())
            ended.append(name)
        return testbench

    async def window(ctx):
        for number in range(8):
            await bench.put(ctx, number, **(traffic.entry() | {"valid": 1}))
            running.append(number)
        while len(ended) < len(counts):
            await ctx.tick().repeat(bench.rng.randrange(1, 40))
            number = bench.rng.randrange(8)
            if bench.rng.random() < .07:
                await bench.put(ctx, number, **traffic.entry())
            else:
                await bench.read(ctx, number, bench.rng.randrange(8))
        await bench.settle(ctx)
        for number in range(8):
            for word in range(5):
                await bench.read(ctx, number, word)

    counts = {"ring": 150, "doorbell": 70, "grant": 50}
    simulate(bench.dut, window, *(client(*item) for item in counts.items()),
             background=bench.background, deadline=30_000)
    bench.check()
    results = bench.results
    assert {name: len(found) for name, found in results.items()} == counts
    assert sum(found["allow"] not in (0, (1 << 64) - 1) for found in results["ring"]) > 3
    assert sum(found["count"] for found in results["grant"]) > 30
    assert sum(count for _, count in bench.completed) > 3
    assert {cause for cause, *_ in bench.denials} == {"ODD"}
