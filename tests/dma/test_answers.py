# amaranth: UnusedElaboratable=no

import random

import pytest
from amaranth import *
from amaranth.lib import wiring

from iovirt.dma.answers import Answers
from iovirt.dma.layouts import TicketKind, ticket
from iovirt.dma.order import WriteOrder
from iovirt_sim.harness import simulate
from iovirt_sim.streams import receive

SLOTS = 8
APERTURE = 0x12_3450_0000


class CountedAnswers(wiring.Component):
    """Answers, with the counts of writes."""

    def __init__(self, *, signals):
        numbers = {"classes": 2, "number_width": 8}
        self.answers = Answers(writes=SLOTS, reads=SLOTS, signals=signals, address_width=40,
                               **numbers)
        self.order = WriteOrder(classes=2, width=8)
        super().__init__({name: member for name, member in self.answers.signature.members.items()
                          if name not in ("arrive", "before")})

    def elaborate(self, platform):
        m = Module()
        m.submodules.answers = answers = self.answers
        m.submodules.order = self.order
        for name, member in self.signature.members.items():
            outer, inner = getattr(self, name), getattr(answers, name)
            if member.is_signature:
                wiring.connect(m, wiring.flipped(outer), inner)
            else:
                m.d.comb += inner.eq(outer)
        wiring.connect(m, answers.arrive, self.order.arrive)
        wiring.connect(m, answers.before, self.order.before)
        return m


def result(rng, slot, kind, *, aperture):
    """A result for the fields of a ticket."""
    inside = aperture and rng.random() < 0.3
    ppn    = (APERTURE >> 12 | rng.getrandbits(8)) if inside else rng.getrandbits(20)
    return {"ok": int(kind == TicketKind.SIGNAL or rng.random() < 0.8), "ca": rng.randrange(2),
            "ppn": ppn, "epoch": rng.randrange(2), "order": rng.randrange(2), "slot": slot,
            "kind": kind, "inside": inside}


def expect(results):
    """What must be kept of the results, and what passed on: by kind, in order."""
    count = [0, 0]
    kept, passed = {"write": [], "read": [], "signal": []}, {"write": [], "read": [], "signal": []}
    for got in results:
        order, slot = got["order"], got["slot"]
        ok   = got["ok"] and not got["inside"]
        peer = int(got["ok"] and got["inside"])
        if got["kind"] == TicketKind.SIGNAL:
            kept["signal"].append((slot, got["epoch"]))
            passed["signal"].append((slot, order, count[order], 0))
        elif got["kind"] == TicketKind.READ:
            ca = int(got["ca"] and not got["ok"])
            kept["read"].append((slot, int(ok), ca, peer, got["ppn"], got["epoch"]))
            passed["read"].append((slot, order, count[order], int(not ok)))
        else:
            goes = int(ok and got["kind"] == TicketKind.WRITE)
            kept["write"].append((slot, goes, peer, got["ppn"], got["epoch"], order, count[order]))
            passed["write"].append(slot)
            count[order] += goes
    return kept, passed


@pytest.mark.parametrize("signals, aperture", [(0, False), (SLOTS, False), (SLOTS, True)])
def test_results_are_taken_at_once_and_writes_counted_in_order(signals, aperture):
    rng = random.Random(5 + signals + aperture)
    dut = CountedAnswers(signals=signals)
    kinds = [TicketKind.READ, TicketKind.SIGNAL] if signals else [TicketKind.READ]
    mixture = [(slot, kind) for slot in range(SLOTS) for kind in (
        rng.choice([TicketKind.WRITE] * 4 + [TicketKind.NOTHING]), *kinds)]
    rng.shuffle(mixture)
    results = [result(rng, slot, kind, aperture=aperture) for slot, kind in mixture]
    want_kept, want_passed = expect(results)
    kept = {name: [] for name in want_kept}
    layout = ticket(slots=SLOTS, classes=2)

    async def producer(ctx):
        ctx.set(dut.aperture_enable, aperture)
        ctx.set(dut.aperture_base, APERTURE | 0xFFF)
        ctx.set(dut.aperture_mask, 0xFF_FFF0_0FFF)
        for got in results:
            id = layout.const({name: got[name] for name in ("slot", "order", "kind")})
            ctx.set(dut.i.payload, {**{name: got[name] for name in ("ok", "ca", "ppn", "epoch")},
                                    "id": id.as_value().value})
            ctx.set(dut.i.valid, 1)
            assert ctx.get(dut.i.ready)
            await ctx.tick()
        ctx.set(dut.i.valid, 0)

    def watch(name):
        port = getattr(dut, f"{name}_answer")

        async def testbench(ctx):
            async for _, _, en, slot, data in ctx.tick().sample(port.en, port.slot, port.data):
                if en:
                    fields = port.data.shape().members
                    kept[name].append((slot, *(getattr(data, field) for field in fields)))
        return testbench

    def consumer(name):
        async def testbench(ctx):
            got = await receive(ctx, getattr(dut, name), len(want_passed[name]),
                                gap=lambda: rng.choice([0, 2]))
            if name == "write":
                assert [slot for slot, in got] == want_passed[name]
            else:
                assert [(entry.slot, entry.order, entry.number, entry.denied)
                        for entry, in got] == want_passed[name]
        return testbench

    names = [name for name in kept if signals or name != "signal"]
    simulate(dut, producer, *map(consumer, names), background=[*map(watch, names)])
    assert kept == want_kept


def test_what_is_kept_of_a_write_is_stored_before_its_slot_is_passed_on():
    dut = CountedAnswers(signals=0)
    stored, passed = [], []

    async def producer(ctx):
        ctx.set(dut.write.ready, 1)
        for slot in range(SLOTS):
            ctx.set(dut.i.payload, {"ok": 1, "id": slot})
            ctx.set(dut.i.valid, 1)
            await ctx.tick()
        ctx.set(dut.i.valid, 0)
        await ctx.tick().repeat(4)

    async def watch(ctx):
        clock = 0
        async for _, _, en, slot, valid, out in ctx.tick().sample(
                dut.write_answer.en, dut.write_answer.slot, dut.write.valid, dut.write.payload):
            clock += 1
            stored.extend([(slot, clock)] * en)
            passed.extend([(out, clock)] * valid)

    simulate(dut, producer, background=[watch])
    assert [slot for slot, _ in stored] == [slot for slot, _ in passed] == list(range(SLOTS))
    assert all(early < late for (_, early), (_, late) in zip(stored, passed, strict=True))
