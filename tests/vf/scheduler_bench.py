"""Stand-ins for what is around the scheduler: guest table, pair engine, device, and registers."""

import random
from collections import Counter, deque

from amaranth.sim import Simulator

from iovirt.vf.scheduler import Scheduler
from iovirt_sim.harness import CLOCK_PERIOD

OFF, RUN, FREEZE, DRAIN, QUARANTINE = range(5)
SETTINGS = {"quantum": 8, "burst": 8, "most": 64, "byte_shift": 31}


def make(guests=8, **changes):
    return Scheduler(**{"guests": guests, "tick_log2": 9, "data_width": 64, "address_width": 22,
                        **changes})


def run_long(bench, testbench):
    """Simulate without looking at the rules of streams, which takes most of the time."""
    sim = Simulator(bench.dut)
    sim.add_clock(CLOCK_PERIOD)
    sim.add_testbench(testbench)
    for background in bench.background():
        sim.add_testbench(background, background=True)
    sim.run()


class SchedulerBench:
    """Guests with pairs, a device that serves commands in the order of their grants.

    The device takes ``service(guest)`` clocks for a command; ``size(guest)`` are its bytes, charged
    when it is fetched. Nobody tells the completion of commands of ``silent`` guests.
    """

    def __init__(self, dut, *, pairs, seed=0, settings=None, service=lambda guest: 20,
                 size=lambda guest: 0, lag=4, stalls=0.0, depth=None, silent=()):
        self.dut, self.rng = dut, random.Random(seed)
        self.settings = {**SETTINGS, **(settings or {})}
        self.service, self.size, self.lag, self.stalls = service, size, lag, stalls
        self.state = dict.fromkeys(pairs, RUN)
        self.first, self.pairs, place = {}, pairs, 0
        for guest, number in pairs.items():
            self.first[guest], place = place, place + number
        self.owner = {self.first[guest] + n: guest for guest in pairs for n in range(pairs[guest])}
        self.silent = set(silent)
        self.depth = depth               # most commands in flight of a pair
        self.backlog = Counter()         # requested and not granted, by pair
        self.flying = Counter()          # by guest
        self.pair_flying = Counter()
        self.limit = {}
        self.granted, self.done, self.moved = Counter(), Counter(), Counter()
        self.device, self.verdicts = deque(), deque()
        self.log = []                    # (clock, guest, pair, count)
        self.rung = []
        self.counted = Counter()
        self.pulses = {"wake": deque(), "kick": deque()}
        self.clock, self.hung = 0, set()
        self.total_seen = 0

    def background(self):
        return [self.table, self.engine, self.judge, self.serve, self.doorbells, self.statistics,
                self.wakes, self.time]

    def submit(self, guest, count, pair=0):
        """Let a guest ask for commands."""
        self.backlog[self.first[guest] + pair] += count
        self.pulses["wake"].append(guest)

    def set_state(self, guest, state):
        self.state[guest] = state
        if state == RUN:
            self.pulses["kick"].append(guest)

    async def pause(self, ctx):
        while self.rng.random() < self.stalls:
            await ctx.tick()

    async def time(self, ctx):
        ctx.set(self.dut.settings, self.settings)
        while True:
            await ctx.tick()
            self.clock += 1
            self.total_seen = max(self.total_seen, ctx.get(self.dut.in_flight))

    async def wakes(self, ctx):
        while True:
            for name, queue in self.pulses.items():
                port = getattr(self.dut, name)
                ctx.set(port.valid, bool(queue))
                ctx.set(port.colour, queue.popleft() if queue else 0)
            await ctx.tick()

    async def table(self, ctx):
        request, answer = self.dut.lookup.request, self.dut.lookup.answer
        while True:
            await self.pause(ctx)
            ctx.set(request.ready, 1)
            guest, = await ctx.tick().sample(request.payload).until(request.valid)
            ctx.set(request.ready, 0)
            await ctx.tick().repeat(self.lag)
            known = guest in self.pairs
            ctx.set(answer.payload, {"state": self.state[guest], "fatal": 0, "function": guest % 4,
                                     "first_pair": self.first[guest], "pairs": self.pairs[guest],
                                     "ok": 1} if known else
                    {"state": RUN, "fatal": 0, "function": 3, "first_pair": 5, "pairs": 3, "ok": 0})
            ctx.set(answer.valid, 1)
            await ctx.tick().until(answer.ready)
            ctx.set(answer.valid, 0)

    def room(self, pair):
        room = self.backlog[pair]
        return room if self.depth is None else min(room, self.depth - self.pair_flying[pair])

    async def engine(self, ctx):
        """Take a grant per clock, and judge it at once."""
        grant = self.dut.grant
        while True:
            await self.pause(ctx)
            ctx.set(grant.ready, 1)
            asked, = await ctx.tick().sample(grant.payload).until(grant.valid)
            if self.stalls:
                ctx.set(grant.ready, 0)
            pair, guest = asked.pair, self.owner[asked.pair]
            assert asked.limit <= max(self.settings["burst"], 1)
            count = min(asked.limit, self.room(pair))
            if count:
                self.backlog[pair] -= count
                self.pair_flying[pair] += count
                self.flying[guest] += count if guest not in self.silent else 0
                self.granted[guest] += count
                self.log.append((self.clock, guest, pair, count))
                assert sum(self.flying.values()) <= self.settings["most"]
                assert not self.limit.get(guest) or self.flying[guest] <= self.limit[guest]
                self.device.extend([pair] * count)
            self.verdicts.append((self.clock + self.lag, {
                "count": count, "more": self.room(pair) > 0, "granted": 7, "tail": pair,
                "function": guest % 4, "paired": guest not in self.silent}))

    async def judge(self, ctx):
        verdict = self.dut.verdict
        while True:
            if not self.verdicts or self.verdicts[0][0] > self.clock:
                ctx.set(verdict.valid, 0)
                await ctx.tick()
                continue
            ctx.set(verdict.payload, self.verdicts.popleft()[1])
            ctx.set(verdict.valid, 1)
            await ctx.tick().until(verdict.ready)

    async def serve(self, ctx):
        """Fetch and complete commands."""
        dut = self.dut
        while True:
            command = next((pair for pair in self.device if self.owner[pair] not in self.hung),
                           None)
            if command is None:
                await ctx.tick()
                continue
            self.device.remove(command)
            guest = self.owner[command]
            size = self.size(guest)
            if size:
                ctx.set(dut.charge.payload, {"colour": guest, "bytes": size})
                ctx.set(dut.charge.valid, 1)
                await ctx.tick().until(dut.charge.ready)
                ctx.set(dut.charge.valid, 0)
                self.moved[guest] += size
            await ctx.tick().repeat(self.service(guest))
            self.complete(guest, command)
            if guest not in self.silent:
                ctx.set(dut.completed.payload, {"colour": guest, "count": 1})
                ctx.set(dut.completed.valid, 1)
                await ctx.tick().until(dut.completed.ready)
                ctx.set(dut.completed.valid, 0)
            if self.backlog[command]:
                self.pulses["wake"].append(guest)

    def complete(self, guest, pair):
        self.flying[guest] -= guest not in self.silent
        self.pair_flying[pair] -= 1
        self.done[guest] += 1

    async def doorbells(self, ctx):
        stream = self.dut.doorbell
        while True:
            await self.pause(ctx)
            ctx.set(stream.ready, 1)
            rung, = await ctx.tick().sample(stream.payload).until(stream.valid)
            ctx.set(stream.ready, 0)
            self.rung.append((rung.function, rung.tail, rung.value))

    async def statistics(self, ctx):
        stream = self.dut.count
        while True:
            await self.pause(ctx)
            ctx.set(stream.ready, 1)
            event, = await ctx.tick().sample(stream.payload).until(stream.valid)
            ctx.set(stream.ready, 0)
            self.counted[event.colour, event.counter.value] += event.amount

    async def access(self, ctx, guest, word, value=None, strobe=0xff):
        """Write or read a word of the budget of a guest; return (data, error)."""
        return await self.access_at(ctx, 32 * guest + 8 * word, value, strobe)

    async def access_at(self, ctx, address, value, strobe):
        port = self.dut.port
        ctx.set(port.request.payload, {"address": address, "write": value is not None,
                                       "data": value or 0,
                                       "strobe": 0 if value is None else strobe})
        ctx.set(port.request.valid, 1)
        await ctx.tick().until(port.request.ready)
        ctx.set(port.request.valid, 0)
        ctx.set(port.response.ready, 1)
        answer, = await ctx.tick().sample(port.response.payload).until(port.response.valid)
        ctx.set(port.response.ready, 0)
        return answer.data, answer.error

    async def budget(self, ctx, guest, weight=1, limit=0, commands=(0, 0), size=(0, 0)):
        """Write the budget of a guest; rates and bursts of commands and of 512 bytes."""
        self.limit[guest] = limit
        rates = (*commands, *size)
        await self.access(ctx, guest, 1, sum(value << 16 * n for n, value in enumerate(rates)))
        await self.access(ctx, guest, 0, weight | limit << 16)
