import json
import random
from pathlib import Path

import pytest
from cocotbext.pcie.core import tlp as cocotb
from cocotbext.pcie.core.utils import PcieId

from iovirt_sim.tlp import (
    Kind,
    Pasid,
    Status,
    Tlp,
    byte_count,
    completions,
    enables,
    lower_address,
    split,
)

EXAMPLES = json.loads(Path(__file__).parent.joinpath("../pcie/data/tlp_examples.json").read_text())
PACKETS  = EXAMPLES["examples"] + EXAMPLES["constructed_messages"]


def header_of(example):
    words = [int(word, 16) for word in example["header_dwords"]]
    return sum(word << 96 - 32 * n for n, word in enumerate(words))


@pytest.mark.parametrize("example", PACKETS, ids=lambda example: example["name"])
def test_example_unpacks_and_packs_again(example):
    header, payload = header_of(example), bytes.fromhex(example["payload_hex"])
    tlp = Tlp.unpack(header, payload)
    assert tlp.pack() == (header, payload, None)
    fields = example.get("fields", {})
    names  = {"tc": "tc", "attr": "attr", "at": "at", "tag": "tag", "first_be": "first_be",
              "last_be": "last_be", "ep": "ep", "td": "td", "th": "th", "status": "status",
              "byte_count": "byte_count"}
    for name, attribute in names.items():
        if name in fields:
            assert getattr(tlp, attribute) == fields[name], name
    if "requester_id" in fields:
        assert tlp.rid == int(fields["requester_id"], 16)
    if "lower_address" in fields:
        assert tlp.lower_addr == int(fields["lower_address"], 16)


@pytest.mark.parametrize("example", EXAMPLES["constructed_prefixes"], ids=lambda each: each["name"])
def test_pasid_prefix_unpacks_and_packs_again(example):
    word = int(example["dword"], 16)
    assert Pasid.unpack(word).pack() == word
    assert Tlp(Kind.MRD, pasid=Pasid.unpack(word)).pack()[2] == word


def test_other_prefix_is_refused():
    with pytest.raises(ValueError, match=r"^PASID prefix must begin with 0x91, not 0x90$"):
        Pasid.unpack(0x90000000)


@pytest.mark.parametrize("first", [0x80, 0x0C, 0x1B, 0x22, 0x41, 0x6A, 0x10])
def test_undefined_format_and_type_are_refused(first):
    with pytest.raises(ValueError, match="undefined"):
        Tlp.unpack(first << 120)


@pytest.mark.parametrize("row", EXAMPLES["byte_enable_1dw"], ids=lambda row: row["first_be"])
def test_bytes_of_one_dword(row):
    first_be = int(row["first_be"], 2)
    assert byte_count(1, first_be, 0) == row["byte_count"]
    assert lower_address(0, first_be) == row["low2"]


def peer_of(tlp):
    """The same packet as cocotbext-pcie has it."""
    peer = cocotb.Tlp()
    has_data, kind = tlp.kind.value
    peer.fmt, peer.type = cocotb.TlpFmt(has_data << 1 | tlp.is_wide), kind
    peer.tc, peer.attr = cocotb.TlpTc(tlp.tc), cocotb.TlpAttr(tlp.attr)
    peer.at = cocotb.TlpAt(tlp.at)
    peer.ep, peer.td, peer.th = tlp.ep, tlp.td, tlp.th
    peer.length = tlp.length if has_data or tlp.kind not in (Kind.CPL, Kind.CPLLK) else 0
    peer.requester_id = PcieId.from_int(tlp.rid)
    peer.completer_id = PcieId.from_int(tlp.cid)
    peer.tag, peer.first_be, peer.last_be = tlp.tag, tlp.first_be, tlp.last_be
    peer.address, peer.ph = tlp.address & ~3, tlp.address & 3
    peer.status, peer.byte_count = cocotb.CplStatus(tlp.status), tlp.byte_count
    peer.lower_address = tlp.lower_addr
    peer.data = bytearray(tlp.payload)
    return peer


def random_tlp(rng):
    kind   = rng.choice([kind for kind in Kind if kind not in (Kind.MSG, Kind.MSGD, Kind.DMWR)])
    config = kind.name.startswith("CFG")
    length = 1 if config or kind.name.startswith("IO") else rng.choice([1, 2, 5, 64, 1024])
    above  = kind.name[0] not in "CI" or kind is Kind.CAS
    return Tlp(
        kind, rid=rng.getrandbits(16), tag=rng.getrandbits(10), length=length,
        address=rng.getrandbits(64 if above and rng.random() < 0.5 else 10 if config else 32) & ~3,
        first_be=rng.getrandbits(4), last_be=rng.getrandbits(4),
        payload=rng.randbytes(4 * length) if kind.has_data else b"",
        tc=rng.getrandbits(3), attr=rng.getrandbits(3), at=rng.randrange(3),
        ep=rng.random() < 0.5, td=rng.random() < 0.5, th=rng.random() < 0.5,
        cid=rng.getrandbits(16), status=rng.choice(list(Status)), byte_count=rng.randrange(1, 4097),
        lower_addr=rng.getrandbits(7))


