"""The interrupt block on a table port, between devices, memory and software."""

import random
from collections import Counter, defaultdict, deque

from iovirt.csr.port import register_request, register_response
from iovirt.irq.engine import CONTROL_PAGE, GUEST_PAGE, TABLE_PAGE
from iovirt.irq.layouts import Notice
from iovirt.pcie.layouts import ErrorCause, ErrorRecord, PostedSignal

from .clocked import Packer, receive, run_clocked, send
from .clocked_memory import BusMemory
from .interrupt_engine import (
    ACCEPTED,
    BASE_HIGH,
    BASE_LOW,
    CONTROL,
    COUNT,
    FORWARDS,
    G_ARM,
    G_HEAD,
    MODERATION,
    NOTIFY_DATA,
    NOTIFY_HIGH,
    NOTIFY_KIND,
    NOTIFY_LOW,
    REGISTER_WIDTH,
    STATUS,
    TAIL,
    notice_address,
    ring_base,
)
from .models.interrupts import InterruptModel, decode_record, encode_entry

__all__ = ["InterruptBench"]


class InterruptBench:
    """Drives everything around one engine; its agents are generators, see :mod:`.clocked`.

    Parameters
    ----------
    io : ports, as of :mod:`.clocked`.
    irq, table_width : of the engine.
    latency : (least, most) clocks from a write to its answer; answers of different IDs overtake.
    stall : probability that memory does not take, or not answer, in a clock.
    drops : queues whose policy is to drop.
    """

    def __init__(self, io, irq, *, table_width, seed=0, latency=(5, 5), stall=0.0, drops=()):
        self.io, self.irq, self.table_width = io, irq, table_width
        self.random  = random.Random(seed)
        self.model   = InterruptModel(entries=irq.entries, queues=irq.queues, drops=drops)
        self.memory  = BusMemory(width=table_width, seed=seed, latency=latency, stall=stall,
                                 begin=self._begin, show=self._show)
        self.clock   = 0
        self.turns   = defaultdict(deque)  # who waits for a register port
        self.head    = [0] * irq.queues
        self.armed   = [(0, 0)] * irq.queues   # last values of ARM
        self.base    = {}
        self.notified = {}           # queues notified and not served, in order
        self.notices  = []           # (clock, queue)
        self.seen     = []           # (clock, queue, record)
        self.written  = {}           # {address of a record's last beat: clock of its answer}
        self.pulses   = defaultdict(int)
        self.handed     = Counter()  # interrupts handed over, by source
        self.visible_of = Counter()  # those that visible records stand for
        self.locked     = set()      # queues that somebody serves
        self.pack_signal = Packer(PostedSignal).pack
        self._notice  = Packer(Notice)
        self._error   = Packer(ErrorRecord)
        self._request  = Packer(register_request(data_width=64, address_width=REGISTER_WIDTH))
        self._response = Packer(register_response(data_width=64))

    def background(self):
        """Return the agents that are always there."""
        return [self.count(), self.memory.serve(self.io), self.log()]

    def count(self):
        """Count clocks and pulses."""
        names = ("record", "notified", "lost", "corrected", "uncorrectable", "dropped", "forged")
        while True:
            yield
            self.clock += 1
            self.model.now = self.io["time"]
            for name in names:
                if self.io[name]:
                    self.pulses[name] += 1

    def log(self):
        """Take error records."""
        while True:
            what = self._error.unpack((yield from receive(self.io, "error")))
            self.denied(ErrorCause(what["cause"]).name, what["segment"], what["rid"],
                        what["address"])

    def denied(self, *what):
        """Check an error record; tests may replace this."""
        self.model.denied(*what)

    def _show(self, address, words):
        if notice_address(0) <= address < notice_address(self.irq.queues):
            queue = (address - notice_address(0)) >> 12
            assert list(words.values()) == [0xCAFE_0000 + queue]
            self.notices.append((self.clock, queue))
            self.notified[queue] = True
        elif address >= FORWARDS:
            self.model.forwarded(address, words[address])
        else:
            self.written[address | 31] = self.clock
            if (address | 31) - 3 in words:
                record = decode_record(self._load(address & ~31))
                self.visible_of[record["index"]] += record["merge_count"]

    def _load(self, place):
        return sum(self.memory.words.get(place + 4 * n, 0) << 32 * n for n in range(8))

    def _begin(self, address):
        """A notification begins: there must be a record after what was armed."""
        queue = (address - notice_address(0)) >> 12
        if 0 <= queue < self.irq.queues:
            position = self.model.position[queue]
            if self.visible(queue, position):
                position += 1
            # The write of an armed index may be on its way, too.
            assert any(0 < (position - arm) & COUNT < 1 << 17 for arm in self.armed[queue]), \
                f"notification of queue {queue} without a record"

    def signal(self, *, kind=1, segment=0, rid=0, offset=0, data=0):
        """Hand one interrupt over."""
        payload = self.pack_signal(kind=kind, segment=segment, rid=rid, offset=offset, data=data)
        if kind == 1:
            source = self.model.msi(segment=segment, rid=rid, offset=offset, data=data)
        else:
            source = self.model.message(segment=segment, rid=rid, code=data & 255)
        yield from send(self.io, "signal", payload)
        if source is not None:
            self.handed[source] += 1

    def msi(self, index, *, data=None, **more):
        """Send an interrupt; its data is the number of interrupts of the source so far."""
        if data is None:
            data = self.model.sent[index]
        yield from self.signal(**{"rid": 0x100, "offset": index << 3, "data": data, **more})

    def notice(self, port, number, *, rid=0, segment=0, data=0):
        """Send a notice of another block."""
        self.model.notice(number, rid=rid, segment=segment, data=data)
        yield from send(self.io, f"notice__{port}", self._notice.pack(
            kind=number, segment=segment, rid=rid, data=data))

    def access(self, name, address, *, write=None, strobe=255):
        """Make one access to a window; return (data, error)."""
        token, turns = object(), self.turns[name]
        turns.append(token)
        while turns[0] is not token:
            yield
        yield from send(self.io, f"{name}__request", self._request.pack(
            address=address, write=write is not None, data=write or 0,
            strobe=strobe if write is not None else 0))
        answer = self._response.unpack((yield from receive(self.io, f"{name}__response")))
        turns.popleft()
        return answer["data"], answer["error"]

    def _word(self, name, address, value=None):
        lane = 32 * (address >> 2 & 1)
        data, _ = yield from self.access(
            name, address & ~7, write=None if value is None else (value & COUNT) << lane,
            strobe=15 << lane // 8)
        return data >> lane & COUNT

    def put(self, queue, word, value):
        """Write a register of the hypervisor's window."""
        yield from self._word("queues", (CONTROL_PAGE << 12) + 64 * queue + 4 * word, value)

    def get(self, queue, word):
        """Return a register of the hypervisor's window."""
        return (yield from self._word("queues", (CONTROL_PAGE << 12) + 64 * queue + 4 * word))

    def guest_put(self, queue, word, value):
        """Write a register of the page of a guest."""
        if word == G_ARM:
            self.armed[queue] = (self.armed[queue][1], value)
        yield from self._word("guests", (GUEST_PAGE + queue << 12) + 4 * word, value)

    def guest_get(self, queue, word):
        """Return a register of the page of a guest."""
        return (yield from self._word("guests", (GUEST_PAGE + queue << 12) + 4 * word))

    def write_entry(self, index, **fields):
        """Replace an entry of the remap table or of the message table."""
        fields = {"valid": 1, "rid": 0x100, **fields}
        self.model.begin_entry(index, **fields)
        word = encode_entry(**fields)
        for low in range(0, 256, 64):
            answer = yield from self.access("irt", (TABLE_PAGE << 12) + 32 * index + low // 8,
                                            write=word >> low & (1 << 64) - 1)
            assert answer == (0, 0)
        self.model.end_entry(index)

    def is_pending(self, index):
        """Return the pending bit of an entry."""
        data, error = yield from self.access("irt", (TABLE_PAGE << 12) + 32 * index + 24)
        assert not error
        return data >> 63

    def start(self, queue, *, size_log2, position=0, drop_new=0, once=0, holdoff=0, threshold=0,
              wire=None, base=None):
        """Set a queue up."""
        base = ring_base(queue) if base is None else base
        self.base[queue], self.head[queue] = base, position
        self.armed[queue] = (position, position)
        self.model.start(queue, size_log2=size_log2, position=position)
        for n in range(1 << size_log2):
            # The phase that the ring is to begin with is that of records before.
            phase = position >> size_log2 & 1 ^ (position % (1 << size_log2) > n)
            self.memory.words[base + 32 * n + 28] = phase << 31
        for word, value in [
                (BASE_LOW, base), (BASE_HIGH, base >> 32), (NOTIFY_LOW, notice_address(queue)),
                (NOTIFY_HIGH, notice_address(queue) >> 32), (NOTIFY_DATA, 0xCAFE_0000 + queue),
                (NOTIFY_KIND, 1 if wire is None else 2 | wire << 8),
                (MODERATION, holdoff | threshold << 16), (TAIL, position),
                (CONTROL, 1 | drop_new << 1 | once << 2 | size_log2 << 8)]:
            yield from self.put(queue, word, value)

    def stop(self, queue):
        """Stop a queue and wait until nothing of it is on its way."""
        yield from self.put(queue, CONTROL, 0)
        while (yield from self.get(queue, STATUS)) & 2:
            pass

    def visible(self, queue, position):
        """Return whether the record at a position can be seen, by its phase bit."""
        size = self.model.size[queue]
        word = self.memory.words.get(self._place(queue, position) + 28, 0)
        return word >> 31 == ~position >> size & 1

    def _place(self, queue, position):
        return self.base[queue] + 32 * (position % (1 << self.model.size[queue]))

    def check_next(self, queue):
        """Check the next record of a queue if it is visible; return it, or None."""
        position = self.model.position[queue]
        if (position - self.head[queue]) & COUNT >= 1 << self.model.size[queue] \
                or not self.visible(queue, position):
            return None
        place  = self._place(queue, position)
        record = self.model.record(queue, self._load(place))
        self.seen.append((self.written[place | 31], queue, record))
        return record

    def service(self, queue, *, most=1 << 16):
        """Check what is there by its phase, give it back, and arm; return how many records."""
        yield from self.lock(queue)
        number = 0
        while number < most and self.check_next(queue):
            number += 1
        self.head[queue] = self.model.position[queue]
        yield from self.guest_put(queue, G_HEAD, self.head[queue])
        yield from self.guest_put(queue, G_ARM, self.head[queue])
        self.locked.remove(queue)
        return number

    def lock(self, queue):
        """Wait until nobody serves the queue, and be the one who does."""
        while queue in self.locked:
            yield
        self.locked.add(queue)

    def quiesce(self, index, **fields):
        """First phase of a migration: suspend, and wait until what is accepted has been read."""
        queue = fields["queue"]
        yield from self.write_entry(index, **{**fields, "suspend": 1})
        goal = yield from self.get(queue, ACCEPTED)
        while (goal - self.model.position[queue]) & COUNT < 1 << 31 \
                and goal != self.model.position[queue]:
            yield

    def serve(self, *, pause=0):
        """Serve queues that are notified, and only these."""
        while True:
            while not self.notified:
                yield
            queue = next(iter(self.notified))
            del self.notified[queue]
            yield from self.service(queue)
            for _ in range(self.random.randint(0, pause)):
                yield

    def settle(self, *, clocks=50_000):
        """Wait until every interrupt is accounted for."""
        end = self.clock + clocks
        while self.model.outstanding():
            assert self.clock < end, f"not accounted for: {self.model.outstanding()}"
            yield

    def run(self, *agents, background=(), deadline=1_000_000, settle=0):
        """Run agents on a model of :mod:`.verilated.component`."""
        return run_clocked(self.io, agents, background=[*self.background(), *background],
                           deadline=deadline, settle=settle)
