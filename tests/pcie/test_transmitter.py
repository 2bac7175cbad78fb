import random

import pytest

from iovirt.pcie.transmitter import Transmitter
from iovirt_sim.harness import simulate
from iovirt_sim.streams import send
from iovirt_sim.tlp import Kind, Tlp
from iovirt_sim.tlp_streams import receive_tlps

LAG = 4


@pytest.mark.parametrize("arguments, message", [
    ({"data_width": 32, "ports": 1}, r"^Data width must be 64, 128, 256 or 512, not 32$"),
    ({"data_width": 64, "ports": 0}, r"^Number of ports must be an integer of at least 1, not 0$"),
    ({"data_width": 64, "ports": 2, "kinds": ["posted"]}, r"^Kinds of ports must be 2 of posted, "),
    ({"data_width": 64, "ports": 1, "kinds": ["message"]}, r"not \('message',\)$"),
    ({"data_width": 64, "ports": 1, "max_payload_bytes": 100},
     r"^Maximum payload must be a power of two in 128..4096, not 100$"),
    ({"data_width": 64, "ports": 1, "credit_lag": 0},
     r"^Lag of credit counts must be an integer in 1..64, not 0$"),
])
def test_wrong_parameters(arguments, message):
    with pytest.raises(ValueError, match=message):
        Transmitter(**arguments)


def beats_of(tlp, data_width):
    return [{name: beat[name] for name in ("data", "strb", "hdr", "first", "last")}
            for beat in tlp.beats(data_width)]


def completion(port, number, dwords):
    kind = Kind.CPLD if dwords else Kind.CPL
    return Tlp(kind, rid=port, tag=number, length=dwords or 1024, byte_count=4 * dwords or 4,
               payload=bytes((port, number) * 2 * dwords))


def drive(dut, port, tlps, gap):
    beats = [beat for tlp in tlps for beat in beats_of(tlp, dut.data_width)]

    async def testbench(ctx):
        await send(ctx, dut.i[port], beats, gap=gap)
    return testbench


