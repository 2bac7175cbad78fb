# amaranth: UnusedElaboratable=no

import random
from collections import defaultdict, deque

import pytest

from iovirt.config import RemapConfig
from iovirt.remap.lookup import Lookup
from iovirt_sim.harness import simulate
from iovirt_sim.lookup_bench import LookupBench

GEOMETRIES = [  # tags, ways, contexts, context ways, superpages, modes
    (8, 2, 4, 2, 1, 1), (16, 4, 8, 4, 2, 1), (32, 4, 8, 2, 3, 3)]
BARE = 0


def make(tags, ways, contexts, context_ways, superpages, modes):
    return Lookup(id_width=4, slot_width=3, remap=RemapConfig(
        second_stage=("Sv39x4", "Sv48x4", "Sv57x4")[:modes], iotlb_tags=tags, iotlb_ways=ways,
        contexts=contexts, context_ways=context_ways, superpages=superpages))


class Truth:
    """What memory says, and what may still be cached of what it said before.

    Keys are (GSCID, page number) of translations, and device_ids of contexts.
    """

    def __init__(self):
        self.current = {}
        self.stale = defaultdict(list)

    def change(self, key, value):
        if key in self.current:
            self.stale[key].append(self.current.pop(key))
        if value is not None:
            self.current[key] = value

    def forget(self, concerned):
        """Let nothing stale be cached of the keys that are ``concerned``."""
        for key in [key for key in self.stale if concerned(key)]:
            del self.stale[key]

    def legal(self, key):
        return [*self.stale[key], *([self.current[key]] if key in self.current else [])]


