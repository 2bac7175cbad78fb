"""Operations on shared devices and on guests, which the fast simulation models in its bench."""

__all__ = ["GUESTS", "AgentOperations"]

AGENT = 34
M64 = (1 << 64) - 1
(NVME, NVME_OPTIONS, OWNER, ISSUER, MONITOR, GUEST, GUEST_OPTIONS, GO, SUBMIT, FORGET, REPORT,
 WAIT, POLL, DISK_WRITE, DISK_READ, TRACE, GIVE_UP, ON_INTERRUPT, NIC, NIC_OPTIONS, PEER,
 NIC_GUEST, NIC_GUEST_OPTIONS) = range(1, 24)
GUESTS = {"scripted": 0, "linux": 1, "hostile": 2}
REPORTS = {"monitor": 0, "nvme": 1, "guest": 2, "nic": 3, "nic_guest": 4}


class AgentOperations:
    """The part of a :class:`Program` about agents. `iovirt_sim.sharing` has what tests use."""

    def _agent(self, what, number, *words):
        return self._add(AGENT, what | number << 16, *(word & M64 for word in words))

    def nvme(self, function, rid, *, segment=0):
        """Let the function with this number be an NVMe controller."""
        return self._agent(NVME, function, rid | segment << 16)

    def nvme_options(self, function, options):
        """Set options by number: {number: value}."""
        return self._agent(NVME_OPTIONS, function, *_pairs(options))

    def owner(self, guest, *, colour=0, key=0, nsid=0, base=0, count=M64):
        """Say what a guest may use: its addresses and, of the device, its blocks."""
        return self._agent(OWNER, guest, colour | key << 32, nsid, base, count)

    def issuer(self, function, queue, guest):
        """Say whose a queue pair is that will be created."""
        return self._agent(ISSUER, function, queue, guest)

    def monitor(self, offset_bits, key_bits, *, strict=False):
        """Set the layout of addresses. If ``strict``, a breach fails the run."""
        return self._agent(MONITOR, 0, offset_bits | key_bits << 8 | strict << 16)

    def guest(self, number, kind, pages):
        """Make a guest's driver of one queue pair; ``pages`` are addresses in memory."""
        return self._agent(GUEST, number, GUESTS[kind], *pages)

    def guest_options(self, number, options):
        """Set options by number: {number: value}."""
        return self._agent(GUEST_OPTIONS, number, *_pairs(options))

    def go(self, number, commands):
        """Let a guest do that many commands more; it is not waited for."""
        return self._agent(GO, number, commands)

    def submit(self, number, entry, *, ring=True):
        """Let a guest put this entry of 64 bytes into its ring."""
        words = [int.from_bytes(entry[n:n + 8], "little") for n in range(0, 64, 8)]
        return self._agent(SUBMIT, number, ring, *words)

    def give_up(self, number):
        """Let a guest start no more commands."""
        return self._agent(GIVE_UP, number)

    def restart(self, number):
        """Let a guest empty its rings and forget what was in flight."""
        return self._agent(FORGET, number)

    def on_interrupt(self, number, index):
        """Tell a guest when records of this index are read."""
        return self._agent(ON_INTERRUPT, number, index)

    def report(self, what, number=0):
        """Get the counts of the "monitor", or of an "nvme", a "guest", a "nic", or a "nic_guest":
        event ``agent``.
        """
        return self._agent(REPORT, number, REPORTS[what])

    def wait_guests(self, *, stall=100_000, limit=M64 >> 1):
        """Wait until no guest has anything to do: event ``agent``, with the clocks that it took.

        It also ends after ``stall`` clocks without a completion for a guest that waits for one, or
        after ``limit`` clocks; the numbers of these guests follow.
        """
        return self._agent(WAIT, 0, stall, limit)

    def poll_memory(self, address, *, mask, value, timeout=100_000):
        """Wait until a word of memory is ``value`` under ``mask``: event ``timeout`` if not."""
        return self._agent(POLL, 0, address, mask, value, timeout)

    def write_disk(self, function, block, words, *, nsid=1):
        """Write 64-bit words to the medium."""
        return self._agent(DISK_WRITE, function, nsid, block, *words)

    def read_disk(self, function, block, count, *, nsid=1):
        """Read 64-bit words of the medium: event ``memory``."""
        return self._agent(DISK_READ, function, nsid, block, count)

    def trace(self, function, on=True):
        """Give an event ``device_dma`` for each DMA of a function."""
        return self._agent(TRACE, function, on)

    def nic(self, function, rid, *, segment=0):
        """Let the function with this number be a ring NIC."""
        return self._agent(NIC, function, rid | segment << 16)

    def nic_options(self, function, options):
        """Set options by number: {number: value}."""
        return self._agent(NIC_OPTIONS, function, *_pairs(options))

    def peer(self, function, queue, other):
        """Let packets sent on a queue be received on another one."""
        return self._agent(PEER, function, queue, other)

    def nic_guest(self, number, pages):
        """Make a guest's driver of a pair of NIC rings."""
        return self._agent(NIC_GUEST, number, *pages)

    def nic_guest_options(self, number, options):
        """Set options by number: {number: value}."""
        return self._agent(NIC_GUEST_OPTIONS, number, *_pairs(options))


def _pairs(options):
    return [word for pair in options.items() for word in pair]