def partner(dut, rng, *, headers, units, lag=LAG):
    """The core: counts fall ``lag`` clocks after a TLP; credits come back at random, seldom."""
    state = {"headers": headers, "units": units}

    async def testbench(ctx):
        ctx.set(dut.link_up, 1)
        shown, used = [(headers, units)] * lag, []
        while True:
            ctx.set(dut.tx_fc_cplh, shown[-lag][0])
            ctx.set(dut.tx_fc_cpld, shown[-lag][1])
            samples = ctx.tick().sample(dut.tx.valid & dut.tx.ready & dut.tx.first, dut.tx.hdr)
            _, _, starts, hdr = await samples
            if starts:
                tlp  = Tlp.unpack(hdr)
                need = -(-tlp.length // 4) if tlp.kind is Kind.CPLD else 0
                state["headers"] -= 1
                state["units"]   -= need
                assert state["headers"] >= 0 and state["units"] >= 0, "sent without credit"
                used.append(need)
            if used and rng.random() < 0.15:
                state["headers"] += 1
                state["units"]   += used.pop(0)
            shown.append((state["headers"], state["units"]))
    return testbench


@pytest.mark.parametrize("ports, data_width, headers, units", [
    (1, 64, 1, 8), (2, 128, 2, 9), (3, 256, 40, 8), (3, 64, 3, 60), (2, 512, 60, 300),
])
def test_every_tlp_is_sent_whole_and_only_with_credit(ports, data_width, headers, units):
    rng  = random.Random(ports * data_width)
    gap  = lambda: rng.choice([0, 0, 1, 3])
    tlps = [[completion(port, n, rng.choice([0, 1, 4, 5, 16, 31, 32])) for n in range(25)]
            for port in range(ports)]
    dut  = Transmitter(data_width=data_width, ports=ports, max_payload_bytes=128, credit_lag=LAG)
    seen = []
    core = partner(dut, rng, headers=headers, units=units)

    async def sink(ctx):
        seen.extend(await receive_tlps(ctx, dut.tx, 25 * ports, data_width=data_width, gap=gap))

    simulate(dut, sink, *(drive(dut, port, tlps[port], gap) for port in range(ports)),
             background=[core])
    for port in range(ports):
        assert [tlp.pack() for tlp in seen if tlp.rid == port] == [tlp.pack() for tlp in tlps[port]]


def infinite(ctx, dut):
    ctx.set(dut.link_up, 1)
    ctx.set(dut.tx_fc_cplh, 0xFF)
    ctx.set(dut.tx_fc_cpld, 0xFFF)


def test_one_beat_per_clock_also_across_tlps():
    dut    = Transmitter(data_width=128, ports=2)
    clocks = []

    async def sink(ctx):
        infinite(ctx, dut)
        ctx.set(dut.tx.ready, 1)
        await ctx.tick().repeat(4)
        for clock in range(40):
            _, _, valid = await ctx.tick().sample(dut.tx.valid)
            clocks.extend([clock] * valid)

    def source(port):
        tlps = [completion(port, n, dwords) for n in range(3) for dwords in (0, 4, 16)]
        beats = [beat for tlp in tlps for beat in beats_of(tlp, 128)]

        async def testbench(ctx):
            await ctx.tick().repeat(4)
            await send(ctx, dut.i[port], beats)
        return testbench

    simulate(dut, sink, source(0), source(1), deadline=60)
    assert clocks == list(range(1, 37))


def test_waiting_tlps_take_turns():
    dut  = Transmitter(data_width=64, ports=3)
    seen = []

    async def sink(ctx):
        infinite(ctx, dut)
        seen.extend(await receive_tlps(ctx, dut.tx, 9, data_width=64))

    simulate(dut, sink, *(drive(dut, port, [completion(port, n, 2) for n in range(3)], lambda: 0)
                          for port in range(3)))
    assert [tlp.rid for tlp in seen[3:]] == [tlp.rid for tlp in seen[:3]] * 2
    assert sorted(tlp.rid for tlp in seen[:3]) == [0, 1, 2]


def test_posted_requests_and_completions_pass_a_non_posted_one_without_credit():
    dut  = Transmitter(data_width=64, ports=3, kinds=("non_posted", "posted", "completion"))
    seen = []

    async def sink(ctx):
        infinite(ctx, dut)
        ctx.set(dut.tx_fc_ph, 0xFF)
        ctx.set(dut.tx_fc_pd, 0xFFF)
        seen.extend(await receive_tlps(ctx, dut.tx, 8, data_width=64))
        ctx.set(dut.tx_fc_nph, 1)
        seen.extend(await receive_tlps(ctx, dut.tx, 1, data_width=64))

    posted = [Tlp.write(0x1000, bytes(8), rid=1)] * 4
    simulate(dut, sink, drive(dut, 0, [Tlp.read(0x1000, 4)], lambda: 0),
             drive(dut, 1, posted, lambda: 0),
             drive(dut, 2, [completion(2, n, 1) for n in range(4)], lambda: 0))
    assert [tlp.kind for tlp in seen].count(Kind.MRD) == 1
    assert seen[-1].kind is Kind.MRD


def test_read_needs_no_data_credit_but_atomic_operation_does():
    dut  = Transmitter(data_width=64, ports=2, kinds=("non_posted", "non_posted"))
    seen = []

    async def sink(ctx):
        ctx.set(dut.link_up, 1)
        ctx.set(dut.tx_fc_nph, 8)
        seen.extend(await receive_tlps(ctx, dut.tx, 2, data_width=64))
        await ctx.tick().repeat(20)
        assert not ctx.get(dut.tx.valid)
        ctx.set(dut.tx_fc_npd, 1)
        seen.extend(await receive_tlps(ctx, dut.tx, 1, data_width=64))

    atomic = Tlp(Kind.FETCHADD, address=0x1000, payload=bytes(4))
    simulate(dut, sink, drive(dut, 0, [atomic], lambda: 0),
             drive(dut, 1, [Tlp.read(0x1000, 4)] * 2, lambda: 0))
    assert [tlp.kind for tlp in seen] == [Kind.MRD, Kind.MRD, Kind.FETCHADD]


def test_while_the_link_is_down_whole_tlps_are_dropped_without_credits():
    dut  = Transmitter(data_width=64, ports=2, kinds=("non_posted", "completion"), credit_lag=LAG)
    seen = []

    async def core(ctx):
        ctx.set(dut.link_up, 1)
        ctx.set(dut.tx_fc_cplh, 0xFF)
        ctx.set(dut.tx_fc_cpld, 0xFFF)
        # The first completion has been offered when the link goes down: it is sent to its end.
        await ctx.tick().until(dut.tx.valid)
        ctx.set(dut.link_up, 0)
        await ctx.tick().repeat(5)
        assert ctx.get(dut.tx.valid)
        seen.extend(await receive_tlps(ctx, dut.tx, 1, data_width=64))
        ctx.set(dut.tx.ready, 0)
        for _ in range(200):
            _, _, valid = await ctx.tick().sample(dut.tx.valid)
            assert not valid
        ctx.set(dut.link_up, 1)
        ctx.set(dut.tx_fc_nph, 0xFF)
        seen.extend(await receive_tlps(ctx, dut.tx, 2, data_width=64))

    async def source(ctx):
        await send(ctx, dut.i[1], [beat for n in range(20)
                                   for beat in beats_of(completion(7, n, 4), 64)])
        await ctx.tick().repeat(300)
        await send(ctx, dut.i[1], list(beats_of(completion(7, 99, 4), 64)))

    async def reads(ctx):
        await ctx.tick().repeat(40)
        await send(ctx, dut.i[0], [beat for _ in range(5)
                                   for beat in beats_of(Tlp.read(0x1000, 4), 64)])
        await ctx.tick().repeat(310)
        await send(ctx, dut.i[0], list(beats_of(Tlp.read(0x2000, 4), 64)))

    simulate(dut, core, source, reads, deadline=600)
    assert sorted((tlp.kind is Kind.MRD, tlp.tag) for tlp in seen[1:]) == [(False, 99), (True, 0)]
    assert seen[0].tag == 0
