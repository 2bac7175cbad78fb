import random
from collections import Counter
from dataclasses import replace

import pytest

from iovirt.vf.guest_pages import GuestPages
from iovirt.vf.page_decoder import PageDecoder
from iovirt.vf.page_doorbells import PageDoorbells
from iovirt.vf.page_router import PageRouter
from iovirt.vf.share_layouts import GuestState

from .page_bench import LIVE, ONES, Bench, Guest, Layout, expect, verdict_of

GUESTS = {1: Guest(0, 4), 2: Guest(4, 1, function=1), 3: Guest(5, 3, GuestState.FREEZE),
          4: Guest(8, 2, GuestState.OFF), 5: Guest(10, 2, GuestState.QUARANTINE),
          6: Guest(12, 255, GuestState.DRAIN), 7: Guest(1, 2, ok=0)}
LAYOUTS = [Layout(), Layout(2, 3, 0, 0x800), Layout(8, 0, 0, 0x1000), Layout(1, 0, 1, 0x100),
           Layout(3, 10, 1, 0x3818), Layout(1, 1, 0, 0x1000)]


@pytest.mark.parametrize("build, error, match", [
    (lambda: GuestPages(guests=12, functions=2, headers=True), ValueError,
     r"Number of guests must be a power of two in 4\.\.256, not 12"),
    (lambda: PageDecoder(guests=8, headers=1), TypeError, "Headers must be True or False, not 1"),
    (lambda: PageRouter(headers=None), TypeError, "Headers must be True or False, not None"),
    (lambda: PageDoorbells(functions=5), ValueError,
     r"Number of functions must be an integer in 1\.\.4, not 5")])
def test_parameters_are_checked(build, error, match):
    with pytest.raises(error, match=match):
        build()


def run(bench, count=None):
    count = count or len(bench.accesses)
    bench.run(lambda: len(bench.answered) == count)


def test_doorbell_takes_3_clocks_to_its_lookup_and_2_on_and_its_answer_2():
    bench = Bench(guests=GUESTS, lookup=lambda: 0, delay=lambda: 0)
    owner = bench.put(bench.layout.door(1, 2), 7)
    run(bench)
    times = bench.times
    # The lookup takes 1 clock, and the verdict is offered 1 clock after it was noted.
    assert times["doorbell"][0] - times["page"][0] == 3 + 1 + 2
    assert bench.answered[owner][0] - times["verdict"][0] == 1 + 2


def test_doorbells_pass_one_per_clock():
    bench = Bench(guests=GUESTS, lookup=lambda: 4, delay=lambda: 8)
    for n in range(64):
        bench.put(bench.layout.door(1 + n % 2, 1), n)
    run(bench)
    assert bench.times["doorbell"][-1] - bench.times["doorbell"][0] <= 70
    assert [(ring.pair, ring.colour, ring.side, ring.value) for ring in bench.doorbells] == [
        ((0, 4)[n % 2], 1 + n % 2, 0, n) for n in range(64)]


def test_verdicts_never_wait_while_the_device_takes_no_heads():
    bench = Bench(guests=GUESTS, head_gap=lambda: 500 if bench.clock < 500 else 0)
    owners = [bench.put(bench.layout.door(1, 1, 1), n) for n in range(40)]
    # Reads of the same guest are no heads, but queue behind them.
    run(bench)
    assert sorted(bench.answered) == owners
    rung = [verdict_of(ring) for ring in bench.doorbells]
    assert [(head.function, head.tail, head.value) for head in bench.seen["head"]] == [
        (0, verdict["tail"] + 1, verdict["value"]) for verdict in rung if verdict["ok"]]


def test_what_waits_for_the_device_is_told_to_be_under_way():
    bench, seen = Bench(guests=GUESTS, head_gap=lambda: 300 if bench.clock < 300 else 0), {}
    for n in range(24):
        bench.put(bench.layout.door(1, 1, 1), n)

    async def look(ctx):
        for _ in range(900):
            await ctx.tick()
            seen[bench.clock] = [ctx.get(part.idle) for part in bench.dut.progress]

    bench.run(lambda: len(bench.answered) == 24, look)
    # The device takes no heads: they wait, and so do doorbells and accesses behind them.
    assert seen[2] == [1, 1, 1] and seen[200] == [0, 0, 0]
    assert seen[max(seen)] == [1, 1, 1]


@pytest.mark.parametrize("be, legal", [(1, 1), (3, 1), (0xC, 1), (8, 1), (0xF, 0), (3, 0)])
def test_doorbells_of_other_sizes_are_dropped_and_recorded(be, legal):
    bench = Bench(guests=GUESTS)
    address = bench.layout.door(2, 1)
    owner = bench.put(address, 5, be=be, legal=legal, core=3)
    run(bench)
    assert not bench.doorbells
    assert bench.answered[owner][1].ok == legal
    assert bench.denials() == [(2, address)]
    assert bench.errors() == ([] if legal else [(3, 2, address)])


@pytest.mark.parametrize("guest", [4, 5])
def test_guests_that_are_off_read_ones_and_reach_nothing(guest):
    bench, layout = Bench(guests=GUESTS), Layout()
    start = layout.region * guest
    reads = [bench.put(start + offset) for offset in (0, 0x14, 0x1008, 0x1000)]
    writes = [bench.put(start + offset, 1) for offset in (0x14, 0x1008)]
    run(bench)
    assert all(bench.answered[owner][1].ok for owner in reads + writes)
    assert all(bench.answered[owner][1].data == ONES for owner in reads)
    assert not bench.doorbells and not bench.seen["count"] and not bench.errors()


