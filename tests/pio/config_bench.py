"""A configuration unit with a header and devices that do what they are told."""

from collections import deque

from iovirt.config import PioConfig
from iovirt.pio.config_unit import ConfigUnit
from iovirt.pio.layouts import FinishStatus, NpKind
from iovirt_sim.harness import simulate
from iovirt_sim.streams import send

PIO = PioConfig(clock_mhz=2, core_id_bits=2)


def at(bus, device=0, function=0, offset=0):
    """Return the offset in the ECAM window."""
    return bus << 20 | device << 15 | function << 12 | offset


class ConfigBench:
    """Drive a unit, and note what it does.

    ``device(request)`` returns the end of a request, {"status", "data", "after": clocks}.
    """

    def __init__(self, device, *, pio=PIO, waiting=4, gap=lambda: 0):
        self.dut      = ConfigUnit(owner_width=8, pio=pio, waiting=waiting)
        self.device   = device
        self.gap      = gap
        self.header   = {}      # Dwords of the port's own header
        self.header_delay = lambda: 0
        self.answers  = {}      # by owner
        self.order    = []      # owners in the order of answers
        self.requests = []
        self.errors   = []
        self.headers  = []      # accesses to the header
        self.absent   = 0
        self.clock    = 0
        self.times    = {}      # clock of each answer
        self._owner   = 0

    async def access(self, ctx, address, *, write=0, be=15, data=0, legal=1, core=0):
        """Offer an access; return its owner."""
        owner = self._owner
        self._owner = (owner + 1) % 256
        await send(ctx, self.dut.access, [{
            "write": write, "address": address, "be": be, "data": data, "legal": legal,
            "core": core, "owner": owner}], gap=self.gap)
        return owner

    async def answer(self, ctx, owner):
        """Wait for the answer to an access."""
        while owner not in self.answers:
            await ctx.tick()
        return self.answers[owner]

    async def do(self, ctx, address, **options):
        """Do an access; return (status, data)."""
        return await self.answer(ctx, await self.access(ctx, address, **options))

    def run(self, *testbenches, deadline=20_000, **settings):
        """Run with these settings of the port, which the testbenches may change."""
        dut = self.dut

        async def set_up(ctx):
            values = {"secondary": 1, "subordinate": 3, "link_up": 1, **settings}
            for name in ("primary", "secondary", "subordinate", "ari", "rrs_visibility",
                         "link_up"):
                ctx.set(getattr(dut, name), values.get(name, 0))
            ctx.set(dut.retry.count, values.get("count", 3))
            ctx.set(dut.retry.time, values.get("time", 0xffff))
            ctx.set(dut.retry.pause, values.get("pause", 2))

        def wait_for_set_up(testbench):
            async def late(ctx):
                await ctx.tick()
                await testbench(ctx)
            return late

        simulate(dut, set_up, *map(wait_for_set_up, testbenches), deadline=deadline,
                 background=[self._answers, self._errors, self._requester, self._header,
                             self._clock])

    async def _clock(self, ctx):
        async for _, _, absent in ctx.tick().sample(self.dut.absent):
            self.clock += 1
            self.absent += absent

    async def _take(self, ctx, stream):
        for _ in range(self.gap()):
            await ctx.tick()
        ctx.set(stream.ready, 1)
        payload, = await ctx.tick().sample(stream.payload).until(stream.valid)
        ctx.set(stream.ready, 0)
        return payload

    async def _answers(self, ctx):
        while True:
            got = await self._take(ctx, self.dut.answer)
            assert got.owner not in self.answers
            self.answers[got.owner] = got.status.name, got.data
            self.times[got.owner] = self.clock
            self.order.append(got.owner)

    async def _errors(self, ctx):
        while True:
            got = await self._take(ctx, self.dut.error)
            self.errors.append((got.cause.name, got.core, got.rid, got.tag, got.address))

    async def _requester(self, ctx):
        tag = 0
        while True:
            request = await self._take(ctx, self.dut.request)
            assert (request.length_dw, request.last_be, request.guest) == (1, 0, 0)
            assert request.completer == request.address >> 12
            assert request.completer_mask == 0xffff
            what = {"write": int(request.kind == NpKind.CONFIG_WRITE), "type1": request.type1,
                    "address": request.address, "be": request.first_be, "data": request.data,
                    "core": request.core}
            assert request.kind != NpKind.MEMORY_READ
            self.requests.append(what)
            end = self.device(what)
            for _ in range(end.get("after", 0)):
                await ctx.tick()
            tag += 1
            await send(ctx, self.dut.finish, [{
                "owner": request.owner, "tag": tag % 1024, "data": end.get("data", 0),
                "rid": request.completer, "status": FinishStatus[end.get("status", "OK")]}])

    async def _header(self, ctx):
        port = self.dut.header
        while True:
            request = await self._take(ctx, port.request)
            self.headers.append((request.write, 4 * request.register, request.be, request.data))
            if request.write:
                self.header[request.register] = request.data
            for _ in range(self.header_delay()):
                await ctx.tick()
            await send(ctx, port.response, [self.header.get(request.register, 0)])


def script(completions):
    """Return a device that gives these completions, one to each request."""
    left = deque(completions)
    return lambda request: left.popleft()
