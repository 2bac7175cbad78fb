"""Surroundings of the DMA engine: TLPs, a translator, memory, and a check of all that comes out."""

from collections import Counter, deque
from dataclasses import dataclass

from amaranth.hdl import Value

from .axi import DECERR, OKAY, SLVERR, AxiMemory
from .tlp import Kind, Status, Tlp, byte_count, completions, lower_address

__all__ = ["CAUSES", "DmaWorld", "Page"]

#: Causes in the error log, by name.
CAUSES = {"poisoned write": 5, "write error": 7, "read poison": 8, "read abort": 9}
CID    = 0x0123


@dataclass(frozen=True)
class Page:
    """Where a page of a device leads: a frame, and what happens in the upper half of it."""

    frame:  int = 0
    read:   int = OKAY
    write:  int = OKAY
    denied: str = ""   # "UR" or "CA": no access


class DmaWorld:
    """Drive a DMA engine and check it against a plain model of what memory requests do.

    Call :meth:`add` for each TLP in link order, then :meth:`run` with a simulator. Traffic starts
    when the engine has cleared its tables.

    Parameters
    ----------
    dut : the engine.
    rng : source of randomness.
    pages : ``{(device_id, iova page): Page}``.
    max_payload : largest completion, in bytes.
    latency, stall, mix : see :class:`AxiMemory`.
    translate_latency : cycles for a translation, a function.
    gap : cycles between transfers, a function.
    """

    def __init__(self, dut, *, rng, pages, max_payload=256, latency=10, stall=lambda: False,
                 mix=True, translate_latency=lambda: 4, gap=lambda: 0):
        self.dut, self.rng, self.pages, self.max_payload = dut, rng, pages, max_payload
        self.gap, self.translate_latency = gap, translate_latency
        self.width  = len(dut.write.payload.data)
        self.frames = {page.frame: page for page in pages.values() if not page.denied}
        self.memory = AxiMemory(dut.bus, rng=rng, latency=latency, stall=stall, mix=mix,
                                error=self._error)
        for frame in self.frames:
            self.memory.write(frame << 12, rng.randbytes(4096))
        self.ops       = []                # (tlp, segment, aborted), in link order
        self.history   = {}                # SPA: [(index of op, byte)]
        self.answers   = {}                # (rid, tag): [Tlp or status, ...] that came
        self.refusals  = []
        self.errors    = []
        self.expected_errors = []
        self.epochs    = Counter()
        self.retired   = [0, 0]
        self.results   = [0, 0]
        self.dropped   = 0                 # writes with a result that touch no memory
        self.cycles    = 0
        self._cleared  = False
        self._started  = 0                 # writes whose first beat has been offered
        self._requests = deque()
        self._results  = {}

    def _error(self, address, write):
        page = self.frames.get(address >> 12)
        assert page is not None, f"access to frame {address >> 12:#x}, which nobody may use"
        return (page.write if write else page.read) if address & 0x800 else OKAY

    def add(self, tlp, *, segment=0, aborted=False):
        """Add a TLP to the link."""
        index = len(self.ops)
        self.ops.append((tlp, segment, aborted))
        if tlp.kind != Kind.MWR or aborted:
            return
        device = segment << 16 | tlp.rid
        page   = self.pages[device, tlp.address >> 12]
        if tlp.ep:
            self.expected_errors.append((CAUSES["poisoned write"], device, tlp.address))
            return
        enables = [tlp.first_be, *[0xF] * (tlp.length - 2), tlp.last_be][:tlp.length]
        last    = (tlp.address & 0xFFF) + 4 * tlp.length - 1
        if page.denied or not any(enables):
            return
        if page.write != OKAY and last & 0x800:
            self.expected_errors.append((CAUSES["write error"], device, tlp.address))
            return
        for n, byte in enumerate(tlp.payload):
            if enables[n // 4] >> n % 4 & 1:
                spa = (page.frame << 12) + (tlp.address & 0xFFF) + n
                history = self.history.setdefault(spa, [(-1, self.memory.read(spa, 1)[0])])
                history.append((index, byte))

    # Agents

    def _header(self, tlp, segment):
        pasid = tlp.pasid
        return {"rid": tlp.rid, "segment": segment, "tag": tlp.tag, "tc": tlp.tc,
                "attr": tlp.attr, "at": tlp.at, "address": tlp.address, "length_dw": tlp.length,
                "first_be": tlp.first_be, "last_be": tlp.last_be, "ep": int(tlp.ep),
                **({} if pasid is None else {"pv": 1, "pid": pasid.pid, "priv": int(pasid.priv),
                                             "exec": int(pasid.exec)})}

    async def _send(self, ctx, port, payload):
        ctx.set(port.payload, payload)
        ctx.set(port.valid, 1)
        await ctx.tick().until(port.ready)
        ctx.set(port.valid, 0)

    async def _pause(self, ctx):
        for _ in range(self.gap()):
            await ctx.tick()

    async def send_writes(self, ctx):
        """Offer the writes."""
        size = self.width // 8
        while not self._cleared:
            await ctx.tick()
        for tlp, segment, aborted in self.ops:
            if tlp.kind != Kind.MWR:
                continue
            header = self._header(tlp, segment)
            count  = -(-4 * tlp.length // size)
            for n in range(count):
                await self._pause(ctx)
                self._started += n == 0
                data = int.from_bytes(tlp.payload[n * size:][:size], "little")
                await self._send(ctx, self.dut.write, {
                    "header": header, "data": data, "first": int(n == 0),
                    "last": int(n == count - 1), "abort": int(aborted and n == count - 1)})

    async def send_reads(self, ctx):
        """Offer the reads, each after the writes that came before it."""
        posted = 0
        while not self._cleared:
            await ctx.tick()
        for tlp, segment, _ in self.ops:
            if tlp.kind == Kind.MWR:
                posted += 1
                continue
            await self._pause(ctx)
            while self._started < posted:
                await ctx.tick()
            await self._send(ctx, self.dut.read, {"header": self._header(tlp, segment),
                                                  "posted": posted & 255})

    async def translate(self, ctx):
        """Answer translation requests, in order for each source only."""
        request, result = self.dut.request, self.dut.result
        waiting = {True: deque(), False: deque()}
        for index, (tlp, segment, aborted) in enumerate(self.ops):
            write = tlp.kind == Kind.MWR
            if not (aborted or (write and tlp.ep)):
                waiting[write].append((index, tlp, segment))
        async for _, _, valid, ready, got, free, sent in ctx.tick().sample(
                request.valid, request.ready, Value.cast(request.payload), result.ready,
                result.valid):
            self.cycles += 1
            assert free or not sent, "a result must be accepted at once"
            if valid and ready:
                got = request.payload.shape().from_bits(got)
                index, tlp, segment = waiting[bool(got.write)].popleft()
                device = segment << 16 | tlp.rid
                assert (got.device_id, got.iova) == (device, tlp.address), \
                    f"request for {got.device_id:#x} {got.iova:#x}, not for {tlp}"
                if not got.write and waiting[True]:
                    assert waiting[True][0][0] > index, f"{tlp} passed {waiting[True][0][1]}"
                self._results.setdefault(got.source, deque()).append(
                    (self.cycles + self.translate_latency(), self._result(device, tlp, got)))
            due = [queue for queue in self._results.values()
                   if queue and queue[0][0] <= self.cycles]
            ctx.set(result.valid, bool(due))
            if due:
                payload, write = self.rng.choice(due).popleft()[1]
                ctx.set(result.payload, payload)
                self.epochs[payload["epoch"]] += 1
                self.results[not write] += 1
            ctx.set(request.ready, self.gap() == 0)

    def _result(self, device, tlp, got):
        page = self.pages[device, tlp.address >> 12]
        if got.write and (page.denied or not (tlp.first_be or tlp.last_be)):
            self.dropped += 1
        return {"ok": int(not page.denied), "ca": int(page.denied == "CA"), "ppn": page.frame,
                "id": got.id, "epoch": self.rng.randrange(2)}, bool(got.write)

    async def watch_retire(self, ctx):
        """Count retired transactions."""
        ports = self.dut.retire
        samples = [getattr(port, name) for port in ports for name in ("valid", "epoch")]
        async for _, _, *values in ctx.tick().sample(*samples):
            for n in range(2):
                if values[2 * n]:
                    self.retired[n] += 1
                    self.epochs[values[2 * n + 1]] -= 1
                    assert self.retired[n] <= self.results[n], "retired more often than answered"
                    done = sum(burst.write and burst.done is not None
                               for burst in self.memory.bursts)
                    assert n or self.retired[0] <= self.dropped + done, \
                        "retired before the response"
                    assert self.epochs[values[2 * n + 1]] >= 0, "retired in the wrong epoch"

    def _sink(self, port, take):
        async def testbench(ctx):
            ready = False
            # Taking the payload apart is slow, so only what is transferred is taken apart.
            shape = port.payload.shape()
            async for _, _, valid, bits in ctx.tick().sample(port.valid, Value.cast(port.payload)):
                if valid and ready:
                    take(shape.from_bits(bits))
                ready = self.gap() == 0
                ctx.set(port.ready, ready)
        return testbench

    def _take_completion(self, beats):
        def take(beat):
            beats.append({name: getattr(beat, name) for name in ("data", "strb", "hdr")})
            assert beat.first == (len(beats) == 1), "`first` on the wrong beat"
            if beat.last:
                tlp = Tlp.from_beats(beats, self.width)
                assert tlp.length * 4 == len(tlp.payload) or tlp.kind == Kind.CPL
                self.answers.setdefault((tlp.rid, tlp.tag), []).append(tlp)
                beats.clear()
        return take

    def _take_error(self, record):
        self.errors.append((record.cause.value, record.segment << 16 | record.rid, record.address))

    def _take_refusal(self, got):
        self.refusals.append((got.rid, got.tag, got.tc, got.attr, got.status.value,
                              got.byte_count, got.lower_addr))

    # Checks

    @property
    def drained(self):
        """Whether every request has had its end."""
        kinds = [tlp.kind == Kind.MWR for tlp, _, aborted in self.ops
                 if not (aborted or tlp.ep)]
        return self.retired == [sum(kinds), len(kinds) - sum(kinds)]

    def run(self, simulate, *, deadline=20_000, check=True):
        """Run to the end and check everything; return the clocks it took."""
        dut, clocks = self.dut, [0]

        async def wait(ctx):
            ctx.set(dut.max_payload, (self.max_payload // 128).bit_length() - 1)
            ctx.set(dut.completer_id, CID)
            for _ in range(32 * dut.dma.reads + 4):   # reads wait until tables are cleared
                await ctx.tick()
            self._cleared = True
            while not self.drained:
                await ctx.tick()
            clocks[0] = self.cycles
            for _ in range(40):
                await ctx.tick()
            while any(ctx.get(used) for used in (dut.writes_used, dut.reads_used,
                                                 dut.pieces_used)):
                await ctx.tick()
            for _ in range(40):
                await ctx.tick()

        simulate(dut, wait, self.send_writes, self.send_reads, deadline=deadline, background=[
            self.memory.testbench, self.translate, self.watch_retire,
            self._sink(dut.completion, self._take_completion([])),
            self._sink(dut.deny, self._take_refusal),
            self._sink(dut.error, self._take_error)])
        if check:
            self.check()
        return clocks[0]

    def check(self):
        """Compare memory, completions, errors and retirements with the model."""
        assert self.memory.idle and not +self.epochs
        refusals = []
        for index, (tlp, segment, _) in enumerate(self.ops):
            if tlp.kind == Kind.MRD:
                self._check_read(index, tlp, segment, refusals)
        assert not any(self.answers.values()), f"left over: {self.answers}"
        assert Counter(self.refusals) == Counter(refusals)
        assert Counter(self.errors) == Counter(self.expected_errors)
        for spa, history in self.history.items():
            assert self.memory.read(spa, 1)[0] == history[-1][1], f"wrong byte at {spa:#x}"

    def _check_read(self, index, tlp, segment, refusals):
        device = segment << 16 | tlp.rid
        page   = self.pages[device, tlp.address >> 12]
        count  = byte_count(tlp.length, tlp.first_be, tlp.last_be)
        if page.denied:
            refusals.append((tlp.rid, tlp.tag, tlp.tc, tlp.attr, Status[page.denied].value, count,
                             lower_address(tlp.address, tlp.first_be)))
            return
        base = page.frame << 12
        made = completions(tlp, lambda at, size: bytes(size), cid=CID, mps=self.max_payload)
        at   = tlp.address & 0xFFF
        came = self.answers.get((tlp.rid, tlp.tag), [])
        for model in made:
            assert came, f"no answer to {tlp}"
            got, size = came.pop(0), 4 * model.length
            rows = (at + size - 1) // self.memory.size * self.memory.size
            bad  = page.read if (at | rows) & 0x800 else OKAY
            assert all(getattr(got, name) == getattr(model, name) for name in (
                "rid", "tag", "tc", "attr", "cid", "byte_count", "lower_addr")), \
                f"{got} is not {model}"
            if bad == DECERR:
                assert (got.kind, got.status) == (Kind.CPL, Status.CA)
                self.expected_errors.append((CAUSES["read abort"], device, tlp.address))
                return
            assert (got.kind, got.status, got.length) == (Kind.CPLD, Status.SC, model.length)
            assert got.ep == (bad == SLVERR)
            if bad == SLVERR:
                self.expected_errors.append((CAUSES["read poison"], device, tlp.address))
            for n, byte in enumerate(got.payload):
                self._check_byte(index, base + at + n, byte, tlp)
            at += size

    def _check_byte(self, index, spa, byte, tlp):
        # What the writes before the read left, or a later write, which may pass the read.
        history = self.history.get(spa)
        if history is None:
            assert self.memory.read(spa, 1)[0] == byte, f"wrong byte of {spa:#x} for {tlp}"
            return
        before = [value for at, value in history if at < index][-1]
        after  = [value for at, value in history if at > index]
        assert byte in (before, *after), f"byte {byte:#x} of {spa:#x} is not {before:#x} for {tlp}"
