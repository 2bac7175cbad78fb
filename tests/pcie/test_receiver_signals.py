import random

import pytest

from iovirt.config import PcieConfig
from iovirt.pcie.layouts import ErrorCause, SignalKind
from iovirt.pcie.receiver import Receiver
from iovirt_sim.tlp import Kind, Pasid, Tlp

from .receiver_bench import by_tlp, expect, random_packet, receive

WINDOWS = 0xFEE0_0000, 0x12_3456_0000
INPUTS  = {"msi_enable_32": 1, "msi_base_32": WINDOWS[0] >> 16,
           "msi_enable_64": 1, "msi_base_64": WINDOWS[1] >> 16}


def receiver(data_width=64, *, signals=True):
    return Receiver(data_width=data_width, pcie=PcieConfig(np_credits=8), signals=signals)


def stamps(dut, rng):
    """Drive turns and stamps at random, and note those that were given."""
    given = {"turn": [], "stamp": []}

    async def testbench(ctx):
        while True:
            turn, stamp = rng.randrange(2), rng.randrange(4096)
            ctx.set(dut.turn, turn)
            ctx.set(dut.stamp, stamp)
            _, _, posted, stamped = await ctx.tick().sample(dut.posted, dut.stamped)
            assert not (posted and stamped)
            given["turn"].extend([turn] * posted)
            given["stamp"].extend([stamp] * stamped)
    return testbench, given


