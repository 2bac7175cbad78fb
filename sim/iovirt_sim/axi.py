"""Memory behind an AXI4 manager: latency, back-pressure, errors, reordering between IDs."""

from collections import deque
from dataclasses import dataclass, field

__all__ = ["DECERR", "OKAY", "SLVERR", "AxiMemory", "Burst"]

OKAY, SLVERR, DECERR = 0, 2, 3
PAGE = 4096


@dataclass
class Burst:
    """One burst, with the cycles of its address, its visibility and its end."""

    write:   bool
    id:      int
    address: int
    beats:   int
    issued:  int
    due:     int
    done:    int | None = None
    data:    list = field(default_factory=list)


class AxiMemory:
    """A memory that answers the AXI4 manager ``bus``; run :meth:`testbench` in the background.

    A write takes effect at the moment of its response, a read samples memory when its address is
    accepted: the least that a fabric promises. Bursts of one ID are answered in order, those of
    different IDs as they fall due, and beats of different reads mix. Checks the rules of the bus.

    Parameters
    ----------
    bus : interface of an AXI4 manager.
    rng : source of randomness.
    latency : cycles from the last beat or the address to the response: a number, or a function.
    stall : function, true if a ready or valid of the memory is to be low for this cycle.
    error : ``error(address, write)``, response code for the beat at ``address``.
    mix : whether beats of different reads mix.
    """

    def __init__(self, bus, *, rng, latency=10, stall=lambda: False,
                 error=lambda address, write: OKAY, mix=True):
        self.bus, self.rng, self.stall, self.error, self.mix = bus, rng, stall, error, mix
        self.latency = latency if callable(latency) else lambda: latency
        self.size    = len(bus.wdata) // 8
        self.pages   = {}
        self.bursts  = []      # all bursts, in the order of their addresses
        self.cycle   = 0
        self.beats   = {"w": 0, "r": 0}
        self._aw, self._w = deque(), deque()
        self._writes, self._reads = {}, {}
        self._reading = None

    def read(self, address, size):
        """Return ``size`` bytes, without the bus."""
        page = self.pages.setdefault(address // PAGE, bytearray(PAGE))
        return bytes(page[address % PAGE:][:size])

    def write(self, address, data):
        """Store bytes within a page, without the bus."""
        page = self.pages.setdefault(address // PAGE, bytearray(PAGE))
        page[address % PAGE:address % PAGE + len(data)] = data

    @property
    def idle(self):
        """Whether nothing is in flight."""
        return not (self._aw or self._w or any(self._writes.values()) or any(self._reads.values()))

    def _start(self, write, id, address, length, size, burst, lock):
        assert 1 << size == self.size, f"burst of {1 << size} bytes a beat"
        assert burst == 1 and not lock, "burst must be INCR and without lock"
        assert address % self.size == 0, f"burst must start at a full beat, not at {address:#x}"
        end = address + (length + 1) * self.size - 1
        assert address // PAGE == end // PAGE, f"burst {address:#x}..{end:#x} crosses 4 KiB"
        made = Burst(write, id, address, length + 1, self.cycle, self.cycle + self.latency())
        self.bursts.append(made)
        return made

    def _fetch(self, burst):
        for n in range(burst.beats):
            at = burst.address + n * self.size
            burst.data.append((int.from_bytes(self.read(at, self.size), "little"),
                               self.error(at, False)))
        self._reads.setdefault(burst.id, deque()).append(burst)

    def _collect(self):
        # Payloads belong to addresses in order; either may be first.
        while self._aw and len(self._w) >= self._aw[0].beats:
            burst = self._aw.popleft()
            burst.data = [self._w.popleft() for _ in range(burst.beats)]
            assert [last for *_, last in burst.data] == [0] * (burst.beats - 1) + [1], "WLAST"
            assert any(strb for _, strb, _ in burst.data), "burst without strobes"
            burst.due = self.cycle + self.latency()
            self._writes.setdefault(burst.id, deque()).append(burst)

    def _commit(self, burst):
        if any(self.error(burst.address + n * self.size, True) for n in range(burst.beats)):
            return self.error(burst.address, True) or SLVERR
        for n, (data, strb, _) in enumerate(burst.data):
            raw = data.to_bytes(self.size, "little")
            at  = burst.address + n * self.size
            old = self.read(at, self.size)
            self.write(at, bytes(raw[i] if strb >> i & 1 else old[i] for i in range(self.size)))
        return OKAY

    def _pick(self, queues):
        due = [id for id, queue in queues.items() if queue and queue[0].due <= self.cycle]
        return self.rng.choice(due) if due else None

    async def testbench(self, ctx):
        """Serve the bus."""
        bus = self.bus
        burst = ("valid", "ready", "id", "addr", "len", "size", "burst", "lock")
        names = [*("aw" + name for name in burst), *("ar" + name for name in burst),
                 "wvalid", "wready", "wdata", "wstrb", "wlast", "bvalid", "bready", "rvalid",
                 "rready"]
        b_left = r_left = False   # a response that the manager has not taken
        async for _, _, *values in ctx.tick().sample(*(getattr(bus, name) for name in names)):
            v = dict(zip(names, values, strict=True))
            self.cycle += 1
            if v["awvalid"] and v["awready"]:
                self._aw.append(self._start(True, *(v["aw" + name] for name in burst[2:])))
            if v["wvalid"] and v["wready"]:
                self._w.append((v["wdata"], v["wstrb"], v["wlast"]))
                self.beats["w"] += 1
            if v["arvalid"] and v["arready"]:
                self._fetch(self._start(False, *(v["ar" + name] for name in burst[2:])))
            self._collect()
            b_left = v["bvalid"] and not v["bready"]
            if not b_left:
                self._respond(ctx)
            r_left = v["rvalid"] and not v["rready"]
            if not r_left:
                self.beats["r"] += v["rvalid"]
                self._return(ctx)
            for name in ("awready", "wready", "arready"):
                ctx.set(getattr(bus, name), not self.stall())

    def _respond(self, ctx):
        bus, id = self.bus, None if self.stall() else self._pick(self._writes)
        ctx.set(bus.bvalid, id is not None)
        if id is not None:
            burst = self._writes[id].popleft()
            burst.done = self.cycle
            ctx.set(bus.bid, id)
            ctx.set(bus.bresp, self._commit(burst))

    def _return(self, ctx):
        bus = self.bus
        id  = self._reading if self._reading is not None else self._pick(self._reads)
        if self.stall():
            id = None
        ctx.set(bus.rvalid, id is not None)
        if id is None:
            return
        burst = self._reads[id][0]
        data, resp = burst.data.pop(0)
        ctx.set(bus.rid, id)
        ctx.set(bus.rdata, data)
        ctx.set(bus.rresp, resp)
        ctx.set(bus.rlast, not burst.data)
        self._reading = id if burst.data and not self.mix else None
        if not burst.data:
            burst.done = self.cycle
            self._reads[id].popleft()
