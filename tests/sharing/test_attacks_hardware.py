"""Attacks A12, A16, A17, A20, A21 on what only the hardware has: TLPs, interrupts, registers."""

import pytest
from tests.sharing.attack_tools import READ, breaches, own
from tests.sharing.rtl_root import INTERRUPTS, SETTLE
from tests.sharing.rtl_world import RID

from iovirt_sim.drivers import Entry
from iovirt_sim.drivers.interrupts import FORGED, G_HEAD, TAIL
from iovirt_sim.models.sharing.driver import LinuxDriver, command
from iovirt_sim.tlp import Pasid, Status, Tlp

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("verilated_weak")]

#: Another function of the same device, which is not shared.
OTHER = RID + 1


def records(world):
    """Let a while pass; return the records of event queues."""
    world.system.program.run(4 * SETTLE)
    return world.system.records(world.run_program())


def message(world, index, *, rid=RID, data=b"\1\0\0\0", **fields):
    """Let a device send an interrupt that the bench need not expect."""
    world.system.tlp(Tlp.write(INTERRUPTS + 8 * index, data, rid=rid, **fields))


def test_a12_interrupt_forged_by_the_data_of_a_guest(rtl):
    def attack(*off):
        world = rtl(*off)
        world.device.disk[world.guests[1].blocks.start + 7] = bytes(508) + b"\x2a\0\0\0"
        world.submit(1, command(READ, count=8, prp1=own(world, 1, 0x3004), prp2=INTERRUPTS))
        return breaches(world)

    assert not attack()
    assert "interrupt" in attack("colour")


def test_a12_interrupt_of_another_device(rtl):
    def attack(rid_mask):
        world = rtl()
        world.interrupts.entry(3, Entry(rid=OTHER, rid_mask=rid_mask, queue=0))
        world.system.program.tolerate(3)
        message(world, 3)
        return [record.index for record in records(world)]

    # There is no switch: the twin is an entry that admits the whole device.
    assert attack(0) == []
    assert attack(7) == [3]


def test_a12_forged_requester_has_only_what_is_its_own(rtl):
    def attack(shared):
        world = rtl()
        world.guests[1].memory.write(0x4000, b"mine")
        if shared:
            world.driver.function(0, OTHER, bar=0, lists={})
        world.root.post(own(world, 1, 0x4000), b"late", rid=OTHER)
        world.system.program.run(10 * SETTLE)
        world.run_program()
        return world.guests[1].memory.load(0x4000, 4)

    # A colour counts only with the RID of the shared function.
    assert attack(False) == b"mine"
    assert attack(True) == b"late"


def test_a12_storm_of_one_guest_leaves_the_events_of_others(rtl):
    def attack(guest_queue):
        world = rtl()
        irq = world.interrupts
        irq.queue(1, 2, service="manual", drop_new=True)
        irq.entry(4, Entry(rid=RID, queue=guest_queue, guest=1))
        irq.entry(5, Entry(rid=RID, queue=1, guest=2))
        for index in (4, 5):
            world.system.program.tolerate(index)
        for _ in range(64):
            message(world, 4)
        world.system.program.run(20 * SETTLE)
        message(world, 5)
        world.system.program.run(20 * SETTLE)
        irq.serve(1, "poll")
        return 5 in [record.index for record in records(world)]

    # A guest has a queue of its own; the twin lets both use a small one that drops.
    assert attack(0)
    assert not attack(1)


@pytest.mark.parametrize(("offset", "size"), [(0x14, 4), (0x20, 8), (0xffc, 4)])
def test_a16_registers_of_the_device_are_not_written_by_guests(rtl, offset, size):
    world = rtl()
    driver = world.driver
    at = driver.aperture + driver.region + offset
    world.system.program.pio_write(at, b"\xff" * size, expect="any")
    world.system.program.run(10 * SETTLE)
    world.run_program()
    assert not breaches(world), "no request may reach the device"
    request = driver.mailbox()
    assert (request is not None) == (size == 4)     # others are dropped
    while request:
        assert request["guest"] == 1 and request["write"]
        driver.answer()
        world.system.program.run(SETTLE)
        request = driver.mailbox()
    world.system.program.wait()
    world.run_program()
    assert LinuxDriver(world, 2).write(0, 8) == 0


