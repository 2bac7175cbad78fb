"""What asks the design for something in the slow simulation: devices, or translation requests."""

from collections import Counter, deque

from .slow_agents import PAGE, mix

__all__ = ["Device", "Requests"]


class Requests:
    """The request stream of the remap engine: one request after the other."""

    def __init__(self, sim, component):
        self.sim, self.c = sim, component
        self.reset()

    def reset(self):
        self.queue, self.waiting, self.retire, self.free = deque(), {}, deque(), 0

    @property
    def outstanding(self):
        return len(self.queue) + len(self.waiting)

    def drive(self, ctx):
        c = self.c
        ctx.set(c.request.valid, bool(self.queue))
        ctx.set(c.result.ready, 1)
        if self.queue:
            payload = c.request.payload
            ctx.set(payload, {**self.queue[0]["payload"], "id": self.free % (1 << len(payload.id))})
        if "retire" in c.signature.members:
            ctx.set(c.retire[0].valid, bool(self.retire))
            if self.retire:
                ctx.set(c.retire[0].epoch, self.retire.popleft())

    def sample(self, ctx):
        c, now = self.c, self.sim.now
        if self.queue and ctx.get(c.request.ready):
            number = ctx.get(c.request.payload.id)
            self.waiting[number] = {**self.queue.popleft(), "accepted": now}
            self.free += 1
        if ctx.get(c.result.valid):
            answer = ctx.get(c.result.payload)
            request = self.waiting.pop(answer.id)
            iova = request["payload"]["access"]["iova"]
            spa = answer.ppn << 12 | iova % PAGE if answer.ok else 0
            wanted = request["wanted"]
            if wanted is not None and wanted != (spa if answer.ok else answer.cause):
                self.sim.complain(f"operation {request['op']}, iova {iova:x}: {spa:x} or cause "
                                  f"{answer.cause} instead of {wanted:x}")
            self.retire.append(answer.epoch)
            self.sim.event("translated", request["op"], answer.ok | answer.ca << 1
                           | answer.epoch << 2 | answer.cause << 16, spa, request["accepted"], now)


