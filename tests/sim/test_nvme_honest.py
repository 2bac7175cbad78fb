"""The NVMe controller and the guests of the bench, over the whole block, with nothing shared."""

import pytest

from iovirt_sim.drivers import Entry
from iovirt_sim.sharing import command

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("verilated_tiny")]


def check(system, commands, guests):
    """Let guests work; everything must be right."""
    events, stuck = system.play(commands)
    assert not stuck and not system.wrongs_of(events)
    for guest in guests:
        counts = guest.counts()
        assert counts["completed"] == commands and counts["bytes_checked"] > 0
        assert [counts[name] for name in ("errors", "mismatches", "strays", "leaks",
                                          "head_errors")] == [0] * 5
    device = system.device_model.counts()
    assert device["commands"] == device["completed"] - device["admin"] == commands * len(guests)
    return device


WAYS = {
    "exact":  {},
    "pieces": {"lists": 64, "burst": 8, "shuffle": 1, "completions": 1, "latency": 300},
    "pages":  {"lists": 1, "burst": 1, "engines": 3, "completions": 2, "jitter": 400},
    "coarse": {"lists": 512, "ahead": 4, "arbitration": 4, "latency": 0},
}


@pytest.mark.parametrize("way", WAYS)
def test_every_byte_comes_back_whatever_way_the_device_reads(make_plain, way):
    system = make_plain(**WAYS[way])
    guests = [system.guest(n, sgl=64 * (n == 2), most_blocks=48) for n in (1, 2)]
    device = check(system, 80, guests)
    assert device["list_reads"] > 0 and device["blocks_written"] > 100
    assert system.faults() == []


def test_lists_of_many_pages_use_slot_511_and_link(make_plain):
    system = make_plain()
    guest = system.guest(1, pages=16, kind="scripted", report=1)
    chain = [0x1000 * n for n in range(4)]
    entries = [guest.gpa(n) for n in range(1, 5)]
    guest.write(8, 4096 - 16, b"".join(a.to_bytes(8, "little") for a in (entries[0], guest.gpa(9))))
    guest.write(9, 0, b"".join(a.to_bytes(8, "little") for a in entries[1:]))
    system.program.write_disk(0, 5, [n * 0x0101 for n in range(8 * 512 * 4 // 8)])
    system.program.trace(0)
    guest.submit(command(2, block=5, count=8 * 5, prp1=guest.gpa(0), prp2=guest.gpa(8, 4096 - 16),
                         cid=77))
    events, stuck = system.wait()
    completion, = system.completions_of(events)
    assert (completion.cid, completion.status, completion.sqid) == (77, 0, 1) and not stuck
    lists = [(dma.address, len(dma.data)) for dma in system.dma_of(events) if dma.use == "prp_list"]
    assert lists == [(guest.gpa(8, 4096 - 16), 16), (guest.gpa(9), 24)]
    for n, at in enumerate(chain):
        data = b"".join((k * 0x0101).to_bytes(8, "little") for k in range(at // 8, at // 8 + 4))
        assert guest.read(n, 0, 32) == data


def test_errors_are_told_as_qemu_tells_them(make_plain):
    system = make_plain(blocks=1 << 20)
    guest = system.guest(1, pages=4, kind="scripted", report=1)
    page = guest.gpa(0)
    cases = {
        "opcode": (command(0x7f, prp1=page), 0x4001),
        "namespace": (command(2, prp1=page, nsid=0xffff_fffe), 0x400b),
        "fused": (command(2, prp1=page, flags=1), 0x4002),
        "range": (command(2, prp1=page, block=(1 << 20) - 1, count=2), 0x4080),
        "offset": (command(2, prp1=page, prp2=page + 512, count=16), 0x4013),
        "wrap": (command(2, prp1=page, block=(1 << 64) - 1, count=2), 0x4080),
        "good": (command(2, prp1=page), 0),
    }
    for entry, _ in cases.values():
        guest.submit(entry)
    events, _ = system.wait()
    assert [c.status for c in system.completions_of(events)] == [s for _, s in cases.values()]


def test_a_failed_fetch_kills_the_controller_until_reset(make_plain):
    system = make_plain()
    guest = system.guest(1, kind="scripted", report=1)
    system.platform.domain(1).unmap(0x4000_0000)
    system.invalidate(1)
    system.platform.fence()
    guest.submit(command(2, prp1=guest.gpa(0)))
    _, stuck = system.wait(stall=5000)
    device = system.device_model
    assert stuck == [1] and device.read(0x1C) & 2 and device.counts()["fatal"] == 1
    assert system.faults(1)[0].device_id == 0x100
    device.disable()
    device.enable()
    assert device.read(0x1C) & 3 == 1 and len(device.identify()) == 4096


def test_interrupts_come_after_completions_and_none_is_missing(make_plain):
    system = make_plain(coalesce=3, coalesce_clocks=800, completions=1)
    driver = system.interrupts()
    driver.open_windows()
    driver.entry(4, Entry(rid=0x100, cookie=9))
    driver.queue(0, 4, report=False)
    system.device_model.vector(1, driver.windows[32] + (4 << 3), 0x55)
    guest = system.guest(1, vector=1, most_blocks=16)
    guest.interrupt(4)
    check(system, 100, [guest])
    counts, device = guest.counts(), system.device_model.counts()
    # Records stand for all interrupts that were pending.
    assert 100 / 64 < counts["interrupts"] <= device["interrupts"] < 100