def test_a16_what_a_guest_asks_for_is_answered_by_the_manager(rtl):
    world = rtl()
    driver = world.driver
    op = world.system.program.pio_read(driver.aperture + 2 * driver.region + 8, 4, expect="any")
    world.system.program.run(4 * SETTLE)
    events = world.run_program()
    request = driver.mailbox()
    assert (request["guest"], request["write"], request["offset"]) == (2, 0, 8)
    driver.answer(0x10400)
    world.system.program.wait()
    events += world.run_program()
    answer = next(event for event in events if event.kind == "pio" and event.op == op)
    assert answer.values[7] & 0xffff_ffff == 0x10400


@pytest.mark.parametrize("fields", [{"at": 2}, {"at": 1}, {"pasid": Pasid(5)}])
def test_a17_translated_request_or_pasid_of_the_shared_function(rtl, fields):
    def attack(*off):
        world = rtl(*off)
        world.guests[1].memory.write(0x4000, b"mine")
        op = world.system.tlp(Tlp.read(own(world, 1, 0x4000), 4, rid=RID, **fields))
        world.system.program.wait()
        answers = world.system.completions(world.run_program(), op)
        data = b"".join(answer.payload for answer in answers)
        status = {answer.status for answer in answers}
        return status, data, world.guests[1].state

    assert attack() == ({Status.SC}, bytes(4), "run")
    # Translation denies it, too; but then a guest that has done nothing is frozen for it.
    assert attack("at")[2] == "freeze"


def test_a20_head_of_an_event_queue_beyond_its_records(rtl):
    def attack(beyond):
        world = rtl()
        irq = world.interrupts
        irq.queue(1, 2, service="manual")
        irq.entry(6, Entry(rid=RID, queue=1))
        world.system.program.tolerate(6)
        for n in range(3):
            message(world, 6, data=bytes([n, 0, 0, 0]))
        world.system.program.run(20 * SETTLE)
        tail = irq.word(1, TAIL)
        world.system.program.write_csr(irq.page(1) + G_HEAD, tail + beyond, 4)
        return tail > 0, irq.word(1, FORGED)

    assert attack(0) == (True, 0)
    assert attack(1) == (True, 1)


def test_a20_head_of_a_completion_ring_beyond_its_completions(rtl):
    def attack(*off):
        world = rtl(*off)
        accepted = world.scheduler.doorbell(1, 0x100c, 5)
        world.run()
        return accepted, breaches(world)

    assert attack() == (False, set())
    assert attack("head") == (True, {"illegal doorbell"})


@pytest.mark.parametrize("attr", [0, 2, 4, 6])
def test_a21_interrupt_does_not_overtake_the_completion(rtl, attr):
    def attack(rid):
        world = rtl()
        world.system.sim.set(dma_write_latency=3000)
        world.interrupts.entry(7, Entry(rid=rid, queue=0))
        world.system.program.tolerate(7)
        ring = world.ring_address(1, 3)
        world.system.tlp(Tlp.write(ring, b"\1" * 16, rid=RID, attr=attr))
        message(world, 7, rid=rid, attr=attr)
        world.system.program.mark()
        world.system.program.run(6000)
        events = world.run_program()
        start = next(event.values[0] for event in events if event.kind == "mark")
        record, = world.system.records(events)
        assert world.guests[1].rings[3].load(0, 16) == b"\1" * 16
        return record.visible - start

    # Relaxed ordering and IDO do not count for interrupts. The twin is that of another function.
    assert attack(RID) > 2500
    assert attack(OTHER) < 2500
