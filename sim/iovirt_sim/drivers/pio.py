"""Set-up of programmed I/O, accesses of cores, and enumeration of what is behind the port."""

from dataclasses import dataclass, field

from iovirt_sim.verilated import PioAnswer

from .registers import Registers

__all__ = ["ECAM", "Found", "PioDriver"]

#: Where the cores have the ECAM window; memory windows are put above it.
ECAM = 0x30_0000_0000
POLICY = {"ones": 0, "error": 1, "poison": 2}
COMMAND, HEADER, BAR0, BUSES, MEMORY, PREFETCH = 0x04, 0x0C, 0x10, 0x18, 0x20, 0x24
TYPE1, MULTI = 1, 0x80
MEMORY_ENABLE, MASTER_ENABLE = 2, 4


@dataclass
class Found:
    """A function that enumeration found: ``bars`` is {number: (address, size)}."""

    bus:      int
    devfn:    int
    vendor:   int
    device:   int
    bridge:   bool
    bars:     dict = field(default_factory=dict)
    behind:   list = field(default_factory=list)
    buses:    tuple = ()

    @property
    def rid(self):
        """Its requester ID."""
        return self.bus << 8 | self.devfn


class PioDriver:
    """Programmed I/O of one system.

    Methods that set something up are appended to its program. `config_read` and what builds on
    it run the program and return values.

    Parameters
    ----------
    system : :class:`~iovirt_sim.system.System`, or anything with its ``config``, ``program``,
        ``sim`` and ``run``.
    ecam : where the ECAM window is.
    """

    def __init__(self, system, *, ecam=ECAM):
        self.system    = system
        self.registers = Registers(system.config)
        self.ecam      = ecam
        self.devices   = {}

    @property
    def program(self):
        """The program of the system."""
        return self.system.program

    def set(self, name, **fields):
        """Write a register from its fields."""
        return self.program.write_csr(self.registers.offset(name),
                                      self.registers.pack(name, **fields),
                                      self.registers.size(name))

    def read(self, name):
        """Return a register as {field: content}, at once."""
        self.system.run()
        value = self.system.sim.read_csr(self.registers.offset(name), self.registers.size(name))
        return self.registers.unpack(name, value)

    # Set-up

    def wait_ready(self):
        """Wait until the tables have been cleared after reset."""
        bit = self.registers.pack("pio_status", pio_ready=1)
        self.program.poll_csr(self.registers.offset("pio_status"), mask=bit, value=bit, size=4)

    def open_ecam(self, *, log2=28, policy="ones"):
        """Switch the ECAM window on."""
        self.program.window(self.ecam, 1 << log2, 0, configuration=True)
        self.set("ecam_window", enable=1, policy=POLICY[policy], size_log2=log2, base=self.ecam)

    def open_window(self, number, base, size, target, *, policy="ones", guest=0, completer=0,
                    completer_mask=0xffff):
        """Switch a memory window on: ``size`` bytes at ``base`` are ``target`` on PCIe."""
        self.program.window(base, size, target)
        self.set(f"extent_{number}", mask=size - 1)
        self.set(f"target_{number}", base=target)
        self.set(f"owner_{number}", guest=guest, completer=completer,
                 completer_mask=completer_mask)
        self.set(f"window_{number}", enable=1, policy=POLICY[policy], base=base)

    def open_port(self, secondary, subordinate):
        """Set the header of the port up, without looking at what is behind it."""
        p = self.program
        for register, value, size in ((BUSES, secondary << 8 | subordinate << 16, 4),
                                      (COMMAND, MEMORY_ENABLE | MASTER_ENABLE, 2)):
            p.pio_write(self.ecam + register, value.to_bytes(size, "little"), expect="any")
        p.wait()

    def connect(self, number, function):
        """Put a :class:`~iovirt_sim.verilated.Function` behind the link."""
        self.devices[number] = function
        self.program.function(number, function)

    def link(self, up):
        """Let the link go up or down."""
        self.program.set(self.system.sim.setting("link_up"), int(up))
        self.program.run(2)

    # Accesses that are waited for

    def access(self, name, *arguments, **options):
        """Execute ``pio_read`` or ``pio_write`` alone; return its :class:`PioAnswer`."""
        self.system.run()
        op = getattr(self.program, name)(*arguments, report=True, **options)
        self.program.wait()
        return self.answers(self.system.run())[op]

    @staticmethod
    def answers(events):
        """Return {operation: PioAnswer} of the events of a run."""
        return {event.op: PioAnswer.of(event) for event in events if event.kind == "pio"}

    def config_address(self, rid, register):
        """Return where a register of a function is in the ECAM window."""
        return self.ecam + (rid << 12) + register

    def config_read(self, rid, register, size=4):
        """Return a register of configuration space, at once; all ones if nothing is there."""
        address = self.config_address(rid, register)
        return self.access("pio_read", address, size, expect="any").value

    def config_write(self, rid, register, value, size=4):
        """Write a register of configuration space, and wait for the device."""
        return self.access("pio_write", self.config_address(rid, register),
                           value.to_bytes(size, "little"), expect="any")

    # Enumeration, depth first

    def enumerate(self, *, primary=0, memory=0xC000_0000, prefetchable=0x80_0000_0000):
        """Number buses, size and place BARs, switch everything on; return what was found.

        The port's own header is function 0 of bus ``primary``.
        """
        self.next_bus = primary + 1
        self.next = {False: memory, True: prefetchable}
        return self._function(primary, 0)

    def _function(self, bus, devfn):
        rid = bus << 8 | devfn
        identity = self.config_read(rid, 0)
        if identity & 0xffff in (0xffff, 0x0001):
            return None
        kind = self.config_read(rid, HEADER) >> 16
        found = Found(bus, devfn, identity & 0xffff, identity >> 16, bool(kind & TYPE1))
        if found.bridge:
            self._bridge(found)
        else:
            self._bars(found)
        self.config_write(rid, COMMAND, MEMORY_ENABLE | MASTER_ENABLE, 2)
        return found

    def _bridge(self, found):
        rid, secondary = found.rid, self.next_bus
        self.next_bus += 1
        self.config_write(rid, BUSES, found.bus | secondary << 8 | 0xff << 16)
        begin = dict(self.next)
        for function in range(8):
            child = self._function(secondary, function)
            if child:
                found.behind.append(child)
            multi = self.config_read(secondary << 8, HEADER) >> 16 & MULTI
            if function == 0 and not (child and multi):
                break
        for device in range(1, 4):
            if child := self._function(secondary, device << 3):
                found.behind.append(child)
        last = self.next_bus - 1
        found.buses = (found.bus, secondary, last)
        self.config_write(rid, BUSES, found.bus | secondary << 8 | last << 16)
        for wide in (False, True):
            self.next[wide] = -(-self.next[wide] >> 20) << 20
        low, high = begin[False], self.next[False] - 1
        self.config_write(rid, MEMORY, low >> 16 & 0xfff0 | high & 0xfff0_0000)
        low, high = begin[True], self.next[True] - 1
        self.config_write(rid, PREFETCH, low >> 16 & 0xfff0 | high & 0xfff0_0000)
        self.config_write(rid, PREFETCH + 4, low >> 32)
        self.config_write(rid, PREFETCH + 8, high >> 32)

    def _bars(self, found):
        bar = 0
        while bar < 6:
            register = BAR0 + 4 * bar
            self.config_write(found.rid, register, 0xffff_ffff)
            mask = self.config_read(found.rid, register)
            wide = mask & 6 == 4
            if wide:
                self.config_write(found.rid, register + 4, 0xffff_ffff)
                mask |= self.config_read(found.rid, register + 4) << 32
            if mask & ~15:
                size = (mask & -16) & -(mask & -16)
                at = -(-self.next[wide] // size) * size
                self.next[wide] = at + size
                found.bars[bar] = at, size
                self.config_write(found.rid, register, at & 0xffff_ffff)
                if wide:
                    self.config_write(found.rid, register + 4, at >> 32)
            bar += 2 if wide else 1
