"""Cores before the front of programmed I/O, and stand-ins for what is behind it."""

from collections import deque
from contextlib import suppress

from amaranth.sim import DomainReset

from iovirt.pio.layouts import FinishStatus, NpKind, Policy
from iovirt_sim.harness import simulate
from iovirt_sim.models.pio_front import Map
from iovirt_sim.tlp import Tlp

OKAY, SLVERR = 0, 2


def device_byte(address):
    """What the devices have at ``address``, memory and configuration space alike."""
    return (address * 37 + (address >> 8) * 11 + 5) % 255


def set_map(ctx, dut, where: Map):
    """Write the registers of the map."""
    if where.ecam:
        base, size = where.ecam
        ctx.set(dut.ecam, {"enable": 1, "base": base, "size_log2": size.bit_length() - 1,
                           "policy": Policy[where.ecam_policy]})
    for port, window in zip(dut.windows, where.windows, strict=False):
        ctx.set(port, {"enable": 1, "base": window.base, "mask": window.size - 1,
                       "pcie": window.pcie, "guest": window.guest,
                       "policy": Policy[window.policy], "completer": window.completer,
                       "completer_mask": window.completer_mask})
    if where.doorbells:
        base, size = where.doorbells
        ctx.set(dut.doorbells, {"enable": 1, "base": base, "mask": size - 1,
                                "policy": Policy[where.doorbell_policy]})
    ctx.set(dut.no_window, Policy[where.no_window])


