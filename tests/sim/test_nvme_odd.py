"""What odd devices, hostile guests and the monitor do, with nothing shared and nothing patched."""

import pytest

from iovirt_sim.sharing import command

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("verilated_tiny")]


def traced(make_plain, entries, *, pages=8, **options):
    """Let a scripted guest submit entries at once; return the system, completions and accesses."""
    system = make_plain(**options)
    guest = system.guest(1, pages=pages, kind="scripted", report=1)
    system.program.trace(0)
    for n, entry in enumerate(entries(guest)):
        guest.submit(entry, ring=n + 1 == len(entries(guest)))
    events, stuck = system.wait(stall=20_000)
    system.program.run(2000)
    events += system.run()
    dma = system.dma_of(events)
    return system, system.completions_of(events), dma, stuck


def reads(guest, count=3):
    return [command(2, block=n, prp1=guest.gpa(n % 4), cid=n) for n in range(count)]


def uses(dma, use):
    return [d for d in dma if d.use == use]


def test_an_entry_is_fetched_again(make_plain):
    _, done, dma, _ = traced(make_plain, reads, reread=1)
    addresses = [d.address % 4096 for d in uses(dma, "entry")]
    assert sorted(addresses) == [0, 0, 64, 128] and len(done) == 3


def test_an_entry_is_fetched_in_two_pieces(make_plain):
    _, done, dma, _ = traced(make_plain, reads, pieces=32)
    assert [(d.address % 4096, len(d.data)) for d in uses(dma, "entry")] == [
        (32 * n, 32) for n in range(6)] and [c.status for c in done] == [0] * 3


def test_entries_beyond_the_tail_are_fetched(make_plain):
    _, done, dma, _ = traced(make_plain, reads, prefetch=2)
    assert [(d.address % 4096, len(d.data)) for d in uses(dma, "entry")] == [(0, 320)]
    assert len(done) == 3


def test_data_go_to_forged_addresses(make_plain):
    system, _, dma, _ = traced(make_plain, reads, foreign=0x66 << 32, foreign_mask=0xff << 32)
    assert [d.address >> 32 for d in uses(dma, "forged")] == [0x66] * 3
    monitor = system.monitor()
    assert monitor["forged"] == 3 and monitor["foreign"] == 0
    assert {fault.iova >> 32 for fault in system.faults()} == {0x66}


def test_rings_and_lists_are_written(make_plain):
    def entries(guest):
        guest.write(6, 0, b"".join(guest.gpa(n).to_bytes(8, "little") for n in range(1, 5)))
        return [command(2, count=32, prp1=guest.gpa(0), prp2=guest.gpa(6))]

    _, done, dma, _ = traced(make_plain, entries, write_ring=1, write_list=1)
    assert [(d.write, len(d.data)) for d in uses(dma, "forged")] == [(True, 8), (True, 64)]
    assert len(done) == 1


def test_a_queue_hangs(make_plain):
    system, done, _, stuck = traced(make_plain, reads, hang=2)
    assert stuck == [1] and not done
    system.device_model.delete_pair(1)


@pytest.mark.parametrize("option", ["duplicate", "stray"])
def test_completions_come_that_nobody_waits_for(make_plain, option):
    system = make_plain(**{option: 1})
    guest = system.guest(1)
    system.play(20)
    assert guest.counts()["strays"] > 0


def test_heads_are_forged(make_plain):
    system = make_plain(forge_head=1)
    guest = system.guest(1)
    system.play(20)
    assert guest.counts()["head_errors"] > 10


def test_dma_comes_after_the_reset(make_plain):
    for late in (0, 1):
        system = make_plain(late=late, latency=3000)
        guest = system.guest(1, kind="scripted", report=1)
        for entry in reads(guest):
            guest.submit(entry)
        system.program.run(1500)
        system.device_model.disable()
        system.program.trace(0)
        system.program.run(8000)
        dma = system.dma_of(system.run())
        assert len(uses(dma, "write")) == len(uses(dma, "forged")) == 3 * late


@pytest.mark.parametrize("option", ["always_link", "honour_low"])
def test_lists_are_read_in_an_odd_way(make_plain, option):
    def entries(guest):
        data = [guest.gpa(n) for n in range(1, 5)]
        guest.write(6, 4096 - 32, b"".join(a.to_bytes(8, "little") for a in data))
        guest.write(4, 0, guest.gpa(5).to_bytes(8, "little"))
        return [command(2, count=40, prp1=guest.gpa(0), prp2=guest.gpa(6, 4096 - 32))]

    _, done, dma, _ = traced(make_plain, entries, **{option: 1}, strict_lists=0)
    lists = [d.address % 0x10_0000 // 4096 for d in uses(dma, "prp_list")]
    assert [c.status for c in done] == [0] and len(uses(dma, "write")) == 5
    assert lists == ([6, 4] if option == "always_link" else [6])


def test_the_monitor_knows_whose_an_address_is_and_of_what_kind(make_plain):
    def entries(guest):
        p, at = guest.program, 26
        p.monitor(at, 3)
        for number in (1, 2):
            p.owner(number, colour=number, key=5, nsid=1, base=0, count=100)
        own, other = 1 << at + 4 | 5 << at + 12, 2 << at + 4 | 5 << at + 12
        poison = own | 1 << at
        return [command(2, prp1=own), command(2, prp1=other), command(2, prp1=poison),
                command(2, count=24, prp1=own, prp2=own | 0x8000),
                command(2, prp1=own | 1 << at + 1),
                command(2, prp1=own, block=99, count=2), command(2, prp1=own, nsid=2),
                command(0x81, prp1=own)]

    system, _, _, _ = traced(make_plain, entries, namespaces=2)
    counts = system.monitor()
    assert [counts[name] for name in ("poison", "wrong_kind", "foreign_block", "foreign_namespace",
                                      "device_command")] == [1, 2, 1, 1, 1]
    assert counts["foreign"] > 1 and counts["failed"] >= 1


def test_hostile_guests_meet_every_check_of_the_device(make_plain):
    system = make_plain(touch=8, latency=20, engines=16, blocks=1 << 20)
    for n in (1, 2):
        system.guest(n, kind="hostile", sgl=40, batch=8, in_flight=32, pages=32)
    events, stuck = system.play(500)
    counts, monitor = system.device_model.counts(), system.monitor()
    assert not stuck and counts["commands"] == 1000 and 100 < counts["errors"] < 1000
    assert monitor["bad_doorbell"] > 10 and monitor["backward_doorbell"] > 0
    assert monitor["device_command"] > 20 and monitor["failed"] > 5 and events
