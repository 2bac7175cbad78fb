import random
from dataclasses import replace

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from iovirt.csr.port import RegisterPortSignature
from iovirt.vf.attribution import Attribution
from iovirt.vf.guest_table import GuestTable
from iovirt.vf.share_layouts import Function, access, attributed
from iovirt_sim.harness import simulate

from .attribution_bench import ID, request
from .guest_bench import QUARANTINE, RUN, Registers, random_guest

OFFSET_BITS, KEY_BITS = 40, 12


class Pair(wiring.Component):
    """An attribution with its table; one function is shared."""

    i:    In(stream.Signature(access(ID)))
    o:    Out(stream.Signature(attributed(ID)))
    port: In(RegisterPortSignature(data_width=64, address_width=12))

    def __init__(self):
        super().__init__()
        self.attribution = Attribution(id_width=ID, reads=8, writes=8, functions=1)
        self.table = GuestTable(guests=4, freezers=1, data_width=64, address_width=12)

    @property
    def ready(self):
        return self.table.ready

    def elaborate(self, platform):
        m = Module()
        m.submodules.attribution = attribution = self.attribution
        m.submodules.table       = table = self.table
        connect(m, flipped(self.i), attribution.i)
        connect(m, attribution.o, flipped(self.o))
        connect(m, attribution.table, table.fast)
        connect(m, attribution.freeze, table.freeze[0])
        connect(m, flipped(self.port), table.port)
        m.d.comb += [
            attribution.settings.offset_bits.eq(OFFSET_BITS),
            attribution.settings.key_bits.eq(KEY_BITS),
            attribution.functions[0].eq(Function.const({"valid": 1, "rid": 0x100})),
            attribution.denial.ready.eq(1),
        ]
        return m


class Run:
    """Requests with the keys of all owners, while owners of guest 1 follow one another.

    ``now`` is the owner who may pass, None while that changes, and 0 if nobody may.
    """

    def __init__(self, rounds, stall):
        self.dut, self.rng = Pair(), random.Random(rounds)
        self.stall, self.now, self.seen, self.done = stall, 0, [], False
        guest = random_guest(self.rng)
        self.owners = {n: replace(guest, function=0, key=0x100 + n, device_id=n)
                       for n in range(1, rounds + 1)}

    async def software(self, ctx):
        port = Registers(self.dut)
        while not ctx.get(self.dut.ready):
            await ctx.tick()
        for number, owner in self.owners.items():
            await port.set_entry(ctx, 1, owner)
            self.now = None
            await port.set_state(ctx, 1, RUN)
            self.now = number
            await ctx.tick().repeat(40)
            self.now = None
            await port.set_state(ctx, 1, QUARANTINE)
            self.now = 0
            await ctx.tick().repeat(20)
        self.done = True

    async def device(self, ctx):
        number = 0
        while not ctx.get(self.dut.ready) or self.now is not None:
            await ctx.tick()
        while not self.done:
            owner = self.owners[self.rng.randrange(1, len(self.owners) + 1)
                                if self.rng.random() < .4 else self.now or 1]
            address = owner.key << 52 | 1 << 44
            ctx.set(self.dut.i.p, request(number % 4096, device_id=0x100, iova=address))
            ctx.set(self.dut.i.valid, 1)
            await ctx.tick().until(self.dut.i.ready)
            number += 1

    async def translation(self, ctx):
        o = self.dut.o
        async for _, _, valid, ready, payload in ctx.tick().sample(o.valid, o.ready, o.p):
            if valid and ready and not payload.contain:
                assert self.now is None or payload.device_id == self.now
                self.seen.append(payload.device_id)
            ctx.set(o.ready, not self.stall or self.rng.random() < .1)


def test_nothing_of_an_old_owner_leaves_once_the_guest_is_quarantined():
    for stall in False, True:
        run = Run(5, stall)
        simulate(run.dut, run.software, background=[run.device, run.translation])
        assert set(run.seen) == set(run.owners) and len(run.seen) > 40


def test_a_denied_address_freezes_the_guest_in_the_table():
    dut = Pair()

    async def testbench(ctx):
        ctx.set(dut.o.ready, 1)
        while not ctx.get(dut.ready):
            await ctx.tick()
        guest = replace(random_guest(random.Random(1)), function=0, key=5)
        await Registers(dut).set_entry(ctx, 2, guest)
        await Registers(dut).set_state(ctx, 2, RUN)
        address = 5 << 52 | 2 << 44 | 1 << 40
        ctx.set(dut.i.p, request(0, device_id=0x100, iova=address))
        ctx.set(dut.i.valid, 1)
        await ctx.tick().until(dut.i.ready)
        ctx.set(dut.i.valid, 0)
        await ctx.tick().repeat(16)
        assert await Registers(dut).state(ctx, 2) == ((2, 1), 0)

    simulate(dut, testbench)
