import random

import pytest

from iovirt.config import PioConfig
from iovirt.pio.front import PioFront
from iovirt_sim.models.pio_front import (
    Burst,
    Map,
    Window,
    beat_addresses,
    read_pieces,
    register_access,
    write_pieces,
)

from .front_bench import OKAY, SLVERR, Bench, device_byte

WINDOWS = (Window(0x1000_0000, 0x1_0000, 0x8000_0000, guest=1, policy="ONES", completer=0x0100),
           Window(0x2000_0000, 0x10_0000, 0x4_0010_0000, guest=2, policy="ERROR"),
           Window(0x1000_0000, 0x2_0000, 0xC000_0000, guest=3, policy="POISON"))
WHERE = Map(windows=WINDOWS, ecam=(0x4000_0000, 1 << 20), doorbells=(0x5000_0000, 0x4000))
PLACES = (0x1000_0000, 0x1000_8000, 0x1001_0000, 0x2000_0000, 0x4000_0000, 0x5000_0000,
          0x6000_0000)


def make_burst(rng, most, longest):
    """Return a burst that may be anything, but mostly is legal."""
    size  = rng.randint(0, most)
    beats = rng.choice([1, 1, 1, 2, 3, rng.randint(1, longest)])
    start = rng.choice(PLACES) + rng.randrange(0x3000)
    if rng.random() < .6:
        start = start >> size << size
    burst = Burst(rng.randrange(8), start, beats, size, rng.choice([1] * 12 + [0, 2]))
    if start // 4096 != (burst.end - 1) // 4096 and rng.random() < .9:
        return make_burst(rng, most, longest)
    return burst


def expected_read(burst, status, policy):
    """Return the beats of R but for the ID: (bytes that count, data, resp, last, poison)."""
    beats = []
    for n, (start, end) in enumerate(beat_addresses(burst)):
        last = int(n == burst.beats - 1)
        if burst.legal and (status == "OK" or (status == "POISONED" and policy == "POISON")):
            beats.append((start, end, True, OKAY, last, int(status != "OK")))
        elif burst.legal:
            beats.append((start, end, False, SLVERR if policy == "ERROR" else OKAY, last,
                          int(policy == "POISON")))
        else:
            beats.append((start, end, False, SLVERR, last, 0))
    return beats


