"""Surroundings of a miss file in plain Python: engine, lookup pipeline, walker and checks."""

from collections import defaultdict, deque

from amaranth import *
from amaranth.lib import wiring

__all__ = ["LATENCY", "HiddenStreams", "MissBench"]

LATENCY = 3


class MissBench:
    """Drives a miss file clock by clock.

    ``requests`` yields for each clock a dict(device, page, debug) or None. The bench keeps what the
    IOTLB holds as a set of (device, line), and answers (device, page) with a number of its own.
    Contexts carry ``version``, and must carry the present one when a walk starts with them.
    """

    def __init__(self, dut, requests, *, rng, walks=4, walk_latency=lambda: 10,
                 faulty=lambda device, page: 0, evicts=lambda: False, ready=lambda: 1,
                 accepts_walk=lambda: 1, resident=()):
        self.dut, self.requests, self.rng = dut, iter(requests), rng
        self.walks, self.walk_latency, self.faulty = walks, walk_latency, faulty
        self.evicts, self.ready, self.accepts_walk = evicts, ready, accepts_walk
        self.cache = set(resident)
        self.pipeline = deque([(None, 0)] * LATENCY)
        self.waiting = None
        self.running = []          # (end, walk)
        self.expected = defaultdict(deque)
        self.results, self.walked = [], []
        self.sent = 0
        self.clock = 0
        self.ended, self.version, self.probes = False, 0, []

    @staticmethod
    def ppn(device, page):
        """Return the translation of ``page``."""
        return (device * 0x1357 + page * 0x2F1) & 0xFFFFF

    def outcome_of(self, request, version):
        """Return what the lookup says about ``request`` now, with the contexts of ``version``."""
        access = request["access"]
        device, page = access["device_id"], access["iova"] >> 12
        hit = (device, page >> 3) in self.cache and not self.faulty(device, page)
        return {"request": request, "hit": hit, "ppn": self.ppn(device, page) if hit else 0,
                "context_hit": device & 1, "context": {"gscid": version}}

    def new_request(self, want):
        """Return a lookup request, and expect its result."""
        device, page = want["device"], want["page"]
        debug = want.get("debug", 0)
        request = {"access": {"device_id": device, "iova": page << 12 | 0x123},
                   "source": device, "id": self.sent & 63, "epoch": self.sent & 1, "debug": debug,
                   "probe": want.get("probe", 0)}
        if not request["probe"]:
            self.expected[debug, device].append((self.clock, request))
            self.sent += 1
        return request

    async def run(self, ctx, clocks, *, every=lambda bench, ctx: None):
        """Run until ``requests`` are used up and answered, at most for ``clocks``."""
        dut = self.dut
        replays = deque()
        for self.clock in range(clocks):
            every(self, ctx)
            if self.waiting is None:
                self.waiting = next(self.requests, "end")
            if self.waiting == "end":
                self.waiting = None
                self.ended = True
            if self.ended and not any(self.expected.values()):
                return

            entering, entered = None, 0
            ctx.set(dut.replay.ready, len(replays) < 2)
            if replays and self.rng.random() < 0.9:
                entering = replays.popleft()
            elif self.waiting is not None and ctx.get(dut.room):
                entering, entered = self.new_request(self.waiting), 1
                if entering["probe"]:
                    entered = 0
                self.waiting = None
            ctx.set(dut.entered, entered)
            self.pipeline.append((entering, self.version))

            arriving, version = self.pipeline.popleft()
            ctx.set(dut.outcome.valid, arriving is not None)
            if arriving is not None:
                ctx.set(dut.outcome.payload, self.outcome_of(arriving, version))

            ended = [entry for entry in self.running if entry[0] <= self.clock]
            ctx.set(dut.done.valid, bool(ended))
            if ended:
                ctx.set(dut.done.payload, self.end_walk(ended[0]))
            ctx.set(dut.walk.ready, len(self.running) < self.walks and self.accepts_walk())
            ctx.set(dut.result.ready, self.ready())
            ctx.set(dut.probed.ready, 1)

            if arriving is not None:
                assert ctx.get(dut.outcome.ready)
                assert ctx.get(dut.probed.valid) == arriving["probe"]
                if arriving["probe"]:
                    self.probes.append(int(ctx.get(dut.probed.p.hit)))
            if ended:
                assert ctx.get(dut.done.ready)
            if ctx.get(dut.result.valid) and ctx.get(dut.result.ready):
                self.check_result(ctx.get(dut.result.payload))
            if ctx.get(dut.walk.valid) and ctx.get(dut.walk.ready):
                self.begin_walk(ctx.get(dut.walk.payload))
            if ctx.get(dut.replay.valid) and ctx.get(dut.replay.ready):
                replays.append(self.as_dict(ctx.get(dut.replay.payload)))
            await ctx.tick()

    @staticmethod
    def as_dict(request):
        """Return a replay as plain values."""
        assert request.replay and not request.probe
        access = {name: int(getattr(request.access, name)) for name in ("device_id", "iova")}
        return {"access": access, **{name: int(getattr(request, name)) for name in
                                     ("source", "id", "epoch", "debug", "replay", "slot", "probe")}}

    def begin_walk(self, walk):
        """Accept a walk."""
        device, page = int(walk.access.device_id), int(walk.access.iova) >> 12
        assert not walk.prefetch
        if walk.context_hit:
            assert int(walk.context.gscid) == self.version
        self.walked.append((self.clock, device, page >> 3, int(walk.context_hit)))
        self.running.append((self.clock + self.walk_latency(), device, page, int(walk.slot)))

    def end_walk(self, entry):
        """Return the answer of a walk; its line is cached, unless evicted at once."""
        self.running.remove(entry)
        _, device, page, slot = entry
        if fault := self.faulty(device, page):
            return {"ok": 0, "ca": fault & 1, "cause": fault, "slot": slot}
        if not self.evicts():
            self.cache.add((device, page >> 3))
        return {"ok": 1, "ppn": self.ppn(device, page), "slot": slot}

    def check_result(self, result):
        """Check a result and its place in the order of its source."""
        # Identity is checked by the order: of each source, the oldest must leave first.
        matches = [queue for (debug, _), queue in self.expected.items()
                   if queue and debug == result.debug and queue[0][1]["id"] == result.id]
        assert matches, f"{result!r} at {self.clock} is not the oldest of any source"
        queue = matches[0]
        begin, request = queue.popleft()
        device, page = request["access"]["device_id"], request["access"]["iova"] >> 12
        assert result.epoch == request["epoch"]
        fault = self.faulty(device, page)
        assert result.ok == (not fault)
        if fault:
            assert (result.cause, result.ca) == (fault, fault & 1)
        else:
            assert result.ppn == self.ppn(device, page) and not result.ca and not result.cause
        self.results.append((self.clock, self.clock - begin, device, page))

    def check_all_answered(self):
        """Check that each request has had its result."""
        assert not any(self.expected.values())
        assert len(self.results) == self.sent


class HiddenStreams(wiring.Component):
    """Hides the streams of ``dut`` from the checks, because forgetting a context changes an
    offer.
    """

    def __init__(self, dut):
        self.dut = dut
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = self.dut
        return m
