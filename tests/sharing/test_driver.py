"""The words that the driver writes are those of the hardware."""

import random
from types import SimpleNamespace

import pytest
from amaranth.lib import data

from iovirt import preset
from iovirt.csr import register_map
from iovirt.vf.encoding import encode_template
from iovirt.vf.library import load_templates
from iovirt.vf.share_layouts import GuestCounter, GuestState, Kind, PairState
from iovirt.vf.share_layouts import GuestEntry as GuestLayout
from iovirt.vf.share_layouts import PairEntry as PairLayout
from iovirt_sim.drivers import Addresses, PairEntry, Rates, SharingDriver
from iovirt_sim.drivers import sharing_words as words
from iovirt_sim.models.sharing.address import AddressLayout
from iovirt_sim.models.sharing.layout import KINDS
from iovirt_sim.verilated import Program, Timeout

CONFIG = preset("tiny").replace(vf={"enable": True})
GUEST, BUDGET, PAIR, TEMPLATE = 0x200000, 0x210000, 0x220000, 0x214000


class Recorder(Program):
    """A program that remembers what is written to which register."""

    def __init__(self):
        super().__init__()
        self.written = {}

    def write_csr(self, offset, value, size=8):
        self.written[offset] = value & (1 << 64) - 1
        return super().write_csr(offset, value, size)


class System:
    """As much of a system as set-up needs."""

    config = CONFIG

    def __init__(self):
        self.program = Recorder()


@pytest.fixture
def driver():
    return SharingDriver(System())


def joined(pair):
    return pair[0] | pair[1] << 64


@pytest.mark.parametrize("seed", range(5))
def test_guest_entries_are_those_of_the_hardware(seed):
    rng = random.Random(seed)
    fields = {"key": rng.getrandbits(16), "device_id": rng.getrandbits(24),
              "ring_device_id": rng.getrandbits(24), "first_pair": rng.getrandbits(10),
              "pairs": rng.getrandbits(8), "function": rng.getrandbits(2)}
    assert joined(words.GuestEntry(**fields).words()) == GuestLayout.const(fields).as_bits()


@pytest.mark.parametrize("seed", range(5))
def test_pair_entries_are_those_of_the_hardware(seed):
    rng = random.Random(seed)
    fields = {name: rng.getrandbits(1) for name in ("valid", "once", "paired", "device_writes",
                                                    "patch_id")}
    fields |= {"owner": rng.getrandbits(8), "template": rng.getrandbits(3),
               "shift": rng.getrandbits(4), "function": rng.getrandbits(2),
               "depth": rng.randrange(2, 4097), "cq_depth": rng.randrange(2, 4097),
               "limit": rng.randrange(4097)}
    size, cq_size, tail = rng.randrange(4), rng.randrange(4), rng.getrandbits(22)
    entry = PairEntry(**fields, entry_bytes=8 << size, cq_bytes=8 << cq_size, tail=4 * tail)
    assert joined(entry.words()) == PairLayout.const(
        {**fields, "size_log2": size, "cq_size_log2": cq_size, "tail": tail}).as_bits()


def test_fields_of_windows_are_where_the_register_map_has_them():
    node = register_map(preset("default")).node

    def fields(path):
        return {field.inst_name: (field.low, field.width)
                for field in node.find_by_path(path).fields()}

    guest = fields("share_guest[0].identity")
    assert {name: low for name, (low, _) in guest.items()} == {
        "key": 0, "device_id": 16, "first_pair": 40, "pairs": 50, "function_number": 58}
    pair = fields("share_pair[0].setup") | fields("share_pair[0].rings")
    assert pair["depth"] == (32, 13) and pair["limit"] == (0, 13) and pair["tail"] == (32, 22)
    tails = fields("share_pair[0].tails")
    assert [tails[name][0] for name in ("requested", "granted", "first", "head")] == [0, 16, 32, 48]
    counts = fields("share_pair[0].counts")
    assert [counts[name][0] for name in ("in_flight", "unread", "next")] == [0, 16, 32]
    assert {name for name, _ in data.Layout.cast(PairState)} == {*tails, *counts, "fetched"}


def test_budgets_are_where_the_register_map_has_them():
    low, high = Rates(weight=3, limit=0x1abc, commands=1, command_burst=2, bytes=3,
                      byte_burst=4).words()
    assert low == 3 | 0x1abc << 16 and high == 0x0004_0003_0002_0001


def test_names_are_in_the_order_of_the_hardware():
    assert words.COUNTERS == tuple(counter.name.lower() for counter in GuestCounter)
    assert words.STATES == tuple(state.name.lower() for state in GuestState)
    for kind in Kind:
        if kind is not Kind.TYPED_LIST_8:
            assert words.KINDS[kind.name.lower()] == kind.value
    assert words.KINDS == KINDS


