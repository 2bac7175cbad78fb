"""Accesses of cores to the pages of guests, as the front passes them on."""

import random

import pytest

from iovirt.config import PioConfig
from iovirt.pio.front import PioFront
from iovirt_sim.models.pio_front import Burst, Map, Window, register_access

from .front_bench import OKAY, SLVERR, Bench, device_byte
from .test_front import SMALL, full

MEMORY, ECAM, PAGES, SIZE = 0x1000_0000, 0x4000_0000, 0x5000_0000, 0x4_0000


def make_map(policy="ONES"):
    return Map(windows=(Window(MEMORY, 0x1_0000, 0x8000_0000),), ecam=(ECAM, 1 << 20),
               doorbells=(PAGES, SIZE), doorbell_policy=policy)


def make(tlp_width=128, **changes):
    return PioFront(data_width=tlp_width, pio=PioConfig(**SMALL | changes), max_payload_bytes=128,
                    pages=True)


class PageBench(Bench):
    """A bench with somebody who serves the pages; refuses what is not legal, and what ``refuse``
    says. ``page_delay`` is a function of an access.
    """

    def __init__(self, dut, where, *, page_delay=lambda access: 0, refuse=lambda access: False,
                 page_gap=None, **settings):
        super().__init__(dut, where, **settings)
        self.page_delay, self.refuse = page_delay, refuse
        self.page_gap = page_gap or self.gap
        self.pages, self.page_ends = [], []
        self.times |= {"page": [], "w": []}

    def run(self, *, more=(), **settings):
        super().run(more=[self._page, self._page_answer, self._watch, *more], **settings)

    async def _page(self, ctx):
        page = self.dut.page
        while True:
            for _ in range(self.page_gap()):
                await ctx.tick()
            ctx.set(page.ready, 1)
            access, = await ctx.tick().sample(page.payload).until(page.valid)
            ctx.set(page.ready, 0)
            self.times["page"].append(self.clock)
            self.pages.append(access)
            start = access.address & ~3
            ok = access.legal and not self.refuse(access)
            data = sum(device_byte(PAGES + start + n) << 8 * n for n in range(4))
            self.page_ends.append((self.clock + self.page_delay(access), len(self.pages), {
                "owner": access.owner, "write": access.write, "ok": ok,
                "data": data if ok else 0x12345678}))

    async def _page_answer(self, ctx):
        await self._offer(ctx, self.dut.page_answer, self.page_ends)

    async def _watch(self, ctx):
        bus = self.dut.bus
        async for _, _, valid, ready in ctx.tick().sample(bus.wvalid, bus.wready):
            if valid and ready:
                self.times["w"].append(self.clock)


def doorbell(id, offset, value, size=2):
    """Return a write of ``1 << size`` bytes to the pages."""
    lane = offset % 8
    return Burst(id, PAGES + offset, 1, size,
                 data=[(value << 8 * lane, ((1 << (1 << size)) - 1) << lane & 0xFF)])


def test_doorbell_takes_9_clocks_to_the_stream_of_pages():
    bench = PageBench(make(), make_map(), gap=lambda: 40, page_gap=lambda: 0)
    bench.write(*(doorbell(n, 0x2008 + 8 * n, n) for n in range(3)))
    bench.run(until=lambda: len(bench.responses) == 3)
    assert [page - w for page, w in zip(bench.times["page"], bench.times["w"], strict=True)] == [
        9, 9, 9]


def test_doorbells_of_different_ids_pass_one_per_clock():
    bench = PageBench(make(reads=32), make_map(), page_delay=lambda _: 8)
    bench.write(*(doorbell(n % 16, 0x2008 + 8 * n, n) for n in range(100)))
    bench.run(until=lambda: len(bench.responses) == 100)
    times = bench.times["page"]
    assert times[-1] - times[0] <= 200
    assert [(access.write, access.address, access.be, access.data, access.legal, access.core)
            for access in bench.pages] == [
        (1, 0x2008 + 8 * n, 0xF, n, 1, n % 16 >> 2) for n in range(100)]


