# amaranth: UnusedElaboratable=no

import dataclasses
import random

import pytest
from amaranth import *
from amaranth.lib import wiring

from iovirt.pio.completion_check import CompletionDecode, CompletionMatch
from iovirt.pio.layouts import FinishStatus, NpKind
from iovirt_sim.harness import simulate
from iovirt_sim.models.pio import Outstanding, RequesterModel
from iovirt_sim.tlp import Kind, Status, Tlp

from .requester_bench import DEVICE, RID, answer, refusal

KINDS = {Kind.MRD: NpKind.MEMORY_READ, Kind.CFGRD0: NpKind.CONFIG_READ,
         Kind.CFGWR0: NpKind.CONFIG_WRITE}


class Check(wiring.Component):
    """Both halves of the check in one."""

    def __init__(self, most):
        self.decode = CompletionDecode(tag_bits=8)
        self.match  = CompletionMatch(owner_width=1, max_read_bytes=most)
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        m.submodules.decode, m.submodules.match = self.decode, self.match
        m.d.comb += [self.match.facts.eq(self.decode.facts),
                     self.match.completer.eq(self.decode.hdr[80:96])]
        m.d.sync += Signal().eq(1)  # a clock for the simulation
        return m


def some_request(rng, most):
    kind = rng.choice([Kind.MRD, Kind.MRD, Kind.MRD, Kind.CFGRD0, Kind.CFGWR0])
    if kind is not Kind.MRD:
        return Tlp(kind, rid=RID, tag=5, address=0x40, payload=b"")
    length  = rng.choice([1, 1, 2, rng.randint(1, most // 4)])
    address = 0x1000 + 4 * rng.randint(0, most // 4 - length)
    if length == 1:
        return Tlp(kind, rid=RID, tag=5, address=address, first_be=rng.randrange(16))
    return Tlp(kind, rid=RID, tag=5, address=address, length=length,
               first_be=rng.choice([15, 14, 12, 8]), last_be=rng.choice([15, 7, 3, 1]))


def damage(rng, tlp):
    """Return the completion, most often with something wrong."""
    changes = [
        {}, {}, {}, {"tc": 3}, {"attr": 1}, {"attr": 4}, {"cid": DEVICE ^ 1 << rng.randrange(16)},
        {"byte_count": max(1, tlp.byte_count + rng.choice([-4, -1, 1, 4, 64]))},
        {"lower_addr": tlp.lower_addr ^ 1 << rng.randrange(7)}, {"rid": RID ^ 2}, {"tag": 261},
        {"length": max(1, tlp.length + rng.choice([-2, -1, 1, 2, 16]))}, {"ep": True},
        {"kind": Kind.CPLDLK if tlp.kind is Kind.CPLD else Kind.CPLLK},
        {"kind": Kind.CPLD if tlp.kind is Kind.CPL else Kind.CPL},
        {"status": rng.randrange(8)}, {"byte_count": 4096}]
    return dataclasses.replace(tlp, **rng.choice(changes))


@pytest.mark.parametrize("most", [128, 512])
def test_verdict_is_that_of_the_model(most):
    rng = random.Random(most)
    dut = Check(most)
    verdicts = set()

    async def testbench(ctx):
        for _ in range(1500):
            request = some_request(rng, most)
            found = Outstanding(request, completer=DEVICE, mask=rng.choice([0, 0xFF, 0xFFFF]))
            pieces = answer(request, mps=rng.choice([64, 128]))
            fresh  = rng.random() < 0.6
            entry = {"kind": KINDS[request.kind], "count": found.left, "position": found.next % 128,
                     "completer": DEVICE, "completer_mask": found.mask}
            if not fresh:
                # A piece has been here before.
                piece = pieces.pop(0)
                if not pieces:
                    continue
                entry["count"] = entry["position"] = 5
                found.left, found.next = pieces[0].byte_count, pieces[0].lower_addr
                assert piece.byte_count > found.left
            tlp = rng.choice([pieces[0], refusal(request, rng.choice(list(Status)[1:]))])
            tlp = damage(rng, tlp)
            ctx.set(dut.match.entry, entry)
            ctx.set(dut.match.progress, {"left": found.left, "position": found.next % 128}
                    if not fresh else {"left": 3, "position": 77, "poisoned": 1})
            ctx.set(dut.match.fresh, fresh)
            ctx.set(dut.decode.hdr, tlp.pack()[0])
            ctx.set(dut.decode.requester_id, RID)
            await ctx.tick()
            ours = tlp.rid == RID and tlp.tag < 256
            assert ctx.get(dut.decode.facts.ours) == ours
            model = RequesterModel(requester_id=RID)
            model.requests[5] = found
            end, error = model.complete(dataclasses.replace(tlp, rid=RID, tag=5))
            matches = error != "COMPLETION_MISMATCH"
            assert ctx.get(dut.match.matches) == matches, (request, tlp)
            verdicts.add((matches, end and end.status))
            if matches:
                assert ctx.get(dut.match.final) == (end is not None)
            if end:
                assert FinishStatus(ctx.get(dut.match.status)).name == end.status
            elif matches:
                assert ctx.get(dut.decode.facts.remains) == found.left

    simulate(dut, testbench)
    assert verdicts == {(False, None), (True, None), (True, "OK"), (True, "POISONED"),
                        (True, "UR"), (True, "CA"), (True, "RRS")}
