# amaranth: UnusedElaboratable=no

import random

import pytest

from iovirt.config import DmaConfig, PcieConfig
from iovirt.dma import DmaEngine
from iovirt_sim.axi import DECERR, SLVERR
from iovirt_sim.dma import Page
from iovirt_sim.dma_share import Share, ShareWorld
from iovirt_sim.harness import simulate
from iovirt_sim.tlp import Tlp

RIDS = 0x100, 0x208, 0x310
APERTURE = 0x20_0000_0000, 0x3F_FFF0_0000


def engine(data_width=256, *, mps=256, patches=4, signals=0, **dma):
    sizes = {"writes": 4, "reads": 8, "read_pieces": 8, "write_ids": 2, **dma}
    return DmaEngine(data_width=data_width, address_width=46, signals=signals, patches=patches,
                     pcie=PcieConfig(max_payload_bytes=mps), dma=DmaConfig(**sizes))


def kinds_of_pages(rng):
    """Return pages that are good, fail in their upper half, or may not be used."""
    frame = lambda: rng.getrandbits(24)
    return [Page(frame()), Page(frame()), Page(frame(), read=SLVERR), Page(frame(), read=DECERR),
            Page(frame(), denied=rng.choice(["UR", "CA"])),
            Page(APERTURE[0] >> 12 | rng.getrandbits(8), peer=True)]


def add_write(world, rng, rid, page, mps):
    size = rng.choice([1, 4, 16, 32, 64, rng.randrange(1, mps + 1)])
    tlp  = Tlp.write((page << 12) + rng.randrange(4096 - size + 1), rng.randbytes(size), rid=rid,
                     ep=rng.random() < 0.05)
    if tlp.length * 4 > mps:
        return
    share = Share(contain=rng.random() < 0.2, id=rng.choice([None, rng.getrandbits(16)]))
    world.add(tlp, segment=rid >> 9, aborted=rng.random() < 0.05,
              share=share if rng.random() < 0.7 else None)


