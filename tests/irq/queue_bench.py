"""The event queues between memory, a source of events, and interrupt-driven readers."""

import random

from iovirt.irq.event_queue import EventQueues
from iovirt_sim.table_memory import TableMemory

ACCEPTED, FULL, UNREAD, DROPPED, OFF = range(5)
CONTROL_PAGE, GUEST_PAGE = 16, 32
BASE_LOW, BASE_HIGH, CONTROL, MODERATION, NOTIFY_LOW, NOTIFY_HIGH, NOTIFY_DATA, NOTIFY_KIND, \
    STATUS, ACCEPTS, TAIL, HEAD, ARM, DROPS, FORGED, LOST = range(16)
G_HEAD, G_ARM, G_MASK, G_TAIL, G_STATUS, G_SIZE = range(0, 12, 2)
COUNT = (1 << 32) - 1


def make(**changes):
    return EventQueues(**{
        "queues": 8, "slots": 16, "address_width": 40, "table_width": 64, "tag_width": 8,
        "wires": 4, "tick_log2": 2, "control_page": CONTROL_PAGE, "guest_page": GUEST_PAGE,
        "bus_width": 64, "bus_address_width": 20, **changes})


def ring_base(queue):
    return 0x10_0000_0000 + (queue << 21)


def notice_address(queue):
    return 0x20_0000_0000 + (queue << 12)


def an_event(rng, queue, tag, **changes):
    return {"queue": queue, "index": rng.getrandbits(16), "type": rng.randint(1, 8),
            "cookie": rng.getrandbits(32), "rid": rng.getrandbits(16),
            "segment": rng.getrandbits(8), "guest": rng.getrandbits(16),
            "data": rng.getrandbits(32), "priority": rng.getrandbits(2), "urgent": 0,
            "merge_count": rng.getrandbits(16), "more": rng.getrandbits(1), "last_valid": 0,
            "last": 0, "tag": tag, **changes}


def decode(record):
    """Return a record of 32 bytes as a dictionary (event record, docs/architecture.md)."""
    def field(low, width):
        return record >> low & (1 << width) - 1
    return {"cookie": field(0, 32), "merge_count": field(32, 16), "index": field(48, 16),
            "rid": field(64, 16), "segment": field(80, 8), "guest": field(88, 16),
            "more": field(104, 1), "reserved": field(105, 23), "data": field(128, 32),
            "sequence": field(160, 32), "time": field(192, 56), "type": field(248, 5),
            "priority": field(253, 2), "phase": field(255, 1)}


