"""What the self-test is made of, in plain Python: memory contents, accesses, register program."""

from dataclasses import dataclass

from iovirt_sim.tables import PTE, TableBuilder

__all__ = ["BASE", "POLL", "REPLY", "RUN", "SIZE", "WRITE", "Access", "Step", "accesses",
           "faults_of", "memory_words", "register_program"]

PAGE = 4096
#: Memory of the system. A page of 2 MiB begins at its base.
BASE, SIZE = 0x8000_0000, 32 * PAGE
COMMANDS, FAULTS, DATA = (BASE + page * PAGE for page in (14, 15, 16))

#: Requester IDs: a device with pages of 4 KiB, one with a page of 2 MiB, one without a context.
SMALL, LARGE, UNKNOWN = 0x0108, 0x0110, 0x0118
SMALL_IOVA, LARGE_IOVA = 0x0040_3000, 0x123_4560_0000
#: Pages of the first device, in the order of its IOVAs. The last is the first again, read-only.
FRAMES = (2, 0, 3, 1)
READ_ONLY = SMALL_IOVA + len(FRAMES) * PAGE
UNMAPPED  = READ_ONLY + PAGE

#: What a completion says, as in its status field.
REPLY = {"SC": 0, "UR": 1, "CA": 4}


@dataclass(frozen=True)
class Access:
    """A memory request of a device.

    ``expect`` is the status of the completion; a write that gets "UR" has no effect. With
    ``settled``, it is sent when every read before it has been answered.
    """

    rid: int
    address: int
    length: int
    write: bool = False
    expect: str = "SC"
    settled: bool = False

    @property
    def key(self):
        """Number of the first Dword in memory; if it has none, with the right low bits."""
        offset = self.address - SMALL_IOVA
        if self.expect != "SC":
            return self.address >> 2 & 0x3ff
        if self.rid == LARGE:
            return (self.address - LARGE_IOVA) // 4
        frame = (*FRAMES, FRAMES[0])[offset // PAGE]
        return (DATA - BASE + frame * PAGE + offset % PAGE) // 4

    @property
    def dwords(self):
        """Number of Dwords, those touched in part included."""
        return (self.address % 4 + self.length + 3) // 4

    @property
    def byte_enables(self):
        """First and last byte enables."""
        start, end = self.address % 4, (self.address + self.length - 1) % 4 + 1
        first, last = 0xf << start & 0xf, (1 << end) - 1
        return (first, last) if self.dwords > 1 else (first & last, 0)


def accesses():
    """Return the accesses of a round, in order."""
    page = [SMALL_IOVA + n * PAGE for n in range(len(FRAMES))]
    shared = LARGE_IOVA + DATA - BASE
    write = lambda address, length, **more: Access(SMALL, address, length, write=True, **more)
    read  = lambda address, length, **more: Access(SMALL, address, length, **more)
    other = lambda offset, length, **more: Access(LARGE, shared + offset, length, **more)
    return (
        # Whole lines, then pieces that meet inside a Dword, or inside a beat.
        write(page[0], 256), write(page[0] + 256, 256),
        write(page[1], 37), write(page[1] + 37, 90), write(page[1] + 127, 1),
        write(page[1] + 128, 6), write(page[1] + 134, 122),
        write(page[2] + 4, 4), write(page[2] + 8, 8), write(page[2] + 16, 60),
        write(page[3] + PAGE - 64, 64), write(page[3], 128),
        # Denied; had they an effect, the reads below would see it.
        write(READ_ONLY, 64, expect="UR"), write(UNMAPPED, 16, expect="UR"),
        Access(UNKNOWN, page[1], 32, write=True, expect="UR"),
        # Longer than a completion, not aligned, short.
        read(page[0], 512), read(page[0] + 3, 300), read(page[1], 256), read(page[1] + 35, 5),
        read(page[1] + 127, 1), read(page[2] + 4, 72), read(page[3] + PAGE - 64, 64),
        read(page[3] + 60, 68), read(READ_ONLY + 250, 12),
        read(UNMAPPED, 128, expect="UR"), Access(UNKNOWN, page[0], 4, expect="UR"),
        Access(LARGE, LARGE_IOVA - 64, 64, expect="UR"),
        # In the page of 2 MiB, but not in memory.
        Access(LARGE, LARGE_IOVA + SIZE, 128, expect="CA"),
        # The other device sees what the first has written, and the other way round.
        other(FRAMES[0] * PAGE, 512, settled=True), other(FRAMES[1] * PAGE + 1, 255),
        other(FRAMES[1] * PAGE + 512, 130, write=True),
        other(FRAMES[1] * PAGE + 642, 30, write=True),
        other(FRAMES[1] * PAGE + 512, 160),
        read(page[1] + 515, 156, settled=True),
    )


def faults_of(script):
    """Return the number of fault records that the accesses make."""
    return sum(access.expect == "UR" for access in script)


def memory_words():
    """Return the words of tables and commands by address, and the address of the directory."""
    memory = {}
    builder = TableBuilder(memory, base=BASE, limit=COMMANDS)
    small, large = (builder.second_stage("Sv39x4", gscid=gscid) for gscid in (1, 2))
    for n, frame in enumerate(FRAMES):
        small.map(SMALL_IOVA + n * PAGE, DATA + frame * PAGE)
    small.map(READ_ONLY, DATA + FRAMES[0] * PAGE, flags=PTE.DATA & ~(PTE.W | PTE.D))
    large.map(LARGE_IOVA, BASE, level=1)
    directory = builder.directory(2)
    for rid, stage in ((SMALL, small), (LARGE, large)):
        builder.device_context(directory, 2, rid, iohgatp=stage.iohgatp)
    # IODIR.INVAL_DDT, IOTINVAL.GVMA, IOFENCE.C with PR and PW.
    for n, command in enumerate((3, 1 | 1 << 7, 2 | 1 << 12 | 1 << 13)):
        memory[COMMANDS + 16 * n] = command
    return memory, directory


WRITE, POLL, RUN = range(3)


@dataclass(frozen=True)
class Step:
    """A step of the program: write a lane, read it until it has a value, or run the accesses."""

    kind: int
    address: int = 0
    data: int = 0
    mask: int = 0  # of bits that are polled, or of bytes that are written


def register_program(directory, faults):
    """Return the steps of a round, for 64-bit registers."""
    def place(register, value, size):
        shift = 8 * (register % 8)
        return register & ~7, value << shift, (1 << size) - 1 << register % 8

    def write(register, value, size=8):
        return Step(WRITE, *place(register, value, size))

    def poll(register, mask, value, size=4):
        lane, data, _ = place(register, value, size)
        return Step(POLL, lane, data, mask << 8 * (register % 8))

    def queue(base, address, head, csr):
        # Three commands fit, and the records of a round.
        return (write(csr, 0, 4), poll(csr, 3 << 16, 0), write(base, address >> 12 << 10 | 5),
                write(head, 0, 4), write(csr, 1, 4), poll(csr, 3 << 16, 1 << 16))

    ddtp, cqb, cqh, cqt, fqb, fqh, fqt, cqcsr, fqcsr = 16, 24, 32, 36, 40, 48, 52, 72, 76
    status = 0x2004
    return (
        poll(status, 1, 1),
        *queue(cqb, COMMANDS, cqt, cqcsr), *queue(fqb, FAULTS, fqh, fqcsr),
        write(ddtp, directory >> 12 << 10 | 3), poll(ddtp, 1 << 4, 0, 8),
        write(cqt, 3, 4), poll(cqh, 0xffff, 3),
        Step(RUN),
        poll(fqt, 0xffff, faults),
        write(ddtp, 0), poll(ddtp, 1 << 4, 0, 8),
    )
