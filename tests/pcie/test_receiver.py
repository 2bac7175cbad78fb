import random

import pytest

from iovirt.config import PcieConfig
from iovirt.pcie.layouts import ErrorCause
from iovirt.pcie.receiver import Receiver
from iovirt_sim.harness import simulate
from iovirt_sim.tlp import Kind, Tlp
from iovirt_sim.tlp_streams import send_beats

from .receiver_bench import by_tlp, expect, random_packet, receive

CREDITS = 8


@pytest.mark.parametrize("arguments, error, message", [
    ({"data_width": 96, "pcie": PcieConfig()}, ValueError,
     r"^Data width must be 64, 128, 256 or 512, not 96$"),
    ({"data_width": 64, "pcie": None}, TypeError,
     r"^PCIe configuration must be a PcieConfig, not None$"),
    ({"data_width": 64, "pcie": PcieConfig(), "signals": 8}, TypeError,
     r"^Whether there are signals must be true or false, not 8$"),
])
def test_wrong_parameters(arguments, error, message):
    with pytest.raises(error, match=message):
        Receiver(**arguments)


@pytest.mark.parametrize("data_width", [64, 128, 256, 512])
@pytest.mark.parametrize("hurried", [False, True])
def test_random_tlps_go_where_the_rules_send_them(data_width, hurried):
    rng     = random.Random(data_width + hurried)
    packets = [random_packet(rng, data_width) for _ in range(250)]
    gap     = (lambda: 0) if hurried else lambda: rng.choice([0, 0, 0, 2])
    stall   = (lambda: 0) if hurried else lambda: rng.choice([0, 0, 1, 6])
    dut     = Receiver(data_width=data_width, pcie=PcieConfig(max_payload_bytes=256,
                                                              np_credits=CREDITS))
    inputs  = {"max_payload": rng.choice([1, 5]), "secondary": 1, "subordinate": 0xB0,
               "bus_range_enable": 1}
    seen, released = receive(dut, packets, gap=gap, stall=stall, clocks=200, **inputs)
    want, np = expect(packets, data_width, max_payload=256, buses=(1, 0xB0))

    assert seen["read"] == want["read"]
    assert seen["unsupported"] == want["unsupported"]
    assert seen["message"] == want["message"]
    assert released == np

    writes = by_tlp(seen["write"])
    for group, (header, bad, payload) in zip(writes, want["write"], strict=True):
        assert all(beat["header"] == header for beat in group)
        assert [beat["abort"] for beat in group] == [0] * (len(group) - 1) + [int(bad)]
        assert len(group) * data_width // 32 < header["length_dw"] + data_width // 32
        if not bad:
            data = b"".join(beat["data"].to_bytes(data_width // 8, "little") for beat in group)
            assert data == payload

    whole = [group for group in by_tlp(seen["completion"]) if not group[-1]["abort"]]
    for group, (hdr, segment, payload) in zip(whole, want["completion"], strict=True):
        assert all((beat["hdr"], beat["segment"]) == (hdr, segment) for beat in group)
        assert payload == b"".join(beat["data"].to_bytes(data_width // 8, "little")
                                   for beat in group)

    records = [(ErrorCause(record["cause"]).name, record["segment"], record["rid"])
               for record in seen["error"]]
    if hurried:
        assert records == want["error"]
    for name in ("write", "read", "unsupported", "error"):
        assert len(seen[name]) > 10, f"the traffic does not reach {name}"


def one(dut, tlp, **inputs):
    return receive(dut, [list(tlp.beats(dut.data_width))], clocks=12, **inputs)[0]


def receiver(**pcie):
    return Receiver(data_width=64, pcie=PcieConfig(**{"np_credits": 4, **pcie}))


def causes(seen):
    return [ErrorCause(record["cause"]) for record in seen["error"]]


@pytest.mark.parametrize("tlp", [
    Tlp(Kind.FETCHADD, address=0x1000, first_be=0, payload=bytes(4)),
    Tlp(Kind.IORD, address=0x1F0),
    Tlp(Kind.CFGRD0, address=0x10),
    Tlp(Kind.MRDLK, address=0x1000),
    Tlp(Kind.DMWR, address=0x1000, payload=bytes(4)),
    Tlp(Kind.MRD, address=0x1000, at=3),
], ids=lambda tlp: tlp.kind.name)
def test_request_that_nobody_serves_is_answered_ur_and_recorded(tlp):
    seen = one(receiver(), tlp)
    assert [(request["status"], request["byte_count"]) for request in seen["unsupported"]] \
        == [(1, 4)]
    assert causes(seen) == [ErrorCause.UNSUPPORTED]
    assert not seen["read"]


def test_requester_outside_the_bus_range_is_denied_and_recorded():
    limits = {"secondary": 2, "subordinate": 3, "bus_range_enable": 1}
    seen = one(receiver(), Tlp.read(0x1000, 4, rid=0x0400), **limits)
    assert (len(seen["unsupported"]), causes(seen)) == (1, [ErrorCause.BUS_RANGE])
    seen = one(receiver(), Tlp.write(0x1000, bytes(4), rid=0x01FF), **limits)
    assert (seen["write"], causes(seen)) == ([], [ErrorCause.BUS_RANGE])
    assert len(one(receiver(), Tlp.read(0x1000, 4, rid=0x03FF), **limits)["read"]) == 1


def test_payload_above_the_limit_in_force_is_malformed():
    large = Tlp.write(0x1000, bytes(256))
    assert causes(one(receiver(), large, max_payload=0)) == [ErrorCause.MALFORMED]
    assert causes(one(receiver(), large, max_payload=1)) == []
    assert causes(one(receiver(max_payload_bytes=128), large, max_payload=5)) \
        == [ErrorCause.MALFORMED]


def test_non_posted_requests_that_wait_stop_neither_posted_ones_nor_completions():
    dut  = receiver()
    seen = []

    async def source(ctx):
        for stream in (dut.write, dut.completion, dut.message):
            ctx.set(stream.ready, 1)
        mix = [Tlp.write(0x1000, bytes(8)), Tlp.read(0x1000, 8),
               Tlp(Kind.CPLD, byte_count=4, payload=bytes(4)), Tlp(Kind.MSG, code=0x20)] * 4
        for tlp in mix:
            await send_beats(ctx, dut.rx, tlp.beats(64))
        await ctx.tick().repeat(5)

    def counts(port):
        async def testbench(ctx):
            for _ in range(24):
                _, _, valid = await ctx.tick().sample(port.valid)
                seen.append(valid)
        return testbench

    simulate(dut, source, *map(counts, (dut.write, dut.completion, dut.message)), deadline=40)
    assert sum(seen) == 12


def test_one_beat_per_clock():
    dut    = Receiver(data_width=128, pcie=PcieConfig())
    clocks = []

    async def source(ctx):
        ctx.set(dut.write.ready, 1)
        beats = [beat for _ in range(5) for beat in Tlp.write(0x1000, bytes(64)).beats(128)]
        await send_beats(ctx, dut.rx, beats)
        await ctx.tick().repeat(4)

    async def sink(ctx):
        for clock in range(24):
            _, _, valid = await ctx.tick().sample(dut.write.valid)
            clocks.extend([clock] * valid)

    simulate(dut, source, sink, deadline=40)
    assert clocks == list(range(3, 23))


def test_beats_before_the_first_tlp_are_ignored():
    tail = {"data": 0, "strb": 3, "first": 0, "last": 0, "hdr": 0x60 << 120}
    seen, _ = receive(receiver(), [[tail, {**tail, "last": 1}],
                                   list(Tlp.write(0x1000, bytes(4)).beats(64))], clocks=10)
    assert len(seen["write"]) == 1
    assert not seen["error"]


def test_records_that_find_the_log_full_are_counted():
    dut, lost = receiver(), []

    async def source(ctx):
        for _ in range(10):
            await send_beats(ctx, dut.rx, Tlp(Kind.MWR, last_be=15, payload=bytes(4)).beats(64))
        await ctx.tick().repeat(6)

    async def watch(ctx):
        for _ in range(16):
            _, _, pulse = await ctx.tick().sample(dut.lost)
            lost.append(pulse)

    simulate(dut, source, watch, deadline=40)
    assert sum(lost) == 6
