"""Everything around an attribution: device, guest table, rings, translation, and who is told."""

import random
from collections import deque

from iovirt.vf.attribution import Attribution
from iovirt.vf.share_layouts import Function, GuestEntry, RingVerdict, access
from iovirt_sim.drivers.sharing_words import KINDS
from iovirt_sim.harness import simulate

from .attribution_model import COLOUR, PASID, RID

ID = 12


class Bench:
    """Run requests through an attribution.

    ``seen`` are the requests that left, in order, as (fields, fields of the share). ``told`` are
    contexts, ``owners``, ``denials``, ``frozen`` colours.
    """

    def __init__(self, model, requests, *, seed=0, stall=0, ring_wait=0, hold=0, off=(), **more):
        self.model, self.requests = model, requests
        self.rng = random.Random(seed)
        self.stall, self.ring_wait, self.hold, self.off = stall, ring_wait, hold, off
        self.dut = Attribution(**{"id_width": ID, "reads": 256, "writes": 256,
                                  "functions": len(model.functions), "weak": bool(off), **more})
        self.seen, self.contexts, self.owners, self.denials, self.frozen = [], [], [], [], []
        self.questions, self.answers, self.times = [], {}, {}
        self.shares = {0: {}, 1: {}}
        self.lost = self.clock = 0
        self.pending = deque()

    def run(self, deadline=20_000):
        """Do it; return self."""
        simulate(self.dut, self._source, self._sink,
                 background=[self._table, self._rings, self._ears, self._denials, self._freezes],
                 deadline=deadline)
        return self

    async def _source(self, ctx):
        dut, addresses = self.dut, self.model.addresses
        ctx.set(dut.settings.offset_bits, addresses.offset_bits)
        ctx.set(dut.settings.key_bits, addresses.key_bits)
        for port, function in zip(dut.functions, self.model.functions, strict=True):
            ctx.set(port, Function.const(vars(function)))
        for name in self.off:
            ctx.set(dut.weaken[name], 1)
        await ctx.tick().repeat(6)
        for request in self.requests:
            ctx.set(dut.i.p, request)
            for _ in range(self.rng.choice((0, 0, 0, 3)) if self.stall else 0):
                await ctx.tick()
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
            ctx.set(dut.i.valid, 0)

    async def _sink(self, ctx):
        dut = self.dut
        while len(self.seen) < len(self.requests):
            ctx.set(dut.o.ready, not self.stall or self.rng.random() > .4)
            await ctx.tick()
        await ctx.tick().repeat(40)  # for those who are told

    async def _ears(self, ctx):
        """Hear what is told, in each clock, and what leaves."""
        dut = self.dut
        values = [dut.o.valid, dut.o.ready, dut.o.p,
                  dut.share_read.en, dut.share_read.slot, dut.share_read.data,
                  dut.share_write.en, dut.share_write.slot, dut.share_write.data,
                  dut.context.en, dut.context.slot, dut.context.data,
                  dut.owner.en, dut.owner.write, dut.owner.slot, dut.owner.colour,
                  dut.owner.device_id, dut.lost, dut.i.valid, dut.i.ready, dut.i.p.id]
        async for (_, _, valid, ready, o, read, read_slot, read_data, write, write_slot, write_data,
                   told, slot, context, owned, owner_write, owner_slot, colour, device,
                   lost, coming, taken, id) in ctx.tick().sample(*values):
            self.clock += 1
            if coming and taken:
                self.times[id] = [self.clock]
            self.lost += lost
            if told:
                self.contexts.append((slot, context))
            if owned:
                self.owners.append((owner_write, owner_slot, colour, device))
            if read:
                self.shares[0][read_slot] = read_data
            if write:
                self.shares[1][write_slot] = write_data
            if valid and ready:
                self.times[o.id].append(self.clock)
                self.seen.append((o, self.shares[o.write].get(self.requests[o.id]["slot"])))

    async def _table(self, ctx):
        """The guest table: what is read is found 4 clocks later."""
        port, line = self.dut.table, deque([None] * 3)
        async for _, _, valid, guest in ctx.tick().sample(port.valid, port.guest):
            line.append(guest if valid else None)
            number = line.popleft()
            known = self.model.guests.get(number)
            found = {"exists": number is not None and 0 < number < self.model.table}
            if known:
                low, high = known.entry.words()
                found |= {"entry": GuestEntry.from_bits(low | high << 64), "state": known.state,
                          "fatal": known.fatal, "bad": known.broken & 1, "odd": known.broken >> 1}
            ctx.set(port.found, found)
            ctx.set(port.hold, self.rng.random() < self.hold)

    async def _rings(self, ctx):
        """The rings: answers in order, after a while."""
        dut, queue, clock = self.dut, deque(), 0
        ctx.set(dut.ring.ready, 1)
        ticks = ctx.tick().sample(dut.ring.valid, dut.ring.ready, dut.ring.p,
                                  dut.verdict.valid, dut.verdict.ready)
        async for _, _, asked, taken, question, valid, ready in ticks:
            clock += 1
            if asked and taken:
                self.questions.append(question)
                queue.append((clock + (self.rng.randrange(self.ring_wait) if self.ring_wait else 0),
                              self._answer(len(self.questions) - 1)))
            if valid and ready:
                queue.popleft()
                ctx.set(dut.verdict.valid, 0)
            if queue and queue[0][0] <= clock:
                ctx.set(dut.verdict.p, queue[0][1])
                ctx.set(dut.verdict.valid, 1)
            ctx.set(dut.ring.ready, not self.stall or self.rng.random() > .3)

    def _answer(self, number):
        rng = random.Random(number)
        valid = rng.random() < .9
        self.answers[number] = {
            "valid": int(valid), "ok": int(valid and rng.random() < .8),
            "template": rng.randrange(8), "size_log2": rng.randrange(4), "shift": rng.randrange(16),
            "patch_id": rng.randrange(2), "allow": rng.getrandbits(64)}
        return RingVerdict.const(self.answers[number])

    async def _denials(self, ctx):
        port = self.dut.denial
        ctx.set(port.ready, 1)
        async for _, _, valid, ready, denial in ctx.tick().sample(port.valid, port.ready, port.p):
            if valid and ready:
                self.denials.append(denial)
            ctx.set(port.ready, not self.stall or self.rng.random() > .2)

    async def _freezes(self, ctx):
        port = self.dut.freeze
        async for _, _, valid, ready, colour in ctx.tick().sample(port.valid, port.ready,
                                                                  port.payload):
            if valid and ready:
                self.frozen.append(colour)
            ctx.set(port.ready, not self.stall or self.rng.random() > .3)


