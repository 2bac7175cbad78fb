"""The RTL as something that vectors can be run on: the remap engine alone, and the whole block."""

from .tlp import Pasid, Tlp
from .vectors import Failure
from .verilated import CheckFailed, Design, Program, open_simulation

__all__ = ["EngineTarget", "TopTarget"]

STATUS = 0x2004
READY = 1
STATUS_NAMES = {0: "ok", 1: "ur", 4: "ca"}
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


class TopTarget(_Verilated):
    """The whole block: requests are TLPs of one byte; the bench checks where they go."""

    def __init__(self, config, **options):
        super().__init__(Design.of_full(config), **options)

    @staticmethod
    def expressible(case):
        """Say whether TLPs can say every request: execute is a bit of the PASID prefix."""
        return all(op["op"] != "req" or op["pv"] or op["write"] or not op["exec"]
                   or op["at"] != "untranslated" for op in case.raw["ops"])

    def request(self, op):
        """Run one transaction; the expected result is what the bench looks for."""
        iova, expected = int(op["iova"], 16), op["exp"]
        device = int(op["did"], 16)
        pasid = Pasid(int(op["pid"], 16), bool(op["exec"] and not op["write"]),
                      bool(op["priv"])) if op["pv"] else None
        try:
            if op["at"] == "untranslated":
                return self._transfer(device, iova, op, expected, pasid)
            return self._raw(device, iova, op, pasid)
        except CheckFailed as error:
            raise Failure(f"the bench: {error}") from None

    def _transfer(self, device, iova, op, expected, pasid):
        spa = int(expected["spa"], 16) if expected["st"] == "ok" else 0
        done = self.sim.dma(rid=device & 0xFFFF, segment=device >> 16, iova=iova, length=1,
                            write=bool(op["write"]), spa=spa, expect=expected["st"],
                            prefix=pasid and pasid.pack())[0]
        return done.status, spa if done.status == "ok" else None, None

    def _raw(self, device, iova, op, pasid):
        # Whatever is not denied would show as an access that nobody announced.
        posted = op["at"] == "translated" and op["write"]
        fields = {"rid": device & 0xFFFF, "at": AT[op["at"]], "pasid": pasid}
        tlp = Tlp.write(iova, bytes(1), **fields) if posted else Tlp.read(iova, 1, **fields)
        header, payload, prefix = tlp.pack()
        words = [int.from_bytes(payload[n:n + 4], "little") for n in range(0, len(payload), 4)]
        program = Program()
        program.tlp(header, words, prefix=prefix, segment=device >> 16, answered=not posted)
        program.wait()
        events = self.sim.run(program)
        if posted:
            self.sim.step(SETTLE)
            return "ur", None, None
        high = next(event for event in events if event.kind == "tlp").values[1]
        return STATUS_NAMES[high >> 13 & 7], None, None
