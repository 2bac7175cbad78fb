from itertools import pairwise

import pytest
from amaranth import ClockDomain, Module
from amaranth.lib import wiring

from iovirt.config import PioConfig
from iovirt.pcie.layouts import ErrorCause
from iovirt.pio.front import PioFront
from iovirt_sim.models.pio_front import Burst, Map, Window, write_pieces

from .front_bench import OKAY, SLVERR, Bench, device_byte

MEMORY, FAR, ECAM = 0x1000_0000, 0x2000_0000, 0x4000_0000
WHERE = Map(windows=(Window(MEMORY, 0x1_0000, 0x8000_0000, guest=1),
                     Window(FAR, 0x1_0000, 0x4_0000_0000, guest=2)),
            ecam=(ECAM, 1 << 20), doorbells=(0x5000_0000, 0x4000))
SMALL = {"address_width": 40, "id_width": 4, "reads": 16, "windows": 2}


def make(data_width=128, **changes):
    return PioFront(data_width=data_width, pio=PioConfig(**SMALL | changes), max_payload_bytes=128)


def full(id, address, beats=1, size=3):
    """Return a write of all bytes."""
    return Burst(id, address, beats, size, data=[(0x0807060504030201 + n, 0xFF)
                                                 for n in range(beats)])


@pytest.mark.parametrize("parameters, error, match", [
    ({"data_width": 32}, ValueError, "Data width must be 64, 128, 256 or 512, not 32"),
    ({"pio": {}}, TypeError, "Configuration must be a PioConfig, not {}"),
    ({"max_payload_bytes": 100}, ValueError, "Maximum payload must be a power of two .* not 100"),
])
def test_parameters_are_checked(parameters, error, match):
    good = {"data_width": 64, "pio": PioConfig(), "max_payload_bytes": 128}
    with pytest.raises(error, match=match):
        PioFront(**good | parameters)


def test_idle_read_takes_2_clocks_to_its_request_and_3_from_its_end():
    dut = make()
    bench = Bench(dut, WHERE, delay=lambda _: 20)
    bench.read(*(Burst(1, MEMORY + 8 * n, 1, 3) for n in range(8)))
    bench.run(until=lambda: len(bench.answers) == 8)
    ar, requests = bench.times["ar"], bench.times["request"]
    assert requests[-1] - ar[-1] == 2
    assert bench.answers[0][0] - bench.times["finish"][0] == 3


@pytest.mark.parametrize("ids, clocks", [(4, 85), (1, 150)])
def test_rate_of_single_reads(ids, clocks):
    bench = Bench(make(), WHERE, delay=lambda _: 1)
    bench.read(*(Burst(n % ids, MEMORY + 8 * n, 1, 3) for n in range(64)))
    bench.run(until=lambda: len(bench.answers) == 64)
    assert bench.answers[-1][0] - bench.answers[0][0] <= clocks


def test_rate_of_single_writes_is_one_per_clock_within_one_id():
    bench = Bench(make(), WHERE)
    bench.write(*(full(1, MEMORY + 8 * n) for n in range(64)))
    bench.run(until=lambda: len(bench.responses) == 64)
    times = bench.times["tx"]
    assert times[-1] - times[0] <= 68
    assert bench.responses[-1][0] - bench.responses[0][0] <= 70


def test_ids_do_not_wait_for_each_other_but_one_id_is_answered_in_order():
    slow = {0x8000_0000: 300, 0x8000_0100: 50}
    bench = Bench(make(), WHERE, delay=lambda request: slow.get(request.address, 0))
    bench.read(Burst(1, MEMORY, 1, 3), Burst(1, MEMORY + 8, 1, 3), Burst(2, MEMORY + 0x100, 1, 3),
               Burst(3, FAR, 1, 3), Burst(2, FAR + 8, 1, 3))
    bench.run(until=lambda: len(bench.answers) == 5)
    assert [beat[1] for beat in bench.answers] == [3, 2, 2, 1, 1]


