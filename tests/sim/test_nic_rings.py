"""The NIC of the bench and its guests, over the whole block, with nothing shared."""

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("verilated_tiny")]

WRONG = ("mismatches", "lost", "leaks")


def play(system, packets):
    """Let all guests send, and wait until everything was received."""
    events, stuck = system.play(packets)
    system.program.run(5000)
    assert not stuck and not system.wrongs_of(events + system.run())
    return {number: guest.counts() for number, guest in system.guests.items()}


@pytest.mark.parametrize("options", [{}, {"prefetch": 32, "batch": 8}, {"prefetch": 1, "wire": 900},
                                     {"reread": 1, "odd_share": 60, "whole": 1}])
def test_packets_of_one_guest_come_to_its_peer(make_nic, options):
    system = make_nic(**options)
    system.device_model.peer(0, 1)
    system.device_model.peer(1, 0)
    system.guest(1, vlan=5, depth=32)
    system.guest(2, split=True, depth=32, legacy=0)
    counts = play(system, 80)
    for number, other in ((1, 2), (2, 1)):
        assert counts[number]["received"] == counts[other]["sent"] == 80
        assert counts[number]["bytes_checked"] == counts[other]["bytes"]
        assert all(counts[number][name] == 0 for name in WRONG)
    assert counts[2]["vlans"] == 80 and counts[1]["contexts"] > 0
    assert system.device_model.counts()["contexts"] >= counts[1]["contexts"]


def test_descriptors_are_written_back_in_batches(make_nic):
    writes = {}
    for batch in (1, 8):
        system = make_nic(batch=batch, delay=5000)
        system.guest(1, depth=32)
        play(system, 64)
        writes[batch] = system.device_model.counts()["write_backs"]
    assert writes[8] < writes[1] == 128


def test_a_ring_is_deaf(make_nic):
    system = make_nic(deaf=1)
    system.guest(1)
    _, stuck = system.play(5, stall=20_000)
    assert stuck == [1]


def test_hostile_descriptors_fail_and_the_ring_goes_on(make_nic):
    system = make_nic()
    system.guest(1, hostile=1, wild=128)
    system.guest(2)
    _, stuck = system.play(100)
    counts = system.device_model.counts()
    assert not stuck and counts["failed"] > 5 and counts["descriptors"] > 200
    assert system.guests[2].counts()["mismatches"] == 0
