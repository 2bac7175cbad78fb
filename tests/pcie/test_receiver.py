import random

import pytest

from iovirt.config import PcieConfig
from iovirt.pcie.layouts import ErrorCause
from iovirt.pcie.receiver import Receiver
from iovirt_sim.harness import simulate
from iovirt_sim.models.tlp_rules import decide
from iovirt_sim.tlp import Kind, Pasid, Tlp
from iovirt_sim.tlp_streams import send_beats

CREDITS = 8
STREAMS = ("write", "read", "unsupported", "completion", "message", "error")


@pytest.mark.parametrize("arguments, error, message", [
    ({"data_width": 96, "pcie": PcieConfig()}, ValueError,
     r"^Data width must be 64, 128, 256 or 512, not 96$"),
    ({"data_width": 64, "pcie": None}, TypeError,
     r"^PCIe configuration must be a PcieConfig, not None$"),
])
def test_wrong_parameters(arguments, error, message):
    with pytest.raises(error, match=message):
        Receiver(**arguments)


def plain(value):
    """Return a payload as nested dicts of numbers."""
    if hasattr(value, "shape") and hasattr(value.shape(), "members"):
        return {name: plain(value[name]) for name in value.shape().members}
    return getattr(value, "value", value)


def receive(dut, packets, *, gap=lambda: 0, stall=lambda: 0, clocks, **inputs):
    """Send ``packets``, lists of beats, and return what each output gave."""
    seen = {name: [] for name in STREAMS}
    idle = [0]
    released = [0]

    async def source(ctx):
        for name, value in inputs.items():
            ctx.set(getattr(dut, name), value)
        for packet in packets:
            await send_beats(ctx, dut.rx, packet, gap=gap)
        await ctx.tick().repeat(clocks)
        idle[0] = 1

    def sink(name):
        port = getattr(dut, name)

        async def testbench(ctx):
            while not idle[0]:
                ctx.set(port.ready, 0)
                for _ in range(stall()):
                    await ctx.tick()
                ctx.set(port.ready, 1)
                _, _, valid, payload = await ctx.tick().sample(port.valid, port.payload)
                if valid:
                    seen[name].append(plain(payload))
        return testbench

    async def credits(ctx):
        while not idle[0]:
            _, _, count = await ctx.tick().sample(dut.np_release)
            released[0] += count

    simulate(dut, source, credits, *map(sink, STREAMS), deadline=60_000)
    return seen, released[0]


def random_tlp(rng):
    """A packet that is mostly legal."""
    kind  = rng.choice([Kind.MRD] * 6 + [Kind.MWR] * 8 + [Kind.CPL, Kind.CPLD, Kind.MSG]
                       + rng.sample(list(Kind), 2))
    top   = rng.choice([32, 64])
    size  = rng.choice([0, 1, 2, 3, 4, 5, 7, 8, 16, 63, 64, 65, 100, 255])
    place = rng.choice([0, 1, 2, 3, 0xFF8, 0xFF0, 0x80, rng.randrange(4096)])
    base  = Tlp.read((rng.getrandbits(top) & ~0xFFF) + place, size)
    if kind is Kind.MRD and rng.random() < 0.1:
        base = Tlp.read(base.address & ~0xFFF, 4096)
    with_data = kind.has_data
    length = base.length
    if kind in (Kind.FETCHADD, Kind.SWAP, Kind.CAS):
        length = rng.choice([1, 2, 4, 8])
    elif kind.name.startswith(("IO", "CFG")):
        length = 1
    routine = kind.name.startswith(("IO", "CFG")) and rng.random() < 0.8
    return Tlp(
        kind, rid=rng.choice([0x100, 0x1FF, 0x2A5, rng.getrandbits(16)]), tag=rng.getrandbits(10),
        address=base.address & (0xFFC if kind.name.startswith("CFG") else ~3)
        & (0xFFFFFFFF if kind.name.startswith("IO") else ~0),
        length=length, first_be=base.first_be, last_be=0 if length == 1 else base.last_be or 15,
        payload=rng.randbytes(4 * length) if with_data else b"",
        tc=0 if routine else rng.choice([0, 0, 3]), attr=0 if routine else rng.getrandbits(3),
        at=0 if routine else rng.choice([0, 0, 0, 0, 1, 2, 3]), ep=rng.random() < 0.1,
        td=rng.random() < 0.1, th=rng.random() < 0.1, wide=rng.choice([None, None, True]),
        cid=rng.getrandbits(16), status=rng.choice([0, 1, 4]), byte_count=rng.randrange(1, 4097),
        lower_addr=rng.getrandbits(7), code=rng.choice([0x20, 0x04, 0x18, 0x7F, 0x33]),
        routing=rng.choice([0, 2, 4]), words=rng.getrandbits(64),
        pasid=Pasid(rng.getrandbits(20), rng.random() < 0.5, rng.random() < 0.5)
        if rng.random() < 0.3 else None)