def test_read_takes_2_clocks_to_the_stream_of_pages():
    bench = PageBench(make(), make_map(), gap=lambda: 40, page_gap=lambda: 0)
    bench.read(*[Burst(5, PAGES + 0x1004, 1, 2)] * 2)
    bench.run(until=lambda: len(bench.answers) == 2)
    assert bench.times["page"][1] - bench.times["ar"][1] == 2
    access = bench.pages[0]
    assert (access.write, access.address, access.be, access.legal, access.core) == (
        0, 0x1004, 0xF, 1, 1)


@pytest.mark.parametrize("size, beats, legal", [(0, 1, 1), (1, 1, 1), (2, 1, 1), (3, 1, 0),
                                                (2, 2, 0), (3, 4, 0), (4, 1, 0)])
def test_only_1_2_and_4_bytes_are_legal(size, beats, legal):
    bench = PageBench(make(data_width=64 << (size == 4)), make_map("ERROR"))
    width = 1 << size
    writes = Burst(1, PAGES + 0x1010, beats, size,
                   data=[(0xA5A5A5A5A5A5A5A5, ((1 << width) - 1) << n * width % 8)
                         for n in range(beats)])
    bench.write(writes)
    bench.read(Burst(2, PAGES + 0x1010, beats, size))
    bench.run(until=lambda: len(bench.responses) == 1 and len(bench.answers) == beats)
    assert [access.legal for access in bench.pages] == [legal, legal]
    resp = OKAY if legal else SLVERR
    assert [got for *_, got in bench.responses] == [resp]
    assert [got for *_, got, _, _ in bench.answers] == [resp] * beats
    assert not bench.errors and not bench.accesses and not bench.tlps


@pytest.mark.parametrize("strobes", [0x0F0F, 0x1001, 0x00F1, 0x0005])
def test_write_with_holes_is_not_legal(strobes):
    bench = PageBench(make(data_width=128), make_map("ERROR"))
    bench.write(Burst(1, PAGES + 0x1010, 1, 4, data=[(5, strobes)]))
    bench.run(until=lambda: len(bench.responses) == 1)
    assert [access.legal for access in bench.pages] == [0]
    assert [resp for *_, resp in bench.responses] == [SLVERR]


@pytest.mark.parametrize("offset, size", [(0x1001, 1), (0x1002, 2), (0x1003, 1), (0x1001, 2)])
def test_reads_must_be_aligned(offset, size):
    bench = PageBench(make(), make_map("ERROR"))
    bench.read(Burst(2, PAGES + offset, 1, size))
    bench.run(until=lambda: len(bench.answers) == 1)
    assert bench.pages[0].legal == 0 and bench.answers[0][3] == SLVERR


@pytest.mark.parametrize("policy, resp, poison", [("ONES", OKAY, 0), ("ERROR", SLVERR, 0),
                                                  ("POISON", OKAY, 1)])
def test_failed_accesses_are_answered_by_the_policy_of_the_aperture(policy, resp, poison):
    bench = PageBench(make(), make_map(policy), refuse=lambda _: True)
    bench.read(Burst(1, PAGES + 8, 1, 2))
    bench.write(doorbell(2, 0x20, 7))
    bench.run(until=lambda: len(bench.answers) == 1 and len(bench.responses) == 1)
    assert bench.answers[0][1:] == (1, (1 << 64) - 1, resp, 1, poison)
    assert bench.responses[0][1:] == (2, SLVERR if policy == "ERROR" else OKAY)
    assert not bench.errors


class SlowUnit(PageBench):
    """A configuration unit that accepts no access for a long time."""

    async def _config(self, ctx):
        while self.clock < 900:
            await ctx.tick()
        await super()._config(ctx)


def test_doorbells_do_not_wait_behind_configuration_accesses_of_others():
    bench = SlowUnit(make(reads=32), make_map())
    bench.read(*(Burst(1, ECAM + 4 * n, 1, 2) for n in range(24)), Burst(2, PAGES + 8, 1, 2))
    bench.write(*(Burst(1, ECAM + 4 * n, 1, 2, data=[(n, 0xF)]) for n in range(0, 48, 2)),
                doorbell(2, 8, 5))
    bench.run(until=lambda: len(bench.answers) == 25 and len(bench.responses) == 25)
    assert bench.answers[0][1] == 2 and bench.answers[0][0] < 300
    assert bench.responses[0][1] == 2 and bench.responses[0][0] < 300


