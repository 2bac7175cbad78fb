"""Guest drivers: commands, and the PRP shapes of Linux's NVMe driver."""

from .address import PAGE

__all__ = ["LinuxDriver", "command"]

FLUSH, WRITE, READ, COMPARE, ZEROES, DSM = 0, 1, 2, 5, 8, 9


def command(opcode, *, block=0, count=1, prp1=0, prp2=0, identifier=0, namespace=1, flags=0,
            metadata=0, words=()):
    """Return a submission entry; `words` are (Dword, number) that overwrite the rest."""
    entry = bytearray(64)
    entry[0], entry[1] = opcode, flags
    entry[2:4] = identifier.to_bytes(2, "little")
    entry[4:8] = namespace.to_bytes(4, "little")
    for at, value in ((16, metadata), (24, prp1), (32, prp2), (40, block)):
        entry[at:at + 8] = value.to_bytes(8, "little")
    entry[48:50] = (count - 1).to_bytes(2, "little")
    for dword, value in words:
        entry[4 * dword:4 * dword + 4] = value.to_bytes(4, "little")
    return bytes(entry)


class LinuxDriver:
    """A driver that writes and reads back its blocks, with real data, by the shapes of Linux.

    Lists of up to 32 entries lie in blocks of 256 bytes, longer ones in a page of their own. The
    buffers of one command are pages in any order; only the first one may start inside its page.
    """

    def __init__(self, world, colour, seed=1):
        self.world, self.colour = world, colour
        self.memory = world.guests[colour].memory
        self.pages = list(range(16, 1024))
        world_random = type(world.rng)(seed * 1000 + colour)
        world_random.shuffle(self.pages)
        self.random, self.blocks, self.identifier = world_random, {}, 0

    def transfer(self, opcode, block, count, data=None):
        """Build a command; return (entry, pages and offset of its buffer)."""
        length = 512 * count
        offset = self.random.choice((0, 0, 0, 512, 1024, 3584))
        number = -(-(offset + length) // PAGE)
        pages = [self.pages.pop() for _ in range(number)]
        if data is not None:
            self._move(pages, offset, data)
        prp2 = 0
        if number == 2:
            prp2 = pages[1] * PAGE
        elif number > 2:
            prp2 = self._list(pages[1:])
        self.identifier = self.identifier + 1 & 0xffff
        entry = command(opcode, block=block, count=count, prp1=pages[0] * PAGE + offset, prp2=prp2,
                        identifier=self.identifier)
        return entry, (pages, offset)

    def _list(self, pages):
        """Write a PRP list; the block at 3840 with 32 entries uses slot 511."""
        at = self.pages.pop() * PAGE
        if len(pages) <= 32:
            at += 256 * self.random.choice((0, 1, 7, 15))
        for n, page in enumerate(pages):
            self.memory.write(at + 8 * n, (page * PAGE).to_bytes(8, "little"))
        return at

    def _move(self, pages, offset, data=None, length=0):
        """Write data to a buffer, or read it."""
        result, done = b"", 0
        length = len(data) if data is not None else length
        for page in pages:
            part = min(PAGE - offset, length - done)
            if data is not None:
                self.memory.write(page * PAGE + offset, data[done:done + part])
            else:
                result += self.memory.load(page * PAGE + offset, part)
            done, offset = done + part, 0
        return result

    def write(self, block, count):
        """Write blocks with fresh data; return the status."""
        data = self.random.randbytes(512 * count)
        entry, _ = self.transfer(WRITE, block, count, data)
        status, = self.world.submit(self.colour, entry)
        if status == 0:
            for n in range(count):
                self.blocks[block + n] = data[512 * n:512 * n + 512]
        return status

    def check(self, block, count):
        """Read blocks; tell whether every byte is as last written."""
        entry, (pages, offset) = self.transfer(READ, block, count)
        status, = self.world.submit(self.colour, entry)
        got = self._move(pages, offset, length=512 * count)
        wanted = b"".join(self.blocks.get(block + n, bytes(512)) for n in range(count))
        return status == 0 and got == wanted
