"""Queue pairs in plain Python, from the rules of sharing: tails, heads, grants, fetches, counts."""

from dataclasses import dataclass, field

__all__ = ["WINDOW", "Pair", "Pairs"]

#: Entries from the oldest unfetched one on that may be granted and not fetched.
WINDOW = 64
#: Most completions that one write can have.
MOST = 256


@dataclass
class Pair:
    """A queue pair: what software has set, and what has happened since.

    Unlike hardware, this knows the index of each granted entry that was not fetched.
    """

    valid: int = 0
    once: int = 0
    paired: int = 0
    device_writes: int = 0
    owner: int = 0
    template: int = 0
    size_log2: int = 0
    cq_size_log2: int = 0
    shift: int = 0
    patch_id: int = 0
    function: int = 0
    depth: int = 0
    cq_depth: int = 0
    limit: int = 0
    tail: int = 0
    requested: int = 0
    granted: int = 0
    head: int = 0
    next: int = 0
    in_flight: int = 0
    unread: int = 0
    waiting: list = field(default_factory=list)  # (index, fetched) from the oldest unfetched on

    @property
    def first(self):
        """Index of the oldest entry that was not fetched, or the granted tail."""
        return self.waiting[0][0] if self.waiting else self.granted

    @property
    def fetched(self):
        """Map of the entries that were fetched, relative to the oldest unfetched one."""
        return sum(done << n for n, (_, done) in enumerate(self.waiting))

    def sound(self):
        """Tell whether such a pair can be."""
        return (2 <= self.depth <= 4096 and self.size_log2 < 4
                and (not self.paired or (2 <= self.cq_depth <= 4096 and self.cq_size_log2 < 4)))

    def room(self):
        """Return how many commands more may be granted."""
        rooms = [(self.requested - self.granted) % self.depth, WINDOW - len(self.waiting),
                 (self.limit or self.depth - 1) - self.in_flight]
        if self.paired:
            rooms += [self.depth - 1 - self.in_flight,
                      self.cq_depth - 1 - self.in_flight - self.unread]
        return max(0, min(rooms))

    def tail_passes(self, value):
        """Tell whether the tail may move: not back, and not over what was not fetched."""
        if value >= self.depth:
            return False
        walk = self.requested
        while walk != value:
            walk = (walk + 1) % self.depth
            if walk == self.first:
                return False
        return True

    def grant(self, limit):
        """Grant commands; return how many, and whether there is room for more."""
        room  = self.room()
        count = min(room, limit)
        for _ in range(count):
            self.waiting.append((self.granted, 0))
            self.granted = (self.granted + 1) % self.depth
        self.in_flight += count * self.paired
        return count, room > count

    def fetch(self, start, length):
        """Read bytes of the ring; return which of the entries touched may be given."""
        size   = 8 << self.size_log2
        places = {index: n for n, (index, _) in enumerate(self.waiting)}
        first  = start // size
        begins, allow, last = first in places, 0, -1
        for n, index in enumerate(range(first, -(-(start + length) // size))):
            whole = start <= index * size and (index + 1) * size <= start + length
            place = places.get(index)
            # What begins among granted entries ends with them.
            if n >= WINDOW or place is None or (begins and place < last):
                continue
            last = place
            if whole and not self.waiting[place][1]:
                self.waiting[place] = index, 1
                allow |= 1 << n
        moved = bool(self.waiting) and self.waiting[0][1] == 1
        while self.waiting and self.waiting[0][1]:
            self.waiting.pop(0)
        return allow, moved

    def complete(self, start, length):
        """Write completions; return how many commands complete, and whether something is odd."""
        size = 8 << self.cq_size_log2
        done, odd = 0, False
        for index in range(start // size, (start + length) // size):
            if index == self.next and self.in_flight and done < MOST:
                self.next = (self.next + 1) % self.cq_depth
                self.in_flight -= 1
                self.unread    += 1
                done += 1
            else:
                odd = True
        return done, odd


class Pairs:
    """All pairs; answers each operation with what hardware would, as a dict.

    ``completed``, ``denials`` and ``wakes`` collect (colour, count), (cause, colour, ring address)
    and colours.
    """

    def __init__(self, number):
        self.number = number
        self.pairs  = [Pair() for _ in range(number)]
        self.bad    = set()
        self.completed, self.denials, self.wakes = [], [], []

    def put(self, number, **fields):
        """Put an entry in place of the old one, whose commands are in flight no more."""
        old = self.pairs[number]
        if old.paired and old.in_flight and number not in self.bad:
            self.completed.append((old.owner, old.in_flight))
        self.bad.discard(number)
        self.pairs[number] = Pair(**fields)
        self.pairs[number].valid &= self.pairs[number].sound()

    def _find(self, number, colour, address):
        if number in self.bad:
            self.denials.append(("TABLE", colour, address))
            return None
        pair = self.pairs[number] if number < self.number else None
        return pair if pair and pair.valid else None

    def ring(self, *, write, pair, side, colour, function, offset, length, empty):
        """Answer an access of the device to a ring."""
        address = pair << 23 | side << 22 | offset
        found   = self._find(pair, colour, address)
        verdict = {"ok": 0, "valid": 0, "allow": 0}
        if found is None:
            return verdict
        size = found.cq_size_log2 if side else found.size_log2
        verdict |= {"valid": int(write or not side), "template": found.template,
                    "size_log2": size, "shift": found.shift,
                    "patch_id": found.patch_id & write & side}
        entries = found.cq_depth if side else found.depth
        if (found.owner != colour or found.function != function
                or offset + length > entries * (8 << size)
                or not (found.paired if side else found.device_writes or not write)
                or (side and not write)):
            return verdict
        verdict["ok"] = 1
        if not write:
            allow, moved = (0, False) if empty else found.fetch(offset, length)
            verdict["allow"] = allow if found.once else (1 << WINDOW) - 1
            self.wakes += [colour] * moved
        elif side and not empty:
            done, odd = found.complete(offset, length)
            if done:
                self.completed.append((colour, done))
                self.wakes.append(colour)
            if odd:
                self.denials.append(("ODD", colour, address))
        return verdict

    def doorbell(self, *, read, pair, colour, side, value):
        """Answer a write of a guest to a doorbell, or a read of its shadow."""
        found = self._find(pair, colour, pair << 23 | side << 22)
        if found is None or found.owner != colour or (side and not found.paired):
            return {"ok": 0, "ring": 0}
        if read:
            return {"ok": 1, "ring": 0, "value": found.head if side else found.requested}
        if side:
            passed = (value - found.head) % found.cq_depth
            if value >= found.cq_depth or passed > found.unread:
                return {"ok": 0, "ring": 0}
            found.head    = value
            found.unread -= passed
            moves = passed != 0
        elif found.tail_passes(value):
            moves = value != found.requested
            found.requested = value
        else:
            return {"ok": 0, "ring": 0}
        self.wakes += [colour] * moves
        return {"ok": 1, "ring": int(side and moves), "value": value, "tail": found.tail,
                "function": found.function}

    def grant(self, *, pair, limit):
        """Answer an offer of the scheduler."""
        found = self._find(pair, 0, pair << 23)
        if found is None:
            return {"count": 0, "more": 0}
        count, more = found.grant(limit)
        return {"count": count, "more": int(more), "granted": found.granted, "tail": found.tail,
                "function": found.function, "paired": found.paired}
