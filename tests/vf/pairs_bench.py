"""Drive a pair engine and a model of it with the same operations."""

import random
from collections import deque
from itertools import pairwise

from iovirt.vf.pair_engine import PairEngine
from iovirt.vf.pair_layouts import PairClient
from iovirt.vf.share_layouts import PairEntry
from iovirt_sim.models.pairs import Pairs

STATIC = ("valid", "once", "paired", "device_writes", "owner", "template", "size_log2",
          "cq_size_log2", "shift", "patch_id", "function", "depth", "cq_depth", "limit", "tail")


def nvme(**changes):
    """Return the fields of a pair like those of NVMe."""
    return {"valid": 1, "once": 1, "paired": 1, "owner": 5, "template": 1, "size_log2": 3,
            "cq_size_log2": 1, "shift": 9, "patch_id": 1, "function": 2, "depth": 16,
            "cq_depth": 16, "tail": 0x402} | changes


def ring_access(**changes):
    return {"write": 0, "pair": 0, "side": 0, "colour": 5, "function": 2, "offset": 0,
            "length": 64, "empty": 0} | changes


def words_of(fields):
    """Return the two words of an entry."""
    word = PairEntry.const(fields).as_bits()
    return word & (1 << 64) - 1, word >> 64


class Bench:
    """Send operations of all clients, and compare each result with what the model says.

    Operations are given to the model in the order in which they enter the pipeline. Results are
    expected in order of each client.
    """

    def __init__(self, *, pairs=8, data_width=64, seed=0, gaps=None, **parameters):
        self.dut   = PairEngine(pairs=pairs, data_width=data_width, address_width=17, **parameters)
        self.model = Pairs(pairs)
        self.width = data_width
        self.rng   = random.Random(seed)
        self.gaps  = gaps or {}
        self.expected = {name: deque() for name in ("ring", "doorbell", "grant")}
        self.results  = {name: [] for name in self.expected}
        self.entries  = deque()
        self.shown    = deque()
        self.order    = []
        self.clock    = 0
        self.lost     = 0
        self.completed, self.denials, self.wakes = [], [], []

    def gap(self, name):
        return self.rng.randrange(self.gaps[name] + 1) if self.gaps.get(name) else 0

    async def monitor(self, ctx):
        """Give the model what enters the pipeline, and keep what goes out as pulses."""
        dut = self.dut
        async for *_, valid, op, wake, colour, lost in ctx.tick().sample(
                dut.admission.o_valid, dut.admission.o, dut.wake.valid, dut.wake.colour, dut.lost):
            self.clock += 1
            self.lost  += lost
            if wake:
                self.wakes.append(colour)
            if valid:
                self._execute(op)

    def _execute(self, op):
        self.order.append((self.clock, op.client, op.pair))
        if op.client == PairClient.RING:
            self.expected["ring"].append(self.model.ring(
                write=op.write, pair=op.pair, side=op.side, colour=op.colour,
                function=op.function, offset=op.value, length=op.length, empty=op.empty))
        elif op.client == PairClient.DOORBELL:
            self.expected["doorbell"].append(self.model.doorbell(
                read=1 - op.write, pair=op.pair, colour=op.colour, side=op.side, value=op.value))
        elif op.client == PairClient.GRANT:
            self.expected["grant"].append(self.model.grant(pair=op.pair, limit=op.value))
        elif op.write:
            self.model.put(op.pair, **self.entries.popleft())
        else:
            self.shown.append(self.show(op.pair))

    def show(self, number):
        """Return the words of a pair."""
        pair = self.model.pairs[number]
        static = {name: getattr(pair, name) for name in STATIC}
        counts = pair.requested, pair.granted, pair.first, pair.head
        return [*words_of(static), sum(count << 16 * n for n, count in enumerate(counts)),
                pair.in_flight | pair.unread << 16 | pair.next << 32, pair.fetched, 0, 0, 0]

    async def send(self, ctx, name, fields):
        """Send an operation."""
        for _ in range(self.gap(name)):
            await ctx.tick()
        port = getattr(self.dut, name)
        ctx.set(port.payload, fields)
        ctx.set(port.valid, 1)
        await ctx.tick().until(port.ready)
        ctx.set(port.valid, 0)

    async def ask(self, ctx, name, fields):
        """Send an operation, wait for its verdict, and return it."""
        number = len(self.results[name])
        await self.send(ctx, name, fields)
        while len(self.results[name]) == number:
            await ctx.tick()
        return self.results[name][-1]

    def receiver(self, name):
        """Return a testbench that compares the verdicts of a client."""
        async def testbench(ctx):
            port = getattr(self.dut, f"{name}_verdict")
            ctx.set(port.ready, not self.gaps.get(name))
            async for *_, valid, ready, verdict in ctx.tick().sample(port.valid, port.ready,
                                                                     port.payload):
                if valid and ready:
                    wanted = self.expected[name].popleft()
                    found  = {field: getattr(verdict, field) for field in wanted}
                    assert found == wanted, (name, self.clock, found, wanted)
                    self.results[name].append(found)
                if self.gaps.get(name):
                    ctx.set(port.ready, self.rng.randrange(self.gaps[name] + 1) == 0)
        return testbench

    def collector(self, name, take):
        """Return a testbench that keeps what a stream says."""
        async def testbench(ctx):
            port = getattr(self.dut, name)
            ctx.set(port.ready, not self.gaps.get(name))
            async for *_, valid, ready, payload in ctx.tick().sample(port.valid, port.ready,
                                                                     port.payload):
                if valid and ready:
                    getattr(self, {"denial": "denials"}.get(name, name)).append(take(payload))
                if self.gaps.get(name):
                    ctx.set(port.ready, self.rng.randrange(self.gaps[name] + 1) == 0)
        return testbench

    @property
    def background(self):
        return [self.monitor, *(self.receiver(name) for name in self.expected),
                self.collector("completed", lambda p: (p.colour, p.count)),
                self.collector("denial", lambda p: (p.cause.name, p.colour, p.address))]

    async def access(self, ctx, address, write=False, data=0, strobe=None):
        """Access the window; return (data, error)."""
        request, response = self.dut.window.request, self.dut.window.response
        strobe = (1 << self.width // 8) - 1 if strobe is None else strobe
        ctx.set(request.p, {"address": address, "write": write, "data": data,
                            "strobe": strobe if write else 0})
        ctx.set(request.valid, 1)
        await ctx.tick().until(request.ready)
        ctx.set(request.valid, 0)
        ctx.set(response.ready, 1)
        data, error = await ctx.tick().sample(response.p.data, response.p.error).until(
            response.valid)
        ctx.set(response.ready, 0)
        return data, error

    async def put(self, ctx, number, **fields):
        """Write an entry."""
        word = PairEntry.const(fields).as_bits()
        self.entries.append(fields)
        step = self.width // 8
        for at in range(0, 16, step):
            _, error = await self.access(ctx, 64 * number + at, True,
                                         word >> 8 * at & (1 << self.width) - 1)
            assert not error

    async def read(self, ctx, number, word):
        """Read a 64-bit word of a pair, and compare it."""
        step = self.width // 8
        for at in range(0, 8, step):
            data, error = await self.access(ctx, 64 * number + 8 * word + at)
            wanted = self.shown.popleft()[word] >> 8 * at & (1 << self.width) - 1
            assert (data, error) == (wanted, 0), (number, word, hex(data), hex(wanted))

    async def settle(self, ctx):
        """Wait until everything has been answered."""
        for _ in range(40):
            await ctx.tick()
        while any(self.expected.values()):
            await ctx.tick()
        for _ in range(20):
            await ctx.tick()

    def check(self):
        """Check what was told besides verdicts."""
        model = self.model
        assert self.completed == model.completed
        assert self.wakes == model.wakes
        if not self.lost:
            assert self.denials == model.denials
        assert len(self.denials) + self.lost == len(model.denials)
        last = {}
        for clock, _, pair in self.order:
            assert clock - last.get(pair, -99) >= 15
            last[pair] = clock
        assert all(one[0] < other[0] for one, other in pairwise(self.order))
