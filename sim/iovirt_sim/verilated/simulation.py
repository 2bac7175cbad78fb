"""A design that runs: the shared library behind plain Python calls."""

import ctypes
from array import array

from .build import build
from .program import Command, Program, Transfer, Translation, read_events

__all__ = ["CheckFailed", "Simulation", "Timeout", "open_simulation"]


class CheckFailed(AssertionError):
    """The design broke a rule that the bench checks. The message says which, where and when."""


class Timeout(RuntimeError):
    """A register did not take the value that was waited for."""


def open_simulation(design, *, vcd=None, fst=None, say=None, slow=False):
    """Return a :class:`Simulation` of ``design``, built if it is not cached.

    ``vcd`` or ``fst`` is a file for waveforms (a slower library is built for them). ``say`` is
    called with a line of text before each step that takes long. ``slow`` uses the Amaranth
    simulator instead, which needs no tools, checks less, and is some hundred times slower.
    """
    if slow:
        from .slow import SlowSimulation  # it imports this module

        return SlowSimulation(design, vcd=vcd)
    waves = "vcd" if vcd else "fst" if fst else None
    return Simulation(build(design, waves=waves, say=say), str(vcd or fst or ""))


class Calls:
    """Programs of one operation, as calls. ``run`` and ``set`` are the subclass's."""

    def reset(self, clocks=4):
        """Reset the design and empty the queues of the bench; memory stays."""
        self._do("reset", clocks)

    def step(self, clocks=1):
        """Let clocks pass."""
        self._do("run", clocks)

    def write_memory(self, address, words):
        """Write 64-bit words."""
        self._do("write_memory", address, words)

    def read_memory(self, address, count=1):
        """Return 64-bit words."""
        return self._do("read_memory", address, count)[-1].values

    def clear_memory(self):
        """Make memory all zero, without failing ranges."""
        self._do("clear_memory")

    def background(self, low, high, seed):
        """Fill what nobody wrote; see :meth:`Program.background`."""
        self._do("background", low, high, seed)

    def fail(self, address, length, kind="access", **which):
        """Let accesses of a range fail; see :meth:`Program.fail`."""
        self._do("fail", address, length, kind, **which)

    def write_csr(self, offset, value, size=8):
        """Write a register; return the AXI response."""
        events = self._do("write_csr", offset, value, size)
        return events[-1].values[2] if events else 0

    def read_csr(self, offset, size=8):
        """Return a register."""
        return self.access_csr(offset, size)[0]

    def access_csr(self, offset, size=8):
        """Return (value, AXI response) of a register read."""
        value, _, resp = self._do("read_csr", offset, size)[-1].values
        return value, resp

    def poll_csr(self, offset, *, mask, value, size=8, timeout=100_000):
        """Read a register until ``read & mask == value``; return what was read.

        Raises
        ------
        Timeout
            If that takes more than ``timeout`` clocks.
        """
        events = self._do("poll_csr", offset, mask=mask, value=value, size=size, timeout=timeout)
        seen = events[-1].values[0]
        if any(event.kind == "timeout" for event in events):
            raise Timeout(f"Register {offset} did not become {value:#x} under mask {mask:#x} in "
                          f"{timeout} clocks; it is {seen:#x}")
        return seen

    def translate(self, **request):
        """Send one request to the remap engine and return its :class:`Translation`."""
        events = self._do("translate", wait=True, **request)
        return Translation.of(next(e for e in events if e.kind == "translated"))

    def dma(self, **request):
        """Run one transfer of a device; return a :class:`Transfer` per TLP."""
        events = self._do("dma", wait=True, report=True, **request)
        return [Transfer.of(event) for event in events if event.kind == "transfer"]

    def command_ring(self, base, log2_entries):
        """Say where the command queue is; the tail starts at 0."""
        self._do("command_ring", base, log2_entries)

    def command(self, low, high, *, timeout=1_000_000):
        """Queue one command and wait for it, or for an error; return a :class:`Command`."""
        program = Program()
        program.command(low, high)
        program.wait_commands(report=True, timeout=timeout)
        events = self.run(program)
        return Command(*next(e for e in events if e.kind == "commands").values)

    def take_table_writes(self):
        """Return ``[(address, word afterwards)]`` of the table port since the last call."""
        return [tuple(event.values) for event in self._do("table_writes")
                if event.kind == "table_write"]

    def clock(self):
        """Return the number of clocks since the beginning."""
        return self._do("mark")[-1].values[0]

    def wsi(self):
        """Return the interrupt wires."""
        return self._do("mark")[-1].values[1]

    def _do(self, name, *arguments, wait=False, **options):
        program = Program()
        getattr(program, name)(*arguments, **options)
        if wait:
            program.wait()
        return self.run(program)


