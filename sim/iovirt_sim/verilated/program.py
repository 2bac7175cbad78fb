"""Programs for the bench: operations packed into 64-bit words, and the events that come back."""

from array import array
from dataclasses import dataclass

from .agent_operations import AgentOperations
from .operations import IoOperations

__all__ = ["BROKEN", "Command", "Event", "Program", "Transfer", "Translation", "read_events"]

M64 = (1 << 64) - 1

#: AXI response of a failing range, for reads and for writes. A device cannot write poison.
BROKEN = {"access": (3, 3), "poison": (2, 2), "none": (0, 0)}

(RESET, RUN, MEMORY_WRITE, MEMORY_READ, MEMORY_CLEAR, BACKGROUND, FAIL, CSR_WRITE, CSR_READ,
 CSR_POLL, TRANSLATE, DMA, TLP, WAIT, COMMAND_RING, COMMAND, COMMAND_WAIT, SET, ALLOW, CLASSIFY,
 FORGET, MARK, TABLE_WRITES) = range(1, 24)

#: What a page of table memory holds, for the statistics.
CLASSES = {"other": 0, "ddt": 1, "pointer": 2, "leaf": 3, "queue": 4}
STATUS = {"ok": 0, "ur": 1, "ca": 4}
EVENTS = {1: "csr", 2: "translated", 3: "tlp", 4: "transfer", 5: "memory", 6: "commands",
          7: "mark", 8: "table_write", 9: "timeout", 10: "pio", 11: "record", 12: "notice",
          13: "agent", 14: "breach", 15: "completion", 16: "device_dma", 17: "mismatch"}


class Program(IoOperations, AgentOperations):
    """A list of operations. Each method appends one and returns its number.

    Operations are executed in order. `translate`, `dma`, `tlp`, `signal` and `pio_...` only hand
    something over; `wait` waits for their answers. Everything else is finished before the next
    operation starts.
    """

    def __init__(self):
        self.words = array("Q")
        self.count = 0

    def __len__(self):
        return self.count

    def _add(self, opcode, argument, *words):
        self.words.append(opcode | (len(words) + 1) << 8 | argument << 32)
        self.words.extend(words)
        self.count += 1
        return self.count - 1

    def reset(self, clocks=4):
        """Reset the design and empty the queues of the bench; memory stays."""
        return self._add(RESET, clocks)

    def run(self, clocks):
        """Let ``clocks`` pass."""
        return self._add(RUN, 0, clocks)

    def write_memory(self, address, words):
        """Write 64-bit words."""
        return self._add(MEMORY_WRITE, 0, address, *words)

    def read_memory(self, address, count=1):
        """Read 64-bit words: event ``memory``."""
        return self._add(MEMORY_READ, 0, address, count)

    def clear_memory(self):
        """Make memory all zero, without failing ranges."""
        return self._add(MEMORY_CLEAR, 0)

    def background(self, low, high, seed):
        """Let words of [low, high) that nobody wrote hold pseudo-random values instead of 0."""
        return self._add(BACKGROUND, 0, low, high, seed)

    def fail(self, address, length, kind="access", *, read=True, write=True):
        """Let accesses of a range fail: ``access`` is DECERR, ``poison`` is SLVERR, ``none``
        repairs the ranges that begin in this one.
        """
        on_read, on_write = BROKEN[kind]
        return self._add(FAIL, on_read * read | (on_write * write) << 2, address, length)

    def write_csr(self, offset, value, size=8):
        """Write a register: event ``csr`` only if the answer is an error."""
        return self._add(CSR_WRITE, size, offset, value & M64)

    def read_csr(self, offset, size=8):
        """Read a register: event ``csr``."""
        return self._add(CSR_READ, size, offset)

    def poll_csr(self, offset, *, mask, value, size=8, timeout=100_000):
        """Read a register until ``read & mask == value``: event ``csr``, before it ``timeout`` if
        that does not happen in ``timeout`` clocks.
        """
        return self._add(CSR_POLL, size, offset, mask, value, timeout)

    def translate(self, *, device_id, iova, write=False, exec=False, priv=False, at=0, pid=None,
                  source=None, spa=None, cause=None, report=True):
        """Send a request to the remap engine: event ``translated`` if ``report``.

        ``spa`` or ``cause`` is what must come; ``source`` defaults to ``device_id``.
        """
        flags = (pid is not None) | priv << 1 | exec << 2 | write << 3 | at << 4
        expect = 2 if spa is not None else 1 if cause is not None else 0
        wanted = spa if spa is not None else cause or 0
        return self._add(TRANSLATE, report | expect << 1,
                         device_id | (pid or 0) << 24 | flags << 44, iova,
                         device_id if source is None else source, wanted)

    def dma(self, *, rid, iova, length, write, spa, group=0, seed=0, expect="ok", report=False,
            segment=0, attr=0, tc=0, prefix=None, enables=None):
        """Let a device access ``length`` bytes at ``iova``, in as many TLPs as it takes.

        They must reach memory at ``spa`` (the bytes written are a function of ``seed`` and
        ``iova``), or be answered as ``expect`` says ("ur", "ca"). ``enables`` = (first, last) makes
        one TLP of whole Dwords with these byte enables. Event ``transfer`` per TLP if ``report``.
        """
        argument = (group | write << 16 | report << 17 | STATUS[expect] << 18 | attr << 21
                    | tc << 24 | (enables is not None) << 27)
        who = rid | segment << 16 | length << 32
        if enables is not None:
            who |= enables[0] << 24 | enables[1] << 28
        more = () if prefix is None else (prefix,)
        return self._add(DMA, argument, who, iova, spa, seed & M64, *more)

    def tlp(self, header, payload=(), *, group=0, prefix=None, segment=0, nullify=False,
            answered=True):
        """Send one TLP as it is: ``header`` has 128 bits, ``payload`` is Dwords.

        Each completion gives an event ``tlp``. ``answered`` False: it must not be waited for.
        What it does to memory must be allowed with `allow`.
        """
        payload = list(payload)
        packed = [payload[n] | (payload[n + 1] if n + 1 < len(payload) else 0) << 32
                  for n in range(0, len(payload), 2)]
        meta = ((prefix or 0) | (prefix is not None) << 32 | nullify << 33 | segment << 40
                | len(payload) << 48)
        return self._add(TLP, group | answered << 16, header >> 64, header & M64, meta, *packed)

    def wait(self, group=None, *, sent=False):
        """Wait until everything (of a group) is answered, or, if ``sent``, handed over."""
        if sent:
            return self._add(WAIT, 2, 0)
        return self._add(WAIT, 0, 0) if group is None else self._add(WAIT, 1, group)

    def command_ring(self, base, log2_entries):
        """Say where the command queue is. The registers are the program's business."""
        return self._add(COMMAND_RING, 0, base, log2_entries)

    def command(self, low, high):
        """Put a command into the ring and write cqt; waits only for room."""
        return self._add(COMMAND, 0, low, high)

    def wait_commands(self, *, report=False, timeout=1_000_000):
        """Wait until cqh has reached the tail. If ``report``, stop at an error as well, and give
        the event ``commands``; otherwise an error fails the run.
        """
        return self._add(COMMAND_WAIT, report, timeout)

    def set(self, number, value):
        """Set a knob by number; see `Simulation.set`."""
        return self._add(SET, number, value)

    def allow(self, address, length):
        """Let raw TLPs access a range."""
        return self._add(ALLOW, 0, address, length)

    def forbid(self, address, length):
        """Take `allow` of this range back: an access that comes now fails the run."""
        return self._add(ALLOW, 1, address, length)

    def classify(self, page, kind, domain=0, iova=0):
        """Say what a table page holds, for the statistics; of a leaf table, what it maps."""
        return self._add(CLASSIFY, CLASSES[kind] | domain << 8, page, iova)

    def forget(self, domain, iova=0, pages=0):
        """Count prefetches of what is invalidated as useless if nobody used them. 0 pages: all."""
        return self._add(FORGET, domain, iova, pages)

    def mark(self):
        """Give the event ``mark``: the clock, and the interrupt wires."""
        return self._add(MARK, 0)

    def table_writes(self, *, log=True):
        """Give an event ``table_write`` per word written through the table port since the last
        time; ``log`` False: do not keep them from now on.
        """
        return self._add(TABLE_WRITES, log)


