"""What cores' accesses to devices become, in plain Python (PCIe Base, 2.2.5 and 2.2.7)."""

from dataclasses import dataclass, field
from itertools import pairwise

__all__ = ["Burst", "Map", "Window", "beat_addresses", "read_pieces", "register_access",
           "write_pieces"]

PAGE = 4096
INCR, FIXED = 1, 0


@dataclass(frozen=True)
class Window:
    """A window onto device memory."""

    base: int
    size: int
    pcie: int
    guest: int = 0
    policy: str = "ONES"
    completer: int = 0
    completer_mask: int = 0xFFFF


@dataclass(frozen=True)
class Map:
    """The address map of the cores."""

    windows: tuple = ()
    ecam: tuple = None        # base, size
    ecam_policy: str = "ONES"
    doorbells: tuple = None   # base, size
    doorbell_policy: str = "ERROR"
    no_window: str = "ERROR"

    def find(self, address):
        """Return ``(kind, address on the other side, window, policy)``."""
        if self.ecam and 0 <= address - self.ecam[0] < self.ecam[1]:
            return "config", address - self.ecam[0], None, self.ecam_policy
        for window in self.windows:
            if 0 <= address - window.base < window.size:
                return "memory", window.pcie + address - window.base, window, window.policy
        if self.doorbells and 0 <= address - self.doorbells[0] < self.doorbells[1]:
            return None, address, None, self.doorbell_policy
        return None, address, None, self.no_window


@dataclass
class Burst:
    """A burst of a core; a write has ``beats`` of (data, strobes)."""

    id: int
    address: int
    beats: int = 1
    size: int = 3
    kind: int = INCR
    data: list = field(default_factory=list)

    @property
    def end(self):
        """Address after the last byte."""
        return (self.address >> self.size << self.size) + (self.beats << self.size)

    @property
    def legal(self):
        """Whether it is to be served."""
        return ((self.kind == INCR or (self.kind == FIXED and self.beats == 1))
                and self.address // PAGE == (self.end - 1) // PAGE)


def beat_addresses(burst):
    """Yield the first byte and the end of each beat."""
    step = 1 << burst.size
    first = burst.address
    for _ in range(burst.beats):
        end = first // step * step + step
        yield first, end
        first = end


def _enables(start, end):
    """Return Dwords and byte enables of the bytes from ``start`` to ``end``."""
    dwords = {}
    for byte in range(start, end):
        dwords[byte // 4] = dwords.get(byte // 4, 0) | 1 << byte % 4
    enables = [dwords[n] for n in sorted(dwords)]
    return len(enables), enables[0], enables[-1] if len(enables) > 1 else 0


def read_pieces(start, size, *, largest):
    """Yield ``(address, length_dw, first_be, last_be)`` of the requests for ``size`` bytes."""
    end = start + size
    while start < end:
        stop = min(end, start // largest * largest + largest)
        yield start // 4 * 4, *_enables(start, stop)
        start = stop


def register_access(start, size):
    """Whether this is an access of 1, 2 or 4 bytes, aligned."""
    return size in (1, 2, 4) and start % size == 0


def write_pieces(written, *, largest):
    """Yield ``(address, [(byte or None) ...])`` of the writes for ``written``, a dict of bytes.

    The bytes are those of whole Dwords; None is a byte that is not enabled.
    """
    quads = sorted({address // 8 for address in written})
    while quads:
        run = [quads.pop(0)]
        while (quads and quads[0] == run[-1] + 1 and quads[0] * 8 % largest
               and _reaches_up(written, run[-1]) and _reaches_down(written, quads[0])):
            run.append(quads.pop(0))
        present = [address for quad in run for address in range(quad * 8, quad * 8 + 8)
                   if address in written]
        start, end = present[0] // 4 * 4, present[-1] // 4 * 4 + 4
        yield start, [written.get(address) for address in range(start, end)]


def _holes(written, quad):
    pattern = [quad * 8 + n in written for n in range(8)]
    return sum(a != b for a, b in pairwise(pattern))


def _reaches_up(written, quad):
    return quad * 8 + 7 in written and _holes(written, quad) <= 1


def _reaches_down(written, quad):
    return quad * 8 in written and _holes(written, quad) <= 1