@pytest.mark.parametrize("later", range(3))
def test_early_look_at_data_of_one_read_is_not_taken_for_another(later):
    ends = {0x8000_0000: 60, 0x8000_0008: 30, 0x4_0000_0000: 200, 0x4_0000_0008: 58 + later}
    bench = Bench(make(), WHERE, delay=lambda request: ends[request.address])
    bench.read(*(Burst(id, base + at, 1, 3) for id, base in ((1, MEMORY), (2, FAR))
                 for at in (0, 8)))
    bench.run(until=lambda: len(bench.answers) == 4)
    for (_, id, data, *_), address in zip(bench.answers, (0x8000_0000, 0x8000_0008,
                                                          0x4_0000_0000, 0x4_0000_0008),
                                          strict=True):
        assert data == sum(device_byte(address + n) << 8 * n for n in range(8)), id


def test_slow_configuration_write_holds_answers_of_its_id_only():
    bench = Bench(make(), WHERE, delay=lambda _: 300)
    register = Burst(1, ECAM + 0x1004, 1, 2, data=[(0x1234_5678_0000_0000, 0xF0)])
    bench.write(full(1, MEMORY), register, full(1, MEMORY + 8), full(2, MEMORY + 16),
                full(1, MEMORY + 24), *(full(2, FAR + 8 * n) for n in range(30)))
    bench.run(until=lambda: len(bench.responses) == 35)
    assert [id for _, id, _ in bench.responses] == [1, *[2] * 31, 1, 1, 1]
    assert len(bench.tlps) == 34 and bench.responses[31][0] < 200
    access, = bench.accesses
    assert (access.write, access.address, access.be, access.data, access.legal) == (
        1, 0x1004, 0xF, 0x12345678, 1)


def test_answer_does_not_pass_those_that_have_waited_for_configuration_space():
    bench = Bench(make(), WHERE, delay=lambda _: 20, b_gap=lambda: max(0, 150 - bench.clock))
    bench.write(Burst(1, ECAM, 1, 2, data=[(5, 0xF)]), *(full(1, FAR + 8 * n) for n in range(5)))

    async def late(ctx):
        while bench.clock < 100:
            await ctx.tick()
        bench.write(full(1, 0x9000_0000), full(1, 0x9000_0000))

    bench.run(until=lambda: len(bench.responses) == 8, more=[late])
    assert [resp for *_, resp in bench.responses] == [OKAY] * 6 + [SLVERR] * 2