class Bench:
    """Runs bursts through ``dut`` and keeps all that it does, with the clocks.

    Parameters
    ----------
    where : the map.
    gap : function, clocks to wait before each transfer of the stand-ins and cores.
    delay : function of a request, clocks until its end.
    status : function of a request, name of its :class:`FinishStatus`.
    """

    def __init__(self, dut, where, *, gap=lambda: 0, delay=lambda request: 0,
                 status=lambda request: "OK", max_read=7, max_payload=7, tx_gap=None, r_gap=None,
                 b_gap=None):
        self.dut, self.where, self.gap, self.delay, self.status = dut, where, gap, delay, status
        self.settings = {"max_read": max_read, "max_payload": max_payload, "link_up": 1,
                         "requester_id": 0x0100}
        self.tx_gap, self.r_gap, self.b_gap = tx_gap or gap, r_gap or gap, b_gap or gap
        self.reads, self.writes, self._beats = deque(), deque(), deque()
        self.requests, self.accesses, self.tlps, self.errors = [], [], [], []
        self.answers, self.responses = [], []       # (clock, beat of R), (clock, id, resp)
        self.clock, self.ends, self.config_ends = 0, [], []
        self.free_tags, self.busy_tags, self.rows = deque(range(32)), set(), {}
        self.partial = []                           # beats of a TLP that has not ended
        self.times = {"ar": [], "request": [], "finish": [], "tx": []}

    def run(self, *, until, deadline=6000, more=()):
        """Run until ``until()``."""
        async def main(ctx):
            while not until():
                await ctx.tick()
            await ctx.tick().repeat(30)

        def restarted(testbench):
            async def always(ctx):
                while True:
                    with suppress(DomainReset):
                        await testbench(ctx)
            return always

        agents = [self._ar, self._aw, self._w, self._r, self._b, self._requests, self._finish,
                  self._fetch, self._release, self._config, self._answer, self._tx, self._error]
        simulate(self.dut, main, deadline=deadline, background=[
            self._setup, self._time, *map(restarted, agents), *more])

    def forget(self):
        """Forget what was seen, and what is in flight behind the front."""
        for seen in (self.requests, self.accesses, self.tlps, self.errors, self.answers,
                     self.responses, self.ends, self.config_ends, self.partial):
            seen.clear()
        self.free_tags.extend(self.busy_tags)
        self.busy_tags.clear()

    def read(self, *bursts):
        """Let cores read."""
        self.reads.extend(bursts)

    def write(self, *bursts):
        """Let cores write."""
        for burst in bursts:
            self.writes.append(burst)
            self._beats.extend((*beat, n == burst.beats - 1) for n, beat in enumerate(burst.data))

    async def _setup(self, ctx):
        set_map(ctx, self.dut, self.where)
        for name, value in self.settings.items():
            ctx.set(getattr(self.dut, name), value)

    async def _time(self, ctx):
        async for _ in ctx.tick():
            self.clock += 1

    async def _pull(self, ctx, queue):
        while not queue or self.clock < 3:  # the map takes a clock to count
            await ctx.tick()
        for _ in range(self.gap()):
            await ctx.tick()
        return queue[0]

    async def _address(self, ctx, name, queue, taken):
        bus = self.dut.bus
        valid, ready = getattr(bus, f"{name}valid"), getattr(bus, f"{name}ready")
        while True:
            burst = await self._pull(ctx, queue)
            for field, value in (("id", burst.id), ("addr", burst.address),
                                 ("len", burst.beats - 1), ("size", burst.size),
                                 ("burst", burst.kind), ("lock", burst.id & 1)):
                ctx.set(getattr(bus, name + field), value)
            ctx.set(valid, 1)
            await ctx.tick().until(ready)
            ctx.set(valid, 0)
            queue.popleft()
            taken(burst)

    async def _ar(self, ctx):
        await self._address(ctx, "ar", self.reads, lambda _: self.times["ar"].append(self.clock))

    async def _aw(self, ctx):
        await self._address(ctx, "aw", self.writes, lambda _: None)

    async def _w(self, ctx):
        bus = self.dut.bus
        while True:
            data, strb, last = await self._pull(ctx, self._beats)
            ctx.set(bus.wdata, data)
            ctx.set(bus.wstrb, strb)
            ctx.set(bus.wlast, last)
            ctx.set(bus.wvalid, 1)
            await ctx.tick().until(bus.wready)
            ctx.set(bus.wvalid, 0)
            self._beats.popleft()

    async def _r(self, ctx):
        bus = self.dut.bus
        while True:
            for _ in range(self.r_gap()):
                await ctx.tick()
            ctx.set(bus.rready, 1)
            beat = await ctx.tick().sample(bus.rid, bus.rdata, bus.rresp.as_value(), bus.rlast,
                                           bus.ruser).until(bus.rvalid)
            ctx.set(bus.rready, 0)
            self.answers.append((self.clock, *beat))

    async def _b(self, ctx):
        bus = self.dut.bus
        while True:
            for _ in range(self.b_gap()):
                await ctx.tick()
            ctx.set(bus.bready, 1)
            id, resp = await ctx.tick().sample(bus.bid, bus.bresp.as_value()).until(bus.bvalid)
            ctx.set(bus.bready, 0)
            self.responses.append((self.clock, id, resp))

    async def _requests(self, ctx):
        dut = self.dut
        while True:
            for _ in range(self.gap()):
                await ctx.tick()
            while not self.free_tags:
                await ctx.tick()
            ctx.set(dut.request.ready, 1)
            request, = await ctx.tick().sample(dut.request.payload).until(dut.request.valid)
            ctx.set(dut.request.ready, 0)
            assert request.kind == NpKind.MEMORY_READ
            self.times["request"].append(self.clock)
            self.requests.append(request)
            tag = self.free_tags.popleft()
            self.busy_tags.add(tag)
            status = self.status(request)
            for row in range(self._row_count()):
                self.rows[tag, row] = 0x5A5A  # of somebody else
            if status in ("OK", "POISONED"):
                self._fill(tag, request)
            self.ends.append((self.clock + self.delay(request), len(self.requests), {
                "owner": request.owner, "tag": tag, "status": FinishStatus[status]}))

    def _row_count(self):
        return self.dut.pio.max_read_bytes * 8 // self.dut.data_width

    def _fill(self, tag, request):
        size, width = self.dut.pio.max_read_bytes, self.dut.data_width // 8
        for n in range(4 * request.length_dw):
            offset = request.address % size + n
            assert offset < size, "request crosses the buffer of a tag"
            row, lane = divmod(offset, width)
            value = self.rows[tag, row] & ~(0xFF << 8 * lane)
            self.rows[tag, row] = value | device_byte(request.address + n) << 8 * lane

    async def _ended(self, ctx, queue):
        while not queue or min(queue)[0] > self.clock:
            await ctx.tick()
        due = min(queue)
        queue.remove(due)
        return due[2]

    async def _offer(self, ctx, port, queue, name=None):
        while True:
            end = await self._ended(ctx, queue)
            ctx.set(port.payload, end)
            ctx.set(port.valid, 1)
            await ctx.tick().until(port.ready)
            ctx.set(port.valid, 0)
            if name:
                self.times[name].append(self.clock)

    async def _finish(self, ctx):
        await self._offer(ctx, self.dut.finish, self.ends, "finish")

    async def _answer(self, ctx):
        await self._offer(ctx, self.dut.answer, self.config_ends)

    async def _fetch(self, ctx):
        fetch = self.dut.fetch
        async for _, _, en, tag, row in ctx.tick().sample(fetch.en, fetch.tag, fetch.row):
            if en:
                ctx.set(fetch.data, self.rows.get((tag, row), 0xBAD))

    async def _release(self, ctx):
        ctx.set(self.dut.release.ready, 1)
        release = self.dut.release
        async for _, _, valid, tag in ctx.tick().sample(release.valid, release.payload.tag):
            if valid:
                self.busy_tags.remove(tag)
                self.free_tags.append(tag)
                for row in range(self._row_count()):
                    self.rows[tag, row] = 0xDEAD

    async def _config(self, ctx):
        config = self.dut.config
        while True:
            for _ in range(self.gap()):
                await ctx.tick()
            ctx.set(config.ready, 1)
            access, = await ctx.tick().sample(config.payload).until(config.valid)
            ctx.set(config.ready, 0)
            self.accesses.append(access)
            status = self.status(access) if access.legal else "NO_TARGET"
            start = access.address & ~3
            data = sum(device_byte(start + n) << 8 * n for n in range(4))
            self.config_ends.append((self.clock + self.delay(access), len(self.accesses), {
                "owner": access.owner, "write": access.write, "status": FinishStatus[status],
                "data": data if status == "OK" else 0xFFFFFFFF}))

    async def _tx(self, ctx):
        tx, beats = self.dut.tx, self.partial
        while True:
            for _ in range(self.tx_gap()):
                await ctx.tick()
            ctx.set(tx.ready, 1)
            beat, = await ctx.tick().sample(tx.payload).until(tx.valid)
            ctx.set(tx.ready, 0)
            self.times["tx"].append(self.clock)
            beats.append({name: beat[name] for name in ("data", "strb", "hdr", "first", "last")}
                         | {"prefix": 0, "prefix_valid": 0})
            if beat.last:
                self.tlps.append(Tlp.from_beats(beats, self.dut.data_width))
                beats.clear()

    async def _error(self, ctx):
        error = self.dut.error
        ctx.set(error.ready, 1)
        async for _, _, valid, payload in ctx.tick().sample(error.valid, error.payload):
            if valid:
                self.errors.append(payload)
