"""The RTL as something that vectors can be run on: the remap engine alone, and the whole block."""

from .tlp import Tlp
from .verilated import Design, Program, open_simulation

__all__ = ["EngineTarget", "TopTarget"]

STATUS = 0x2004
READY = 1
AT = {"untranslated": 0, "ats": 1, "translated": 2}

#: Clocks that a fault record takes from the answer of its request to memory, at most.
SETTLE = 200


class _Verilated:
    """Memory and registers of a simulation; `design` is the subclass's."""

    def __init__(self, design, **options):
        self.sim = open_simulation(design, **options)
        self.sim.set(table_latency=10, dma_latency=10)

    def reset(self, words, bad):
        """Reset the design, with new memory."""
        program = Program()
        program.clear_memory()
        program.reset()
        for address, word in words.items():
            program.write_memory(address, [word])
        for address, length, kind in bad:
            program.fail(address, length, kind)
        program.poll_csr(STATUS, mask=READY, value=READY, size=4)
        program.table_writes()
        self.sim.run(program)

    def settle(self):
        """Let a fault record reach memory."""
        self.sim.step(SETTLE)

    def write_memory(self, words):
        """Write as software."""
        program = Program()
        for address, word in words.items():
            program.write_memory(address, [word])
        self.sim.run(program)

    def read_word(self, address):
        """Read as software."""
        return self.sim.read_memory(address)[0]

    def changed(self):
        """Return what the table port has written."""
        return dict(self.sim.take_table_writes())

    def write_register(self, offset, size, value):
        """Write a register."""
        self.sim.write_csr(offset, value, size)

    def read_register(self, offset, size):
        """Read a register."""
        return self.sim.read_csr(offset, size)


class EngineTarget(_Verilated):
    """The request stream of the remap engine; every request can be said."""

    def __init__(self, config, **options):
        super().__init__(Design.of_remap(config), **options)

    def request(self, op):
        """Run one transaction."""
        answer = self.sim.translate(
            device_id=int(op["did"], 16), iova=int(op["iova"], 16), write=bool(op["write"]),
            exec=bool(op["exec"]), priv=bool(op["priv"]), at=AT[op["at"]],
            pid=int(op["pid"], 16) if op["pv"] else None)
        if answer.ok:
            return "ok", answer.spa, None
        return "ca" if answer.ca else "ur", None, answer.cause
