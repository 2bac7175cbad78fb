"""An NVMe controller in the bench, and the manager's side of it: registers and the admin queue."""

from dataclasses import dataclass

from iovirt_sim.drivers import endpoint

from .agent import Agent

__all__ = ["CommandFailed", "Manager", "NvmeDevice"]

CC, CSTS, AQA, ASQ, ACQ, DOORBELLS, VECTORS = 0x14, 0x1C, 0x24, 0x28, 0x30, 0x1000, 0x2000
BAR_BYTES, ADMIN_DEPTH = 0x4000, 32
DELETE_SQ, CREATE_SQ, DELETE_CQ, CREATE_CQ, IDENTIFY, FEATURES = 0, 1, 4, 5, 6, 9


class CommandFailed(RuntimeError):
    """An admin command ended with an error, or did not end."""


@dataclass(frozen=True)
class Manager:
    """Memory of the manager that the device reaches at ``iova``: pages that lie at ``spa``."""

    iova: int
    spa:  int


class NvmeDevice(Agent):
    """A controller behind the link.

    Parameters
    ----------
    system : :class:`~iovirt_sim.system.System`.
    memory : :class:`Manager`: three pages, for the admin queues and data.
    number, rid : of its function.
    bar : its registers on PCIe; ``window`` is where cores have them.
    shared : whether the block writes doorbells, too.
    options : see ``cpp/sharing/nvme.h``.
    """

    REPORT, COUNTS, OPTIONS = "nvme", 1, 3

    def __init__(self, system, memory, *, window, bar=0xC000_0000, number=0, rid=0x0100,
                 segment=0, shared=False, **options):
        super().__init__(system, number)
        self.memory, self.window = memory, window
        self.rid, self.bar, self.segment = rid, bar, segment
        function = endpoint(rid & 255, bars={0: BAR_BYTES}, at={0: bar}, bus=rid >> 8)
        function.shared = shared
        system.program.function(number, function)
        system.program.nvme(number, rid, segment=segment)
        self.set(**options)

    def _set(self, options):
        self.program.nvme_options(self.number, options)

    # Registers, by the port of the cores

    def write(self, register, value, size=4):
        """Write a register."""
        self.program.pio_write(self.window + register, value.to_bytes(size, "little"))

    def read(self, register, size=4):
        """Return a register, at once."""
        op = self.program.pio_read(self.window + register, size)
        self.program.wait()
        event = next(e for e in self.system.run() if e.op == op)
        return event.values[7] & (1 << 8 * size) - 1

    def enable(self):
        """Set up the admin queues and switch on; wait until it is ready."""
        iova, p = self.memory.iova, self.program
        p.write_memory(self.memory.spa, [0] * 1024)
        for register, value, size in ((AQA, (ADMIN_DEPTH - 1) * 0x10001, 4), (ASQ, iova, 8),
                                      (ACQ, iova + 4096, 8), (CC, 0x46_0001, 4)):
            self.write(register, value, size)
        p.wait()
        self.admin_tail = self.admin_head = 0
        for _ in range(100):
            p.run(20)
            if self.read(CSTS) & 3:
                break
        status = self.read(CSTS)
        if status & 3 != 1:
            raise CommandFailed(f"The controller must become ready; CSTS is {status:#x}")

    def disable(self):
        """Reset the controller."""
        self.write(CC, 0)
        self.program.wait()

    # Administration

    def admin(self, opcode, *, prp1=0, words=(), check=True, timeout=200_000):
        """Execute an admin command; return (status, result)."""
        from .guests import command

        p, spa = self.program, self.memory.spa
        entry = command(opcode, prp1=prp1, nsid=0, cid=self.admin_tail, words=words)
        at = spa + 64 * self.admin_tail
        p.write_memory(at, [int.from_bytes(entry[n:n + 8], "little") for n in range(0, 64, 8)])
        self.admin_tail = (self.admin_tail + 1) % ADMIN_DEPTH
        self.write(DOORBELLS, self.admin_tail)
        lap, slot = divmod(self.admin_head, ADMIN_DEPTH)
        self.admin_head += 1
        at = spa + 4096 + 16 * slot
        p.poll_memory(at + 8, mask=1 << 48, value=(1 - lap % 2) << 48, timeout=timeout)
        op = p.read_memory(at, 2)
        self.write(DOORBELLS + 4, self.admin_head % ADMIN_DEPTH)
        events = self.system.run()
        low, high = next(e.values for e in events if e.op == op)
        late = any(e.kind == "timeout" for e in events)
        if check and (late or high >> 49):
            raise CommandFailed(f"Admin command {opcode:#x} must succeed; it "
                                + ("does not end" if late else f"gave {high >> 49:#x}"))
        return None if late else high >> 49, low & 0xffff_ffff

    def identify(self, cns=1, nsid=0):
        """Return 4096 bytes of Identify data."""
        self.admin(IDENTIFY, prp1=self.memory.iova + 8192, words=((1, nsid), (10, cns)))
        words = self.system.sim.read_memory(self.memory.spa + 8192, 512)
        return b"".join(word.to_bytes(8, "little") for word in words)

    def create_pair(self, queue, sq, cq, *, depth=64, cq_depth=None, guest=0, vector=None):
        """Create a queue pair, whose rings the device has at ``sq`` and ``cq``."""
        cq_depth = cq_depth or depth
        self.program.issuer(self.number, queue, guest)
        interrupts = 0 if vector is None else 2 | vector << 16
        self.admin(CREATE_CQ, prp1=cq, words=((10, queue | cq_depth - 1 << 16),
                                              (11, 1 | interrupts)))
        self.admin(CREATE_SQ, prp1=sq, words=((10, queue | depth - 1 << 16), (11, 1 | queue << 16)))

    def delete_pair(self, queue, **more):
        """Delete a queue pair."""
        self.admin(DELETE_SQ, words=((10, queue),), **more)
        self.admin(DELETE_CQ, words=((10, queue),), **more)

    def vector(self, number, address, data=0):
        """Set up a vector of MSI-X, and unmask it."""
        at = VECTORS + 16 * number
        for offset, value in ((0, address & 0xffff_ffff), (4, address >> 32), (8, data), (12, 0)):
            self.write(at + offset, value)
        self.program.wait()

    def doorbell(self, queue, side=0):
        """Return where cores have a doorbell; ``side`` 1: completion head."""
        return self.window + self.doorbell_offset(queue, side)

    @staticmethod
    def doorbell_offset(queue, side=0):
        """Return the offset of a doorbell in the BAR."""
        return DOORBELLS + 8 * queue + 4 * side
