"""A root port with a configuration unit in front, devices behind it, and software that scans."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from iovirt.config import PioConfig
from iovirt.pio.config_unit import ConfigUnit
from iovirt.pio.layouts import FinishStatus, NpKind
from iovirt.pio.root_port import RootPort
from iovirt_sim.harness import simulate
from iovirt_sim.streams import send


class PortWithUnit(wiring.Component):
    """Both, connected as in the whole block."""

    def __init__(self):
        self.unit = ConfigUnit(owner_width=1, pio=PioConfig(clock_mhz=1))
        self.port = RootPort()
        members   = self.unit.signature.members
        super().__init__({name: members[name] for name in
                          ("access", "answer", "request", "finish", "error")}
                         | {"link_up": In(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.unit = unit = self.unit
        m.submodules.port = port = self.port
        wiring.connect(m, unit.header, port.port)
        wiring.connect(m, wiring.flipped(self.access), unit.access)
        wiring.connect(m, wiring.flipped(self.finish), unit.finish)
        for name in ("answer", "request", "error"):
            wiring.connect(m, getattr(unit, name), wiring.flipped(getattr(self, name)))
        m.d.comb += [getattr(unit, name).eq(getattr(port, name))
                     for name in ("secondary", "subordinate", "ari", "rrs_visibility")]
        m.d.comb += [unit.link_up.eq(self.link_up), port.link_up.eq(self.link_up),
                     unit.retry.count.eq(3), unit.retry.time.eq(10), unit.retry.pause.eq(2)]
        return m


class Function:
    """A function of a device: a configuration space with masks of what can be written."""

    def __init__(self, words, masks, below=None):
        self.words, self.masks = dict(words), masks
        self.below = below      # functions behind it by {device number}, if it is a bridge
        self.busy  = 0          # requests to answer RRS

    def request(self, what, type1):
        """Return (status, data) of a request."""
        address = what["address"]
        if type1:
            secondary, subordinate = self.words[0x18] >> 8 & 255, self.words[0x18] >> 16 & 255
            bus, device = address >> 20, address >> 15 & 31
            if self.below is None or not secondary <= bus <= subordinate:
                return "UR", 0
            if bus == secondary:
                if device not in self.below or address >> 12 & 7:
                    return "UR", 0
                return self.below[device].request(what, False)
            for function in self.below.values():
                if function.below is not None:
                    return function.request(what, True)
            return "UR", 0
        if self.busy:
            self.busy -= 1
            return "RRS", 0
        offset = address & 0xffc
        if not what["write"]:
            return "OK", self.words.get(offset, 0)
        strobes = sum(0xff << 8 * n for n in range(4) if what["be"] >> n & 1)
        mask = self.masks.get(offset, 0) & strobes
        self.words[offset] = self.words.get(offset, 0) & ~mask | what["data"] & mask
        return "OK", 0


class Software:
    """Configuration accesses of one core."""

    def __init__(self, ctx, dut):
        self.ctx, self.dut = ctx, dut

    async def access(self, rid, offset, size, write, value):
        """Do an access; return what is read."""
        dut, ctx, lane = self.dut, self.ctx, offset & 3
        assert lane % size == 0
        await send(ctx, dut.access, [{
            "write": write, "address": rid << 12 | offset, "be": (1 << size) - 1 << lane,
            "data": value << 8 * lane, "legal": 1, "core": 0, "owner": 0}])
        ctx.set(dut.answer.ready, 1)
        answer, = await ctx.tick().sample(dut.answer.payload).until(dut.answer.valid)
        ctx.set(dut.answer.ready, 0)
        return answer.data >> 8 * lane & (1 << 8 * size) - 1

    async def read(self, rid, offset, size=4):
        """Read from configuration space."""
        return await self.access(rid, offset, size, 0, 0)

    async def write(self, rid, offset, value, size=4):
        """Write to configuration space."""
        await self.access(rid, offset, size, 1, value)


def run(testbench, root, *, link_up=1, deadline=60_000):
    """Run software against a port with the function ``root`` on its secondary bus."""
    dut = PortWithUnit()
    dut.requests = []

    async def software(ctx):
        ctx.set(dut.link_up, link_up)
        ctx.set(dut.error.ready, 1)
        await testbench(Software(ctx, dut), dut)

    async def devices(ctx):
        while True:
            ctx.set(dut.request.ready, 1)
            request, = await ctx.tick().sample(dut.request.payload).until(dut.request.valid)
            ctx.set(dut.request.ready, 0)
            what = {"write": request.kind == NpKind.CONFIG_WRITE, "address": request.address,
                    "be": request.first_be, "data": request.data}
            dut.requests.append(what)
            if not request.type1 and request.address >> 12 & 0xff:
                status, data = "UR", 0
            else:
                status, data = root.request(what, request.type1)
            await send(ctx, dut.finish, [{"status": FinishStatus[status], "data": data,
                                          "rid": request.completer}])

    simulate(dut, software, background=[devices], deadline=deadline)
    return dut
