"""The host bridge as a core sees it: the front, the configuration unit and the root port."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.sim import Simulator

from iovirt.config import PioConfig
from iovirt.pio.config_unit import ConfigUnit
from iovirt.pio.front import PioFront
from iovirt.pio.layouts import FinishStatus, NpKind
from iovirt.pio.root_port import RootPort
from iovirt_sim.harness import CLOCK_PERIOD
from iovirt_sim.models.pio_front import Burst, Map, Window
from iovirt_sim.streams import check_rules, streams_of

from .front_bench import Bench

ECAM, LOW, HIGH = 0x4000_0000, 0x1000_0000, 0x20_0000_0000
WINDOWS = (Window(LOW, 0x1_0000, 0x8000_0000), Window(HIGH, 0x1_0000, 0x90_0000_0000),
           Window(0x1100_0000, 0x1_0000, 0x8100_0000, policy="POISON"))
FRONT = ("bus", "ecam", "windows", "doorbells", "no_window", "max_payload", "max_read",
         "requester_id", "link_up", "tx", "request", "finish", "fetch", "release", "error")
ONES = 0xffffffff


class Bridge(wiring.Component):
    """Front, configuration unit and root port, connected as in the whole block."""

    def __init__(self):
        self.data_width = 64
        self.pio   = PioConfig(address_width=40, id_width=3, reads=8, windows=4, tags=32,
                               clock_mhz=2)
        self.front = PioFront(data_width=64, pio=self.pio, max_payload_bytes=128)
        self.unit  = ConfigUnit(owner_width=self.front.owner_width, pio=self.pio)
        self.port  = RootPort(max_payload_bytes=128)
        members    = self.front.signature.members
        super().__init__({
            **{name: members[name] for name in FRONT},
            "config_request": self.unit.signature.members["request"],
            "config_finish":  self.unit.signature.members["finish"],
            "config_error":   self.unit.signature.members["error"],
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.front = front = self.front
        m.submodules.unit  = unit  = self.unit
        m.submodules.port  = port  = self.port
        outer = wiring.flipped(self)
        for name in FRONT:
            theirs, member = getattr(front, name), front.signature.members[name]
            if name == "windows":
                m.d.comb += [its.eq(ours)
                             for its, ours in zip(theirs, self.windows, strict=True)]
            elif member.is_port:
                m.d.comb += theirs.eq(getattr(self, name))
            else:
                wiring.connect(m, getattr(outer, name), theirs)
        wiring.connect(m, front.config, unit.access)
        wiring.connect(m, unit.answer, front.answer)
        wiring.connect(m, unit.header, port.port)
        wiring.connect(m, unit.request, outer.config_request)
        wiring.connect(m, outer.config_finish, unit.finish)
        wiring.connect(m, unit.error, outer.config_error)
        m.d.comb += [getattr(unit, name).eq(getattr(port, name))
                     for name in ("secondary", "subordinate", "ari", "rrs_visibility")]
        m.d.comb += [unit.link_up.eq(self.link_up), port.link_up.eq(self.link_up),
                     unit.retry.count.eq(2), unit.retry.time.eq(100), unit.retry.pause.eq(1)]
        return m


class Core(Bench):
    """One core that does one access at a time, in one simulation for many tests.

    ``completion`` of a configuration request: a function of {"write", "type1", "address", "be",
    "data"} that returns {"status", "data", "after"}.
    """

    def __init__(self, **options):
        super().__init__(Bridge(), Map(windows=WINDOWS, ecam=(ECAM, 1 << 28)), **options)
        self.completion   = lambda request: {}
        self.config_tlps  = []
        self.config_ended = []      # clock of each end
        self._program = self._failure = None

    def start(self):
        """Come out of reset, and go on until the first program."""
        async def drive(ctx):
            while True:
                if self._program is None:
                    await ctx.tick()
                    continue
                try:
                    await self._program(ctx, self)
                    await ctx.tick().repeat(30)
                except Exception as error:  # it belongs to the test, not to the simulator
                    self._failure = error
                self._program = None

        self._sim = Simulator(self.dut)
        self._sim.add_clock(CLOCK_PERIOD)
        for testbench in (drive, self._setup, self._time, self._ar, self._aw, self._w, self._r,
                          self._b, self._requests, self._finish, self._fetch, self._release,
                          self._config, self._answer, self._tx, self._error, self._config_errors,
                          *(check_rules(*port) for port in streams_of(self.dut))):
            self._sim.add_testbench(testbench, background=True)
        self.play(self._reset)

    def play(self, program, *, status="OK", completion=lambda request: {}):
        """Run ``program(ctx, core)`` with a link, and with buses 1 to 3 behind the port.

        ``status`` is that of memory reads, ``completion`` as said above.
        """
        async def run(ctx, core):
            await self._reset(ctx, core)
            self.completion, self.status = completion, lambda request: status
            await program(ctx, core)

        self._program, self._failure = run, None
        deadline = self.clock + 10_000
        while self._program is not None:
            self._sim.advance()
            assert self.clock < deadline, "Program did not end"
        if self._failure:
            raise self._failure

    async def _reset(self, ctx, core):
        ctx.set(self.dut.link_up, 1)
        ctx.set(self.dut.ecam.policy, 0)
        for offset, value in ((0x18, 0x00030100), (0x5c, 0), (0x68, 0)):
            await self.store(ctx, ECAM | offset, value)
        for seen in (self.config_tlps, self.config_ended, self.requests, self.tlps, self.errors):
            seen.clear()

    async def load(self, ctx, address, size=4):
        """Return (value, RRESP, RUSER)."""
        count = len(self.answers)
        self.read(Burst(0, address, 1, size.bit_length() - 1))
        while len(self.answers) == count:
            await ctx.tick()
        _, _, data, resp, _, poison = self.answers[-1]
        return data >> 8 * (address % 8) & (1 << 8 * size) - 1, resp, poison

    async def store(self, ctx, address, value, size=4):
        """Return BRESP."""
        count, lane = len(self.responses), address % 8
        self.write(Burst(0, address, 1, size.bit_length() - 1,
                         data=[(value << 8 * lane, ((1 << size) - 1 << lane) & 0xff)]))
        while len(self.responses) == count:
            await ctx.tick()
        return self.responses[-1][2]

    async def _config(self, ctx):
        port = self.dut.config_request
        while True:
            ctx.set(port.ready, 1)
            request, = await ctx.tick().sample(port.payload).until(port.valid)
            ctx.set(port.ready, 0)
            what = {"write": int(request.kind == NpKind.CONFIG_WRITE), "type1": request.type1,
                    "address": request.address, "be": request.first_be, "data": request.data}
            self.config_tlps.append(what)
            end = {"status": "OK", "data": 0, "after": 0, **self.completion(what)}
            self.config_ends.append((self.clock + end["after"], len(self.config_tlps), {
                "owner": request.owner, "status": FinishStatus[end["status"]],
                "data": end["data"]}))

    async def _answer(self, ctx):
        port = self.dut.config_finish
        while True:
            end = await self._ended(ctx, self.config_ends)
            ctx.set(port.payload, end)
            ctx.set(port.valid, 1)
            await ctx.tick().until(port.ready)
            ctx.set(port.valid, 0)
            self.config_ended.append(self.clock)

    async def _config_errors(self, ctx):
        error = self.dut.config_error
        ctx.set(error.ready, 1)
        async for _, _, valid, payload in ctx.tick().sample(error.valid, error.payload):
            if valid:
                self.errors.append(payload)
