"""Surroundings of the DMA engine: TLPs, a translator, memory, and a check of all that comes out."""

from collections import Counter, deque

from amaranth.hdl import Value

from .axi import AxiMemory
from .dma_model import CID, DmaModel, Page
from .tlp import POSTED, Kind, Tlp, lower_address

__all__ = ["DmaWorld", "Page"]


class DmaWorld(DmaModel):
    """Drive a DMA engine and check it against a plain model of what memory requests do.

    Call :meth:`add` or :meth:`add_interrupt` for each TLP in link order, then :meth:`run` with a
    simulator. Traffic starts when the engine has cleared its tables.

    Parameters
    ----------
    dut : the engine.
    rng : source of randomness.
    pages : ``{(device_id, iova page): Page}``.
    max_payload : largest completion, in bytes.
    latency, stall, mix : see :class:`AxiMemory`.
    translate_latency : cycles for a translation, a function.
    gap : cycles between transfers, a function.
    aperture : base and mask of the physical addresses that no device may use.
    """

    def __init__(self, dut, *, rng, pages, max_payload=256, latency=10, stall=lambda: False,
                 mix=True, translate_latency=lambda: 4, gap=lambda: 0, aperture=None):
        super().__init__(pages=pages, max_payload=max_payload)
        self.aperture = aperture
        self.dut, self.rng = dut, rng
        self.gap, self.translate_latency = gap, translate_latency
        self.width  = len(dut.write.payload.data)
        self.memory = AxiMemory(dut.bus, rng=rng, latency=latency, stall=stall, mix=mix,
                                error=self._error)
        for frame in self.frames:
            self.memory.write(frame << 12, rng.randbytes(4096))
        self.epochs    = Counter()
        self.retired   = [0] * len(dut.retire)   # writes, reads, signals
        self.results   = [0] * len(dut.retire)
        self.finished  = 0
        self.dropped   = 0                 # writes with a result that touch no memory
        self.cycles    = 0
        self._cleared  = False
        self._started  = 0                 # writes whose first beat has been offered
        self._requests = deque()
        self._results  = {}

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
        for index, (tlp, segment, aborted) in enumerate(self.ops):
            if tlp.kind not in POSTED:
                continue
            header = self._header(tlp, segment)
            if index in self.interrupts:
                header["signal"] = 1 + (tlp.kind == Kind.MSG)
            count  = -(-4 * tlp.length // size)
            for n in range(count):
                await self._pause(ctx)
                self._started += n == 0
                data = int.from_bytes(tlp.payload[n * size:][:size] or bytes([tlp.code]), "little")
                await self._send(ctx, self.dut.write, {
                    "header": header, "data": data, "first": int(n == 0),
                    "last": int(n == count - 1), "abort": int(aborted and n == count - 1)})

    async def send_reads(self, ctx):
        """Offer the reads, each after the writes that came before it."""
        posted = 0
        while not self._cleared:
            await ctx.tick()
        for tlp, segment, _ in self.ops:
            if tlp.kind in POSTED:
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
            write = tlp.kind in POSTED
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
                first  = tlp.address + lower_address(0, tlp.first_be)
                assert got.device_id == device and (got.iova == first or got.bypass), \
                    f"request for {got.device_id:#x} {got.iova:#x}, not for {tlp}"
                assert got.bypass == (index in self.interrupts), f"bypass of {tlp}"
                if not got.write and waiting[True]:
                    assert waiting[True][0][0] > index, f"{tlp} passed {waiting[True][0][1]}"
                self._results.setdefault(got.source, deque()).append(
                    (self.cycles + self.translate_latency(),
                     self._answer(ctx, index, device, tlp, got)))
            due = [queue for queue in self._results.values()
                   if queue and queue[0][0] <= self.cycles]
            ctx.set(result.valid, bool(due))
            if due:
                payload, port = self.rng.choice(due).popleft()[1]
                ctx.set(result.payload, payload)
                self.epochs[payload["epoch"]] += 1
                self.results[port] += 1
            ctx.set(request.ready, self.gap() == 0)

    def _answer(self, ctx, index, device, tlp, got):
        page = Page(self.rng.getrandbits(20)) if got.bypass else self.pages[device,
                                                                            tlp.address >> 12]
        if got.write and not got.bypass and (page.refused or not (tlp.first_be or tlp.last_be)):
            self.dropped += 1
        return {"ok": int(not page.denied), "ca": int(page.denied == "CA"), "ppn": page.frame,
                "id": got.id, "epoch": self.rng.randrange(2)}, (
                    2 if got.bypass else int(not got.write))

    async def watch_retire(self, ctx):
        """Count retired transactions."""
        ports = self.dut.retire
        samples = [getattr(port, name) for port in ports for name in ("valid", "epoch")]
        ends = [port.valid for port in self.dut.finish]
        async for _, _, *values in ctx.tick().sample(*samples, *ends):
            self.finished += sum(values[len(samples):])
            for n in range(len(ports)):
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

    def _take_signal(self, got):
        device = got.segment << 16 | got.rid
        taken  = [index for index, *_ in self.signals]
        index  = next(n for n in sorted(self.interrupts) if n not in taken
                      and self.ops[n][1] << 16 | self.ops[n][0].rid == device
                      and not (self.ops[n][0].ep or self.ops[n][2]))
        frames = {page.frame for (owner, _), page in self.pages.items() if owner == device}
        done   = sum(burst.write and burst.done is not None and burst.address >> 12 in frames
                     for burst in self.memory.bursts)
        assert done >= self.writes_before(index, device), "a signal passed a write"
        self.signals.append((index, device, got.kind.value, got.offset,
                             got.data & (0xFF if got.kind.value == 2 else 0xFFFFFFFF)))

    def _take_error(self, record):
        self.errors.append((record.cause.value, record.segment << 16 | record.rid, record.address))

    def _take_refusal(self, got):
        self.refusals.append((got.rid, got.tag, got.tc, got.attr, got.status.value,
                              got.byte_count, got.lower_addr))

    @property
    def drained(self):
        """Whether every request has had its end."""
        kinds = [2 if index in self.interrupts else int(tlp.kind != Kind.MWR)
                 for index, (tlp, _, aborted) in enumerate(self.ops) if not (aborted or tlp.ep)]
        return self.retired == [kinds.count(n) for n in range(len(self.retired))]

    def run(self, simulate, *, deadline=20_000, check=True):
        """Run to the end and check everything; return the clocks it took."""
        dut, clocks = self.dut, [0]

        async def wait(ctx):
            ctx.set(dut.max_payload, (self.max_payload // 128).bit_length() - 1)
            ctx.set(dut.completer_id, CID)
            if self.aperture:
                ctx.set(dut.aperture_enable, 1)
                ctx.set(dut.aperture_base, self.aperture[0])
                ctx.set(dut.aperture_mask, self.aperture[1])
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

        signals = [self._sink(dut.signal, self._take_signal)] if len(dut.retire) > 2 else []
        simulate(dut, wait, self.send_writes, self.send_reads, deadline=deadline, background=[
            self.memory.testbench, self.translate, self.watch_retire, *signals,
            self._sink(dut.completion, self._take_completion([])),
            self._sink(dut.deny, self._take_refusal),
            self._sink(dut.error, self._take_error)])
        if check:
            assert not +self.epochs, "a result was not retired"
            posted = sum(tlp.kind in POSTED for tlp, *_ in self.ops)
            assert self.finished == posted, f"{self.finished} of {posted} posted requests ended"
            self.check()
        return clocks[0]
