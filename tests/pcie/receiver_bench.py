"""Random TLPs for the receiver, and what the rules make of them."""

from iovirt_sim.harness import simulate
from iovirt_sim.models.tlp_rules import decide
from iovirt_sim.tlp import Kind, Pasid, Tlp
from iovirt_sim.tlp_streams import send_beats

STREAMS = ("write", "read", "unsupported", "completion", "message", "error")


def plain(value):
    """Return a payload as nested dicts of numbers."""
    if hasattr(value, "shape") and hasattr(value.shape(), "members"):
        return {name: plain(value[name]) for name in value.shape().members}
    return getattr(value, "value", value)


def receive(dut, packets, *, gap=lambda: 0, stall=lambda: 0, clocks, background=(), **inputs):
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

    simulate(dut, source, credits, *map(sink, STREAMS), background=background, deadline=60_000)
    return seen, released[0]


def random_tlp(rng, windows=()):
    """A packet that is mostly legal. Many go to the start or the end of one of ``windows``."""
    kind  = rng.choice([Kind.MRD] * 6 + [Kind.MWR] * 8 + [Kind.CPL, Kind.CPLD, Kind.MSG]
                       + rng.sample(list(Kind), 2) + [Kind.MSG, Kind.MWR] * (5 if windows else 0))
    top   = rng.choice([32, 64])
    size  = rng.choice([0, 1, 2, 3, 4, 5, 7, 8, 16, 63, 64, 65, 100, 255])
    place = rng.choice([0, 1, 2, 3, 0xFF8, 0xFF0, 0x80, rng.randrange(4096)])
    base  = Tlp.read((rng.getrandbits(top) & ~0xFFF) + place, size)
    if windows and rng.random() < 0.6:
        place = rng.choice(windows) + rng.choice([0, 0x8000, 0xFFF0, -8, -0x40, 0x10000])
        base  = Tlp.read(max(place, 0), rng.choice([4, 4, 4, 4, 4, 4, 8, size]))
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
        if rng.random() < (0.1 if windows else 0.3) else None)


def random_packet(rng, data_width, windows=()):
    """A packet as a list of beats, perhaps with something wrong."""
    beats = list(random_tlp(rng, windows).beats(data_width, segment=rng.getrandbits(8),
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


def header_of(beats, decoded, signal=0):
    """The decoded header that a sound memory request must give."""
    first = beats[0]
    pasid = Pasid.unpack(first["prefix"]) if first["prefix_valid"] else Pasid(0)
    length, first_be, last_be = decoded.enabled()
    return {"rid": decoded.rid, "segment": first["segment"], "tag": decoded.tag, "tc": decoded.tc,
            "attr": decoded.attr, "at": decoded.at, "pv": first["prefix_valid"], "pid": pasid.pid,
            "priv": int(pasid.priv), "exec": int(pasid.exec), "address": decoded.address & ~3,
            "length_dw": length, "first_be": first_be, "last_be": last_be,
            "ep": int(decoded.ep and decoded.kind.has_data), "signal": signal, "turn": 0}


def expect(packets, data_width, *, max_payload, buses, windows=None):
    """What the rules make of ``packets``: the outputs, and the credits given back."""
    want = {name: [] for name in STREAMS}
    begun, released = 0, 0
    for beats in packets:
        first, last = beats[0], beats[-1]
        strobes  = [[beat["strb"] >> n & 1 for n in range(data_width // 32)] for beat in beats]
        prefix   = first["prefix"] if first["prefix_valid"] else None
        decision = decide(first["hdr"], strobes, prefix, last["nullify"], max_payload=max_payload,
                          buses=buses, windows=windows)
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
            header = header_of(beats, decoded, int(decision.interrupt))
            want["write"].append((header, decision.begun, payload))
            begun += 1
        elif decision.route == "interrupt":
            want["write"].append(({"rid": decoded.rid, "segment": first["segment"], "signal": 2},
                                  False, bytes([decoded.code])))
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
