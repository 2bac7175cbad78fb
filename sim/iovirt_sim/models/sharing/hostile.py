"""What the worst guest writes: pointers, commands and doorbells, different at every look."""

from .layout import KINDS
from .memory import HostileMemory

__all__ = ["HostileRing", "hostile_memory", "hostile_pointer"]

OPCODES = [0, 1, 2, 5, 8, 9, 12] * 3 + [1, 2] * 20 + [4, 0x0d, 0x19, 0x79, 0x80, 0xff]
OFFSETS = [0, 0, 4, 8, 16, 0x200, 0x800, 0xff0, 0xff8, 0xffc, 0xfff, 0x1f8, 3840, 3848]


def hostile_pointer(world, colour):
    """Return a pointer: own, foreign with its right key, of another kind, the manager's, or MSI."""
    rng = world.rng
    choice = rng.randrange(8)
    offset = (rng.randrange(1, 1 << 16) << 12) + rng.choice(OFFSETS)
    if choice == 0:
        return rng.choice((0, 0xfee0_0000, 8)) + rng.choice((0, 0, 0x200))
    if choice == 1:
        return rng.getrandbits(64)
    if choice == 2:
        return (1 << 40) - rng.choice((1, 8, 512, 4096))
    owner = colour if choice < 5 else rng.choice(list(world.guests))
    kind = rng.choice(list(KINDS.values())) if choice == 3 else KINDS["data"]
    return world.layout.pack(world.guests[owner].key, owner, kind, offset)


def hostile_memory(world, colour):
    """Return memory full of hostile pointers that change at every read."""
    return HostileMemory(lambda: hostile_pointer(world, colour))


class HostileRing:
    """A submission ring whose every read gives a fresh hostile command.

    Parameters
    ----------
    sgl : share of commands with scatter-gather lists.
    """

    def __init__(self, world, colour, sgl=0.1):
        self.world, self.colour, self.sgl = world, colour, sgl

    def read(self, offset, length, kind=0):
        """Return entries."""
        lead = offset % 64
        data = b"".join(self.entry() for _ in range(-(-(lead + length) // 64)))
        return data[lead:lead + length]

    def write(self, offset, data):
        """Forget the data."""

    def entry(self):
        """Return a command at the edges of what is allowed."""
        rng, world = self.world.rng, self.world
        entry = bytearray(rng.randbytes(64))
        entry[0] = rng.choice(OPCODES) if rng.random() < .95 else rng.randrange(256)
        sgl = rng.random() < self.sgl
        entry[1] = (0x40 if sgl else 0) if rng.random() < .95 else rng.randrange(256)
        entry[4:8] = rng.randrange(1, len(world.guests) + 2).to_bytes(4, "little")
        for at in (16, 24, 32):
            entry[at:at + 8] = hostile_pointer(world, self.colour).to_bytes(8, "little")
        if sgl:
            length = rng.choice((0, 16, 32, 64, 4096, 8192, 0xffff_ffff, 24))
            entry[32:36] = length.to_bytes(4, "little")
            entry[39] = rng.choice((0, 0x20, 0x30, 0x30, 0x10, 0x40, 0x01, 0xf0))
        size = rng.choice((1, 2, 7, 8, 9, 15, 16, 17, 23, 24, 25, 64, 129, 2048, 2049, 65536))
        limit = world.guests[self.colour].parameters[3]
        block = rng.choice((0, 1, limit - size, limit - size + 1, limit, rng.randrange(limit),
                            (1 << 64) - size, (1 << 64) - 1, 1 << 63))
        entry[40:48] = (block & (1 << 64) - 1).to_bytes(8, "little")
        entry[48:50] = (size - 1).to_bytes(2, "little")
        entry[50] = max(entry[50], 224) - 224   # mostly 0: else the command is refused
        return bytes(entry)
