"""Memory behind the table port: serves its client streams, or the AXI4 bus itself."""

import random

__all__ = ["TableMemory"]

NONE, ACCESS, POISON = range(3)
_RESPONSES = {NONE: 0, ACCESS: 3, POISON: 2}  # OKAY, DECERR, SLVERR


class TableMemory:
    """Sparse memory of bytes with latency, reordering between tags or IDs, and ranges that fail.

    Its ``serve_*`` methods make testbenches, which end after :meth:`stop`.

    Parameters
    ----------
    seed : seed of latencies and of the order of answers.
    latency : (least, most) clocks from request to answer.
    stall : probability that a request or a beat is not taken, or an answer not given, in a clock.
    bad : list of (address, length, error), error being ACCESS or POISON.
    """

    def __init__(self, *, seed=0, latency=(1, 1), stall=0.0, bad=()):
        self.random  = random.Random(seed)
        self.latency = latency
        self.stall   = stall
        self.bad     = list(bad)
        self.bytes   = {}
        self.reads   = []  # (address, size) in order of arrival
        self.writes  = []  # (address, data bytes)
        self.stopped = False

    def stop(self):
        """End the testbenches."""
        self.stopped = True

    def load(self, address, size):
        """Return ``size`` bytes at ``address`` as a number."""
        return int.from_bytes(bytes(self.bytes.get(address + n, 0) for n in range(size)), "little")

    def store(self, address, size, value):
        """Set ``size`` bytes at ``address``."""
        for n, byte in enumerate(value.to_bytes(size, "little")):
            self.bytes[address + n] = byte

    def error(self, address, size):
        """Return what goes wrong with an access."""
        for start, length, error in self.bad:
            if address < start + length and start < address + size:
                return error
        return NONE

    def _go(self):
        return self.random.random() >= self.stall

    def _wait(self):
        return self.random.randint(*self.latency)

    def _choose(self, pending, key):
        """Return an answer that is due, oldest of its ``key``; any of the keys."""
        first = {}
        for item in pending:
            first.setdefault(key(item), item)
        due = [item for item in first.values() if item["wait"] <= 0]
        return self.random.choice(due) if due and self._go() else None

    async def _answer(self, ctx, request, answers, accept):
        """Serve one request and one answer stream; ``accept`` maps a request to its answers."""
        pending, offered = [], None
        while not self.stopped:
            ready = self._go()
            ctx.set(request.ready, ready)
            if offered is None and (offered := self._choose(pending, lambda i: i["key"])):
                ctx.set(answers.payload, offered["answers"][0])
                ctx.set(answers.valid, 1)
            _, _, valid, payload, taken = await ctx.tick().sample(
                request.valid, request.payload, answers.ready)
            for item in pending:
                item["wait"] -= 1
            if offered is not None and taken:
                offered["answers"].pop(0)
                if not offered["answers"]:
                    pending.remove(offered)
                offered = None
                ctx.set(answers.valid, 0)
            if ready and valid:
                pending.append({"key": payload.tag, "wait": self._wait(),
                                "answers": accept(payload)})

    def serve_reads(self, request, beats, *, data_width):
        """Return a testbench that is the other end of a reading client."""
        step = data_width // 8

        def accept(payload):
            address, size = payload.address, 1 << payload.size_log2
            assert address % size == 0, f"{address:#x} not aligned to {size}"
            self.reads.append((address, size))
            piece = min(size, step)
            return [{"data": self._lanes(at, piece, step), "error": self.error(at, piece),
                     "last": at + piece == address + size, "tag": payload.tag}
                    for at in range(address, address + size, piece)]

        async def testbench(ctx):
            await self._answer(ctx, request, beats, accept)
        return testbench

    def _lanes(self, address, size, step):
        # Lanes beside the access hold noise.
        noise = self.random.getrandbits(8 * step)
        shift = 8 * (address % step)
        mask  = (1 << 8 * size) - 1
        return noise & ~(mask << shift) | self.load(address, size) << shift

    def serve_writes(self, request, response):
        """Return a testbench that is the other end of a writing client."""
        def accept(payload):
            address, size = payload.address, 1 << payload.size_log2
            assert address % size == 0, f"{address:#x} not aligned to {size}"
            error = self.error(address, size)
            data  = payload.data & ((1 << 8 * size) - 1)
            self.writes.append((address, data.to_bytes(size, "little")))
            if error == NONE:
                self.store(address, size, data)
            return [{"error": error, "tag": payload.tag}]

        async def testbench(ctx):
            await self._answer(ctx, request, response, accept)
        return testbench

    def serve_axi_reads(self, bus):
        """Return a testbench that answers the read channels of an AXI4 bus."""
        step = len(bus.rdata) // 8

        def accept(address, length, size_log2, ident):
            size  = 1 << size_log2
            total = size * (length + 1)
            assert size <= step and address % total == 0, f"{address:#x} not aligned to {total}"
            assert length == 0 or size == step
            self.reads.append((address, total))
            return [(self._lanes(at, size, step), _RESPONSES[self.error(at, size)],
                     at == address + total - size, ident)
                    for at in range(address, address + total, size)]

        async def testbench(ctx):
            pending, offered, held = [], None, None
            while not self.stopped:
                ready = self._go()
                ctx.set(bus.arready, ready)
                if offered is None and (offered := self._choose(pending, lambda i: i["key"])):
                    data, resp, last, ident = offered["answers"][0]
                    ctx.set(bus.rdata, data)
                    ctx.set(bus.rresp, resp)
                    ctx.set(bus.rlast, last)
                    ctx.set(bus.rid, ident)
                    ctx.set(bus.rvalid, 1)
                _, _, valid, *request, taken = await ctx.tick().sample(
                    bus.arvalid, bus.araddr, bus.arlen, bus.arsize, bus.arid, bus.arburst,
                    bus.rready)
                assert held is None or (valid and held == request), "AR changed while stalled"
                held = request if valid and not ready else None
                for item in pending:
                    item["wait"] -= 1
                if offered is not None and taken:
                    offered["answers"].pop(0)
                    if not offered["answers"]:
                        pending.remove(offered)
                    offered = None
                    ctx.set(bus.rvalid, 0)
                if ready and valid:
                    *request, burst = request
                    assert burst == 1
                    pending.append({"key": request[3], "wait": self._wait(),
                                    "answers": accept(*request)})
        return testbench

    def serve_axi_writes(self, bus):
        """Return a testbench that answers the write channels of an AXI4 bus."""
        step = len(bus.wdata) // 8

        async def testbench(ctx):
            addresses, beats, pending, offered = [], [], [], None
            while not self.stopped:
                ready = self._go(), self._go()
                ctx.set(bus.awready, ready[0])
                ctx.set(bus.wready, ready[1])
                if offered is None and (offered := self._choose(pending, lambda i: i["key"])):
                    ctx.set(bus.bid, offered["key"])
                    ctx.set(bus.bresp, offered["resp"])
                    ctx.set(bus.bvalid, 1)
                _, _, awvalid, address, length, size, ident, wvalid, data, strobes, last, taken = (
                    await ctx.tick().sample(
                        bus.awvalid, bus.awaddr, bus.awlen, bus.awsize, bus.awid,
                        bus.wvalid, bus.wdata, bus.wstrb, bus.wlast, bus.bready))
                for item in pending:
                    item["wait"] -= 1
                if offered is not None and taken:
                    pending.remove(offered)
                    offered = None
                    ctx.set(bus.bvalid, 0)
                if awvalid and ready[0]:
                    addresses.append((address, length, 1 << size, ident))
                if wvalid and ready[1]:
                    beats.append((data, strobes, last))
                while addresses and len(beats) > addresses[0][1]:
                    length = addresses[0][1]
                    pending.append(self._write(step, *addresses.pop(0), beats[:length + 1]))
                    del beats[:length + 1]
        return testbench

    def _write(self, step, address, length, size, ident, beats):
        total = size * (length + 1)
        assert address % total == 0, f"{address:#x} not aligned to {total}"
        assert [last for *_, last in beats] == [0] * length + [1]
        written = b""
        for at, (data, strobes, _) in zip(range(address, address + total, size), beats,
                                          strict=True):
            lane = at % step
            assert strobes == ((1 << size) - 1) << lane, f"strobes {strobes:#x} for {size} bytes"
            written += ((data >> 8 * lane) & ((1 << 8 * size) - 1)).to_bytes(size, "little")
        self.writes.append((address, written))
        if not (error := self.error(address, total)):
            self.store(address, total, int.from_bytes(written, "little"))
        return {"key": ident, "wait": self._wait(), "resp": _RESPONSES[error]}