def request(number, *, device_id, iova, write=0, length_dw=16, slot=None, **more):
    """Return a request."""
    return {**dict.fromkeys((name for name, _ in access(ID)), 0), "source": device_id,
            "device_id": device_id, "iova": iova, "write": write, "length_dw": length_dw,
            "slot": number % 256 if slot is None else slot, "id": number, **more}


def random_requests(model, rng, count, *, link=False):
    """Return requests of all functions, most of them nearly right."""
    return [_random_request(model, rng, number, link) for number in range(count)]


def _random_request(model, rng, number, link):
    function = rng.choice([*model.functions, None])
    more = {"write": rng.randrange(2), "length_dw": rng.choice((1, 4, 16, 32)),
            "empty": rng.random() < .1, "bypass": rng.random() < .1,
            "at": rng.choice((1, 2)) if rng.random() < .05 else 0, "priv": rng.randrange(2),
            "exec": rng.randrange(2), "pid": rng.getrandbits(20), "pv": rng.random() < .05}
    if function is None or function.mode == COLOUR:
        device = 0x04_1234 if function is None else function.segment << 16 | function.rid
        iova = _random_address(model, rng)
        if function is None:
            device, more["pv"] = device + rng.randrange(3), rng.randrange(2)
    else:
        iova = rng.getrandbits(rng.choice((32, 48, 64))) & ~3
        device = function.segment << 16 | function.rid
    if function and function.mode == RID:
        device += rng.randrange(-1, function.count + 1) << function.stride_log2
        device += rng.random() < .1
    if function and function.mode == PASID:
        more["pv"] = rng.random() < .9
        more["pid"] = function.pasid + rng.randrange(-1, function.count + 1)
    if iova % 4096 + 4 * more["length_dw"] > 4096:
        iova -= 4 * more["length_dw"]
    made = request(number, device_id=device, iova=max(iova, 0), **more)
    return made | {"source": 0} if link else made


def _random_address(model, rng):
    addresses = model.addresses
    colour = rng.choice([*model.guests, 0, 0, rng.randrange(256)])
    guest  = model.guests.get(colour)
    key    = guest.entry.key & (1 << addresses.key_bits) - 1 if guest else 0
    if rng.random() < .1 and addresses.key_bits:
        key ^= 1 << rng.randrange(addresses.key_bits)
    kind = rng.choice((*range(6), *range(8), 0, 0, 5, 5)) if colour or rng.random() < .1 else 0
    offset = rng.getrandbits(addresses.offset_bits) & ~3
    if kind == KINDS["ring"] and rng.random() < .7:
        offset &= (1 << 33) - 1
    names = {number: name for name, number in KINDS.items()} | {6: "poison"}
    address = addresses.pack(colour, names[kind], offset, key=key, guard=rng.random() < .1)
    if kind == 6:
        address &= ~(1 << addresses.offset_bits + 1)
    if rng.random() < .05 and model.width < 64:
        address |= 1 << rng.randrange(model.width, 64)
    return address
