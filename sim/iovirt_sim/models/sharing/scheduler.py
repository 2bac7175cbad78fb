"""Doorbell pages and the scheduler: requested tails in, granted tails out."""

from dataclasses import dataclass

__all__ = ["Account", "Pair", "Scheduler"]

TAIL, SPACING = 0x1000, 4


@dataclass
class Pair:
    """A queue pair: its rings in the queue table, its number at the device, and its counts."""

    colour: int
    number: int
    submission: object
    completion: object
    requested: int = 0
    head: int = 0               # completion head, as checked
    in_flight: int = 0          # granted, not completed
    unread: int = 0             # completed, not yet passed by the head


@dataclass
class Account:
    """What a guest may use: weight, tokens for commands, and bytes paid after the fetch."""

    weight: int = 1
    deficit: int = 0
    rate: float = 0             # commands per turn of the scheduler; 0: no limit
    tokens: float = 0
    byte_rate: float = 0
    bytes: float = 0            # may be negative: debt
    granted: int = 0


class Scheduler:
    """Deficit round robin over guests, with checks of every doorbell.

    Tails are checked against the oldest entry that was not fetched, which the fetch-once map knows
    without trusting the head in completion entries. A grant never lets commands in flight reach the
    depth, so the device cannot see a tail pass its own head.
    """

    def __init__(self, *, guests, device, monitor, off=frozenset(), quantum=8):
        self.guests, self.device, self.monitor = guests, device, monitor
        self.off, self.quantum = off, quantum
        self.pairs, self.accounts, self.turn, self.visited = {}, {}, 0, False

    def add(self, pair, virtual=1):
        """Add a queue pair under the number by which its guest knows it."""
        self.pairs[pair.colour, virtual] = pair
        account = self.accounts.setdefault(
            pair.colour, Account(self.guests[pair.colour].weight))

        def completed():
            if pair.in_flight:
                pair.in_flight -= 1
                pair.unread += 1
            else:
                self.monitor.record("odd completion")

        def charge(size):
            account.bytes -= size

        pair.completion.completed, pair.submission.charge = completed, charge

    def doorbell(self, colour, offset, value, size=4, page=None):
        """Take a write into the doorbell page of guest `page` by guest `colour`; tell if it passed.

        Doorbell pages are mapped by the hypervisor, and checked again here.
        """
        index, odd = divmod(offset - TAIL, 2 * SPACING)
        page = colour if page is None else page
        if "doorbell" not in self.off and (size != 4 or offset < TAIL or odd not in (0, SPACING)
                                           or page != colour):
            return self._drop()
        pair = self.pairs.get((page, index))
        if pair is None or self.guests[page].state in ("off", "quarantine"):
            return self._drop()
        if page != colour:
            self.monitor.breach("foreign doorbell")
        return self._head(pair, value) if odd else self._tail(pair, value)

    def _drop(self):
        self.monitor.record("doorbell")
        return False

    def _tail(self, pair, value):
        queue = pair.submission
        if "tail" not in self.off:
            first = queue.first
            if not 0 <= value < queue.depth or (value - first) % queue.depth < (
                    pair.requested - first) % queue.depth:
                return self._drop()
        pair.requested = value
        return True

    def _head(self, pair, value):
        size = pair.completion.depth
        moved = (value - pair.head) % size
        if "head" not in self.off:
            if not 0 <= value < size or moved > pair.unread:
                return self._drop()
        pair.head = value
        pair.unread -= min(moved, pair.unread)
        self.device.completion_doorbell(pair.number, value)
        return True

    def room(self, pair):
        """Return how many more commands of a pair may be granted now."""
        queue = pair.submission
        if "tail" in self.off:
            return (pair.requested - queue.granted) % queue.depth or int(
                pair.requested != queue.granted)
        room = min((pair.requested - queue.granted) % queue.depth,
                   queue.window - (queue.granted - queue.first) % queue.depth,
                   queue.depth - 1 - pair.in_flight)
        if "cq_space" not in self.off:
            room = min(room, pair.completion.depth - 1 - pair.in_flight - pair.unread)
        return max(room, 0)

    def step(self, limit=64):
        """Grant up to `limit` commands; tell how many."""
        total, colours = 0, list(self.accounts)
        for account in self.accounts.values():
            account.tokens = min(account.tokens + account.rate, 4 * account.rate)
            account.bytes = min(account.bytes + account.byte_rate, 4 * account.byte_rate)
        idle = 0
        while total < limit and idle < len(colours):
            colour = colours[self.turn % len(colours)]
            account = self.accounts[colour]
            if not self.visited:
                account.deficit = min(account.deficit, 0) + self.quantum * account.weight
            count = self._serve(colour, account, limit - total)
            total, idle = total + count, 0 if count else idle + 1
            # The turn goes on when the deficit is used up, or nothing can be granted.
            self.visited = bool(count) and account.deficit > 0
            self.turn += not self.visited
        if "fair" in self.off:
            self.turn, self.visited = 0, False
        return total

    def _serve(self, colour, account, limit):
        total = 0
        for pair in self._waiting(colour):
            count = min(self.room(pair), limit - total)
            if "fair" not in self.off:
                count = min(count, account.deficit)
            if "buckets" not in self.off and account.rate:
                count = min(count, int(account.tokens))
            if "buckets" not in self.off and account.byte_rate and account.bytes < 0:
                count = 0
            if count > 0:
                self._grant(pair, account, count)
                total += count
        return total

    def _waiting(self, colour):
        if self.guests[colour].state != "run" and "freeze" not in self.off:
            return []
        return [pair for pair in self.pairs.values() if pair.colour == colour and self.room(pair)]

    def _grant(self, pair, account, count):
        """Mark as granted first, then ring: a device may fetch at once."""
        queue = pair.submission
        account.deficit -= count
        account.tokens -= count
        account.granted += count
        pair.in_flight += count
        if "tail" in self.off:
            queue.granted = pair.requested
        else:
            queue.granted = (queue.granted + count) % queue.depth
        self.device.doorbell(pair.number, queue.granted)
