"""Surroundings of the front half: devices, software, and event queues with a slow consumer.

Each interrupt of a source carries its number as data. So the data of a record must be one less than
the number of interrupts that this record and all those before it of its source stand for.
"""

from collections import Counter, defaultdict, deque

from iovirt.irq.front import InterruptFront
from iovirt.irq.layouts import VerdictKind
from iovirt_sim.harness import simulate

from .entries import entry_word

ENTRIES = 16


class Queue:
    """An event queue: what it does with events, and its records."""

    def __init__(self, size=4):
        self.size    = size
        self.on      = True
        self.drop    = False
        self.head    = 0
        self.tail    = 0
        self.waiting = False  # a verdict asks for room
        self.drain   = 0.5    # probability that a record is read, per clock

    def verdict(self, event):
        """Return the verdict on an event and the position of its record."""
        if not self.on:
            return VerdictKind.OFF
        if event.last_valid and self.head <= event.last < self.tail:
            return VerdictKind.UNREAD
        if self.tail - self.head == self.size:
            return VerdictKind.DROPPED if self.drop else VerdictKind.FULL
        return VerdictKind.ACCEPTED


class Bench:
    """A front half with its surroundings."""

    def __init__(self, rng, *, queues=3, events=8, latency=(1, 1), data_width=64, stalls=0.0,
                 entries=ENTRIES):
        self.rng     = rng
        self.entries = entries
        self.dut     = InterruptFront(
            entries=entries, queues=queues, events=events, address_width=40, tag_width=2,
            register_data_width=data_width, register_address_width=20)
        self.queues    = [Queue() for _ in range(queues)]
        self.latency   = latency
        self.stalls    = stalls      # probability that the back does not take an event
        self.asked     = []          # every event, in order
        self.records   = defaultdict(list)  # of each source: (count, data, queue, event)
        self.given     = Counter()   # interrupts of each source that are accounted for
        self.sent      = Counter()   # interrupts of each source so far
        self.verdicts  = Counter()
        self.forwards  = []
        self.errors    = []
        self.clock     = 0
        self.lost      = 0
        self.checks    = True

    # What devices do.

    async def msi(self, ctx, index, *, rid=0x100, segment=0, multi=0, data=None, counts=True):
        """Send one interrupt."""
        if data is None:
            data = self.sent[index]
        if counts:
            self.sent[index] += 1
        stream, handle = self.dut.msi, index - (data & 31 if multi else 0)
        ctx.set(stream.p, {"segment": segment, "rid": rid, "data": data,
                           "offset": handle << 3 | multi << 2})
        ctx.set(stream.valid, 1)
        await ctx.tick().until(stream.ready)
        ctx.set(stream.valid, 0)

    async def notice(self, ctx, kind, *, rid=0x100, segment=0, counts=True):
        index, stream = self.entries + kind.value, self.dut.notice
        data = self.sent[index]
        self.sent[index] += counts
        ctx.set(stream.p, {"kind": kind, "segment": segment, "rid": rid, "data": data})
        ctx.set(stream.valid, 1)
        await ctx.tick().until(stream.ready)
        ctx.set(stream.valid, 0)

    # What software does.

    async def access(self, ctx, address, *, write=None, strobe=None):
        """Make one access; return its data and whether it failed."""
        request, response = self.dut.registers.request, self.dut.registers.response
        lanes = len(request.p.strobe)
        ctx.set(request.p, {"address": address, "write": write is not None, "data": write or 0,
                            "strobe": (1 << lanes) - 1 if strobe is None else strobe})
        ctx.set(request.valid, 1)
        await ctx.tick().until(request.ready)
        ctx.set(request.valid, 0)
        ctx.set(response.ready, 1)
        data, error = await ctx.tick().sample(response.p.data, response.p.error).until(
            response.valid)
        ctx.set(response.ready, 0)
        return data, error

    async def write_entry(self, ctx, index, **fields):
        word = entry_word(**{"valid": 1, "rid": 0x100, **fields})
        step = len(self.dut.registers.request.p.data)
        for low in range(0, 256, step):
            part = word >> low & ((1 << step) - 1)
            assert await self.access(ctx, 32 * index + low // 8, write=part) == (0, 0)

    async def read_entry(self, ctx, index):
        step, word = len(self.dut.registers.request.p.data), 0
        for low in range(0, 256, step):
            data, error = await self.access(ctx, 32 * index + low // 8)
            assert not error
            word |= data << low
        return word

    async def settle(self, ctx, clocks=3000):
        """Wait until all interrupts are accounted for."""
        for _ in range(clocks):
            if all(self.given[index] == count for index, count in self.sent.items()):
                return
            await ctx.tick()
        raise AssertionError(f"sent {self.sent}, accounted for {self.given}")

    # What the event queues do.

    async def back(self, ctx):
        dut, rng = self.dut, self.rng
        waiting, offered, rooms, room_offered = deque(), None, deque(), False
        ready = 0
        samples = ctx.tick().sample(dut.event.valid, dut.event.p, dut.verdict.ready, dut.room.ready)
        async for _, reset, valid, event, taken, room_taken in samples:
            self.clock += 1
            if reset:
                waiting.clear()
                rooms.clear()
                offered, room_offered = None, False
            elif valid and ready:
                self.asked.append(event)
                waiting.append((self.clock + rng.randint(*self.latency), event))
            if room_taken and room_offered:
                room_offered = False
            if taken and offered is not None:
                offered = None
            for number, queue in enumerate(self.queues):
                if queue.tail > queue.head and rng.random() < queue.drain:
                    queue.head += 1
                    self._wake(number, rooms)
            if offered is None and waiting and waiting[0][0] <= self.clock:
                offered = self._answer(waiting.popleft()[1])
                ctx.set(dut.verdict.p, offered)
            ctx.set(dut.verdict.valid, offered is not None)
            if rooms and not room_offered:
                ctx.set(dut.room.p.queue, rooms.popleft())
                room_offered = True
            ctx.set(dut.room.valid, room_offered)
            ready = rng.random() >= self.stalls
            ctx.set(dut.event.ready, ready)
            for number, queue in enumerate(self.queues):
                if queue.waiting == "late":
                    queue.waiting = False
                    rooms.append(number)

    def _wake(self, number, rooms):
        if self.queues[number].waiting:
            self.queues[number].waiting = False
            rooms.append(number)

    def switch(self, number, *, on):
        """Switch a queue on or off."""
        queue = self.queues[number]
        if on and not queue.on and queue.waiting:
            queue.waiting = "late"
        queue.on = on

    def _answer(self, event):
        queue = self.queues[event.queue]
        kind  = queue.verdict(event)
        self.verdicts[kind] += 1
        if kind in (VerdictKind.FULL, VerdictKind.UNREAD, VerdictKind.OFF):
            queue.waiting = True
        else:
            self.given[event.index] += event.merge_count
            if self.checks:
                assert event.merge_count >= 1
                assert event.data == self.given[event.index] - 1, (event, self.given)
        position = queue.tail
        if kind == VerdictKind.ACCEPTED:
            self.records[event.index].append((event.merge_count, event.data, event.queue, event))
            queue.tail += 1
        return {"tag": event.tag, "kind": kind, "error": 0,
                "position": position & 0xffff_ffff}

    # The table port and the log.

    async def memory(self, ctx):
        dut = self.dut
        ctx.set(dut.request.ready, 1)
        async for _, _, valid, what in ctx.tick().sample(dut.request.valid, dut.request.p):
            if valid:
                self.forwards.append((what.address, what.data, what.size_log2))
            ctx.set(dut.response.valid, bool(valid))
            ctx.set(dut.response.p.error, int(valid and what.address >> 36 == 0xb))

    async def log(self, ctx):
        dut = self.dut
        ctx.set(dut.error.ready, 1)
        async for _, _, valid, record, lost in ctx.tick().sample(dut.error.valid, dut.error.p,
                                                                 dut.lost):
            self.lost += lost
            if valid:
                self.errors.append((record.cause.name, record.segment, record.rid, record.address))

    def run(self, *testbenches, deadline=20_000):
        simulate(self.dut, *testbenches, background=[self.back, self.memory, self.log],
                 deadline=deadline)
