# amaranth: UnusedElaboratable=no

import random

import pytest

from iovirt.config import DmaConfig, PcieConfig
from iovirt.dma import DmaEngine
from iovirt_sim.axi import DECERR, SLVERR
from iovirt_sim.dma import DmaWorld, Page
from iovirt_sim.harness import simulate
from iovirt_sim.tlp import Kind, Tlp


def engine(data_width=256, *, mps=256, **dma):
    return DmaEngine(data_width=data_width, address_width=46,
                     pcie=PcieConfig(max_payload_bytes=mps), dma=DmaConfig(**dma))


def random_ops(world, rng, count, *, mps, rids=(0x100, 0x208, 0x310), pages=6, longest=1024):
    """Add a mixture of all that is legal."""
    tags = dict.fromkeys(rids, 0)
    for _ in range(count):
        rid  = rng.choice(rids)
        base = rng.randrange(pages) << 12
        attr = rng.choice([0, 0, 0, 2, 4, 7])
        size = rng.choice([1, 3, 4, 7, 8, 64, 100, mps, rng.randrange(1, mps + 1)])
        kind = rng.random()
        if kind < 0.5:
            at  = base + rng.randrange(4096 - size + 1)
            tlp = Tlp.write(at, rng.randbytes(size), rid=rid, attr=attr, ep=rng.random() < 0.05)
            if tlp.length * 4 > mps:
                continue
            world.add(tlp, segment=rid >> 9, aborted=rng.random() < 0.05)
        elif kind < 0.55:
            world.add(Tlp(Kind.MWR, rid=rid, address=base, first_be=0, payload=bytes(4)),
                      segment=rid >> 9)
        else:
            size = rng.choice([0, size, size, longest, rng.randrange(1, longest + 1)])
            at   = base + rng.randrange(4096 - size + 1)
            world.add(Tlp.read(at, size, rid=rid, tag=tags[rid], tc=rng.randrange(8), attr=attr),
                      segment=rid >> 9)
            tags[rid] = (tags[rid] + 1) % 1024


def some_pages(rng, rids=(0x100, 0x208, 0x310), pages=6):
    """Each device has good pages, and one of each kind that is not."""
    frames = rng.sample(range(16, 1 << 34), len(rids) * pages)
    made = {}
    for n, rid in enumerate(rids):
        for page in range(pages):
            frame = frames[n * pages + page]
            made[rid >> 9 << 16 | rid, page] = [
                Page(frame), Page(frame), Page(frame, read=SLVERR), Page(frame, read=DECERR),
                Page(frame, write=SLVERR), Page(frame, denied=rng.choice(["UR", "CA"]))][page % 6]
    return made


@pytest.mark.parametrize("data_width, mps, max_payload, seed", [
    (64, 128, 128, 1), (64, 256, 256, 2), (256, 256, 256, 3), (256, 256, 128, 4),
    (512, 128, 128, 5), (64, 1024, 1024, 6),
])
def test_random_traffic_is_right_to_the_byte(data_width, mps, max_payload, seed):
    rng = random.Random(seed)
    dut = engine(data_width, mps=mps, writes=4, reads=4, read_pieces=4, write_ids=2)
    world = DmaWorld(dut, rng=rng, pages=some_pages(rng), max_payload=max_payload,
                     latency=lambda: rng.choice([1, 5, 30]), stall=lambda: rng.random() < 0.2,
                     translate_latency=lambda: rng.choice([1, 2, 20]),
                     gap=lambda: rng.choice([0, 0, 0, 0, 1, 5]))
    random_ops(world, rng, 50, mps=mps)
    world.run(simulate)


@pytest.mark.parametrize("change, error, message", [
    ({"data_width": 32}, ValueError, r"^Data width must be 64, 128, 256 or 512, not 32$"),
    ({"address_width": 65}, ValueError, r"^Address width must be an integer in 32..64, not 65$"),
    ({"pcie": None}, TypeError, r"^PCIe configuration must be a PcieConfig, not None$"),
    ({"dma": 1}, TypeError, r"^DMA configuration must be a DmaConfig, not 1$"),
])
def test_wrong_parameters(change, error, message):
    right = {"data_width": 64, "address_width": 40, "pcie": PcieConfig(), "dma": DmaConfig()}
    with pytest.raises(error, match=message):
        DmaEngine(**right | change)


def throughput(dut, make, count, *, latency=50):
    """Return beats per clock of the busier direction while ``count`` requests are in full flow."""
    rng = random.Random(1)
    pages = {(0x100, page): Page(100 + page) for page in range(64)}
    world = DmaWorld(dut, rng=rng, pages=pages, latency=latency)
    for n in range(count):
        world.add(make(n))
    clocks = []

    async def measure(ctx):
        bus, sink = dut.bus, dut.completion
        async for _, _, w, r in ctx.tick().sample(bus.wvalid & bus.wready,
                                                  sink.valid & sink.ready):
            if w or r:
                clocks.append(world.cycles)

    world.run(lambda *benches, background, **more: simulate(
        *benches, background=[*background, measure], **more), deadline=5000)
    middle = clocks[len(clocks) // 4:-len(clocks) // 8]
    return (len(middle) - 1) / (middle[-1] - middle[0])


@pytest.mark.parametrize("size, count", [(256, 40), (64, 140)])
def test_writes_fill_the_bus_at_a_latency_of_50(size, count):
    rng  = random.Random(size)
    make = lambda n: Tlp.write(0x1000 + n * size, rng.randbytes(size), rid=0x100)
    assert throughput(engine(256, reads=4), make, count) >= 0.9


@pytest.mark.parametrize("size, count, slots, latency", [(256, 40, 16, 50), (1024, 10, 16, 50),
                                                         (64, 120, 32, 20)])
def test_reads_fill_the_bus(size, count, slots, latency):
    dut  = engine(256, reads=slots, read_pieces=slots)
    make = lambda n: Tlp.read(0x1000 + n * size, size, rid=0x100, tag=n)
    assert throughput(dut, make, count, latency=latency) >= 0.9