@pytest.mark.parametrize("data_width", [64, 256])
def test_bytes_without_holes_are_one_write_wherever_they_start_and_end(data_width):
    bench, expected = Bench(make(data_width=data_width), WHERE), []
    shapes = [(beats, first, last) for beats in (2, 3, 5) for first in (0, 3, 4, 7)
              for last in (0, 3, 4, 7)]
    for n, (beats, first, last) in enumerate(shapes):
        burst = Burst(n % 16, MEMORY + 128 * n, beats, 3)
        strobes = [0xFF << first & 0xFF, *[0xFF] * (beats - 2), 0xFF >> 7 - last]
        burst.data = [(0x0807060504030201 * (k + 1) + n, strobe)
                      for k, strobe in enumerate(strobes)]
        written = {0x8000_0000 + 128 * n + at: burst.data[at // 8][0] >> 8 * (at % 8) & 0xFF
                   for at in range(first, 8 * (beats - 1) + last + 1)}
        expected += write_pieces(written, largest=128)
        bench.write(burst)
    bench.run(until=lambda: len(bench.responses) == len(shapes))
    assert len(expected) == len(shapes) == len(bench.tlps)
    for tlp, (address, data) in zip(bench.tlps, expected, strict=True):
        assert (tlp.address, tlp.length) == (address, len(data) // 4)
        assert [byte for byte, want in zip(tlp.payload, data, strict=True)
                if want is not None] == [want for want in data if want is not None]


def test_write_is_answered_only_after_its_last_beat_was_taken():
    bench = Bench(make(data_width=64), WHERE, tx_gap=lambda: 15)
    bench.write(full(1, MEMORY, 4), full(2, MEMORY + 0x100, 2))
    bench.run(until=lambda: len(bench.responses) == 2)
    first, second = (clock for clock, *_ in bench.responses)
    assert first > bench.times["tx"][3] and second > bench.times["tx"][5]


@pytest.mark.parametrize("code, largest", [(0, 128), (1, 256), (5, 256)])
def test_long_bursts_are_cut_at_multiples_of_the_largest_payload_and_read(code, largest):
    pio = PioConfig(**SMALL | {"max_read_bytes": 256})
    bench = Bench(PioFront(data_width=256, pio=pio, max_payload_bytes=256), WHERE,
                  max_payload=code, max_read=code)
    bench.write(full(1, MEMORY + 0x70, 200))
    bench.read(Burst(1, MEMORY + 0x70, 200, 3))
    bench.run(until=lambda: len(bench.responses) == 1 and len(bench.answers) == 200)
    start, end = 0x8000_0070, 0x8000_0070 + 1600
    cuts = [start, *range(start // largest * largest + largest, end, largest), end]
    pieces = [(low, (high - low) // 4) for low, high in pairwise(cuts)]
    assert [(tlp.address, tlp.length) for tlp in bench.tlps] == pieces
    assert [(request.address, request.length_dw) for request in bench.requests] == pieces
    assert [beat[4] for beat in bench.answers] == [0] * 199 + [1]


def test_write_without_strobes_sends_nothing_and_is_answered():
    bench = Bench(make(), WHERE)
    bench.write(Burst(1, MEMORY, 3, 3, data=[(5, 0)] * 3), Burst(1, ECAM, 1, 2, data=[(5, 0)]))
    bench.run(until=lambda: len(bench.responses) == 2)
    assert not bench.tlps and not bench.accesses and not bench.errors
    assert [resp for *_, resp in bench.responses] == [OKAY, OKAY]


@pytest.mark.parametrize("policy, resp", [("ONES", OKAY), ("ERROR", SLVERR), ("POISON", OKAY)])
def test_writes_are_dropped_and_recorded_while_the_link_is_down(policy, resp):
    where = Map(windows=(Window(MEMORY, 0x1_0000, 0x8000_0000, guest=1, policy=policy),))
    bench = Bench(make(), where)
    bench.settings["link_up"] = 0
    bench.write(full(9, MEMORY, 40), full(1, MEMORY + 0x1000))
    bench.run(until=lambda: len(bench.responses) == 2)
    assert not bench.tlps
    assert [entry[1:] for entry in bench.responses] == [(9, resp), (1, resp)]
    first = bench.errors[0]
    assert first.cause == ErrorCause.PIO_LINK_DOWN
    assert (first.core, first.guest, first.address) == (2, 1, 0x8000_0000)


def test_write_that_has_started_is_finished_when_the_link_goes_down():
    bench = Bench(make(data_width=64), WHERE, tx_gap=lambda: 10)
    bench.write(full(1, MEMORY, 8), full(2, MEMORY + 0x100, 2))

    async def cut(ctx):
        while not bench.times["tx"]:
            await ctx.tick()
        ctx.set(bench.dut.link_up, 0)

    bench.run(until=lambda: len(bench.responses) == 2, more=[cut])
    tlp, = bench.tlps
    assert tlp.length == 16 and len(bench.errors) == 1


@pytest.mark.parametrize("status, policy, expected", [
    ("UR", "ONES", ("ones", OKAY, 0)), ("CA", "ERROR", ("ones", SLVERR, 0)),
    ("TIMEOUT", "POISON", ("ones", OKAY, 1)), ("LINK_DOWN", "ONES", ("ones", OKAY, 0)),
    ("POISONED", "ONES", ("ones", OKAY, 0)), ("POISONED", "ERROR", ("ones", SLVERR, 0)),
    ("POISONED", "POISON", ("data", OKAY, 1)), ("OK", "ERROR", ("data", OKAY, 0))])
def test_failed_reads_are_answered_by_the_policy(status, policy, expected):
    where = Map(windows=(Window(MEMORY, 0x1_0000, 0x8000_0000, policy=policy),))
    bench = Bench(make(), where, status=lambda _: status)
    bench.read(Burst(1, MEMORY + 8, 1, 3))
    bench.run(until=lambda: len(bench.answers) == 1)
    real = sum(device_byte(0x8000_0008 + n) << 8 * n for n in range(8))
    value = {"data": real, "ones": (1 << 64) - 1}[expected[0]]
    assert bench.answers[0][1:] == (1, value, expected[1], 1, expected[2])
    assert not bench.busy_tags


def test_accesses_without_target_are_recorded():
    bench = Bench(make(), WHERE)
    bench.read(Burst(13, 0x9000_0000, 1, 3), Burst(0, 0x5000_0008, 2, 3))
    bench.write(full(7, 0x9000_0010))
    bench.run(until=lambda: len(bench.answers) == 3 and len(bench.responses) == 1)
    assert {(error.core, error.address) for error in bench.errors} == {
        (3, 0x9000_0000), (0, 0x5000_0008), (1, 0x9000_0010)}
    assert {error.cause for error in bench.errors} == {ErrorCause.PIO_NO_TARGET}
    assert [resp for *_, resp, _, _ in bench.answers] == [SLVERR] * 3


def test_ends_of_reads_are_taken_while_the_core_takes_nothing():
    bench = Bench(make(), WHERE, r_gap=lambda: 400 if bench.clock < 400 else 0)
    bench.read(*(Burst(n % 8, MEMORY + 0x100 * n, 4, 3) for n in range(16)))
    bench.run(until=lambda: len(bench.answers) == 64)
    assert len(bench.times["finish"]) == 16
    assert max(bench.times["finish"]) < 300 < min(clock for clock, *_ in bench.answers)


class Resettable(wiring.Component):
    """A front whose reset can be pulled."""

    def __init__(self, front):
        self.front, self.domain = front, ClockDomain("sync")
        self.pio, self.data_width = front.pio, front.data_width
        super().__init__(dict(front.signature.members))

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = self.domain
        m.submodules.front = self.front
        wiring.connect(m, wiring.flipped(self), self.front)
        return m


def test_reset_in_the_middle_of_bursts_leaves_nothing_behind():
    stop  = 180
    bench = Bench(Resettable(make(data_width=64)), WHERE)
    bench.tx_gap = lambda: max(0, stop - bench.clock) if len(bench.times["tx"]) >= 2 else 0
    bench.r_gap  = lambda: max(0, stop - bench.clock) if len(bench.answers) >= 3 else 0
    bench.read(*(Burst(n % 4, MEMORY + 0x80 * n, 10, 3) for n in range(8)))
    bench.write(full(1, MEMORY, 5), Burst(2, ECAM, 1, 2, data=[(5, 0xF)]), full(2, FAR))

    async def reset(ctx):
        while bench.clock < stop - 10:
            await ctx.tick()
        assert len(bench.partial) == 2 and len(bench.answers) == 3
        assert not bench.reads and not bench.writes and not bench.ends
        ctx.set(bench.dut.domain.rst, 1)
        await ctx.tick()
        ctx.set(bench.dut.domain.rst, 0)
        bench.forget()
        bench.read(Burst(1, MEMORY, 2, 3), Burst(2, FAR, 1, 3), Burst(1, FAR, 1, 3))
        bench.write(full(1, MEMORY, 2), full(2, FAR + 8))

    def over():
        return (bench.clock > stop and len(bench.answers) == 4 and len(bench.responses) == 2)

    bench.run(until=over, more=[reset])
    assert [beat[1] for beat in bench.answers] == [1, 1, 2, 1]
    assert [tlp.address for tlp in bench.tlps] == [0x8000_0000, 0x4_0000_0008]
    assert len(bench.requests) == 3 and not bench.accesses