@pytest.mark.parametrize("guest", [0, 7, 8, 257, 30000])
def test_accesses_of_nobody_fail(guest):
    bench, layout = Bench(guests=GUESTS), Layout()
    address = layout.region * guest + 0x1008 & 0xFFFFFFF
    bench.put(address, 1, core=2)
    bench.put(address)
    run(bench)
    assert [answer.ok for _, answer in bench.answered.values()] == [0, 0]
    assert bench.errors() == [(2, guest & 0xFF, address), (0, guest & 0xFF, address)]
    assert not bench.doorbells


def test_wrong_region_size_serves_nobody():
    bench = Bench(guests=GUESTS, layout=Layout(region_log2=0))
    bench.put(Layout().door(1, 1), 1)
    run(bench)
    assert [answer.ok for _, answer in bench.answered.values()] == [0] and not bench.doorbells


def test_mailbox_of_one_guest_and_a_silent_manager_hold_up_nobody():
    bench = Bench(guests=GUESTS, timeout=1)
    bench.mailbox = lambda request: None
    slow = [bench.put(bench.layout.region * guest + 0x14) for guest in (1, 2, 3)]
    fast = [bench.put(bench.layout.door(1 + n % 3, 1), n) for n in range(30)]
    again = bench.put(bench.layout.region + 0x18, 5)
    run(bench)
    assert max(bench.answered[owner][0] for owner in [*fast, again]) < 100
    assert min(bench.answered[owner][0] for owner in slow) > 120
    assert not any(bench.answered[owner][1].ok for owner in [*slow, again])
    assert bench.counts("MAILBOX") == [1, 2, 3] and len(bench.errors()) == 4


@pytest.mark.parametrize("name, be, legal, queue", [
    ("doorbell", 3, 1, 1), ("doorbell", 0xF, 0, 1), ("page_count", 0xF, 1, 2)])
def test_only_what_is_weakened_passes(name, be, legal, queue):
    reached = []
    for weaken in ({}, {name: 1}, {"doorbell": 1, "page_count": 1, name: 0}):
        bench = Bench(guests=GUESTS, weak=True, weaken=weaken)
        bench.put(bench.layout.door(2, queue), 7, be=be, legal=legal)
        run(bench)
        reached.append([ring.pair for ring in bench.doorbells])
    assert reached == [[], [4 + queue - 1], []]


@pytest.mark.parametrize("number", range(len(LAYOUTS)))
def test_accesses_become_what_the_specification_says(number):
    rng, layout = random.Random(number), LAYOUTS[number]
    headers, slow = number % 2 == 0, number % 3
    bench = Bench(guests=GUESTS, layout=layout, headers=headers, gap=lambda: rng.randint(0, slow),
                  delay=lambda: rng.randint(0, 12), lookup=lambda: rng.randint(1, 9))
    accesses = {}
    for _ in range(150):
        guest = rng.choice([1, 1, 2, 3, 6, 6, rng.randrange(9)])
        place = rng.choice([layout.door(0, rng.randrange(4), rng.randrange(2)) + rng.randrange(2),
                            layout.door(0, rng.randrange(257)), rng.randrange(layout.region),
                            layout.region - rng.randrange(1, 0x1100)]) % layout.region
        be = rng.choice([0xF, 0xF, 0xF, 1, 2, 3, 0xC])
        data = rng.getrandbits(32) if rng.random() < .7 else None
        owner = bench.put(layout.region * guest + place, data, be=be,
                          legal=int(rng.random() < .9), core=rng.randrange(256))
        accesses[owner] = bench.accesses[-1]
    bench.run(lambda: len(bench.answered) == 150)

    ends = {owner: expect(access, layout, GUESTS, headers) for owner, access in accesses.items()}
    doors = [owner for owner, end in ends.items() if end[0] == "door"]
    assert [(ring.pair, ring.side, ring.colour, ring.read) for ring in bench.doorbells] == [
        (*ends[owner][1:3], accesses[owner]["address"] // layout.region,
         1 - accesses[owner]["write"]) for owner in doors]
    rung = {owner: verdict_of(ring) for owner, ring in zip(doors, bench.doorbells, strict=True)}
    failed, denied, kinds = [], [], Counter()
    for owner, (kind, _, _, drop) in ends.items():
        access, (_, answer) = accesses[owner], bench.answered[owner]
        guest = access["address"] // layout.region
        kinds[kind] += 1
        assert answer.write == access["write"]
        if kind == "mailbox":  # some find the place taken
            kind = "manager" if answer.ok else "failed"
        if kind == "door":
            drop = access["write"] and not rung[owner]["ok"]
            assert answer.data == (rung[owner]["value"] if rung[owner]["ok"] else ONES)
        elif kind in ("off", "failed"):
            assert answer.data == ONES
        elif kind == "header":
            assert answer.data == 0  # of an empty template
        assert answer.ok == (kind != "failed")
        failed += [(access["core"], guest, access["address"])] * (kind == "failed")
        denied += [(guest, access["address"])] * bool(drop)
    assert sorted(bench.errors()) == sorted(failed) and sorted(bench.denials()) == sorted(denied)
    assert sorted(bench.counts("DOORBELLS")) == sorted(
        accesses[owner]["address"] // layout.region for owner in doors
        if accesses[owner]["write"] and rung[owner]["ok"])
    assert kinds["door"] > 8 and kinds["mailbox"] > 5 and kinds["failed"] > 5


def test_states_are_served_as_the_documentation_says():
    for state in GuestState:
        bench = Bench(guests={1: replace(GUESTS[1], state=state)})
        bench.put(bench.layout.door(1, 1), 1)
        run(bench)
        assert bool(bench.doorbells) == (state in LIVE)