@dataclass(slots=True)
class Event:
    """Something that happened. ``op`` is the number of the operation, None if there is none."""

    kind: str
    op: int | None
    values: list


@dataclass(slots=True)
class Translation:
    """Answer of the remap engine; clocks are those of acceptance and of the result."""

    ok: bool
    ca: bool
    epoch: int
    cause: int
    spa: int | None
    accepted: int
    returned: int

    @classmethod
    def of(cls, event):
        """Make it from an event ``translated``."""
        flags, spa, accepted, returned = event.values
        ok = bool(flags & 1)
        return cls(ok, bool(flags & 2), flags >> 2 & 1, flags >> 16, spa if ok else None, accepted,
                   returned)


@dataclass(slots=True)
class Transfer:
    """Answer to one TLP of a `dma` operation."""

    status: str
    poisoned: bool
    accepted: int
    issued: int
    done: int

    @classmethod
    def of(cls, event):
        """Make it from an event ``transfer``."""
        flags, *clocks = event.values
        names = {number: name for name, number in STATUS.items()}
        return cls(names[flags & 7], bool(flags & 8), *clocks)


@dataclass(slots=True)
class Command:
    """Where the command queue stands."""

    cqh: int
    cqcsr: int
    cycles: int


def read_events(words):
    """Return the events in a sequence of 64-bit words."""
    events, at = [], 0
    while at < len(words):
        head = words[at]
        length = head >> 8 & 0xffffff
        op = head >> 32
        events.append(Event(EVENTS[head & 255], None if op == 0xffffffff else op,
                            list(words[at + 1:at + length])))
        at += length
    return events
