"""Whole systems of the bench: a device that is shared, honest guests, every byte compared."""

import pytest
from tests.sharing.rtl_world import CONFIG

from iovirt_sim.sharing import SharedNicSystem, SharedSystem, command

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("verilated_weak")]

WRONG = ("errors", "mismatches", "strays", "leaks", "head_errors")
WAYS = {
    "exact":  {},
    "pieces": {"lists": 64, "burst": 8, "shuffle": 1, "completions": 1, "latency": 300},
    "pages":  {"lists": 1, "burst": 1, "engines": 3, "completions": 2, "jitter": 400},
}


def nothing_is_wrong(system, events):
    assert not system.wrongs_of(events) and not system.breaches()
    for tenant in system.tenants.values():
        for driver in tenant.drivers:
            counts = driver.counts()
            assert counts["bytes_checked"] > 0 and not any(counts[name] for name in WRONG)


@pytest.mark.parametrize("way", WAYS)
def test_every_byte_of_every_guest_comes_back(simulation, way):
    system = SharedSystem(simulation, CONFIG, **WAYS[way])
    system.add(pairs=2, most_blocks=48)
    system.add(depth=16, most_blocks=24)
    events, stuck = system.play(60)
    assert not stuck and system.device_model.counts()["list_reads"] > 0
    nothing_is_wrong(system, events)


def test_a_guest_works_after_its_reset_and_the_others_do_not_notice(simulation):
    system = SharedSystem(simulation, CONFIG)
    system.add(most_blocks=24)
    system.add(most_blocks=24)
    system.play(30)
    for guest in system.guests.values():
        guest.go(60)
    system.program.run(3000)
    system.run()
    done = system.reset_guest(1)
    assert done.drained and done.total > 0
    events, stuck = system.wait()
    assert not stuck and system.guests[32].counts()["completed"] == 90
    more, stuck = system.play(30)
    assert not stuck
    nothing_is_wrong(system, events + more)


def test_commands_that_hang_do_not_keep_their_guest_from_being_reset(simulation):
    system = SharedSystem(simulation, CONFIG, hang=1 << 1)
    system.add(most_blocks=8)
    system.add(most_blocks=8)
    _, stuck = system.play(20, stall=5000)
    assert stuck == [16]
    system.device_model.set(hang=0, late=1)
    assert not system.reset_guest(1, bound=2000).drained
    events, stuck = system.play(20)
    assert not stuck
    nothing_is_wrong(system, events)


def test_a_scripted_guest_sees_what_the_device_was_given(simulation):
    system = SharedSystem(simulation, CONFIG)
    guest = system.add(kind="scripted", report=1, pages=8).drivers[0]
    system.program.trace(0)
    page = system.sharing.address(1, "data", guest.gpa(2))
    guest.submit(command(2, count=8, prp1=guest.gpa(2), prp2=0x1234, cid=5, nsid=9), ring=False)
    guest.submit(command(0x80, prp1=guest.gpa(2), cid=6))
    events, _ = system.wait()
    fetched = b"".join(d.data for d in system.dma_of(events) if d.use == "entry")
    assert fetched[24:32] == page.to_bytes(8, "little") and fetched[4:8] == b"\1\0\0\0"
    assert fetched[64 + 2:64 + 8] == b"\6\0\xfe\xff\xff\xff"
    ends = {c.cid: c.status & 0xff for c in system.completions_of(events)}
    assert ends == {5: 0, 6: 0x0b}


def test_packets_pass_between_guests_that_share_a_nic(simulation):
    # Nothing tells the scheduler that descriptors are done, so it may not count them.
    system = SharedNicSystem(simulation, CONFIG, scheduler={"most": 4095})
    system.device_model.peer(0, 1)
    system.device_model.peer(1, 0)
    system.add(depth=32)
    system.add(split=True, depth=32)
    events, stuck = system.play(60)
    system.program.run(5000)
    events += system.run()
    assert not stuck and not system.wrongs_of(events) and not system.breaches()
    first, second = (system.guests[n].counts() for n in (1, 2))
    assert first["received"] == second["received"] == 60
    assert first["bytes_checked"] == second["bytes"] and not first["mismatches"]
    assert first["contexts"] + second["contexts"] > 0