@pytest.mark.parametrize("data_width, hurried", [(64, False), (256, True), (512, False)])
def test_random_traffic_at_the_windows_goes_where_the_rules_send_it(data_width, hurried):
    rng     = random.Random(data_width)
    packets = [random_packet(rng, data_width, WINDOWS) for _ in range(300)]
    choice  = (lambda *_: 0) if hurried else rng.choice
    dut     = receiver(data_width)
    driver, given = stamps(dut, rng)
    seen, _ = receive(dut, packets, gap=lambda: choice([0, 0, 0, 2]),
                      stall=lambda: choice([0, 0, 1, 6]), clocks=200, background=[driver],
                      max_payload=1, secondary=1, subordinate=0xB0, bus_range_enable=1, **INPUTS)
    want, _ = expect(packets, data_width, max_payload=256, buses=(1, 0xB0), windows=WINDOWS)
    for name in ("read", "unsupported", "message"):
        assert seen[name] == want[name]

    writes = by_tlp(seen["write"])
    kinds  = []
    for group, (header, bad, payload), turn in zip(writes, want["write"], given["turn"],
                                                   strict=True):
        assert all(beat["header"] == group[0]["header"] for beat in group)
        got = group[0]["header"]
        header["turn"] = turn
        assert {name: got[name] for name in header} == header
        assert [beat["abort"] for beat in group] == [0] * (len(group) - 1) + [int(bad)]
        if not bad:
            data = b"".join(beat["data"].to_bytes(data_width // 8, "little") for beat in group)
            assert data.startswith(payload)
        kinds.append(header["signal"])
    assert all(kinds.count(kind) > 4 for kind in (0, 1, 2)), "the traffic has no interrupts"

    groups = by_tlp(seen["completion"])
    assert [group[0]["stamp"] for group in groups] == given["stamp"]
    assert all(beat["stamp"] == group[0]["stamp"] for group in groups for beat in group)
    if hurried:
        records = [(ErrorCause(record["cause"]).name, record["segment"], record["rid"])
                   for record in seen["error"]]
        assert records == want["error"]
        assert sum(cause == "MSI_DENIED" for cause, *_ in records) > 10


def one(tlp, *, signals=True, **inputs):
    dut = receiver(signals=signals)
    return receive(dut, [list(tlp.beats(64, segment=9))], clocks=12, **INPUTS | inputs)[0]


def causes(seen):
    return [ErrorCause(record["cause"]) for record in seen["error"]]


@pytest.mark.parametrize("base", WINDOWS)
def test_msi_goes_with_the_writes(base):
    seen = one(Tlp.write(base + 0x1238, bytes([1, 2, 3, 4]), rid=0x105, attr=6, ep=True))
    beat, = seen["write"]
    header = beat["header"]
    assert (header["signal"], header["rid"], header["segment"], header["address"], header["ep"]) \
        == (SignalKind.MSI.value, 0x105, 9, base + 0x1238, 1)
    assert (beat["data"] & 0xFFFFFFFF, beat["first"], beat["last"]) == (0x04030201, 1, 1)
    assert not seen["error"]


@pytest.mark.parametrize("tlp, answered", [
    (Tlp.write(WINDOWS[0], bytes(8)), False),
    (Tlp.write(WINDOWS[1] + 0xFFFC, bytes(3)), False),
    (Tlp.write(WINDOWS[1] + 0xFFFC, bytes(4), at=2), False),
    (Tlp.write(WINDOWS[1], bytes(4), pasid=Pasid(5)), False),
    (Tlp(Kind.MWR, address=WINDOWS[1], first_be=0, payload=bytes(4)), False),
    (Tlp.read(WINDOWS[1] + 0x10, 4), True),
    (Tlp.read(WINDOWS[0] - 64, 128, at=1), True),   # has no extent, so it may cross 4 KiB
    (Tlp.read(WINDOWS[1] + 0xFFC0, 64), True),
    (Tlp.read(WINDOWS[0], 4, at=1), True),
    (Tlp.read(WINDOWS[0], 4, at=3), True),
    (Tlp(Kind.SWAP, address=WINDOWS[0], payload=bytes(4)), True),
    (Tlp(Kind.DMWR, address=WINDOWS[0], payload=bytes(4)), True),
], ids=str)
def test_any_other_access_to_a_window_is_denied(tlp, answered):
    seen = one(tlp)
    assert causes(seen) == [ErrorCause.MSI_DENIED]
    assert [request["status"] for request in seen["unsupported"]] == [1] * answered
    assert not seen["write"] and not seen["read"]


@pytest.mark.parametrize("tlp", [
    Tlp.write(WINDOWS[0] - 8, bytes(8)), Tlp.write(WINDOWS[1] + 0x10000, bytes(4)),
    Tlp(Kind.IOWR, address=WINDOWS[0], payload=bytes(4)),
], ids=str)
def test_what_is_beside_the_windows_or_no_memory_is_let_alone(tlp):
    seen = one(tlp)
    assert ErrorCause.MSI_DENIED not in causes(seen)
    assert [beat["header"]["signal"] for beat in seen["write"]] == [0] * (tlp.kind == Kind.MWR)


def test_window_that_is_off_is_memory():
    seen = one(Tlp.write(WINDOWS[0], bytes(4)), msi_enable_32=0)
    assert [beat["header"]["signal"] for beat in seen["write"]] == [0]


@pytest.mark.parametrize("code", [0x20, 0x27, 0x30, 0x31, 0x33, 0x18])
def test_message_that_is_an_interrupt_goes_with_the_writes(code):
    seen = one(Tlp(Kind.MSG, code=code, rid=0x307, routing=4))
    beat, = seen["write"]
    assert (beat["header"]["signal"], beat["header"]["rid"], beat["header"]["segment"]) == (
        SignalKind.MESSAGE.value, 0x307, 9)
    assert (beat["data"] & 0xFF, beat["first"], beat["last"], beat["abort"]) == (code, 1, 1, 0)
    assert not seen["message"] and not seen["error"]


@pytest.mark.parametrize("tlp", [Tlp(Kind.MSG, code=0x50), Tlp(Kind.MSG, code=0x7F),
                                 Tlp(Kind.MSGD, code=0x30, payload=bytes(4))], ids=str)
def test_other_messages_go_where_they_went(tlp):
    seen = one(tlp)
    assert len(seen["message"]) == 1 and not seen["write"]


def test_message_from_outside_the_bus_range_is_dropped():
    seen = one(Tlp(Kind.MSG, code=0x20, rid=0x307), bus_range_enable=1, secondary=4, subordinate=9)
    assert causes(seen) == [ErrorCause.BUS_RANGE] and not seen["write"]


def test_without_signals_there_are_no_windows():
    seen = one(Tlp.write(WINDOWS[0], bytes(4)), signals=False)
    assert [beat["header"]["signal"] for beat in seen["write"]] == [0]
    assert len(one(Tlp(Kind.MSG, code=0x20), signals=False)["message"]) == 1


def test_interrupts_wait_for_room_among_the_writes_only():
    dut  = receiver()
    tlps = [Tlp(Kind.MSG, code=0x20), Tlp.write(WINDOWS[0], bytes(4))] * 8
    seen, _ = receive(dut, [list(tlp.beats(64)) for tlp in tlps], stall=lambda: 5, clocks=120,
                      **INPUTS)
    assert [beat["header"]["signal"] for beat in seen["write"]] == [2, 1] * 8