@pytest.mark.parametrize(("offset_bits", "key_bits"), [(40, 12), (36, 16), (32, 4), (36, 0)])
def test_addresses_are_those_of_the_model(offset_bits, key_bits):
    rng = random.Random(offset_bits)
    mine = Addresses(offset_bits, key_bits)
    low = offset_bits + 1
    model = AddressLayout(offset=(0, offset_bits), guard=(offset_bits, 1), kind=(low, 3),
                          colour=(low + 3, 8), key=(low + 11, key_bits))
    for _ in range(50):
        kind, key = rng.choice(list(KINDS)), rng.getrandbits(key_bits) if key_bits else 0
        offset, colour = rng.getrandbits(offset_bits), rng.getrandbits(8)
        address = mine.pack(colour, kind, offset, key=key)
        assert address == model.pack(key, colour, KINDS[kind], offset)
        assert mine.unpack(address) == {"offset": offset, "guard": 0, "kind": KINDS[kind],
                                        "colour": colour, "key": key}


def test_ring_addresses_have_pair_and_side():
    address = Addresses().ring(2, 5, 1, 0x40, key=7)
    assert address == 7 << 52 | 2 << 44 | 5 << 41 | 5 << 23 | 1 << 22 | 0x40


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="Bits 51:40 must be at most 0xfff, not 0x1000"):
        Addresses(28, 12).pack(1, "data", 0, key=0x1000)
    with pytest.raises(ValueError, match="Tail doorbell must be at a multiple of 4, not 0x1002"):
        PairEntry(1, 0, 16, tail=0x1002).words()
    with pytest.raises(ValueError, match="Entries must be of 8, 16, 32 or 64 bytes, not 24"):
        PairEntry(1, 0, 16, entry_bytes=24).words()


def test_set_up_writes_each_word_to_its_place(driver):
    driver.open()
    slots, lists = driver.load(["nvme_prp"])
    driver.function(0, 0x100, bar=0xC000_0000, lists=lists)
    driver.open_pages()
    driver.pair(1, PairEntry(2, slots["nvme_prp"], 16, cq_depth=32, tail=0x1010))
    driver.guest(2, key=0x123, device_id=0x45, ring_device_id=0x46, first_pair=1, domain=7,
                 rates=Rates(weight=5), parameters=(1, 0, 100, 200))
    written = driver.program.written
    template = next(t for t in load_templates(["nvme_prp"]) if t.name == "nvme_prp")
    word = encode_template(template, slots)
    assert [written[TEMPLATE + 128 * slots["nvme_prp"] + 8 * n] for n in range(8)] == [
        word >> 64 * n & (1 << 64) - 1 for n in range(8)]
    assert written[GUEST + 128] & 0xffff == 0x123 and written[GUEST + 128 + 8] == 0x46
    assert written[GUEST + 128 + 16] == 1
    assert [written[0x208000 + 2 * 32 + 8 * n] for n in range(4)] == [1, 0, 100, 200]
    assert written[BUDGET + 64] == 5
    assert written[PAIR + 64 + 8] == 0x404 << 32
    assert driver.ring(1, 1) == driver.address(2, "ring", 1 << 23 | 1 << 22)
    assert driver.doorbell(2, 1, 1) == driver.aperture + 2 * 16384 + 0x100c


def test_lists_of_a_function_are_found_by_handler(driver):
    slots, lists = driver.load(["nvme_prp"])
    assert lists == {"prp_list": slots["nvme_prp_list"], "typed_list": slots["nvme_sgl_segment"],
                     "range_list": slots["nvme_dsm_ranges"]}
    assert len(slots) <= 8 and slots["nvme_prp"] != slots["nvme_sgl"]


class Hardware:
    """As much of hardware as the reset of a guest sees: no command is in flight."""

    def __init__(self, system, idle):
        self.system, self.idle, self.asked = system, idle, []

    def clock(self):
        return 0

    def read_csr(self, offset, size=8):
        return 1 | 2 << 8 if offset == self.system.mailbox else 0

    def poll_csr(self, offset, *, mask, value, timeout):
        self.asked.append((offset, dict(self.system.program.written)))
        if offset == self.system.status and not self.idle:
            raise Timeout


@pytest.mark.parametrize("idle", [True, False])
def test_a_number_is_used_again_only_when_doorbells_of_before_have_gone_out(idle):
    driver = SharingDriver(System())
    system, fences = driver.system, []
    system.mailbox, system.status = (driver.registers.offset(name) for name in (
        "mailbox_request", "sharing_status"))
    system.sim, system.run = Hardware(system, idle), lambda: None
    system.platform = SimpleNamespace(command=fences.append, fence=lambda: fences.append("fence"))
    driver.pair(1, PairEntry(2, 1, 16, 16))
    driver.guest(2, key=0x123, device_id=1, ring_device_id=2, first_pair=1, domain=3)
    system.program.written.clear()
    done = driver.reset_guest(2, 0x456)
    state, page = GUEST + 64 * 2 + 16, 0x300000 + 4096 * 2
    polled, before = system.sim.asked[-1]
    assert polled == system.status and before[state] == words.STATES.index("quarantine")
    assert driver.registers.offset("mailbox_refuse") in before and PAIR + 64 not in before
    written = system.program.written
    assert (done.quiet, len(fences) == 2, PAIR + 64 in written) == (idle, idle, idle)
    assert written[state] == words.STATES.index("run" if idle else "quarantine")
    assert all((page + 8 * n in written) == idle for n in range(8))