def check_reads(bench, bursts, width, statuses):
    """Compare all beats of R with the bursts of their IDs."""
    queues = {}
    for burst in bursts:
        kind, there, _, policy = bench.where.find(burst.address)
        for start, end, *rest in expected_read(burst, statuses(burst), policy):
            at = there + start - burst.address
            queues.setdefault(burst.id, []).append((kind, at, at + end - start, start, *rest))
    for _, id, data, resp, last, poison in bench.answers:
        _, at, stop, start, real, *rest = queues[id].pop(0)
        assert [resp, last, poison] == rest, f"ID {id}, {start:#x}"
        lane = start % (width // 8)
        for n in range(stop - at if real else 0):
            assert data >> 8 * (lane + n) & 0xFF == device_byte(at + n), f"{at + n:#x}"
        others = data >> 8 * (lane + stop - at) | data & (1 << 8 * lane) - 1
        assert others == 0 if real else data == (1 << width) - 1
    assert not any(queues.values())


@pytest.mark.parametrize("bus, tlp, largest, slots, seed", [
    (64, 256, 128, 16, 1), (64, 64, 64, 8, 2), (128, 64, 128, 16, 3), (512, 64, 256, 4, 4),
    (512, 128, 64, 16, 5), (64, 512, 512, 32, 6), (512, 512, 64, 16, 7)])
def test_reads_are_those_of_the_specification(bus, tlp, largest, slots, seed):
    rng = random.Random(seed)
    pio = PioConfig(data_width=bus, address_width=40, id_width=3, reads=slots, windows=4,
                    max_read_bytes=largest)
    dut = PioFront(data_width=tlp, pio=pio, max_payload_bytes=128)
    most = (bus // 8).bit_length() - 1
    bursts = [make_burst(rng, most, 20) for _ in range(60)]
    bursts = [burst for burst in bursts if WHERE.find(burst.address)[0] != "config"]
    chosen = {}

    def status(request):
        page = request.address >> 12
        return chosen.setdefault(page, rng.choice(["OK"] * 3 + ["UR", "POISONED", "TIMEOUT"]))

    busy = rng.choice([.2, .5])
    bench = Bench(dut, WHERE, gap=lambda: rng.random() < busy, status=status,
                  delay=lambda request: rng.choice([0, 1, 5, 40]), max_read=rng.randint(0, 2),
                  r_gap=lambda: rng.choice([0, 0, 0, 20]) if busy > .3 else 0)
    bench.read(*bursts)
    beats = sum(burst.beats for burst in bursts)
    bench.run(until=lambda: len(bench.answers) >= beats, deadline=20000)

    expected, records = [], 0
    limit = min(largest, 128 << bench.settings["max_read"])
    for burst in bursts:
        kind, there, window, _ = WHERE.find(burst.address)
        if burst.legal and kind == "memory":
            expected += [(*piece, window.guest, window.completer)
                         for piece in read_pieces(there, burst.end - burst.address, largest=limit)]
        else:
            records += 1
    assert [(r.address, r.length_dw, r.first_be, r.last_be, r.guest, r.completer)
            for r in bench.requests] == expected
    assert len(bench.errors) <= records and (not records or bench.errors)
    assert len(bench.busy_tags) == 0
    check_reads(bench, bursts, bus,
                lambda burst: chosen.get(WHERE.find(burst.address)[1] >> 12, "NO_TARGET"))


def strobes_of(rng, burst, bus):
    """Fill in data and strobes of a write; return the bytes that it writes."""
    written, pattern = {}, rng.choice(["all", "all", "holes", "few", "none"])
    for start, end in beat_addresses(burst):
        data, strb = rng.getrandbits(bus), 0
        for address in range(start, end):
            odds = {"all": 1, "holes": .8, "few": .2, "none": 0}[pattern]
            if rng.random() < odds:
                lane  = address % (bus // 8)
                strb |= 1 << lane
                written[address] = data >> 8 * lane & 0xFF
        burst.data.append((data, strb))
    return written


@pytest.mark.parametrize("bus, tlp, largest, seed", [
    (64, 256, 256, 1), (64, 64, 128, 2), (128, 64, 128, 3), (512, 128, 512, 4), (64, 512, 256, 5),
    (256, 512, 4096, 6)])
def test_writes_are_those_of_the_specification(bus, tlp, largest, seed):
    rng = random.Random(seed)
    pio = PioConfig(data_width=bus, address_width=40, id_width=3, reads=8, windows=4)
    dut = PioFront(data_width=tlp, pio=pio, max_payload_bytes=largest)
    most = (bus // 8).bit_length() - 1
    bursts = [make_burst(rng, most, 30) for _ in range(60)]
    bursts = [burst for burst in bursts if WHERE.find(burst.address)[0] != "config"]
    code = rng.randint(0, 3)
    expected, answers, records = [], {}, 0
    for burst in bursts:
        written = strobes_of(rng, burst, bus)
        kind, there, _, policy = WHERE.find(burst.address)
        real = burst.legal and kind == "memory"
        if real:
            moved = {there + address - burst.address: byte for address, byte in written.items()}
            expected += write_pieces(moved, largest=min(largest, 128 << code))
        records += not real
        bad = not burst.legal or (kind is None and policy == "ERROR")
        answers.setdefault(burst.id, []).append(SLVERR if bad else OKAY)

    busy = rng.choice([.1, .4])
    bench = Bench(dut, WHERE, gap=lambda: rng.random() < busy, max_payload=code)
    bench.write(*bursts)
    bench.run(until=lambda: len(bench.responses) >= len(bursts), deadline=20000)
    assert len(bench.tlps) == len(expected)
    for tlp, (address, data) in zip(bench.tlps, expected, strict=True):
        check_write(tlp, address, data)
    for _, id, resp in bench.responses:
        assert answers[id].pop(0) == resp
    assert not any(answers.values()) and (len(bench.errors) > 0) == (records > 0)


def check_write(tlp, address, data):
    """Compare a TLP with the bytes that it must write, and its form with the specification."""
    assert (tlp.kind.name, tlp.address, tlp.rid, tlp.tag) == ("MWR", address, 0x0100, 0)
    assert tlp.wide == (address >= 1 << 32)
    assert len(tlp.payload) == len(data) == 4 * tlp.length
    enabled = [byte is not None for byte in data]
    first = sum(enabled[n] << n for n in range(4))
    last  = sum(enabled[n - 4] << n for n in range(4)) if tlp.length > 1 else 0
    assert (tlp.first_be, tlp.last_be) == (first, last)
    assert all(enabled[4:-4]) and any(enabled)
    if tlp.length > 2 or (tlp.length == 2 and address % 8):
        assert first in (0xF, 0xE, 0xC, 0x8) and last in (0xF, 7, 3, 1)
    assert all(byte in (None, sent) for byte, sent in zip(data, tlp.payload, strict=True))


@pytest.mark.parametrize("seed", range(3))
def test_configuration_accesses_are_those_of_the_specification(seed):
    rng = random.Random(seed)
    pio = PioConfig(data_width=rng.choice([64, 128]), address_width=40, id_width=3, reads=8)
    dut = PioFront(data_width=256, pio=pio, max_payload_bytes=128)
    most = (pio.data_width // 8).bit_length() - 1
    reads, writes, expected = [], [], []
    for _ in range(40):
        size  = rng.choice([0, 1, 2, 2, most])
        start = 0x4000_0000 + rng.randrange(1 << 20)
        burst = Burst(rng.randrange(8), start if rng.random() < .3 else start >> size << size,
                      rng.choice([1, 1, 1, 2]), size)
        if not burst.legal:
            continue
        if rng.random() < .5:
            reads.append(burst)
        else:
            lanes = range(burst.address % (pio.data_width // 8),
                          ((burst.address | (1 << size) - 1) % (pio.data_width // 8)) + 1)
            burst.data = [(rng.getrandbits(pio.data_width), sum(1 << n for n in lanes))] \
                * burst.beats
            writes.append(burst)
    for burst in [*reads, *writes]:
        offset, count = burst.address - 0x4000_0000, burst.end - burst.address
        legal = burst.beats == 1 and register_access(offset, count)
        if burst in reads:  # one whose first beat is unaligned is not what was asked for
            legal = burst.beats == 1 and burst.address % (1 << burst.size) == 0 and burst.size <= 2
        expected.append((burst in writes, offset >> 2 if legal else None, legal))
    bench = Bench(dut, WHERE, gap=lambda: rng.random() < .3,
                  delay=lambda access: rng.choice([0, 3, 30]))
    bench.read(*reads)
    bench.write(*writes)
    beats = sum(burst.beats for burst in reads)
    bench.run(until=lambda: len(bench.answers) >= beats and len(bench.responses) >= len(writes))
    seen = [(bool(access.write), access.address >> 2 if access.legal else None,
             bool(access.legal)) for access in bench.accesses]
    for write in (False, True):
        assert ([entry for entry in seen if entry[0] == write]
                == [entry for entry in expected if entry[0] == write])