class QueueBench:
    """Drives everything around one :class:`EventQueues`; testbenches are its methods."""

    def __init__(self, dut, *, seed=0, **memory):
        self.dut, self.rng = dut, random.Random(seed)
        self.memory  = TableMemory(seed=seed, **memory)
        self.notices = TableMemory(seed=seed + 1, **memory)
        self.busy    = {"control": False, "guest": False}
        self.size    = {}                                 # log2 of records, by queue
        self.count   = dict.fromkeys(range(dut.queues), 0)    # next position
        self.head    = dict.fromkeys(range(dut.queues), 0)    # as written by the reader
        self.queued  = {queue: [] for queue in range(dut.queues)}  # accepted, not yet read
        self.sent    = []                                 # events without verdict
        self.verdicts = []                                # (kind, event)
        self.rooms   = []
        self.waiting = []                                 # events that wait for room
        self.retry   = []                                 # events that have waited
        self.read    = dict.fromkeys(range(dut.queues), 0)

    # Registers.

    async def access(self, ctx, name, address, write, data=0):
        port = getattr(self.dut, name)
        while self.busy[name]:
            await ctx.tick()
        self.busy[name] = True
        wide = len(port.request.payload.data) == 64
        lane, high = (address & ~7, address >> 2 & 1) if wide else (address, 0)
        ctx.set(port.request.payload, {"address": lane, "write": write, "data": data << 32 * high,
                                       "strobe": write * (15 << 4 * high)})
        ctx.set(port.request.valid, 1)
        ctx.set(port.response.ready, 1)
        await ctx.tick().until(port.request.ready)
        ctx.set(port.request.valid, 0)
        answer, = await ctx.tick().sample(port.response.payload).until(port.response.valid)
        ctx.set(port.response.ready, 0)
        self.busy[name] = False
        return answer.data >> 32 * high & COUNT

    async def get(self, ctx, queue, word):
        return await self.access(ctx, "control", (CONTROL_PAGE << 12) + 64 * queue + 4 * word, 0)

    async def put(self, ctx, queue, word, data):
        await self.access(ctx, "control", (CONTROL_PAGE << 12) + 64 * queue + 4 * word, 1, data)

    async def guest_get(self, ctx, queue, word):
        return await self.access(ctx, "guest", (GUEST_PAGE + queue << 12) + 4 * word, 0)

    async def guest_put(self, ctx, queue, word, data):
        await self.access(ctx, "guest", (GUEST_PAGE + queue << 12) + 4 * word, 1, data & COUNT)

    async def start(self, ctx, queue, size_log2, *, drop_new=0, once=0, holdoff=0, threshold=0,
                    preset=0, wire=None, base=None):
        base = ring_base(queue) if base is None else base
        self.size[queue] = size_log2
        for word, data in [
                (BASE_LOW, base & COUNT), (BASE_HIGH, base >> 32),
                (NOTIFY_LOW, notice_address(queue) & COUNT),
                (NOTIFY_HIGH, notice_address(queue) >> 32),
                (NOTIFY_DATA, 0xCAFE_0000 + queue),
                (NOTIFY_KIND, 1 if wire is None else 2 | wire << 8),
                (MODERATION, holdoff | threshold << 16), (TAIL, preset),
                (CONTROL, 1 | drop_new << 1 | once << 2 | size_log2 << 8)]:
            await self.put(ctx, queue, word, data)
        self.count[queue] = self.head[queue] = preset

    async def drain(self, ctx, queue):
        """Wait until nothing of the queue is on its way; return the number of tries."""
        tries = 1
        while await self.get(ctx, queue, STATUS) & 2:
            tries += 1
        return tries

    # Events.

    async def send(self, ctx, event):
        stream = self.dut.event
        ctx.set(stream.payload, event)
        ctx.set(stream.valid, 1)
        self.sent.append(event)
        await ctx.tick().until(stream.ready)
        ctx.set(stream.valid, 0)

    async def judge(self, ctx):
        """Check verdicts against the rules; to run in the background."""
        stream = self.dut.verdict
        ctx.set(stream.ready, 1)
        async for _, _, valid, verdict in ctx.tick().sample(stream.valid, stream.payload):
            if not valid:
                continue
            event = self.sent.pop(0)
            queue, kind = event["queue"], verdict.kind.value
            assert verdict.tag == event["tag"]
            self.verdicts.append((kind, event))
            if kind in (FULL, UNREAD, OFF):
                self.waiting.append(event)
            if kind == ACCEPTED:
                self.queued[queue].append((verdict.position, event))
                assert len(self.queued[queue]) <= 1 << self.size[queue], "more records than slots"

    async def listen(self, ctx):
        stream = self.dut.room
        ctx.set(stream.ready, 1)
        async for _, _, valid, room in ctx.tick().sample(stream.valid, stream.payload):
            if valid:
                self.rooms.append(room.queue)
                self.retry += [event for event in self.waiting if event["queue"] == room.queue]
                self.waiting = [event for event in self.waiting if event["queue"] != room.queue]

    def background(self):
        dut = self.dut
        return [self.judge, self.listen,
                self.memory.serve_writes(dut.record_request, dut.record_response),
                self.notices.serve_writes(dut.notify_request, dut.notify_response)]

    # Readers.

    def expect(self, queue, position, base=None):
        """Check the record at ``position``, the next of the queue, and drop it."""
        base   = ring_base(queue) if base is None else base
        size   = 1 << self.size[queue]
        record = decode(self.memory.load(base + 32 * (position % size), 32))
        wanted = dict(min(self.queued[queue], key=lambda item: (item[0] - position) & COUNT)[1])
        self.queued[queue] = [item for item in self.queued[queue] if item[0] != position]
        for name in ("queue", "tag", "urgent", "last_valid", "last"):
            del wanted[name]
        record.pop("time")
        assert record == {**wanted, "sequence": position, "reserved": 0,
                          "phase": ~position >> self.size[queue] & 1}
        self.read[queue] += 1

    async def service(self, ctx, queue, *, most=1 << 16, arm=True):
        """Read what is there, give it back, arm; return how many records."""
        tail = await self.guest_get(ctx, queue, G_TAIL)
        number = min((tail - self.head[queue]) & COUNT, most)
        for n in range(number):
            self.expect(queue, (self.head[queue] + n) & COUNT)
        self.head[queue] = (self.head[queue] + number) & COUNT
        await self.guest_put(ctx, queue, G_HEAD, self.head[queue])
        if arm:
            await self.guest_put(ctx, queue, G_ARM, self.head[queue])
        return number

    def notified(self):
        """Return and forget the queues notified by MSI."""
        queues = []
        for address, data in self.notices.writes:
            queue = (address - notice_address(0)) >> 12
            assert data == (0xCAFE_0000 + queue).to_bytes(4, "little")
            queues.append(queue)
        self.notices.writes.clear()
        return queues

    async def serve(self, ctx, done, *, pause=0):
        """Serve notified queues, and only these, until ``done()``."""
        while not done():
            await ctx.tick()
            for queue in dict.fromkeys(self.notified()):
                await self.service(ctx, queue)
                for _ in range(self.rng.randint(0, pause)):
                    await ctx.tick()

    def stop(self):
        self.memory.stop()
        self.notices.stop()
