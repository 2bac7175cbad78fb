# amaranth: UnusedElaboratable=no

import dataclasses

import pytest

from iovirt_sim.harness import simulate
from iovirt_sim.tlp import Kind, Status

from .requester_bench import DEVICE, RID, Bench, answer, config, make, memory, read, refusal

STATUS = {"OK", "POISONED"}


class Traffic:
    """Random requests of both clients, a device that misbehaves, and the model beside it."""

    def __init__(self, dut, seed, count):
        self.dut, self.bench, self.count = dut, Bench(dut, seed), count
        self.rng, self.model = self.bench.rng, self.bench.model
        self.asked, self.due, self.ends, self.errors, self.live = {}, [], [], [], {}
        self.checked = 0

    def make_request(self, client, owner):
        rng, most = self.rng, self.dut.pio.max_read_bytes
        fields = {"owner": owner, "core": rng.randrange(4), "guest": rng.randrange(4),
                  "completer": DEVICE, "completer_mask": rng.choice([0, 0xFFFF, 7])}
        if client:
            return config(rng.randrange(1024) * 4, write=rng.random() < 0.5, **fields)
        size    = rng.choice([1, 2, 3, 4, 8, 8, most // 2, most])
        address = rng.randrange(1 << 20) * most + rng.randrange(most - size + 1)
        return read(address | rng.choice([0, 1 << 40]), size, **fields)

    def client(self, number):
        async def testbench(ctx):
            await self.bench.wait(ctx, lambda: ctx.get(self.dut.ready))
            for n in range(self.count):
                owner = number << 7 | n & 0x7F
                await self.bench.wait(ctx, lambda owner=owner: owner not in self.asked)
                self.asked[owner] = self.make_request(number, owner)
                await self.bench.request(ctx, self.asked[owner], client=number,
                                         gap=lambda: self.rng.choice([0, 0, 3]))
        return testbench

    def find_owner(self, tlp):
        """Return the owner of the request that was sent as ``tlp``."""
        for owner, request in self.asked.items():
            reads = tlp.kind is Kind.MRD
            target = request["address"] if reads else None
            if owner in self.live or (owner >> 7 == 0) != reads:
                continue
            if reads and (target, request["length_dw"]) != (tlp.address, tlp.length):
                continue
            if not reads and request["address"] & 0xFFF != tlp.address:
                continue
            return owner
        raise AssertionError(f"{tlp} was not asked for")

    def damage(self, tlp, tags):
        """Return something wrong instead of a completion, before the right one comes.

        A wrong tag is one of ``tags``, which the model knows: not of a request on its way to it.
        """
        return self.rng.choice([
            lambda: refusal(tlp, Status.SC, byte_count=4),
            lambda: dataclasses.replace(tlp, byte_count=tlp.byte_count + 1),
            lambda: dataclasses.replace(tlp, lower_addr=tlp.lower_addr ^ 4),
            lambda: dataclasses.replace(tlp, tc=1),
            lambda: dataclasses.replace(tlp, rid=RID ^ 8),
            lambda: dataclasses.replace(tlp, tag=self.rng.choice(tags)),
            lambda: dataclasses.replace(tlp, cid=DEVICE ^ 0x10),
        ])()

    async def device(self, ctx):
        """Answer in any order; pieces of one request in theirs."""
        rng, bench, waiting = self.rng, self.bench, []
        while True:
            while bench.sent:
                tlp = bench.sent.pop(0)
                owner = self.find_owner(tlp)
                self.live[owner] = tlp.tag
                bench.issue(tlp, self.asked[owner], client=owner >> 7)
                pieces = answer(tlp, mps=rng.choice([64, 128]))
                if rng.random() < 0.15:
                    pieces[-1] = refusal(tlp, rng.choice([Status.UR, Status.CA, Status.RRS]))
                elif rng.random() < 0.1:
                    pieces[-1] = dataclasses.replace(pieces[-1], ep=True)
                waiting.append(pieces)
            if not waiting:
                await ctx.tick()
                continue
            pieces = rng.choice(waiting)
            tlp, abort = pieces[0], rng.random() < 0.1
            if rng.random() < 0.2:
                tlp = self.damage(tlp, [other[0].tag for other in waiting])
            elif not abort:
                pieces.pop(0)
            if not pieces:
                waiting.remove(pieces)
            # The model first: an end may come while the last beat is still being driven.
            end, error = (None, None) if abort else self.model.complete(tlp)
            self.due += [end] if end else []
            self.errors += [error] if error else []
            if end:
                # A forged one may have ended another request than that of `pieces`.
                waiting[:] = [other for other in waiting if other[0].tag != end.tag]
            await bench.deliver(ctx, tlp, abort=abort, gap=lambda: rng.choice([0, 0, 0, 2]))

    async def checker(self, ctx):
        """Compare ends, fetch data, and give tags back."""
        bench = self.bench
        while self.checked < 2 * self.count:
            await bench.wait(ctx, lambda: bench.ends[0] or bench.ends[1])
            client = 1 if bench.ends[1] else 0
            owner, tag, status, data, rid = bench.ends[client].pop(0)
            want = next(end for end in self.due if end.client == client)
            self.due.remove(want)
            assert (owner, tag, status, rid) == (want.owner, want.tag, want.status, want.rid)
            request = self.asked[owner]
            if status in STATUS and want.data:
                assert data == int.from_bytes(want.data[:4], "little")
            if status == "OK" and not client:
                size = 4 * request["length_dw"]
                got = await bench.fetch(ctx, tag, request["address"], size)
                assert got == want.data == memory(request["address"], size)
            self.model.release(tag)
            del self.asked[owner], self.live[owner]
            if not client:
                await bench.release(ctx, tag)
            self.checked += 1
        await bench.wait(ctx, lambda: ctx.get(self.dut.idle), 60)
        await ctx.tick().repeat(4)

    async def start(self, ctx):
        await self.bench.start(ctx, guest_limit=3, core_limit=3)


@pytest.mark.parametrize("data_width, most, seed", [(64, 64, 1), (256, 128, 2), (512, 256, 3)])
def test_random_traffic_ends_as_the_model_says(data_width, most, seed):
    dut = make(data_width=data_width, max_read_bytes=most)
    traffic = Traffic(dut, seed, count=45)
    rng = traffic.rng
    background = traffic.bench.background(sends=lambda: rng.random() < 0.7,
                                          takes=lambda: rng.random() < 0.7)
    simulate(dut, traffic.start, traffic.client(0), traffic.client(1), traffic.checker,
             background=[*background, traffic.device], deadline=15_000)
    assert not traffic.due and not traffic.asked
    assert [error[0] for error in traffic.bench.errors] == traffic.errors
    assert {"COMPLETION_MISMATCH", "UNEXPECTED_COMPLETION"} <= set(traffic.errors)