def random_packet(rng, data_width):
    """A packet as a list of beats, perhaps with something wrong."""
    beats = list(random_tlp(rng).beats(data_width, segment=rng.getrandbits(8),
                                       nullify=rng.random() < 0.05))
    harm = rng.random()
    if harm < 0.15:
        flipped = 1 << rng.choice([rng.randrange(96, 128), rng.randrange(64, 72)])
        beats = [{**beat, "hdr": beat["hdr"] ^ flipped} for beat in beats]
    elif harm < 0.20:
        beats[rng.randrange(len(beats))]["strb"] ^= 1 << rng.randrange(data_width // 32)
    elif harm < 0.24:
        beats = [*({**beat, "last": 0} for beat in beats),
                 *({**beats[-1], "first": 0, "last": n == 2} for n in range(3))]
    elif harm < 0.28 and len(beats) > 1:
        beats = beats[:-1]
        beats[-1]["last"] = 1
    elif harm < 0.30:
        beats[0]["prefix"], beats[0]["prefix_valid"] = rng.choice([0x90 << 24, 0x8E << 24]), 1
    # What is not meaningful must not matter.
    if not beats[0]["prefix_valid"]:
        beats[0]["prefix"] = rng.getrandbits(32)
    for beat in beats[1:]:
        beat["hdr"], beat["prefix"], beat["segment"] = (rng.getrandbits(128), rng.getrandbits(32),
                                                        rng.getrandbits(8))
    return beats


def header_of(beats, decoded):
    """The decoded header that a sound memory request must give."""
    first = beats[0]
    pasid = Pasid.unpack(first["prefix"]) if first["prefix_valid"] else Pasid(0)
    length, first_be, last_be = decoded.enabled()
    return {"rid": decoded.rid, "segment": first["segment"], "tag": decoded.tag, "tc": decoded.tc,
            "attr": decoded.attr, "at": decoded.at, "pv": first["prefix_valid"], "pid": pasid.pid,
            "priv": int(pasid.priv), "exec": int(pasid.exec), "address": decoded.address & ~3,
            "length_dw": length, "first_be": first_be, "last_be": last_be,
            "ep": int(decoded.ep and decoded.kind.has_data), "signal": 0, "turn": 0}


def expect(packets, data_width, *, max_payload, buses):
    """What the rules make of ``packets``: the outputs, and the credits given back."""
    want = {name: [] for name in STREAMS}
    begun, released = 0, 0
    for beats in packets:
        first, last = beats[0], beats[-1]
        strobes  = [[beat["strb"] >> n & 1 for n in range(data_width // 32)] for beat in beats]
        prefix   = first["prefix"] if first["prefix_valid"] else None
        decision = decide(first["hdr"], strobes, prefix, last["nullify"], max_payload=max_payload,
                          buses=buses)
        payload  = b"".join(beat["data"].to_bytes(data_width // 8, "little") for beat in beats)
        decoded  = None
        if decision.begun or decision.route != "drop":
            decoded = Tlp.unpack(first["hdr"], payload, prefix)
        if decision.cause:
            hdr  = first["hdr"]
            want["error"].append((decision.cause, first["segment"], hdr >> 80 & 0xFFFF))
        np = not first["hdr"] >> 127 and _non_posted(first["hdr"])
        released += np and not last["nullify"]
        if decision.begun or decision.route == "write":
            want["write"].append((header_of(beats, decoded), decision.begun, payload))
            begun += 1
        elif decision.route == "read":
            want["read"].append({"header": header_of(beats, decoded), "posted": begun % 256})
        elif decision.route == "refuse":
            want["unsupported"].append({
                "rid": decoded.rid, "tag": decoded.tag, "tc": decoded.tc, "attr": decoded.attr,
                "status": 1, "byte_count": decision.reply[0], "lower_addr": decision.reply[1]})
        elif decision.route == "completion":
            want["completion"].append((first["hdr"], first["segment"], payload))
        elif decision.route == "message":
            pasid = decoded.pasid or Pasid(0)
            data  = int.from_bytes(payload[:8], "little")
            want["message"].append({
                "hdr": first["hdr"], "segment": first["segment"], "pv": first["prefix_valid"],
                "pid": pasid.pid, "priv": int(pasid.priv), "exec": int(pasid.exec), "data": data})
    return want, released


def _non_posted(hdr):
    data, wide, kind = hdr >> 126 & 1, hdr >> 125 & 1, hdr >> 120 & 0x1F
    return (kind, data) in {(0, 0), (1, 0), (0xC, 1), (0xD, 1), (0xE, 1), (0x1B, 1)} or (
        kind in (2, 4, 5) and not wide)


def by_tlp(beats):
    """Group forwarded beats; checks that fields are held and that flags frame the groups."""
    groups = []
    for beat in beats:
        if beat["first"]:
            groups.append([])
        else:
            assert not groups[-1][-1]["last"]
        groups[-1].append(beat)
    assert all(group[-1]["last"] for group in groups)
    return groups


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