@pytest.mark.parametrize("seed", range(4))
def test_random_packets_pack_as_cocotbext_pcie_packs_them(seed):
    rng = random.Random(seed)
    for _ in range(100):
        tlp  = random_tlp(rng)
        peer = peer_of(tlp)
        header, payload, _ = tlp.pack()
        wire = header.to_bytes(16, "big")[:16 if tlp.is_wide else 12] + payload
        assert wire == peer.pack()
        again = Tlp.unpack(header, payload)
        assert again.pack() == tlp.pack()
        read, wanted = cocotb.Tlp.unpack(wire), peer_of(again)
        for name in ("tag", "requester_id", "length", "data", "tc", "attr", "at", "address",
                     "byte_count", "lower_address", "ep", "td", "th"):
            if not (name == "address" and tlp.kind.name.startswith("CPL")):
                assert getattr(read, name) == getattr(wanted, name), name


def test_byte_counts_agree_with_cocotbext_pcie():
    for length in (1, 2, 3, 7):
        for first_be in range(16):
            for last_be in range(1, 16) if length > 1 else [0]:
                if not first_be:
                    continue  # its zero-length read is wrong
                peer = cocotb.Tlp()
                peer.length, peer.first_be, peer.last_be = length, first_be, last_be
                assert byte_count(length, first_be, last_be) == peer.get_be_byte_count()


@pytest.mark.parametrize("seed", range(3))
def test_enables_select_exactly_the_bytes(seed):
    rng = random.Random(seed)
    for _ in range(200):
        address, size = rng.getrandbits(12), rng.randrange(1, 40)
        length, first_be, last_be = enables(address, size)
        assert byte_count(length, first_be, last_be) == size
        assert lower_address(address & ~3, first_be) == address & 0x7F
        peer = cocotb.Tlp()
        peer.set_addr_be(address, size)
        assert (length, first_be, last_be) == (peer.length, peer.first_be, peer.last_be)


def test_worked_split():
    memory = lambda address, size: bytes((address + n) % 256 for n in range(size))
    read   = Tlp.read(0x80001034, 300, rid=0x0100, tag=0x55)
    made   = completions(read, memory, mps=128, rcb=64)
    named  = {example["name"]: example for example in EXAMPLES["examples"]}
    for n, tlp in enumerate(made, 1):
        example = named[f"CplD_split_{n}_of_3"]
        header, payload, _ = tlp.pack()
        assert (header, len(payload)) == (header_of(example), example["payload_bytes"])
        assert payload.startswith(bytes.fromhex(example["payload_hex"]))


def test_zero_length_read_gets_one_dword():
    made = completions(Tlp.read(0x1234, 0), lambda address, size: bytes(size))
    assert [(tlp.length, tlp.byte_count, tlp.lower_addr) for tlp in made] == [(1, 1, 0x34)]


@pytest.mark.parametrize("mps, rcb", [(128, 64), (128, 128), (512, 64)])
def test_pieces_cover_the_bytes_and_end_at_boundaries(mps, rcb):
    rng = random.Random(mps)
    for _ in range(200):
        address, size = rng.getrandbits(32), rng.randrange(1, 4097)
        pieces = list(split(address, size, mps=mps, rcb=rcb))
        assert all((start + length) % rcb == 0 and length <= mps for start, length in pieces[:-1])
        place = address
        for start, length in pieces:
            assert start == place
            place += length
        assert place == address + size


def test_boundary_that_does_not_divide_the_payload_is_refused():
    with pytest.raises(ValueError, match=r"^Payload limit 96 must be a multiple of the read bound"):
        list(split(0, 1, mps=96, rcb=64))


@pytest.mark.parametrize("data_width", [64, 128, 256, 512])
def test_beats_carry_the_packet(data_width):
    rng = random.Random(data_width)
    for size in (0, 1, 4, 30, 64, 65):
        tlp   = Tlp.write(rng.getrandbits(40), rng.randbytes(size), rid=7, pasid=Pasid(3))
        beats = list(tlp.beats(data_width))
        again = Tlp.from_beats(beats, data_width)
        assert (again.pack(), again.pasid) == (tlp.pack(), tlp.pasid)
