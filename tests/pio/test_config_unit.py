# amaranth: UnusedElaboratable=no

import random
from collections import Counter

import pytest

from iovirt.config import PioConfig
from iovirt.pio.config_unit import ConfigUnit
from iovirt_sim.models.pio_config import config_outcome, config_target

from .config_bench import PIO, ConfigBench, at, script

GOOD = lambda request: {"data": 0x12345678}


def test_wrong_parameters():
    with pytest.raises(TypeError, match=r"^Configuration must be a PioConfig, not None$"):
        ConfigUnit(owner_width=1, pio=None)
    with pytest.raises(ValueError,
                       match=r"^Width of owner must be an integer of at least 1, not 0$"):
        ConfigUnit(owner_width=0, pio=PIO)
    with pytest.raises(ValueError, match=r"^Number of waiting accesses must be an integer of at "
                                         r"least 1, not 0$"):
        ConfigUnit(owner_width=1, pio=PIO, waiting=0)


@pytest.mark.parametrize("seed, waiting, gaps", [(0, 4, [0]), (1, 1, [0, 0, 2, 9]),
                                                 (2, 3, [0, 1]), (3, 7, [0, 0, 30])])
def test_any_accesses_have_the_answers_that_the_model_gives(seed, waiting, gaps):
    rng    = random.Random(seed)
    buses  = {"primary": rng.choice([0, 2]), "secondary": rng.choice([0, 3, 3, 4])}
    buses.update(subordinate=buses["secondary"] + rng.choice([0, 2]), ari=rng.randrange(2))
    visible, count = rng.randrange(2), rng.choice([0, 1, 3])
    completions = []
    bench = ConfigBench(lambda request: completions.pop(0), waiting=waiting,
                        gap=lambda: rng.choice(gaps))
    bench.header_delay = bench.gap
    wanted, records, requests = {}, [], []

    def expect(access, owner):
        address, be, write = access["address"], access["be"], access["write"]
        where = config_target(address, legal=access["legal"], **buses)
        if where == "header":
            return "OK", 0 if write else 0x1000 + (address >> 2 & 3)
        if where == "none":
            if not access["legal"]:
                records.append(("PIO_NO_TARGET", access["core"], address >> 12, 0, address))
            return "NO_TARGET", 0 if write else 0xffffffff
        offered = [{"status": rng.choice(["OK", "OK", "RRS", "RRS", "UR", "CA", "TIMEOUT",
                                          "POISONED", "LINK_DOWN"]),
                    "data": rng.randrange(1 << 32), "after": bench.gap()}
                   for _ in range(count + 1)]
        status, data, used, error = config_outcome(address, be, write, offered, visible=visible,
                                                   count=count)
        completions.extend(offered[:used])
        requests.extend([{"write": write, "type1": int(where == "type1"),
                          "address": address & ~3, "be": be, "data": access["data"],
                          "core": access["core"]}] * used)
        if error:
            records.append((error, access["core"], address >> 12, len(requests) % 1024, address))
        return status, data

    async def testbench(ctx):
        bench.header.update({n: 0x1000 + n for n in range(4)})
        for owner in range(200):
            access = {"address": at(rng.choice([*range(8)]), rng.choice([0, 0, 0, 9]),
                                    rng.choice([0, 0, 1]), rng.choice([0, 0, 2, 4, 8])),
                      "be": rng.choice([15, 3, 1, 2, 12]), "legal": int(rng.random() < 0.9),
                      "core": rng.randrange(4), "data": rng.randrange(1 << 32)}
            # The stand-in for the header is changed by nobody, so that reads may pass each other.
            access["write"] = int(config_target(access["address"], **buses) != "header"
                                  and rng.randrange(2))
            wanted[owner] = expect(access, owner)
            assert await bench.access(ctx, **access) == owner
        for owner in wanted:
            assert await bench.answer(ctx, owner) == wanted[owner], owner
        await ctx.tick().repeat(60)

    bench.run(testbench, **buses, rrs_visibility=visible, count=count)
    assert bench.requests == requests
    assert sorted(bench.errors) == sorted(records)


def test_header_and_absent_buses_do_not_wait_for_a_slow_device():
    bench = ConfigBench(lambda request: {"after": 3000})

    async def testbench(ctx):
        owners = [await bench.access(ctx, at(1), core=1) for _ in range(4)]
        assert await bench.do(ctx, at(0), core=2) == ("OK", 0)
        assert await bench.do(ctx, at(9), core=2) == ("NO_TARGET", 0xffffffff)
        assert await bench.do(ctx, at(9), core=1) == ("NO_TARGET", 0xffffffff)
        assert not set(owners) & set(bench.answers) and bench.clock < 60

    bench.run(testbench)


def test_a_core_sees_its_own_accesses_in_order():
    bench = ConfigBench(lambda request: {"after": 200})

    async def testbench(ctx):
        device = await bench.access(ctx, at(1), write=1, core=1)
        own    = await bench.access(ctx, at(0, offset=0x3c), write=1, core=1)
        await bench.answer(ctx, own)
        assert bench.order == [device, own]

    bench.run(testbench)


