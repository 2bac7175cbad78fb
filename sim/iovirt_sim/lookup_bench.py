"""Test bench of the lookup pipeline of the remap engine."""

from .harness import simulate
from .streams import send

__all__ = ["RWX", "LookupBench"]

#: Everything is permitted.
RWX = {"w": 1, "r": 1, "x": 1}


class LookupBench:
    """Do fills, invalidations and lookups of a lookup pipeline, one at a time."""

    def __init__(self, dut):
        self.dut = dut

    def run(self, body, *, mode=3):
        """Simulate ``body(ctx, bench)`` with this ddtp mode."""
        async def testbench(ctx):
            ctx.set(self.dut.ddtp_mode, mode)
            await body(ctx, self)
        simulate(self.dut, testbench)

    async def context(self, ctx, device_id, *, mode=1, gscid=1, pv=0, pid=0, root=4):
        """Fill a device context."""
        await send(ctx, self.dut.context_fill, [{
            "key": {"device_id": device_id, "pv": pv, "pid": pid},
            "context": {"mode": mode, "gscid": gscid, "root": root, "dtf": 0}}])

    async def line(self, ctx, line, pages, *, gscid=1, device_id=0, napot=0, prefetch=0):
        """Fill ``pages``, a dict from number in the line to PPN or to (PPN, permissions)."""
        transfers = []
        for n in range(8):
            ppn, allowed = pages[n] if type(pages.get(n)) is tuple else (pages.get(n, 0), RWX)
            transfers.append({
                "gscid": gscid, "device_id": device_id, "line": line, "napot": napot,
                "prefetch": prefetch, "last": n == 7,
                "page": {"valid": n in pages, "ppn": ppn, **allowed}})
        await send(ctx, self.dut.line_fill, transfers)

    async def superpage(self, ctx, iova, level, ppn, *, gscid=1, allowed=RWX, valid=1):
        """Fill a leaf above level 0."""
        await send(ctx, self.dut.superpage_fill, [{
            "gscid": gscid, "iova": iova >> 12, "level": level,
            "page": {"valid": valid, "ppn": ppn, **allowed}}])

    async def invalidate(self, ctx, *, context=0, gv=0, av=0, gscid=0, iova=0, dv=0, device_id=0):
        """Return the number of cycles taken."""
        ctx.set(self.dut.invalidate.payload, {
            "kind": context, "gv": gv, "av": av, "gscid": gscid, "iova": iova >> 12, "dv": dv,
            "device_id": device_id})
        ctx.set(self.dut.invalidate.valid, 1)
        cycles, ready = 0, 0
        while not ready:
            _, _, ready = await ctx.tick().sample(self.dut.invalidate.ready)
            cycles += 1
        ctx.set(self.dut.invalidate.valid, 0)
        return cycles

    async def look(self, ctx, device_id, iova, **access):
        """Return the outcome."""
        dut = self.dut
        ctx.set(dut.request.payload, {
            "access": {"device_id": device_id, "iova": iova, **access}, "source": 7, "id": 5})
        ctx.set(dut.request.valid, 1)
        await ctx.tick().until(dut.request.ready)
        ctx.set(dut.request.valid, 0)
        ctx.set(dut.outcome.ready, 1)
        outcome, = await ctx.tick().sample(dut.outcome.payload).until(dut.outcome.valid)
        ctx.set(dut.outcome.ready, 0)
        return outcome

    async def translate(self, ctx, device_id, iova, **access):
        """Return the SPA, or None for a miss."""
        outcome = await self.look(ctx, device_id, iova, **access)
        return outcome.ppn << 12 | iova & 0xfff if outcome.hit else None
