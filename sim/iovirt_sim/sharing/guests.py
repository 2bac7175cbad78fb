"""Guests: drivers of NVMe queue pairs in the bench, honest, hostile, or scripted."""

from .agent import Agent

__all__ = ["Guest", "command"]

FLUSH, WRITE, READ, COMPARE, ZEROES, DSM = 0, 1, 2, 5, 8, 9


def command(opcode, *, block=0, count=1, prp1=0, prp2=0, cid=0, nsid=1, flags=0, metadata=0,
            words=()):
    """Return a submission entry; ``words`` are (Dword, number) that overwrite the rest."""
    entry = bytearray(64)
    entry[0], entry[1] = opcode, flags
    entry[2:4], entry[4:8] = cid.to_bytes(2, "little"), nsid.to_bytes(4, "little")
    for at, value in ((16, metadata), (24, prp1), (32, prp2), (40, block)):
        entry[at:at + 8] = (value & (1 << 64) - 1).to_bytes(8, "little")
    entry[48:50] = (count - 1).to_bytes(2, "little")
    for dword, value in words:
        entry[4 * dword:4 * dword + 4] = value.to_bytes(4, "little")
    return bytes(entry)


class Guest(Agent):
    """A driver of one queue pair, in the bench. Several of them may be of one guest.

    Parameters
    ----------
    system : :class:`~iovirt_sim.system.System`.
    number : of this driver.
    pages : where its pages are in memory; it has them at ``gpa``, one after the other.
    kind : "linux" does random commands and checks every byte; "hostile" does its worst;
        "scripted" does what `submit` says.
    options : see ``cpp/sharing/guest.h``. Rings, doorbells and ``gpa`` are needed.
    """

    REPORT, COUNTS, OPTIONS = "guest", 2, 4

    def __init__(self, system, number, pages, *, kind="linux", **options):
        super().__init__(system, number)
        self.kind, self.pages = kind, list(pages)
        system.program.guest(number, kind, self.pages)
        self.set(**{"guest": number, "seed": number, **options})
        self.restart()

    def _set(self, options):
        self.program.guest_options(self.number, options)

    def interrupt(self, index):
        """Let it look for completions only when a record of this index has been read."""
        self.set(interrupts=1, index=index)
        self.program.on_interrupt(self.number, index)
        self.program.tolerate(index)

    def go(self, commands):
        """Let it do that many commands more."""
        self.program.go(self.number, commands)

    def submit(self, entry, *, ring=True):
        """Let it put an entry into its ring."""
        return self.program.submit(self.number, entry, ring=ring)

    def restart(self):
        """Let it start afresh, with empty rings, after a reset."""
        self.program.restart(self.number)

    def gpa(self, page, offset=0):
        """Return the address that the guest has for a byte of a page."""
        return self.values["gpa"] + 4096 * page + offset

    def write(self, page, offset, data):
        """Write bytes to one of its pages; offset and length must be multiples of 8."""
        words = [int.from_bytes(data[n:n + 8], "little") for n in range(0, len(data), 8)]
        self.program.write_memory(self.pages[page] + offset, words)

    def read(self, page, offset, length):
        """Return bytes of one of its pages, at once."""
        self.system.run()
        words = self.system.sim.read_memory(self.pages[page] + offset, -(-length // 8))
        return b"".join(word.to_bytes(8, "little") for word in words)[:length]