def test_link_down_answers_at_once_and_leaves_the_header_alone():
    bench = ConfigBench(GOOD)

    async def testbench(ctx):
        ctx.set(bench.dut.link_up, 0)
        for _ in range(12):
            await bench.access(ctx, at(1, offset=4))
            await bench.access(ctx, at(2), write=1)
        assert await bench.do(ctx, at(0)) == ("OK", 0)
        assert bench.clock < 200
        ctx.set(bench.dut.link_up, 1)
        assert await bench.do(ctx, at(1)) == ("OK", 0x12345678)

    bench.run(testbench)
    assert set(bench.answers.values()) == {("LINK_DOWN", 0xffffffff), ("LINK_DOWN", 0),
                                           ("OK", 0), ("OK", 0x12345678)}
    assert [cause for cause, *_ in bench.errors] == ["PIO_LINK_DOWN"] * 24
    assert len(bench.requests) == 1


def test_link_that_goes_down_ends_the_repetitions():
    bench = ConfigBench(lambda request: {"status": "RRS"})

    async def testbench(ctx):
        owner = await bench.access(ctx, at(1, offset=4))
        await ctx.tick().repeat(1000)
        assert owner not in bench.answers
        ctx.set(bench.dut.link_up, 0)
        assert await bench.answer(ctx, owner) == ("LINK_DOWN", 0xffffffff)

    bench.run(testbench, count=0xffff, pause=20)
    assert [cause for cause, *_ in bench.errors] == ["PIO_LINK_DOWN"]


def test_budget_of_time_ends_the_repetitions():
    bench = ConfigBench(lambda request: {"status": "RRS"})

    async def testbench(ctx):
        assert await bench.do(ctx, at(1, offset=4)) == ("RRS", 0xffffffff)
        # 2 units of 1024 us, at 2 clocks per us.
        assert 4000 < bench.clock < 4200

    bench.run(testbench, count=0xffff, pause=100, time=2)
    assert len(bench.requests) in (20, 21)
    assert [cause for cause, *_ in bench.errors] == ["PIO_RETRY"]


def test_pause_is_kept_between_requests():
    bench = ConfigBench(script([{"status": "RRS"}] * 2 + [{"data": 7}]))

    async def testbench(ctx):
        assert await bench.do(ctx, at(1, offset=4)) == ("OK", 7)
        assert 2 * 2 * 49 < bench.clock < 2 * 2 * 50 + 30

    bench.run(testbench, pause=50)


def test_no_more_than_one_request_is_under_way():
    busy = []
    bench = ConfigBench(lambda request: busy.append(len(bench.answers)) or {"after": 20})

    async def testbench(ctx):
        owners = [await bench.access(ctx, at(1)) for _ in range(8)]
        for owner in owners:
            await bench.answer(ctx, owner)
        await ctx.tick()

    bench.run(testbench)
    assert busy == list(range(8)) and bench.order == list(range(8))


def test_latency_is_what_the_docstring_says():
    bench = ConfigBench(GOOD, pio=PioConfig(clock_mhz=4000))
    times = {}

    async def testbench(ctx):
        for name, address in (("none", at(7)), ("header", at(0)), ("device", at(1))):
            owner = await bench.access(ctx, address)
            start = bench.clock
            await bench.answer(ctx, owner)
            times[name] = bench.times[owner] - start
            await ctx.tick().repeat(5)

    bench.run(testbench)
    assert times == {"none": 3, "header": 3 + 1, "device": 5 + 1 + 3}


@pytest.mark.parametrize("seed", range(2))
def test_each_access_is_answered_once_while_the_link_comes_and_goes(seed):
    rng   = random.Random(seed)
    bench = ConfigBench(lambda request: {
        "status": rng.choice(["OK", "RRS", "RRS", "LINK_DOWN"]), "data": 0x12345678,
        "after": rng.choice([0, 20])}, gap=lambda: rng.choice([0, 0, 5]))
    devices = []

    async def testbench(ctx):
        for _ in range(150):
            if rng.random() < 0.2:
                ctx.set(bench.dut.link_up, rng.random() < 0.8)
            bus = rng.choice([0, 1, 2, 9])
            owner = await bench.access(ctx, at(bus, offset=4), core=rng.randrange(4))
            if bus in (1, 2):
                devices.append(owner)
        for owner in range(150):
            await bench.answer(ctx, owner)
        await ctx.tick().repeat(50)

    bench.run(testbench, count=1, pause=10)
    told = Counter(bench.answers[owner] for owner in devices)
    assert set(told) == {("OK", 0x12345678), ("LINK_DOWN", 0xffffffff), ("RRS", 0xffffffff)}
    # Requests that the requester ended are recorded by that.
    causes = Counter(cause for cause, *_ in bench.errors)
    assert causes["PIO_RETRY"] == told["RRS", 0xffffffff]
    assert 0 < causes["PIO_LINK_DOWN"] < told["LINK_DOWN", 0xffffffff]
