"""What is around the pages of guests, and what accesses to them should become, in plain Python."""

from collections import deque
from dataclasses import dataclass

from iovirt.vf.guest_pages import GuestPages
from iovirt.vf.share_layouts import DenialCause, GuestCounter, GuestState
from iovirt_sim.harness import simulate

ONES, PAGE = 0xFFFFFFFF, 4096
LIVE = (GuestState.RUN, GuestState.FREEZE, GuestState.DRAIN)


@dataclass(frozen=True)
class Guest:
    """What the guest table tells of one."""

    first_pair: int
    pairs:      int
    state:      GuestState = GuestState.RUN
    function:   int = 0
    ok:         int = 1


@dataclass(frozen=True)
class Layout:
    """Settings of the pages."""

    region_log2: int = 2
    stride_log2: int = 0
    single: int = 0
    doorbell_base: int = 0x1000

    @property
    def region(self):
        """Bytes of a guest."""
        return PAGE << self.region_log2

    def door(self, guest, queue, side=0):
        """Return the offset of a doorbell in the aperture."""
        step = 4 << self.stride_log2
        return self.region * guest + self.doorbell_base + step * (
            queue if self.single else 2 * queue + side)

    def decode(self, offset):
        """Return (queue, side) of an offset in a region, or None."""
        step = 4 << self.stride_log2
        number, odd = divmod((offset & ~3) - self.doorbell_base, step)
        if number < 0 or odd:
            return None
        if self.single:
            return number, 0
        return (number // 2, number % 2) if number >= 2 else None


def expect(access, layout, guests, headers=True):
    """Return (kind, pair, side, denied) of an access, a dict."""
    number, offset = divmod(access["address"], layout.region)
    guest = guests.get(number)
    if guest is None or not guest.ok:
        return "failed", None, None, False
    door = layout.decode(offset)
    header = headers and offset >= layout.region - PAGE
    index  = None if door is None or header else door[0] - (not layout.single)
    mine   = index is not None and index < guest.pairs
    write, whole = access["write"], access["be"] == 0xF or not access["write"]
    live = guest.state in LIVE
    denied = bool(write and mine and not (live and access["legal"] and whole))
    if not live:
        return "off", None, None, denied
    if not access["legal"]:
        return "failed", None, None, denied
    if mine:
        return ("door" if whole else "dropped"), guest.first_pair + index, door[1], denied
    return ("header" if header else "mailbox"), None, None, False


def verdict_of(doorbell):
    """Return what the pairs say of a doorbell, a function of it."""
    mixed = (doorbell.value * 7 + doorbell.pair * 5 + doorbell.side) & 0xFFFF
    return {"ok": mixed % 5 != 0, "value": mixed if doorbell.read else doorbell.value & 0xFFFF,
            "ring": not doorbell.read and doorbell.side, "tail": doorbell.pair * 2 + 0x400,
            "function": doorbell.pair % 2}


class Bench:
    """Runs accesses through ``GuestPages`` and keeps what comes out."""

    DELTAS = (1, 9)

    def __init__(self, *, guests, layout=None, headers=True, gap=lambda: 0, delay=lambda: 2,
                 lookup=lambda: 4, weak=False, weaken=None, head_gap=None, timeout=0, size=8):
        self.dut = GuestPages(guests=size, functions=2, headers=headers, weak=weak, tick_log2=7)
        self.guests, self.layout = guests, layout or Layout()
        self.gap, self.delay, self.lookup = gap, delay, lookup
        self.head_gap = head_gap or gap
        self.weaken, self.timeout, self.clock = weaken or {}, timeout, 0
        self.accesses, self.times = deque(), {"page": [], "doorbell": [], "verdict": []}
        self.answers, self.doorbells, self.seen = {}, [], {}
        self.answered = {}
        for name in ("head", "count", "denial", "error"):
            self.seen[name] = []
        self.mailbox = lambda request: (1, request.data ^ 0x5A5A5A5A)

    def run(self, until, *testbenches, deadline=20_000):
        """Run until ``until()``."""
        async def main(ctx):
            while not until():
                await ctx.tick()
            await ctx.tick().repeat(60)

        sinks = [self._sink(name) for name in self.seen]
        simulate(self.dut, main, *testbenches, deadline=deadline, background=[
            self._setup, self._time, self._page, self._answer, self._lookup, self._pairs,
            self._manager, *sinks])

    def put(self, address, data=None, *, be=0xF, legal=1, core=0):
        """Let a core read, or write ``data``; return the owner."""
        owner = len(self.answers) + len(self.accesses) + 0x800
        self.accesses.append({"write": int(data is not None), "address": address, "be": be,
                              "data": data or 0, "legal": legal, "core": core, "owner": owner})
        return owner

    async def _time(self, ctx):
        async for _ in ctx.tick():
            self.clock += 1

    async def _setup(self, ctx):
        dut, layout = self.dut, self.layout
        ctx.set(dut.settings, {name: getattr(layout, name) for name in (
            "region_log2", "stride_log2", "single", "doorbell_base")})
        ctx.set(dut.timeout, self.timeout)
        for port, delta in zip(dut.head_delta, self.DELTAS, strict=True):
            ctx.set(port, delta)
        if self.weaken:
            ctx.set(dut.weaken, self.weaken)

    async def _page(self, ctx):
        page = self.dut.page
        await ctx.tick().repeat(2)
        for access in list(self.accesses):
            for _ in range(self.gap()):
                await ctx.tick()
            ctx.set(page.payload, access)
            ctx.set(page.valid, 1)
            await ctx.tick().until(page.ready)
            ctx.set(page.valid, 0)
            self.times["page"].append(self.clock)

    async def _answer(self, ctx):
        answer = self.dut.page_answer
        while True:
            for _ in range(self.gap()):
                await ctx.tick()
            ctx.set(answer.ready, 1)
            payload, = await ctx.tick().sample(answer.payload).until(answer.valid)
            ctx.set(answer.ready, 0)
            assert payload.owner not in self.answered, "answered twice"
            self.answered[payload.owner] = (self.clock, payload)

    async def _lookup(self, ctx):
        guest = self.dut.guest
        await self._serve(ctx, guest.request, guest.answer, self.lookup, self._find)

    def _find(self, number):
        guest = self.guests.get(number) or Guest(0, 0, GuestState.OFF, 0, 0)
        return {name: getattr(guest, name)
                for name in ("first_pair", "pairs", "state", "function", "ok")}

    async def _pairs(self, ctx):
        def look(doorbell):
            self.doorbells.append(doorbell)
            self.times["doorbell"].append(self.clock)
            return verdict_of(doorbell)
        await self._serve(ctx, self.dut.doorbell, self.dut.verdict, self.delay, look)

    async def _serve(self, ctx, asked, told, delay, look):
        """Answer in order, ``delay()`` clocks later, one per clock; fail if the answer waits."""
        due, last = deque(), 0
        ctx.set(asked.ready, 1)
        async for _, _, valid, ready, payload, gives, takes in ctx.tick().sample(
                asked.valid, asked.ready, asked.payload, told.valid, told.ready):
            assert takes or not gives, "an answer waits"
            if valid and ready:
                last = max(last + 1, self.clock + delay())
                due.append((last, look(payload)))
            comes = bool(due) and due[0][0] <= self.clock
            ctx.set(told.valid, comes)
            if comes:
                ctx.set(told.payload, due.popleft()[1])
                if told is self.dut.verdict:
                    self.times["verdict"].append(self.clock)
            ctx.set(asked.ready, not self.gap())

    async def _manager(self, ctx):
        dut = self.dut
        while True:
            await ctx.tick()
            request = ctx.get(dut.oldest)
            reply = self.mailbox(request) if request.valid else None
            if reply is None:
                continue
            ok, data = reply
            ctx.set(dut.answer.ok, ok)
            ctx.set(dut.answer.data, data)
            ctx.set(dut.answer.en, 1)
            await ctx.tick()
            ctx.set(dut.answer.en, 0)

    def _sink(self, name):
        async def sink(ctx):
            port = getattr(self.dut, name)
            gap = self.head_gap if name == "head" else self.gap
            while True:
                for _ in range(gap()):
                    await ctx.tick()
                ctx.set(port.ready, 1)
                payload, = await ctx.tick().sample(port.payload).until(port.valid)
                ctx.set(port.ready, 0)
                self.seen[name].append(payload)
        return sink

    def counts(self, counter):
        """Return the guests that something was counted for."""
        return [count.colour for count in self.seen["count"]
                if count.counter == GuestCounter[counter]]

    def denials(self):
        """Return (guest, address) of all denials."""
        assert all(denial.cause == DenialCause.DOORBELL for denial in self.seen["denial"])
        return [(denial.colour, denial.address) for denial in self.seen["denial"]]

    def errors(self):
        """Return (core, guest, address) of what has failed."""
        return [(error.core, error.guest, error.address) for error in self.seen["error"]]
