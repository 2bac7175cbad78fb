"""Memory behind the write channels of an AXI4 bus, for agents of :mod:`.clocked`."""

import random
from collections import deque

__all__ = ["BusMemory"]

OKAY, SLVERR = 0, 2
WORD = (1 << 32) - 1


class BusMemory:
    """Memory of 4-byte words that shows a write when it answers it, not before.

    Parameters
    ----------
    width : of data, in bits.
    seed : of latencies, stalls, and of the order of answers.
    latency : (least, most) clocks from a write to its answer; writes of other IDs may overtake.
    stall : probability that a channel does not take or give in a clock.
    begin : called with the address of each write that has arrived.
    show : called with the address and ``{address: word}`` of each write as it is answered.
    """

    def __init__(self, *, width, seed=0, latency=(5, 5), stall=0.0, begin=None, show=None):
        self.width   = width
        self.random  = random.Random(seed)
        self.latency = latency
        self.stall   = stall
        self.begin   = begin or (lambda address: None)
        self.show    = show or (lambda address, words: None)
        self.words   = {}
        self.fails   = lambda address: False
        self.clock   = 0
        self.beats   = 0

    def _go(self):
        return not self.stall or self.random.random() >= self.stall

    def serve(self, io):
        """Answer the write channels."""
        addresses, beats, pending, offered = deque(), deque(), [], False
        io["bus__awready"] = io["bus__wready"] = 1
        while True:
            yield
            self.clock += 1
            if io["bus__awready"] and io["bus__awvalid"]:
                addresses.append((io["bus__awid"], io["bus__awaddr"], io["bus__awlen"],
                                  1 << io["bus__awsize"]))
            if io["bus__wready"] and io["bus__wvalid"]:
                beats.append((io["bus__wdata"], io["bus__wstrb"]))
                self.beats += 1
            while addresses and len(beats) > addresses[0][2]:
                ident, address, length, size = addresses.popleft()
                self.begin(address)
                pending.append((self.clock + self.random.randint(*self.latency), ident, address,
                                self._gather(address, size, [beats.popleft()
                                                             for _ in range(length + 1)])))
            if offered and io["bus__bready"]:
                offered = False
                io["bus__bvalid"] = 0
            if not offered and pending and self._go():
                offered = self._answer(io, pending)
            if self.stall:
                io["bus__awready"], io["bus__wready"] = self._go(), self._go()

    def _gather(self, address, size, beats):
        """Return the words of a write."""
        words, step = {}, self.width // 8
        for n, (data, strobe) in enumerate(beats):
            start = (address + n * size) // step * step
            for lane in range(0, step, 4):
                if strobe >> lane & 15:
                    assert strobe >> lane & 15 == 15
                    words[start + lane] = data >> 8 * lane & WORD
        return words

    def _answer(self, io, pending):
        """Offer one answer that is due, the oldest of its ID, if there is one."""
        heads, due = set(), []
        for n, item in enumerate(pending):
            if item[1] not in heads:
                heads.add(item[1])
                if item[0] <= self.clock:
                    due.append(n)
        if not due:
            return False
        _, ident, address, words = pending.pop(self.random.choice(due))
        failed = self.fails(address)
        if not failed:
            self.words.update(words)
            self.show(address, words)
        io["bus__bid"], io["bus__bresp"] = ident, SLVERR if failed else OKAY
        io["bus__bvalid"] = 1
        return True