class Simulation(Calls):
    """A design that runs in the C++ bench. Use it as a context manager, or `close` it."""

    def __init__(self, library, waves=""):
        self.description = library.description
        self._library = lib = ctypes.CDLL(str(library.path))
        for name, result, arguments in (
                ("create", ctypes.c_void_p, [ctypes.c_char_p]),
                ("destroy", None, [ctypes.c_void_p]),
                ("run", ctypes.c_uint64, [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint64]),
                ("events", ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_void_p]),
                ("clear", None, [ctypes.c_void_p]),
                ("errors", ctypes.c_char_p, [ctypes.c_void_p]),
                ("statistics", ctypes.c_void_p, [ctypes.c_void_p]),
                ("latency", ctypes.c_void_p, [ctypes.c_void_p]),
                ("clear_statistics", None, [ctypes.c_void_p]),
                ("settings", ctypes.c_void_p, [ctypes.c_void_p]),
                ("agent_names", ctypes.c_char_p, [ctypes.c_uint64]),
                ("statistics_names", ctypes.c_char_p, []),
                ("settings_names", ctypes.c_char_p, [])):
            function = getattr(lib, f"iovirt_{name}")
            function.restype, function.argtypes = result, arguments
        self._settings = lib.iovirt_settings_names().decode().split()
        self._statistics = lib.iovirt_statistics_names().decode().split()
        self._bench = lib.iovirt_create(waves.encode())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Free the model and finish the waveform file."""
        if self._bench:
            self._library.iovirt_destroy(self._bench)
            self._bench = None

    def run(self, program):
        """Execute a program; return its events.

        Raises
        ------
        CheckFailed
            If the design broke a rule. The simulation cannot go on then, but can be reset.
        """
        lib, words = self._library, program.words
        address, count = words.buffer_info()
        failed = lib.iovirt_run(self._bench, address, count)
        size = ctypes.c_uint64()
        data = lib.iovirt_events(self._bench, ctypes.byref(size))
        copy = array("Q")
        copy.frombytes(ctypes.string_at(data, size.value * 8) if size.value else b"")
        errors = lib.iovirt_errors(self._bench).decode() if failed else ""
        lib.iovirt_clear(self._bench)
        if failed:
            raise CheckFailed(errors.strip())
        return read_events(copy)

    def set(self, **values):
        """Set knobs: ``table_latency``, ``dma_latency``, ``table_stall`` and so on.

        They are listed with their meaning in ``cpp/settings.h``.
        """
        for name, value in values.items():
            program = Program()
            program.set(self.setting(name), value)
            self.run(program)

    def setting(self, name):
        """Return the number of a knob, for :meth:`Program.set`."""
        if name not in self._settings:
            raise ValueError(f"Setting must be one of {', '.join(self._settings)}, not {name!r}")
        return self._settings.index(name)

    def agent_names(self, what):
        """Return the names of counters or options of agents; see `iovirt_sim.sharing`."""
        return self._library.iovirt_agent_names(what).decode().split()

    def statistics(self):
        """Return the counts since the start or `clear_statistics`, as a dict.

        ``latency`` counts TLPs (or requests of the remap engine) by clocks from arrival to the
        first access of memory (to the result): entry 0 those of 0 clocks, entry n those of
        2**(n-1) to 2**n - 1.
        """
        values = self._array(self._library.iovirt_statistics, len(self._statistics))
        return {**dict(zip(self._statistics, values, strict=True)),
                "latency": self._array(self._library.iovirt_latency, 32)}

    def clear_statistics(self):
        """Set all counts to 0."""
        self._library.iovirt_clear_statistics(self._bench)

    def _array(self, function, count):
        return list((ctypes.c_uint64 * count).from_address(function(self._bench)))
