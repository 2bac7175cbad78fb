"""What the interrupt block has to do, written from architecture.md, section 5.

:class:`InterruptModel` is told what devices send and software writes, and checks what appears in
memory. It does not predict when several interrupts become one record, because that depends on
time; it checks that each is accounted for exactly once, in order, and truly described.
"""

from collections import Counter, deque
from dataclasses import dataclass, field

__all__ = ["ENTRY_FIELDS", "InterruptModel", "Source", "decode_record", "encode_entry",
           "interrupt_index"]

#: {field: (lowest bit, width)} of an entry of the interrupt remap table.
ENTRY_FIELDS = {
    "valid": (0, 1), "delivery": (1, 2), "suspend": (3, 1), "urgent": (4, 1), "merge": (5, 1),
    "multi": (6, 1), "priority": (8, 2), "rid": (16, 16), "rid_mask": (32, 16), "segment": (48, 8),
    "cookie": (64, 32), "guest": (96, 16), "queue": (112, 8), "address": (130, 54),
    "data": (192, 32), "limit": (224, 16)}

RECORD_FIELDS = {
    "cookie": (0, 32), "merge_count": (32, 16), "index": (48, 16), "rid": (64, 16),
    "segment": (80, 8), "guest": (88, 16), "more": (104, 1), "reserved": (105, 23),
    "data": (128, 32), "sequence": (160, 32), "time": (192, 56), "type": (248, 5),
    "priority": (253, 2), "phase": (255, 1)}

QUEUE, FORWARD = 0, 2
MSI = 1
MESSAGES = 16
COUNT = (1 << 32) - 1
#: {message code: (number in the message table, type of record)}.
CODES = {**{0x20 + n: (n & 3, 2) for n in range(8)}, 0x30: (4, 3), 0x31: (5, 4), 0x33: (6, 5),
         0x18: (7, 6)}
#: {number in the message table: type} of notices of other blocks.
NOTICES = {8: 7, 9: 8}


def encode_entry(**fields):
    """Return the 256 bits of an entry."""
    return sum((value & (1 << ENTRY_FIELDS[name][1]) - 1) << ENTRY_FIELDS[name][0]
               for name, value in fields.items())


def decode_record(number):
    """Return the fields of a record of 32 bytes."""
    return {name: number >> low & (1 << width) - 1 for name, (low, width) in RECORD_FIELDS.items()}


def interrupt_index(offset, data):
    """Return (index, whether it depends on the data) of a write to a window."""
    return (offset >> 3) + (data & 31 if offset & 4 else 0), bool(offset & 4)


@dataclass
class Source:
    """An entry and what it has admitted."""

    history: list = field(default_factory=list)    # [first clock, last clock or None, entry]
    kind: int = MSI                   # type of its records
    waiting: deque = field(default_factory=deque)  # (segment, rid, data), oldest first

    def versions(self):
        """Return the entries that may be in force, one unless it is being replaced."""
        return [entry for _, last, entry in self.history if last is None] or [{}]


