"""Traffic of the translation benchmarks: who asks for which page, and where the page is.

The same requests were given to another open IOMMU, so nothing here may change.
"""

from dataclasses import dataclass

__all__ = ["IOVA_BASE", "SEED", "Workload", "all_hits", "beside_misses", "frame_address", "rand",
           "stream"]

#: Of the random workloads.
SEED = 12345
PAGE = 4096
IOVA_BASE = 0x1000_0000
PAGES_PER_DEVICE = 65536
M64 = (1 << 64) - 1


def _splitmix64(state):
    while True:
        state = (state + 0x9E3779B97F4A7C15) & M64
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & M64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & M64
        yield z ^ (z >> 31)


def frame_address(device, page):
    """Return the SPA of a page of a device: scattered, but never the same twice."""
    place = device * PAGES_PER_DEVICE + page * 7919 % PAGES_PER_DEVICE
    return 0x80_0000_0000 + place * PAGE


@dataclass(frozen=True)
class Workload:
    """Requests (device, iova), and how many pages of each device they use."""

    name: str
    parameters: tuple
    devices: int
    pages: int
    requests: list

    @property
    def label(self):
        return f"{self.name}({','.join(map(str, self.parameters))})"

    def expected(self, device, iova):
        """Return the SPA of an IOVA."""
        return frame_address(device, (iova - IOVA_BASE) // PAGE) + iova % PAGE


def rand(devices, pages, count, *, seed=SEED):
    """Return ``count`` random requests over ``pages`` pairs of device and page."""
    draw = _splitmix64(seed)
    requests = []
    for _ in range(count):
        pair, offset = next(draw) % pages, next(draw) % 512 * 8
        requests.append((pair % devices, IOVA_BASE + pair // devices * PAGE + offset))
    return Workload("rand", (devices, pages), devices, -(-pages // devices), requests)


def stream(devices, per_page, count):
    """Return requests of devices in turn, each walking on, ``per_page`` of them on each page."""
    requests = [(n % devices, IOVA_BASE + n // devices * (PAGE // per_page)) for n in range(count)]
    pages = -(-count // devices // per_page) + 1
    return Workload("stream", (devices, per_page), devices, pages, requests)


def all_hits(count):
    """Return requests to one page."""
    return Workload("hits", (), 1, 1, [(0, IOVA_BASE + n % 512 * 8) for n in range(count)])


def beside_misses(every, count):
    """Return requests of a device that hits, one in ``every`` of another that needs a new page."""
    requests = [(1, IOVA_BASE + n // every * PAGE) if n % every == every - 1 else
                (0, IOVA_BASE + n % 512 * 8) for n in range(count)]
    return Workload("beside", (every,), 2, count // every + 1, requests)