def test_pages_that_nobody_serves_hold_neither_memory_nor_configuration_space():
    bench = PageBench(make(reads=32), make_map(),
                      page_gap=lambda: max(0, 900 - bench.clock))
    bench.read(*(Burst(1, PAGES + 4 * n, 1, 2) for n in range(24)), Burst(2, ECAM, 1, 2),
               Burst(3, MEMORY, 1, 3))
    bench.write(*(doorbell(1, 8 * n, n) for n in range(24)), Burst(2, ECAM, 1, 2, data=[(1, 0xF)]),
                full(3, MEMORY))
    bench.run(until=lambda: len(bench.answers) == 26 and len(bench.responses) == 26)
    for seen in (bench.answers, bench.responses):
        assert {entry[1] for entry in seen[:2]} == {2, 3} and seen[1][0] < 300


@pytest.mark.parametrize("seed, bus, tlp", [(1, 64, 128), (2, 128, 64), (3, 512, 64),
                                            (4, 64, 512)])
def test_every_access_is_answered_in_the_order_of_its_id(seed, bus, tlp):
    rng = random.Random(seed)
    refused = {offset for offset in range(0, 0x3000, 4) if rng.random() < .2}
    bench = PageBench(make(tlp, data_width=bus, reads=16), make_map("ERROR"),
                      gap=lambda: rng.choice([0, 0, 0, 3]), delay=lambda _: rng.randrange(40),
                      page_delay=lambda _: rng.randrange(40),
                      refuse=lambda access: access.address & ~3 in refused)
    reads, writes = [], []
    for _ in range(60):
        size = rng.choice([0, 1, 2, 2, 2, 3])
        offset = rng.randrange(0x3000) >> size << size
        base = rng.choice([PAGES, PAGES, MEMORY, ECAM])
        reads.append(Burst(rng.randrange(6), base + offset, 1, size))
        lane = offset % (bus // 8)
        strobes = ((1 << (1 << size)) - 1) << lane
        writes.append(Burst(rng.randrange(6), base + offset, 1, size,
                            data=[(rng.getrandbits(bus), strobes)]))
    bench.read(*reads)
    bench.write(*writes)
    bench.run(until=lambda: len(bench.answers) == 60 and len(bench.responses) == 60)

    def fails(burst):
        offset = burst.address - PAGES
        if burst.address >= PAGES:
            return not register_access(offset, 1 << burst.size) or offset & ~3 in refused
        return burst.address >= ECAM and burst.size == 3

    for bursts, seen, at in ((reads, bench.answers, 3), (writes, bench.responses, 2)):
        for id in range(6):
            assert [entry[at] for entry in seen if entry[1] == id] == [
                SLVERR if fails(burst) and burst.address >= PAGES else OKAY
                for burst in bursts if burst.id == id]
    queues = {id: [burst for burst in reads if burst.id == id] for id in range(6)}
    for _, id, data, resp, _, _ in bench.answers:
        burst = queues[id].pop(0)
        lane = burst.address % (bus // 8)
        if resp == OKAY and burst.address >= PAGES:
            for n in range(1 << burst.size):
                assert data >> 8 * (lane + n) & 0xFF == device_byte(burst.address + n)
    taken = [(access.address, access.data & sum(0xFF << 8 * n for n in range(4)
                                                if access.be >> n & 1))
             for access in bench.pages if access.write and access.legal]
    lanes = lambda burst: burst.data[0][0] >> 8 * (burst.address % (bus // 8))
    assert taken == [(burst.address - PAGES & ~3, (lanes(burst) & (1 << 8 * (1 << burst.size)) - 1)
                      << 8 * (burst.address % 4))
                     for burst in writes if burst.address >= PAGES and burst.size < 3]