class Traffic:
    """Lookups, fills, invalidations and changes of the tables, all at the same time."""

    def __init__(self, dut, seed):
        self.dut, self.rng = dut, random.Random(seed)
        self.leaves, self.contexts = Truth(), Truth()
        self.devices = [self.rng.randrange(1 << 24) for _ in range(4)]
        self.lines = [self.rng.randrange(64) << 1 for _ in range(3)]  # even, odd: 64 KiB
        self.napot = set(self.lines[:1])
        self.regions = [0x200, 0x201]                                 # of 2 MiB
        self.gscids = [1, 0x8001]
        self.line_queue, self.asked = deque(), deque()
        self.offers = dict.fromkeys(("request", "line_fill", "superpage_fill", "context_fill",
                                     "invalidate"))
        self.change, self.hits, self.misses, self.changes = None, 0, 0, 0

    def value(self):
        allowed = self.rng.choice(["r", "rw", "rx", "rwx", "rwx", "rwx"])
        return self.rng.randrange(1 << 34), allowed

    def pages_of(self, gscid, line):
        return [(gscid, line * 8 + n) for n in range(8)]

    # What may happen to the tables: (keys that change, new values, invalidation, keys it concerns).

    def plan(self):
        rng = self.rng
        gscid, line = rng.choice(self.gscids), rng.choice(self.lines) + rng.randrange(2)
        kind = rng.randrange(8)
        if kind == 0:
            device_id = rng.choice(self.devices)
            value = (rng.choice(self.gscids), rng.choice([BARE, 1, 1, 1]))
            op = {"kind": 1, "dv": rng.random() < 0.8, "device_id": device_id}
            return self.contexts, {device_id: value}, op, lambda key: (
                not op["dv"] or key == device_id)
        value = self.value() if rng.random() < 0.9 else None
        if kind == 1:
            region = rng.choice(self.regions)
            keys, page = [(gscid, "2M", region)], region << 9 | rng.randrange(512)
        elif line & ~1 in self.napot:
            page = (line & ~1) * 8 + rng.randrange(16)
            keys = self.pages_of(gscid, line & ~1) + self.pages_of(gscid, line | 1)
        else:
            page = line * 8 + rng.randrange(8)
            keys = [(gscid, page)]
        op = {"kind": 0, "gv": rng.random() < 0.95, "av": rng.random() < 0.8, "gscid": gscid,
              "iova": page}
        op["av"] &= op["gv"]
        return self.leaves, dict.fromkeys(keys, value), op, lambda key: (
            not op["gv"] or (key[0] == gscid and (not op["av"] or key in keys)))

    def begin(self):
        for device_id in self.devices:
            self.contexts.change(device_id, (self.rng.choice(self.gscids), 1))
        for gscid in self.gscids:
            for line in self.lines:
                value = self.value()
                for key in self.pages_of(gscid, line) + self.pages_of(gscid, line | 1):
                    self.leaves.change(key, value if line in self.napot else self.value())
            for region in self.regions:
                self.leaves.change((gscid, "2M", region), self.value())

    # One method per port makes its next offer.

    def request(self):
        rng = self.rng
        page = (rng.choice(self.lines) * 8 + rng.randrange(16) if rng.random() < 0.7
                else rng.choice(self.regions) << 9 | rng.randrange(512))
        page ^= rng.choice([0] * 20 + [1 << 51, 1 << 29, 1 << 9])
        return {"access": {"device_id": rng.choice(self.devices), "iova": page << 12,
                           "write": rng.random() < 0.3, "exec": rng.random() < 0.1},
                "probe": rng.random() < 0.1}

    def line_fill(self):
        if not self.line_queue:
            rng = self.rng
            device_id, line = rng.choice(self.devices), rng.choice(self.lines) + rng.randrange(2)
            gscid = self.contexts.current[device_id][0]
            for n, key in enumerate(self.pages_of(gscid, line)):
                ppn, allowed = self.leaves.current.get(key, (0, ""))
                self.line_queue.append({
                    "gscid": gscid, "device_id": device_id, "line": line, "last": n == 7,
                    "napot": line & ~1 in self.napot,
                    "page": {"valid": key in self.leaves.current and rng.random() < 0.9,
                             "ppn": ppn, **{bit: bit in allowed for bit in "rwx"}}})
        return self.line_queue.popleft()

    def superpage_fill(self):
        gscid, region = self.rng.choice(self.gscids), self.rng.choice(self.regions)
        value = self.leaves.current.get((gscid, "2M", region))
        if value is None:
            return None
        return {"gscid": gscid, "iova": region << 9 | self.rng.randrange(512), "level": 1,
                "page": {"valid": 1, "ppn": value[0], **{bit: bit in value[1] for bit in "rwx"}}}

    def context_fill(self):
        device_id = self.rng.choice(self.devices)
        gscid, mode = self.contexts.current[device_id]
        return {"key": {"device_id": device_id}, "context": {"gscid": gscid, "mode": mode}}

    def invalidate(self):
        # As the invalidator does: no fill may wait to be accepted, save the rest of a line.
        if self.change is None:
            self.change = self.plan()
        if any(self.offers[port] for port in ("superpage_fill", "context_fill")) or (
                self.offers["line_fill"] and len(self.line_queue) == 7):
            return None
        truth, changes, op, _ = self.change
        for key, value in changes.items():
            truth.change(key, value)
        return op

    def offer(self):
        chances = {"request": 0.9, "superpage_fill": 0.1, "context_fill": 0.2,
                   "line_fill": 0.8 if self.line_queue else 0.5, "invalidate": 0.02}
        for port, chance in chances.items():
            held = self.change and port.endswith("fill") and not (
                port == "line_fill" and self.line_queue)
            again = port == "invalidate" and self.change
            if self.offers[port] is None and not held and (again or self.rng.random() < chance):
                self.offers[port] = getattr(self, port)()

    def check(self, outcome):
        request = self.asked.popleft()
        access = request["access"]
        context = (int(outcome.context.gscid), int(outcome.context.mode.value))
        page = access["iova"] >> 12
        if outcome.context_hit:
            assert context in self.contexts.legal(access["device_id"])
        if not outcome.hit:
            self.misses += 1
            return
        self.hits += 1
        assert outcome.context_hit
        if context[1] == BARE:
            assert outcome.ppn == page
            return
        wanted = "w" if access["write"] else "x" if access["exec"] else "r"
        spas = [ppn for ppn, allowed in self.leaves.legal((context[0], page)) if wanted in allowed]
        for ppn, allowed in self.leaves.legal((context[0], "2M", page >> 9)):
            if wanted in allowed:
                spas.append(ppn & ~511 | page & 511)
        assert outcome.ppn in spas

    async def run(self, ctx, cycles):
        dut = self.dut
        ports = {port: getattr(dut, port) for port in self.offers}
        ctx.set(dut.ddtp_mode, 3)
        self.begin()
        stall = 0
        for _ in range(cycles):
            self.offer()
            for port, interface in ports.items():
                ctx.set(interface.valid, self.offers[port] is not None)
                if self.offers[port] is not None:
                    ctx.set(interface.payload, self.offers[port])
            stall = stall - 1 if stall else self.rng.choice([0] * 15 + [1, 7])
            ctx.set(dut.outcome.ready, stall == 0)
            _, _, valid, outcome, *ready = await ctx.tick().sample(
                dut.outcome.valid, dut.outcome.payload, *(p.ready for p in ports.values()))
            if valid and stall == 0:
                self.check(outcome)
            for port, taken in zip(ports, ready, strict=True):
                if taken and self.offers[port] is not None:
                    if port == "request":
                        self.asked.append(self.offers[port])
                    if port == "invalidate":
                        truth, _, _, concerned = self.change
                        truth.forget(concerned)
                        self.change, self.changes = None, self.changes + 1
                    self.offers[port] = None


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_no_outcome_uses_what_was_dropped_or_never_filled(geometry):
    traffic = Traffic(make(*geometry), seed=sum(geometry))

    async def testbench(ctx):
        await traffic.run(ctx, 1500)

    simulate(traffic.dut, testbench)
    assert min(traffic.hits, traffic.misses) > 100 and traffic.changes > 15


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_what_was_just_filled_hits(geometry):
    rng = random.Random(1)

    async def body(ctx, bench):
        for _ in range(25):
            device_id, gscid = rng.randrange(1 << 24), rng.randrange(1 << 16)
            line = rng.randrange(1 << rng.choice([3, 26]))
            pages = {n: rng.randrange(1 << 34) for n in range(8) if rng.random() < 0.7}
            await bench.context(ctx, device_id, gscid=gscid)
            await bench.line(ctx, line, pages, gscid=gscid, device_id=device_id)
            for n, ppn in pages.items():
                spa = await bench.translate(ctx, device_id, line << 15 | n << 12)
                assert spa == ppn << 12

    LookupBench(make(*geometry)).run(body)


@pytest.mark.parametrize("geometry", GEOMETRIES[:2])
def test_a_set_keeps_as_many_lines_as_it_has_ways(geometry):
    # A line that were in two ways would push out another one.
    rng, (tags, ways) = random.Random(2), geometry[:2]

    async def body(ctx, bench):
        await bench.context(ctx, 7)
        lines = [n * (tags // ways) for n in range(ways)]
        for line in lines:
            await bench.line(ctx, line, {0: line}, device_id=7)
        for _ in range(30):  # fills one right after the other, some of the same line
            line = rng.choice(lines)
            await bench.line(ctx, line, {rng.randrange(8): line}, device_id=7)
        for line in lines:
            assert await bench.translate(ctx, 7, line << 15) == line << 12

    LookupBench(make(*geometry)).run(body)