class InterruptModel:
    """Account for every interrupt; an AssertionError tells what is wrong.

    Parameters
    ----------
    entries, queues : what is built.
    drops : numbers of the queues whose policy is to drop.
    """

    def __init__(self, *, entries, queues, drops=()):
        self.entries, self.queues, self.drops = entries, queues, set(drops)
        self.now      = 0          # the clock, as records tell it
        self.sources  = [Source() for _ in range(entries + MESSAGES)]
        self.errors   = deque()    # (cause, segment, rid, address), in the order of the interrupts
        self.levels   = [0] * 4
        self.sent     = Counter()  # interrupts admitted, by source
        self.told     = Counter()  # interrupts that records stand for
        self.written  = Counter()  # forwarded writes
        self.dropped  = Counter()  # interrupts of queues that drop that no record stands for
        self.position = {}         # of the next record, by queue
        self.size     = {}         # log2 of records, by queue
        self.time     = Counter()  # of the last record, by queue

    # Software.

    def begin_entry(self, index, **fields):
        """An entry is about to be replaced; interrupts are to be admitted by both or by none."""
        self.sources[index].history.append(
            [self.now, None, dict.fromkeys(ENTRY_FIELDS, 0) | fields])

    def end_entry(self, index):
        """The last write was answered: nothing is made from the former entry from now on."""
        source = self.sources[index]
        for version in source.history[:-1]:
            version[1] = self.now if version[1] is None else version[1]
        if not source.history[-1][2]["valid"]:
            source.waiting.clear()

    def start(self, queue, *, size_log2, position=0):
        """A queue is set up."""
        self.size[queue], self.position[queue] = size_log2, position

    # Devices and other blocks.

    def msi(self, *, segment, rid, offset, data):
        """A write of a device to a window; return the source that admits it, or None."""
        index, multi = interrupt_index(offset, data)
        if index < self.entries and all(
                self._admits(entry, segment, rid) and (entry["multi"] or not multi)
                for entry in self.sources[index].versions()):
            self._add(index, MSI, segment, rid, data)
            return index
        self.errors.append(("MSI_DENIED", segment, rid, index << 3))
        return None

    def message(self, *, segment, rid, code):
        """A message of a device; return the source, or None."""
        if code not in CODES:
            return None
        number, kind = CODES[code]
        data = 0
        if kind == 2:
            data = int(code < 0x24)
            if self.levels[number] == data:
                return None
            self.levels[number] = data
        return self.notice(number, kind, segment=segment, rid=rid, data=data)

    def link_down(self):
        """All pins of INTx are deasserted."""
        for number, level in enumerate(self.levels):
            if level:
                self.notice(number, 2, segment=0, rid=0, data=0)
        self.levels = [0] * 4

    def notice(self, number, kind=None, *, segment, rid, data):
        """Send an entry of the message table an interrupt; return the source, or None."""
        index = self.entries + number
        if all(self._usable(entry) for entry in self.sources[index].versions()):
            self._add(index, NOTICES.get(number, kind), segment, rid, data)
            return index
        if number not in NOTICES:
            self.errors.append(("UNHANDLED_MESSAGE", segment, rid, index << 3))
        return None

    def _usable(self, entry):
        delivered = entry.get("delivery") == FORWARD or (
            entry.get("delivery") == QUEUE and entry["queue"] < self.queues)
        return bool(entry.get("valid") and delivered)

    def _admits(self, entry, segment, rid):
        return (self._usable(entry) and entry["segment"] == segment
                and (entry["rid"] ^ rid) & ~entry["rid_mask"] & 0xFFFF == 0)

    def _add(self, index, kind, segment, rid, data):
        source = self.sources[index]
        source.kind = kind
        if source.versions()[-1]["delivery"] == QUEUE:
            source.waiting.append((segment, rid, data))
        self.sent[index] += 1

    # What is found in memory.

    def record(self, queue, number):
        """The next record of a queue is visible; return its fields."""
        record, position = decode_record(number), self.position[queue]
        assert record["sequence"] == position, (queue, position, record)
        assert record["phase"] == ~position >> self.size[queue] & 1, (queue, position, record)
        assert record["time"] >= self.time[queue], (queue, record)
        self.position[queue] = (position + 1) & COUNT
        self.time[queue]     = record["time"]
        source = self.sources[record["index"]]
        parts  = self._take(queue, record["index"], record["merge_count"], record["data"])
        assert any(self._describes(version, queue, record) for version in source.history), \
            (queue, record, source.history)
        first = parts[0]
        assert (record["segment"], record["rid"]) == first[:2], (record, parts)
        assert record["data"] == parts[-1][2], (record, parts)
        assert record["more"] == any(part[:2] != first[:2] for part in parts), (record, parts)
        assert record["type"] == source.kind and record["reserved"] == 0, record
        return record

    def _describes(self, version, queue, record):
        first, last, entry = version
        return first <= record["time"] and (last is None or record["time"] <= last) \
            and self._usable(entry) and entry["delivery"] == QUEUE and entry["queue"] == queue \
            and all(entry[name] == record[name] for name in ("cookie", "guest", "priority"))

    def _take(self, queue, index, count, data):
        waiting = self.sources[index].waiting
        assert 1 <= count <= len(waiting), (
            f"record of {count} interrupts of source {index}, which waits for {len(waiting)}")
        if queue in self.drops:
            # The numbers that interrupts carry as data tell which ones were dropped.
            while waiting[count - 1][2] != data:
                waiting.popleft()
                self.dropped[index] += 1
                assert len(waiting) >= count, (index, count, data)
        self.told[index] += count
        return [waiting.popleft() for _ in range(count)]

    def forwarded(self, address, data):
        """A write of a forwarded interrupt is visible; it stands for one or more."""
        for index, source in enumerate(self.sources):
            if self.written[index] < self.sent[index] and any(
                    self._usable(entry) and entry["delivery"] == FORWARD
                    and (entry["address"] << 2, entry["data"]) == (address, data)
                    for _, _, entry in source.history):
                self.written[index] += 1
                return index
        raise AssertionError(f"write of {data:#x} to {address:#x} that no source has asked for")

    def denied(self, cause, segment, rid, address):
        """An error record was made of an interrupt that was not admitted."""
        assert (cause, segment, rid, address) in self.errors, (cause, segment, rid, address)
        self.errors.remove((cause, segment, rid, address))

    def outstanding(self):
        """Return {source: interrupts that nothing has told yet}."""
        return {index: len(source.waiting) for index, source in enumerate(self.sources)
                if source.waiting}