class Device:
    """Devices behind the TLP streams. Writes must reach memory, reads must bring it back."""

    def __init__(self, sim, component):
        self.sim, self.c = sim, component
        self.dwords = len(component.rx.strb)
        self.reset()

    def reset(self):
        self.queue, self.at, self.answer = deque(), 0, None
        # Bytes that writes must bring to memory, and the writes whose bytes are on their way.
        self.bytes, self.flying = {}, {}
        self.reads, self.groups, self.tag = {}, Counter(), 0

    @property
    def outstanding(self):
        return sum(self.groups.values()) + len(self.queue)

    def start(self, op, *, group, write, rid, iova, spa, length, seed):
        """Queue the TLPs of a transfer."""
        limit = self.sim.settings["mps" if write else "mrrs"]
        while length:
            count = min(length, limit - iova % 4, PAGE - iova % PAGE)
            self._tlp(op, group, write, rid, iova, spa, count, seed)
            iova, spa, length = iova + count, spa + count, length - count

    def _tlp(self, op, group, write, rid, iova, spa, count, seed):
        skip = iova % 4
        dwords = (skip + count + 3) // 4
        first, last = 15 << skip & 15, 15 >> dwords * 4 - skip - count
        if dwords == 1:
            first, last = first & last, 0
        words = [write << 30 | dwords % 1024, rid << 16 | last << 4 | first, iova & ~3, 0]
        if iova >> 32:
            words = [words[0] | 1 << 29, words[1], iova >> 32, iova & 0xffff_fffc]
        base = iova - skip
        payload = [mix(seed ^ (base // 4 + n)) & 0xffff_ffff for n in range(dwords * write)]
        tlp = {"op": op, "group": group, "rid": rid, "words": words, "payload": payload,
               "spa": spa, "iova": iova, "left": count, "write": write, "got": 0,
               "seen": [set() for _ in range(count)]}
        self.groups[group] += 1
        self.queue.append(tlp)

    def drive(self, ctx):
        rx, tx = self.c.rx, self.c.tx
        ctx.set(tx.ready, 1)
        for name in ("ph", "nph", "cplh"):
            ctx.set(getattr(self.c, f"tx_fc_{name}"), 100)
        for name in ("pd", "npd", "cpld"):
            ctx.set(getattr(self.c, f"tx_fc_{name}"), 1000)
        tlp = self.queue[0] if self.queue else None
        if tlp and self.at == 0 and not tlp["write"]:
            if len(self.reads) >= self.sim.settings["np_limit"]:
                tlp = None
            else:
                tlp["tag"] = self.tag
                tlp["words"][1] = tlp["words"][1] & ~0xff00 | self.tag << 8
        ctx.set(rx.valid, tlp is not None)
        if not tlp:
            return
        part = tlp["payload"][self.at:self.at + self.dwords]
        ctx.set(rx.data, sum(word << 32 * n for n, word in enumerate(part)))
        ctx.set(rx.strb, (1 << len(part)) - 1)
        ctx.set(rx.hdr, sum(word << 96 - 32 * n for n, word in enumerate(tlp["words"])))
        ctx.set(rx.first, self.at == 0)
        ctx.set(rx.last, self.at + self.dwords >= len(tlp["payload"]))

    def sample(self, ctx):
        rx, tx = self.c.rx, self.c.tx
        if ctx.get(rx.valid) and ctx.get(rx.ready):
            self._taken(ctx.get(rx.last))
        if ctx.get(tx.valid):
            if ctx.get(tx.first):
                self.answer = (ctx.get(tx.hdr), [])
            data, strobes = ctx.get(tx.data), ctx.get(tx.strb)
            self.answer[1].extend(data >> 32 * n & 0xffff_ffff
                                  for n in range(self.dwords) if strobes >> n & 1)
            if ctx.get(tx.last):
                self._completion(*self.answer)

    def _taken(self, last):
        tlp = self.queue[0]
        if self.at == 0 and tlp["write"]:
            data = b"".join(word.to_bytes(4, "little") for word in tlp["payload"])
            skip = tlp["iova"] % 4
            for n in range(tlp["left"]):
                self.bytes.setdefault(tlp["spa"] + n, deque()).append((data[skip + n], tlp))
        elif self.at == 0:
            self.reads[tlp["rid"], self.tag] = tlp
            self.tag = (self.tag + 1) % 256
        self.at += self.dwords
        if last:
            self.queue.popleft()
            self.at = 0

    def issued(self, data):
        """Check a write of the `dma` port."""
        for address, byte in data:
            wanted = self.bytes.get(address)
            if not wanted:
                self.sim.complain(f"dma: write to {address:x} belongs to no request of a device")
                return
            expected, tlp = wanted.popleft()
            if not wanted:
                del self.bytes[address]
            self.flying.setdefault(address, deque()).append(tlp)
            if byte != expected:
                self.sim.complain(f"dma: byte {byte:02x} written to {address:x} instead of "
                                  f"{expected:02x} (operation {tlp['op']})")

    def answered(self, data):
        """Retire written bytes."""
        for address, _ in data:
            if queue := self.flying.get(address):
                self._progress(queue.popleft(), 1)

    def fetched(self, address, data):
        """Note what memory gave to whoever may be reading there."""
        for tlp in self.reads.values():
            for n, byte in enumerate(data):
                if 0 <= (at := address + n - tlp["spa"]) < len(tlp["seen"]):
                    tlp["seen"][at].add(byte)

    def _completion(self, header, payload):
        words = [header >> 96 - 32 * n & 0xffff_ffff for n in range(4)]
        key = words[2] >> 16, words[2] >> 8 & 255
        tlp = self.reads.get(key)
        if tlp is None or words[1] >> 13 & 7 or not words[0] >> 30 & 1:
            self.sim.complain(f"tx: completion {words[0]:08x} {words[1]:08x} {words[2]:08x} is not "
                              "what was asked for")
            return
        at = tlp["spa"] + tlp["got"]
        data = b"".join(word.to_bytes(4, "little") for word in payload)[at % 4:]
        data = data[:tlp["left"]]
        seen = tlp["seen"][tlp["got"]:]
        if any(byte not in bytes_seen for byte, bytes_seen in zip(data, seen, strict=False)):
            self.sim.complain(f"tx: wrong bytes for address {at:x} (operation {tlp['op']})")
        tlp["got"] += len(data)
        if tlp["left"] == len(data):
            del self.reads[key]
        self._progress(tlp, len(data))

    def _progress(self, tlp, count):
        self.sim.counts["bytes_checked"] += count
        tlp["left"] -= count
        if not tlp["left"]:
            self.groups[tlp["group"]] -= 1
            self.sim.counts["writes" if tlp["write"] else "reads"] += 1
            self.sim.counts["transfers_checked"] += 1
