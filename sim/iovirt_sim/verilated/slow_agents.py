"""What a design is connected to in the slow simulation: memory and the master of its registers."""

from collections import deque

__all__ = ["Axi", "Csr", "Memory", "mix"]

M64 = (1 << 64) - 1
PAGE = 4096


def mix(z):
    """Finish splitmix64, like the fast simulation does."""
    z = (z + 0x9E3779B97F4A7C15) & M64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & M64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & M64
    return z ^ (z >> 31)


class Memory:
    """Sparse words, with ranges that fail and a background."""

    def __init__(self):
        self.clear()

    def clear(self):
        self.words, self.failing, self.range = {}, [], (0, 0, 0)

    def read(self, address):
        low, high, seed = self.range
        default = mix(address ^ mix(seed)) if low <= address < high else 0
        return self.words.get(address, default)

    def read_bytes(self, address, count):
        first = address & ~7
        data = b"".join(self.read(at).to_bytes(8, "little")
                        for at in range(first, address + count, 8))
        return data[address - first:address - first + count]

    def write_byte(self, address, byte):
        at, shift = address & ~7, address % 8 * 8
        self.words[at] = self.read(at) & ~(0xff << shift) | byte << shift

    def response(self, address, count, which):
        return max((entry[2 + which] for entry in self.failing
                    if address < entry[1] and entry[0] < address + count), default=0)


class Axi:
    """AXI4 subordinate: in order, with latency. ``checker`` sees the writes."""

    def __init__(self, sim, port, name, checker):
        self.sim, self.port, self.name, self.checker = sim, port, name, checker
        self.lanes = len(port.rdata) // 8
        self.reset()

    def reset(self):
        self.reads, self.addresses, self.beats, self.answers = (deque() for _ in range(4))
        self.r_valid = self.b_valid = False

    def drive(self, ctx):
        port, now = self.port, self.sim.now
        for ready in (port.arready, port.awready, port.wready):
            ctx.set(ready, 1)
        if not self.r_valid and self.reads and self.reads[0][0] <= now:
            _, address, number, last = self.reads[0]
            lane = address & -self.lanes
            resp = self.sim.memory.response(address, self.lanes - address % self.lanes, 0)
            data = self.sim.memory.read_bytes(lane, self.lanes)
            if self.checker:
                self.checker.fetched(lane, data)
            ctx.set(port.rdata, int.from_bytes(data, "little"))
            ctx.set(port.rid, number)
            ctx.set(port.rresp, resp)
            ctx.set(port.rlast, last)
            self.r_valid = True
        if not self.b_valid and self.answers and self.answers[0][0] <= now:
            _, number, resp, data = self.answers.popleft()
            for address, byte in data if resp < 2 else ():
                self.sim.memory.write_byte(address, byte)
                self.sim.written[address & ~7] = None
            if self.checker:
                self.checker.answered(data)
            ctx.set(port.bid, number)
            ctx.set(port.bresp, resp)
            self.b_valid = True
        ctx.set(port.rvalid, self.r_valid)
        ctx.set(port.bvalid, self.b_valid)

    def sample(self, ctx):
        port, now = self.port, self.sim.now
        latency = self.sim.settings[f"{self.name}_latency"]
        if self.r_valid and ctx.get(port.rready):
            self.reads.popleft()
            self.r_valid = False
        if self.b_valid and ctx.get(port.bready):
            self.b_valid = False
        if ctx.get(port.arvalid):
            address, size, beats = self._burst(ctx, "ar")
            self.sim.counts[f"{self.name}_reads"] += 1
            for n in range(beats):
                at = (address & -size) + n * size if n else address
                self.reads.append((now + latency, at, ctx.get(port.arid), n == beats - 1))
        if ctx.get(port.awvalid):
            self.addresses.append((*self._burst(ctx, "aw"), ctx.get(port.awid)))
        if ctx.get(port.wvalid):
            self.beats.append((ctx.get(port.wdata), ctx.get(port.wstrb), ctx.get(port.wlast)))
        if self.addresses and len(self.beats) >= self.addresses[0][2]:
            self._write(now)

    def _burst(self, ctx, channel):
        port = self.port
        address, size = (ctx.get(getattr(port, channel + name)) for name in ("addr", "size"))
        return address, 1 << size, ctx.get(getattr(port, channel + "len")) + 1

    def _write(self, now):
        address, size, beats, number = self.addresses.popleft()
        data, resp = [], 0
        for n in range(beats):
            at = (address & -size) + n * size if n else address
            word, strobes, _ = self.beats.popleft()
            lane = at & -self.lanes
            data += [(lane + k, word >> 8 * k & 0xff) for k in range(self.lanes)
                     if strobes >> k & 1]
            resp = max(resp, self.sim.memory.response(at, size - at % size, 1))
        self.sim.counts[f"{self.name}_writes"] += 1
        if self.checker:
            self.checker.issued(data)
        latency = self.sim.settings[f"{self.name}_write_latency"]
        self.answers.append((now + latency, number, resp, data))


class Csr:
    """AXI4-Lite manager. ``access`` is a generator that takes a step per clock."""

    def __init__(self, port):
        self.port, self.lanes = port, len(port.rdata) // 8
        self.reset()

    def reset(self):
        self.values = {}
        self.seen = dict.fromkeys(("awready", "wready", "arready", "bvalid", "rvalid"), 0)

    def drive(self, ctx):
        for name in ("awvalid", "awaddr", "wvalid", "wdata", "wstrb", "bready", "arvalid", "araddr",
                     "rready"):
            ctx.set(getattr(self.port, name), self.values.get(name, 0))

    def sample(self, ctx):
        self.seen = {name: ctx.get(getattr(self.port, name)) for name in self.seen}
        self.answer = (ctx.get(self.port.rdata), int(ctx.get(self.port.rresp).value),
                       int(ctx.get(self.port.bresp).value))

    def access(self, offset, size, value=None):
        """Read, or write ``value``; yield once per clock; return (value, response)."""
        result, worst, step = 0, 0, min(size, self.lanes)
        for done in range(0, size, step):
            at = offset + done
            lane, mask = at % self.lanes, (1 << 8 * step) - 1
            if value is None:
                self.values = {"arvalid": 1, "araddr": at, "rready": 1}
                while not self.seen["rvalid"] or self.values["arvalid"]:
                    yield
                    if self.seen["arready"]:
                        self.values["arvalid"] = 0
                result |= (self.answer[0] >> 8 * lane & mask) << 8 * done
                worst = max(worst, self.answer[1])
            else:
                self.values = {"awvalid": 1, "wvalid": 1, "awaddr": at, "bready": 1,
                               "wdata": (value >> 8 * done & mask) << 8 * lane,
                               "wstrb": (1 << step) - 1 << lane}
                while not self.seen["bvalid"] or self.values["awvalid"] or self.values["wvalid"]:
                    yield
                    for valid, ready in (("awvalid", "awready"), ("wvalid", "wready")):
                        if self.seen[ready]:
                            self.values[valid] = 0
                worst = max(worst, self.answer[2])
            self.values = {}
            self.seen = dict.fromkeys(self.seen, 0)
            yield
        return result, worst
