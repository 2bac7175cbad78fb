"""Honest and odd NVMe devices at transaction level (NVM Express base specification, 4)."""

from dataclasses import dataclass, field

from .address import PAGE
from .data import Data
from .nvme_commands import execute

__all__ = ["Nvme", "Options", "Ring"]


@dataclass(frozen=True)
class Options:
    """How a device behaves. The first part is what honest devices do, the second what odd ones do.

    `lists` is the way PRP lists are read: exact, page (the whole rest of it), or a size in bytes.
    """

    burst: int = 4
    lists: object = "exact"
    shuffle: bool = False
    split_cqe: bool = False
    payload: bool = False           # move data; else only touch the first byte of each piece
    patience: int = 0               # pieces of data after which a command is given up; 0: never

    pieces: int = 64                # entries are fetched by requests of this size
    always_link: bool = False       # slot 511 is a link whether needed or not
    honours_low: bool = False       # low bits of list entries and of PRP2 are offsets
    page: int = PAGE
    metadata: int = 0               # bytes of metadata in line with each block
    prefetch: int = 0               # entries fetched beyond the tail
    reread: bool = False            # each entry is fetched again before it is executed
    hang: bool = False              # nothing is completed


@dataclass
class Ring:
    """A queue as the device knows it."""

    base: int
    depth: int
    issuer: int = 0
    head: int = 0
    tail: int = 0
    phase: int = 1
    cached: dict = field(default_factory=dict)


class Nvme:
    """A controller with queue pairs; `doorbell`, `completion_doorbell` and `step` drive it.

    `executed` lists (queue, command id, status); `disk` maps blocks to bytes.
    """

    def __init__(self, root, rng, options=None, blocks=1 << 40, namespaces=(1,), shift=9):
        self.root, self.rng, self.options = root, rng, options or Options()
        self.blocks, self.namespaces, self.shift = blocks, namespaces, shift
        self.submission, self.completion, self.held = {}, {}, []
        self.executed, self.disk, self.dead = [], {}, False
        self.interrupt = lambda number: None

    def create(self, number, base, depth, cq_base, cq_depth, issuer):
        """Create a queue pair (by the manager)."""
        self.submission[number] = Ring(base, depth, issuer)
        self.completion[number] = Ring(cq_base, cq_depth, issuer)

    def doorbell(self, number, tail):
        """Take a write of a submission tail; wrong ones are the monitor's business."""
        ring = self.submission[number]
        if tail >= ring.depth or (tail - ring.head) % ring.depth < (
                ring.tail - ring.head) % ring.depth:
            self.root.monitor.breach("illegal doorbell")
            return
        ring.tail = tail

    def completion_doorbell(self, number, head):
        """Take a write of a completion head."""
        ring = self.completion[number]
        if head >= ring.depth or (head - ring.head) % ring.depth > (
                ring.tail - ring.head) % ring.depth:
            self.root.monitor.breach("illegal doorbell")
            return
        ring.head = head

    def step(self):
        """Fetch and execute one burst of each queue that has work; tell if any had."""
        worked = False
        for number, ring in self.submission.items():
            if self.dead:
                return False
            if ring.head != ring.tail:
                worked = True
                self._burst(number, ring)
        held, self.held = self.held, []
        for entry in held:
            self._complete(*entry)
        return worked

    def _burst(self, number, ring):
        options = self.options
        room = (ring.tail - ring.head) % ring.depth
        indices = [(ring.head + n) % ring.depth
                   for n in range(min(options.burst, room) + options.prefetch)]
        order = indices[:]
        if options.shuffle:
            self.rng.shuffle(order)
        for index in order:
            if index not in ring.cached:
                ring.cached[index] = self._fetch(ring, index)
        for index in indices[:min(options.burst, room)]:
            entry = ring.cached.pop(index)
            if options.reread:
                entry = self._fetch(ring, index)
            if self.dead or entry is None:
                return
            ring.head = (index + 1) % ring.depth
            status = execute(self, ring.issuer, entry)
            self.executed.append((number, entry.number(2, 2), status))
            if not options.hang:
                self._complete(number, entry.number(2, 2), status, ring.head)

    def fetch(self, address, length, issuer, raw):
        data = self.root.read(address, length, issuer, raw)
        if data is None:
            self.root.monitor.breach("fatal device")
            self.dead = True        # CSTS.CFS
        return data

    def _fetch(self, ring, index):
        entry = Data(b"", b"")
        for at in range(0, 64, self.options.pieces):
            part = self.fetch(ring.base + 64 * index + at, self.options.pieces, ring.issuer, False)
            if part is None:
                return None
            entry = entry.join(part)
        return entry

    def _complete(self, number, identifier, status, head):
        ring = self.completion[number]
        if (ring.tail + 1) % ring.depth == ring.head:
            self.root.monitor.breach("completion held by the device")
            self.held.append((number, identifier, status, head))
            return
        words = head, number, identifier, status << 1 | ring.phase
        entry = bytes(8) + b"".join(word.to_bytes(2, "little") for word in words)
        at = ring.base + 16 * ring.tail
        for start, end in ((0, 12), (12, 16)) if self.options.split_cqe else ((0, 16),):
            self.root.write(at + start, entry[start:end], ring.issuer)
        ring.tail = (ring.tail + 1) % ring.depth
        ring.phase ^= ring.tail == 0
        self.interrupt(number)

