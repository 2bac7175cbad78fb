"""Translations per clock of the remap engine, beside another open IOMMU on the same traffic."""

from ..platform import Platform
from ..verilated import Design, Program, Translation, open_simulation
from ..workloads import (
    IOVA_BASE,
    PAGE,
    all_hits,
    beside_misses,
    frame_address,
    rand,
    stream,
)

__all__ = ["LATENCIES", "PEER", "measure", "run_translate", "workloads"]

LATENCIES = (20, 50, 100)
WARM_UP, MEASURED = 1000, 4000
#: Requests beyond the last one measured, so that the source stays saturated until then.
TAIL = 512
#: Translations per clock at each latency of zero-day-labs/riscv-iommu (main 18ad30a) with 16 IOTLB
#: and 8 device-context entries, under Verilator.
PEER = {
    "hits()":       (.333, .333, .333),
    "rand(8,16)":   (.333, .333, .333),
    "rand(8,64)":   (.0198, .0085, .0044),
    "rand(8,512)":  (.0154, .0066, .0034),
    "rand(32,32)":  (.0185, .0083, .0043),
    "rand(32,512)": (.0118, .0051, .0027),
    "stream(1,64)": (.250, .184, .128),
    "stream(1,16)": (.143, .079, .046),
    "stream(1,1)":  (.0149, .0064, .0033),
    "stream(32,64)": (.0108, .0047, .0024),
    "stream(32,1)": (.0108, .0047, .0024),
}


def workloads():
    """Return the workloads: hits, hits while another device misses, and those of the peer."""
    count = WARM_UP + MEASURED + TAIL
    return [
        all_hits(count),
        beside_misses(16, count),
        *(rand(*p, count) for p in ((8, 16), (8, 64), (8, 512), (32, 32), (32, 512))),
        *(stream(*p, count) for p in ((1, 64), (1, 16), (1, 1), (32, 64), (32, 1))),
    ]


def measure(sim, config, workload, latency):
    """Return translations per clock, counted by results; every address is checked."""
    platform = Platform(config, mode="Sv39x4", levels=1)
    for device in range(workload.devices):
        stage = platform.domain(device + 1)
        for page in range(workload.pages):
            stage.map(IOVA_BASE + page * PAGE, frame_address(device, page))
        platform.attach(device, device + 1)
    sim.clear_memory()
    sim.reset()
    sim.set(table_latency=latency, table_write_latency=latency, queue=1 << 16)
    platform.bring_up()
    sim.run(platform.take())
    program = Program()
    for device, iova in workload.requests:
        program.translate(device_id=device, iova=iova, spa=workload.expected(device, iova))
    program.wait()
    returned = sorted(Translation.of(event).returned for event in sim.run(program)
                      if event.kind == "translated")
    return MEASURED / (returned[WARM_UP + MEASURED - 1] - returned[WARM_UP - 1])


def run_translate(config, *, latencies=LATENCIES, progress=None, say=None):
    """Measure everything; return ``[{workload, parameters, L, translations_per_clk, peer}]``."""
    results = []
    chosen = workloads()
    with open_simulation(Design.of_remap(config), say=say) as sim:
        for workload in chosen:
            for latency in latencies:
                rate = measure(sim, config, workload, latency)
                peer = dict(zip(LATENCIES, PEER.get(workload.label, ()), strict=False)).get(latency)
                results.append({"workload": workload.name, "parameters": list(workload.parameters),
                                "L": latency, "translations_per_clk": round(rate, 4),
                                "peer": peer})
                if progress:
                    progress(len(results), len(chosen) * len(latencies))
    return results
