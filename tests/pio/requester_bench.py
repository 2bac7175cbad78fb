"""A requester with its clients, and a link behind it."""

import random

from iovirt.config import PioConfig
from iovirt.pcie.layouts import ErrorCause
from iovirt.pio.layouts import FinishStatus, NpKind
from iovirt.pio.requester import Requester
from iovirt_sim.models.pio import Outstanding, RequesterModel
from iovirt_sim.streams import send
from iovirt_sim.tlp import Kind, Status, Tlp, enables
from iovirt_sim.tlp import completions as completions_of

RID, DEVICE = 0x0100, 0x0208


def make(*, data_width=64, **pio):
    """Return a small requester; 1 MHz makes the shortest time-out 64 clocks."""
    pio = {"tags": 32, "reads": 16, "guests": 4, "max_read_bytes": 64, "clock_mhz": 1, **pio}
    return Requester(data_width=data_width, pio=PioConfig(**pio), owner_width=8)


def read(address, size, **fields):
    """Return a memory read request."""
    length, first_be, last_be = enables(address, size)
    return {"kind": NpKind.MEMORY_READ, "address": address & ~3, "length_dw": length,
            "first_be": first_be, "last_be": last_be, "completer_mask": 0xFFFF, **fields}


def config(register, *, write=False, data=0, be=0xF, **fields):
    """Return a configuration request to bus 2, device 1, function 0."""
    return {"kind": NpKind.CONFIG_WRITE if write else NpKind.CONFIG_READ,
            "address": 0x208 << 12 | register, "length_dw": 1, "first_be": be, "data": data,
            "completer_mask": 0xFFFF, **fields}


def memory(address, size):
    """Bytes of the device's memory."""
    return bytes((17 * n + (n >> 8)) & 0xFF for n in range(address, address + size))


def answer(request, *, mps=256, rcb=64, cid=DEVICE, **fields):
    """Return the completions of a request."""
    if request.kind is Kind.MRD:
        return [Tlp(**{**made.__dict__, **fields})
                for made in completions_of(request, memory, cid=cid, mps=mps, rcb=rcb)]
    reads = request.kind in (Kind.CFGRD0, Kind.CFGRD1)
    base = {"kind": Kind.CPLD if reads else Kind.CPL, "rid": request.rid, "tag": request.tag,
            "cid": cid, "byte_count": 4, "payload": memory(request.address, 4) if reads else b""}
    return [Tlp(**{**base, **fields})]


def refusal(request, status, **fields):
    """Return a completion without data."""
    return Tlp(Kind.CPL, **{"rid": request.rid, "tag": request.tag, "cid": DEVICE,
                            "status": status, **fields})


class Bench:
    """Drive the ports of ``dut``, and note what comes out."""

    def __init__(self, dut, seed=0):
        self.dut = dut
        self.rng = random.Random(seed)
        self.model = RequesterModel(requester_id=RID)
        self.sent, self.ends, self.errors, self.lost = [], ([], []), [], 0

    async def start(self, ctx, **inputs):
        """Set inputs, and wait until the tables are cleared."""
        inputs = {"link_up": 1, "requester_id": RID, "timeout_code": 1, "timeout_disable": 1,
                  "core_limit": 1023, "guest_limit": 1023, **inputs}
        for name, value in inputs.items():
            ctx.set(getattr(self.dut, name), value)
        await self.wait(ctx, lambda: ctx.get(self.dut.ready))
        await ctx.tick().repeat(16)

    async def wait(self, ctx, condition, limit=3000):
        """Tick until ``condition()``; return the number of clocks."""
        for clocks in range(limit):
            if condition():
                return clocks
            await ctx.tick()
        raise TimeoutError(f"Condition is not met in {limit} clocks")

    async def request(self, ctx, *requests, client=0, gap=lambda: 0):
        """Offer requests, and wait until all are taken."""
        await send(ctx, self.dut.request[client], requests, gap=gap)

    async def deliver(self, ctx, *tlps, stamp=0, abort=False, gap=lambda: 0):
        """Deliver completions."""
        for tlp in tlps:
            for beat in tlp.beats(self.dut.data_width):
                beat = {name: beat[name] for name in ("data", "strb", "hdr", "first", "last")}
                await send(ctx, self.dut.completion, [
                    {**beat, "stamp": stamp, "abort": int(abort and beat["last"])}], gap=gap)

    async def next_sent(self, ctx):
        """Return the next TLP that was not returned yet."""
        await self.wait(ctx, lambda: self.sent)
        return self.sent.pop(0)

    async def next_end(self, ctx, client=0):
        """Return the next end of a client: (owner, tag, status name, data, rid)."""
        await self.wait(ctx, lambda: self.ends[client])
        return self.ends[client].pop(0)

    async def fetch(self, ctx, tag, address, size):
        """Return ``size`` bytes of the data of a tag."""
        row_bytes, most = self.dut.data_width // 8, self.dut.pio.max_read_bytes
        got = b""
        for row in range(most // row_bytes):
            ctx.set(self.dut.fetch.en, 1)
            ctx.set(self.dut.fetch.tag, tag)
            ctx.set(self.dut.fetch.row, row)
            await ctx.tick()
            ctx.set(self.dut.fetch.en, 0)
            got += ctx.get(self.dut.fetch.data).to_bytes(row_bytes, "little")
        return got[address % most:][:size]

    async def release(self, ctx, *tags):
        """Give tags back."""
        await send(ctx, self.dut.release, [{"tag": tag} for tag in tags])

    def background(self, *, sends=lambda: 1, takes=lambda: 1):
        """Return the agents that note what comes out.

        ``sends()`` and ``takes()`` are asked in each clock: is `tx` ready, are clients?
        """
        def note_sent(beat):
            size = 4 * beat.strb.bit_count()
            assert beat.first and beat.last
            self.sent.append(Tlp.unpack(beat.hdr, beat.data.to_bytes(64, "little")[:size]))

        def note_end(client):
            return lambda end: self.ends[client].append(
                (end.owner, end.tag, FinishStatus(end.status).name, end.data, end.rid))

        def note_error(record):
            self.errors.append((ErrorCause(record.cause).name, *(
                record[name] for name in ("core", "guest", "rid", "tag", "address"))))

        def taker(port, note, ready):
            async def testbench(ctx):
                ctx.set(port.ready, ready())
                async for _, _, taken, payload in ctx.tick().sample(port.valid & port.ready,
                                                                    port.payload):
                    if taken:
                        note(payload)
                    ctx.set(port.ready, ready())
            return testbench

        dut = self.dut
        return [taker(dut.tx, note_sent, sends), taker(dut.error, note_error, lambda: 1),
                *(taker(dut.finish[n], note_end(n), takes) for n in range(2))]

    def issue(self, tlp, request, *, client=0):
        """Tell the model of a request that was sent."""
        self.model.issue(Outstanding(tlp, owner=request.get("owner", 0), client=client,
                                     core=request.get("core", 0), guest=request.get("guest", 0),
                                     completer=request.get("completer", 0),
                                     mask=request["completer_mask"]))


__all__ = ["DEVICE", "RID", "Bench", "Kind", "Status", "answer", "config", "make", "memory", "read",
           "refusal"]