def add_read(world, rng, rid, page, tag, longest):
    size_log2 = rng.randrange(4)
    share = rng.choice([
        None, Share(contain=rng.random() < 0.3),
        Share(patch=True, size_log2=size_log2, contain=rng.random() < 0.2),
        Share(patch=True, size_log2=1, phase=True, contain=rng.random() < 0.2)])
    size = rng.choice([0, 4, 8, 16, 64, 64, longest, rng.randrange(1, longest + 1)])
    at   = rng.choice([0, 4096 - size, rng.randrange(4096 - size + 1),
                       rng.randrange(4096 - size + 1) // 64 * 64])
    world.add(Tlp.read((page << 12) + at, size, rid=rid, tag=tag, tc=rng.randrange(8)),
              segment=rid >> 9, share=share)


@pytest.mark.parametrize("data_width, mps, max_payload, seed", [
    (64, 128, 128, 1), (64, 256, 256, 2), (128, 256, 128, 3), (256, 256, 256, 4),
    (512, 128, 128, 5), (512, 512, 256, 6),
])
def test_random_shared_traffic_is_right_to_the_byte(data_width, mps, max_payload, seed):
    rng = random.Random(seed)
    # Pages 0 to 5 are read, the others are written, so that what is fetched is known.
    pages = {(rid >> 9 << 16 | rid, half + n): page for rid in RIDS for half in (0, 6)
             for n, page in enumerate(kinds_of_pages(rng))}
    world = ShareWorld(engine(data_width, mps=mps), rng=rng, pages=pages, max_payload=max_payload,
                       aperture=APERTURE, latency=lambda: rng.choice([1, 5, 30]),
                       stall=lambda: rng.random() < 0.2,
                       translate_latency=lambda: rng.choice([1, 2, 20]),
                       gap=lambda: rng.choice([0, 0, 0, 0, 1, 5]),
                       patch_gap=lambda: rng.choice([0, 0, 0, 1, 7]))
    for n in range(48):
        rid = rng.choice(RIDS)
        if rng.random() < 0.3:
            add_write(world, rng, rid, 6 + rng.randrange(6), mps)
        else:
            add_read(world, rng, rid, rng.randrange(6), n, 700)
    world.run(simulate)


@pytest.mark.parametrize("data_width", [64, 512])
def test_failures_of_memory_do_not_end_reads_of_shared_functions(data_width):
    rng   = random.Random(5)
    pages = {(0x100, n): Page(100 + n, read=read) for n, read in enumerate((SLVERR, DECERR))}
    world = ShareWorld(engine(data_width, mps=128), rng=rng, pages=pages, max_payload=128,
                       latency=lambda: rng.choice([1, 30]))
    shares = [Share(), Share(patch=True), Share(patch=True, size_log2=1, phase=True), None]
    for n, share in enumerate(shares * 2):
        world.add(Tlp.read((n // 4 << 12) + 0x700, 600, rid=0x100, tag=n), share=share)
    world.run(simulate)


def test_lists_may_pass_while_signals_are_built_and_the_order_is_of_the_link():
    rng   = random.Random(9)
    pages = {(0x100, n): Page(100 + n) for n in range(4)}
    world = ShareWorld(engine(64, mps=128, signals=4, order_scope="link"), rng=rng, pages=pages,
                       max_payload=128)
    for n in range(6):
        world.add(Tlp.read(n % 4 << 12, 150, rid=0x100, tag=n), share=Share(patch=n % 2 == 0))
    world.run(simulate)


@pytest.mark.parametrize("share, at, size", [
    (Share(patch=True, size_log2=1, phase=True), 8, 300),
    (Share(patch=True, size_log2=1, phase=True), 3676, 420),
    (Share(patch=True, size_log2=3), 64, 320)])
@pytest.mark.parametrize("data_width", [64, 512])
def test_an_entry_is_of_one_fetch_whatever_the_cuts(data_width, share, at, size):
    rng   = random.Random(3)
    world = ShareWorld(engine(data_width, mps=128, patches=8), rng=rng, max_payload=128,
                       pages={(0x100, 0): Page(7)}, latency=lambda: rng.choice([1, 20, 60]),
                       patch_gap=lambda: rng.choice([0, 3]))
    version, fetch = [0], world.memory._fetch

    def changing_fetch(burst):
        version[0] += 1
        world.memory.write(7 << 12, bytes([version[0]]) * 4096)
        fetch(burst)

    world.memory._fetch = changing_fetch
    world._entry = lambda data, place, index: data
    for n in range(2):
        world.add(Tlp.read(at, size, rid=0x100, tag=n), share=share)
    world.run(simulate, check=False)
    for n in range(2):
        data = b"".join(tlp.payload for tlp in world.answers[0x100, n])
        assert len(data) == size and len(set(data)) > 1
        for first, last in share.entries(at, at + size - 1):
            assert len(set(data[max(first - at, 0):last - at])) == 1, f"entry at {first:#x}"


def beats_per_clock(share, *, patches=4, count=28):
    """Return how busy completions are while reads are in full flow."""
    rng   = random.Random(1)
    world = ShareWorld(engine(256, patches=patches, reads=16, read_pieces=16), rng=rng,
                       pages={(0x100, n): Page(100 + n) for n in range(8)}, latency=30)
    for n in range(count):
        world.add(Tlp.read(0x1000 + n * 256, 256, rid=0x100, tag=n), share=share)
    clocks = []

    async def measure(ctx):
        sink = world.dut.completion
        async for _, _, moves in ctx.tick().sample(sink.valid & sink.ready):
            if moves:
                clocks.append(world.cycles)

    world.run(lambda *benches, background, **more: simulate(
        *benches, background=[*background, measure], **more))
    middle = clocks[len(clocks) // 4:-len(clocks) // 8]
    return (len(middle) - 1) / (middle[-1] - middle[0])


def test_what_is_not_patched_fills_the_bus():
    assert beats_per_clock(Share()) >= 0.9


def test_patched_data_takes_half_of_the_clocks():
    assert beats_per_clock(Share(patch=True, size_log2=3), patches=16, count=20) >= 0.4


def test_what_is_contained_flows_without_the_bus():
    assert beats_per_clock(Share(contain=True)) >= 0.9


@pytest.mark.parametrize("patches", [-1, 2, 6, "4"])
def test_wrong_number_of_patch_buffers(patches):
    with pytest.raises(ValueError, match=r"^Number of patch buffers must be 0 or a power of two of "
                                         rf"at least 4, not {patches!r}$"):
        engine(patches=patches)
