"""The software side of a simulated system: memory map, tables, queues, a driver's commands."""

from .tables import SecondStage, TableBuilder
from .verilated import Program

__all__ = ["CommandError", "Platform", "iodir_inval_ddt", "iofence", "iotinval_gvma"]

PAGE = 4096
FCTL, DDTP, CQB, CQT, FQB, FQH, FQT, CQCSR, FQCSR = 8, 16, 24, 36, 40, 48, 52, 72, 76
ENABLE, ON, BUSY = 1, 1 << 16, 1 << 17
#: Where things are in physical memory; data is in the upper half of the address space.
COMMANDS, FAULTS, TABLES, TABLES_END = 0x10_0000, 0x20_0000, 0x100_0000, 0x4000_0000
RING_LOG2, FAULT_BYTES = 10, 32


class CommandError(RuntimeError):
    """The hardware did not do what the driver asked for."""


def iotinval_gvma(*, gscid=None, iova=None):
    """Return the command that drops translations: of all, of a domain, or of one page."""
    low = 1 | 1 << 7
    if gscid is not None:
        low |= 1 << 33 | gscid << 44
    if iova is None:
        return low, 0
    return low | 1 << 10, iova >> 12 << 10


def iodir_inval_ddt(device_id=None):
    """Return the command that drops device contexts: all, or one."""
    return (3, 0) if device_id is None else (3 | 1 << 33 | device_id << 40, 0)


def iofence():
    """Return the command that waits for everything before it, and for the DMA under way."""
    return 2 | 1 << 12 | 1 << 13, 0


class _Recorder(dict):
    """Memory that also puts each word written into a program."""

    def __init__(self, platform):
        super().__init__()
        self.platform = platform

    def __setitem__(self, address, word):
        super().__setitem__(address, word)
        self.platform.program.write_memory(address, (word,))


class Platform:
    """Tables, queues and devices of one simulated system.

    Everything it does is appended to :attr:`program`; `take` hands that over to be run.

    Parameters
    ----------
    config : what the hardware can do decides modes and widths.
    mode : second-stage mode; by default the widest that the hardware has, up to Sv48x4.
    levels : of the device directory; by default as many as the hardware has.
    """

    def __init__(self, config, *, mode=None, levels=None):
        remap = config.remap
        self.config  = config
        self.mode    = mode or remap.second_stage[:2][-1]
        self.program = Program()
        self.memory  = _Recorder(self)
        self.builder = TableBuilder(
            self.memory, base=TABLES, limit=TABLES_END,
            classify=lambda page, kind, domain, iova:
                self.program.classify(page, kind, domain, iova))
        self.levels    = levels or remap.ddt_levels
        self.directory = self.builder.directory(self.levels)
        self.domains   = {}
        self.contexts  = {}
        self.half      = remap.physical_address_bits - 1

    def take(self):
        """Return the program so far and start a new one."""
        program, self.program = self.program, Program()
        return program

    def bring_up(self):
        """Switch on the queues and translation."""
        p = self.program
        for page in range(COMMANDS, COMMANDS + (16 << RING_LOG2), PAGE):
            p.classify(page, "queue")
        p.background(1 << self.half, 2 << self.half, 0x10F1)
        p.write_csr(FCTL, 2, 4)
        p.write_csr(FQB, FAULTS >> 12 << 10 | RING_LOG2 - 1)
        p.write_csr(FQH, 0, 4)
        p.write_csr(CQB, COMMANDS >> 12 << 10 | RING_LOG2 - 1)
        p.write_csr(CQT, 0, 4)
        for register in (FQCSR, CQCSR):
            p.write_csr(register, ENABLE, 4)
            p.poll_csr(register, mask=ON | BUSY, value=ON, size=4)
        p.command_ring(COMMANDS, RING_LOG2)
        p.write_csr(DDTP, self.directory >> 12 << 10 | self.levels + 1)
        p.poll_csr(DDTP, mask=1 << 4, value=0)
        # Nothing but the replay's own statistics looks at what the tables' port writes.
        p.table_writes(log=False)

    def domain(self, gscid) -> SecondStage:
        """Return the address space of a domain, made at its first use."""
        if gscid not in self.domains:
            self.domains[gscid] = self.builder.second_stage(self.mode, gscid=gscid)
        return self.domains[gscid]

    def attach(self, device_id, gscid):
        """Let a device use a domain. Return False if it did already."""
        if self.contexts.get(device_id) == gscid:
            return False
        self.builder.device_context(self.directory, self.levels, device_id,
                                    iohgatp=self.domain(gscid).iohgatp)
        self.contexts[device_id] = gscid
        return True

    def command(self, command):
        """Queue a command."""
        self.program.command(*command)

    def fence(self):
        """Queue IOFENCE.C and wait until it is done."""
        self.command(iofence())
        self.program.wait_commands()

    def spa(self, frame):
        """Return the address of a data page: frames are spread over the upper half of memory."""
        bits = self.half - 12
        if frame >> bits:
            raise ValueError(f"Frame must fit {bits} bits, not {frame:#x}")
        scattered = (frame * 0x9E3779B1 + 0x5A5A5) & (1 << bits) - 1
        return (1 << bits | scattered) << 12

    def faults(self, sim):
        """Return the fault records, as (cause, device_id, iova), that a simulation has queued."""
        count = sim.read_csr(FQT, 4)
        words = sim.read_memory(FAULTS, count * FAULT_BYTES // 8) if count else []
        return [(words[n] & 0xfff, words[n] >> 40, words[n + 2]) for n in range(0, len(words), 4)]
