"""Surroundings of a DMA engine whose functions may be shared: attribution and a patcher."""

import zlib
from collections import Counter, deque
from dataclasses import dataclass, replace

from amaranth.hdl import Value

from .axi import DECERR, OKAY, SLVERR
from .dma import DmaWorld
from .dma_model import CAUSES, CID
from .tlp import POSTED, completions

__all__ = ["Share", "ShareWorld"]

PAGE_SIZE = 4096


@dataclass(frozen=True)
class Share:
    """What attribution says of an access of a shared function."""

    patch:     bool = False   # a read of a list or a ring
    size_log2: int = 0        # of its entries, 8 << n bytes
    phase:     bool = False   # they lie at 8 mod 16
    contain:   bool = False   # denied
    id:        int | None = None   # a write: replaces bytes 10 and 11 of each 16

    def entries(self, first, last):
        """Yield where the entries lie that bytes ``first`` to ``last`` of a page belong to."""
        size  = 16 if self.phase else 8 << self.size_log2
        shift = 8 if self.phase else 0
        start = (first - shift) // size * size + shift
        while start <= last:
            yield max(start, 0), min(start + size, PAGE_SIZE)
            start += size


class ShareWorld(DmaWorld):
    """Drive a DMA engine built with patches; see :class:`DmaWorld`.

    An entry is patched by a function of all its bytes, its place and its read, so that it is wrong
    if any of them is. What is not part of a whole entry is overwritten, so that it is wrong if it
    is sent.

    Parameters
    ----------
    patch_gap : cycles between beats to and from the patcher, a function.
    """

    def __init__(self, dut, *, patch_gap=lambda: 0, **more):
        super().__init__(dut, **more)
        self.patch_gap = patch_gap
        self.shares = {}               # index of op: Share
        self.owners = {}               # slot of a read: index of op
        self.slots  = {}               # slot of a write: index of op
        self.pulses = Counter()        # index of op: how often it was told that it is contained
        self.aborts = Counter()        # index of op: how often it was told that memory refused it
        self.expected_aborts = Counter()
        self.fetched = Counter()       # (index of op, first byte, rows) that came to the patcher
        self.expected_fetches = Counter()
        self._patched = deque()        # beats that go back

    def add(self, tlp, *, segment=0, aborted=False, share=None):
        """Add a TLP, of a shared function if ``share`` tells of it."""
        if share is None:
            super().add(tlp, segment=segment, aborted=aborted)
            return
        index = len(self.ops)
        self.shares[index] = share
        expected = tlp
        if tlp.kind in POSTED and share.id is not None:
            payload = bytearray(tlp.payload)
            for n in range(len(payload)):
                if (tlp.address + n) % 16 in (10, 11):
                    payload[n] = share.id >> 8 * ((tlp.address + n) % 16 - 10) & 0xFF
            expected = replace(tlp, payload=bytes(payload))
        super().add(expected, segment=segment, aborted=aborted or (share.contain and not tlp.ep))
        self.ops[index] = (tlp, segment, aborted)

    # Attribution

    def _answer(self, ctx, index, device, tlp, got):
        share = self.shares.get(index)
        slots = self.slots if got.write else self.owners
        assert got.length_dw == tlp.length and got.empty == (
            tlp.length == 1 and not tlp.first_be), f"request for {tlp}"
        slots[got.slot] = index
        port = self.dut.share_write if got.write else self.dut.share_read
        ctx.set(port.slot, got.slot)
        ctx.set(port.data, {"shared": 0} if share is None else
                {"shared": 1, "patch_id": int(share.id is not None), "id": share.id or 0}
                if got.write else {"shared": 1, "patch": int(share.patch), "phase":
                                   int(share.phase), "size_log2": share.size_log2})
        self._strobe = port
        answer, kind = super()._answer(ctx, index, device, tlp, got)
        ticket = self.dut.ticket
        id = ticket.from_bits(answer["id"])
        assert id.slot == got.slot and not id.shared and not id.contain
        if share is not None:
            fields = {"slot": id.slot, "order": id.order, "kind": id.kind, "shared": 1,
                      "contain": int(share.contain)}
            if share.contain:
                page = self.pages[device, tlp.address >> 12]
                if got.write:
                    fields["kind"] = 1
                    self.dropped += not (page.refused or not (tlp.first_be or tlp.last_be))
                answer |= {"ok": 1, "ppn": self.aperture[0] >> 12 if self.aperture else 0}
            answer["id"] = ticket.const(fields).as_value().value
        return answer, kind

    async def store_shares(self, ctx):
        """Write what is known of an access in the clock in which its request is answered."""
        self._strobe = None
        async for _ in ctx.tick():
            for port in (self.dut.share_read, self.dut.share_write):
                ctx.set(port.en, port is self._strobe)
            self._strobe = None

    async def watch_contained(self, ctx):
        """Count what is told of as contained."""
        port = self.dut.contained
        async for _, _, valid, write, slot, abort, abort_slot in ctx.tick().sample(
                port.valid, port.write, port.slot, port.abort, port.abort_slot):
            if valid:
                self.pulses[(self.slots if write else self.owners)[slot]] += 1
            if abort:
                self.aborts[self.owners[abort_slot]] += 1

    # Patcher

    def _entry(self, data, place, index):
        mask = zlib.crc32(data + bytes([place & 0xFF, place >> 8, index & 0xFF])).to_bytes(4, "big")
        return bytes(byte ^ mask[n % 4] for n, byte in enumerate(data))

    def _synth(self, place, size, index):
        return bytes((3 * at + index + 1) & 0xFF for at in range(place, place + size))

    def _patch(self, beats):
        index = self.owners[beats[0].slot]
        size  = self.width // 8
        base  = 4 * beats[0].base
        assert base % size == 0, "base must be that of lane 0"
        for n, beat in enumerate(beats):
            assert (beat.slot, 4 * beat.base, beat.first) == (
                beats[0].slot, base + n * size, n == 0), "beats of a piece must be in order"
        end = base + size * len(beats)
        self.fetched[index, base, len(beats)] += 1
        if beats[0].synth:
            out = self._synth(base, end - base, index)
        else:
            data = b"".join(beat.data.to_bytes(size, "little") for beat in beats)
            out  = bytearray(b"\xEE" * len(data))
            for first, last in self.shares[index].entries(base, end - 1):
                if base <= first and last <= end:
                    out[first - base:last - base] = self._entry(data[first - base:last - base],
                                                                first, index)
        for n in range(len(beats)):
            self._patched.append((int.from_bytes(out[n * size:][:size], "little"),
                                  int(n == len(beats) - 1)))

    async def take_unpatched(self, ctx):
        """Collect pieces and patch them."""
        port, beats, ready, left = self.dut.unpatched, [], False, 0
        shape = port.payload.shape()
        async for _, _, valid, bits in ctx.tick().sample(port.valid, Value.cast(port.payload)):
            if valid and ready:
                beats.append(shape.from_bits(bits))
                if beats[-1].last:
                    self._patch(beats)
                    beats = []
            left = left - 1 if left else self.patch_gap()
            ready = not left and len(self._patched) < 64
            ctx.set(port.ready, ready)

    async def give_patched(self, ctx):
        """Send the patched beats."""
        port = self.dut.patched
        while True:
            if not self._patched:
                await ctx.tick()
                continue
            data, last = self._patched.popleft()
            ctx.set(port.payload, {"data": data, "last": last})
            ctx.set(port.valid, 1)
            await ctx.tick().until(port.ready)
            ctx.set(port.valid, 0)
            for _ in range(self.patch_gap()):
                await ctx.tick()

    # Expectations

    def run(self, simulate, **more):
        """Run to the end and check everything; return the clocks it took."""
        def with_patcher(*benches, background, **rest):
            simulate(*benches, background=[
                *background, self.store_shares, self.watch_contained, self.take_unpatched,
                self.give_patched], **rest)
        return super().run(with_patcher, **more)

    def check(self):
        """Compare with the model."""
        super().check()
        expected = Counter({index: 1 for index, share in self.shares.items()
                            if not share.contain and self._page(index).refused
                            and not (self.ops[index][0].ep or self.ops[index][2])})
        assert self.pulses == expected
        assert self.aborts == self.expected_aborts
        assert self.fetched == self.expected_fetches

    def _page(self, index):
        tlp, segment, _ = self.ops[index]
        return self.pages[segment << 16 | tlp.rid, tlp.address >> 12]

    def _check_read(self, index, tlp, segment, refusals):
        share = self.shares.get(index)
        if share is None:
            super()._check_read(index, tlp, segment, refusals)
            return
        device, page = segment << 16 | tlp.rid, self._page(index)
        hidden = share.contain or bool(page.refused)
        if page.peer and not share.contain:
            self.expected_errors.append((CAUSES["aperture"], device, tlp.address))
        came = self.answers.get((tlp.rid, tlp.tag), [])
        at, before = tlp.address & 0xFFF, False
        for model in completions(tlp, lambda at, size: bytes(size), cid=CID, mps=self.max_payload):
            assert came, f"no answer to {tlp}"
            got, size = came.pop(0), 4 * model.length
            assert replace(got, payload=model.payload, ep=False) == model, f"{got} is not {model}"
            bad = self._fetch(index, share, page, at, size, hidden)
            assert got.ep == (bad == SLVERR and not share.patch), f"poison of {got}"
            if bad != OKAY:
                cause = "read abort" if bad == DECERR else "read poison"
                self.expected_errors.append((CAUSES[cause], device, tlp.address))
            if bad == DECERR:
                self.expected_aborts[index] = 1
            if not got.ep:
                want = self._want(index, share, page, at, size, hidden or bad != OKAY)
                if share.phase and at != tlp.address & 0xFFF:
                    # The rest of an entry comes with the piece before.
                    want = self._want(index, share, page, at, size, before)[:8] + want[8:]
                assert got.payload == want, f"{tlp} at {at:#x}: {got.payload.hex()} {want.hex()}"
            at, before = at + size, hidden or bad != OKAY

    def _fetch(self, index, share, page, at, size, hidden):
        # Rows that have to be read for a piece; returns how that goes.
        row = self.width // 8
        first, last = at, at + size - 1
        if share.patch:
            spans = list(share.entries(first, last))
            first, last = spans[0][0], spans[-1][1] - 1
        first, rows = first // row * row, last // row - first // row + 1
        if share.patch:
            self.expected_fetches[index, first, rows] += 1
        return page.read if not hidden and (last // row * row) & 0x800 else OKAY

    def _want(self, index, share, page, at, size, replaced):
        if replaced:
            return self._synth(at, size, index) if share.patch else bytes(size)
        base = page.frame << 12
        if not share.patch:
            return self.memory.read(base + at, size)
        out = b"".join(self._entry(self.memory.read(base + first, last - first), first, index)
                       for first, last in share.entries(at, at + size - 1))
        return out[at - next(iter(share.entries(at, at)))[0]:][:size]
