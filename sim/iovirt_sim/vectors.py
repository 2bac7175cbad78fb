"""Translation test vectors: the case format, which cases a design can run, and running them.

A case is one JSON object per line of a ``.jsonl`` or ``.jsonl.gz`` file: stimulus for an IOMMU that
follows the RISC-V IOMMU architecture, and the results of the architecture's behavioural model.
"""

import gzip
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

__all__ = ["Case", "Failure", "Target", "Traits", "VectorError", "load_cases", "run_case"]

DEFAULT_SKIP = frozenset({"model_cache_dep", "impl_ats_hwad", "impl_ad_on_fault",
                          "msiptp_flat_bare_recommended", "tc_custom"})
DDTP, CQB, CQH, CQT, FQB, FQT, CQCSR, FQCSR = 16, 24, 32, 36, 40, 52, 72, 76
TR_IOVA, TR_CTL, TR_RESPONSE = 600, 608, 616
BUSY = {DDTP: 1 << 4, CQCSR: 1 << 17, FQCSR: 1 << 17}
ON = 1 << 16
CQ_ERRORS = 0x700
POLLS = 1000


class VectorError(ValueError):
    """A vector file breaks its format. Names file, line and key."""


class Failure(AssertionError):
    """A case failed: what was expected, what came."""


class Target(Protocol):
    """What a case is run on. Addresses and values are integers; words have 64 bits."""

    def reset(self, words: dict, bad: list) -> None:
        """Reset the IOMMU; memory holds ``words`` and fails at ``bad``."""

    def write_memory(self, words: dict) -> None:
        """Write words as software, visible before the next call."""

    def read_word(self, address: int) -> int:
        """Read a word as software."""

    def changed(self) -> dict:
        """Return the words that the IOMMU has written since the last call."""

    def write_register(self, offset: int, size: int, value: int) -> None:
        """Write 4 or 8 bytes."""

    def read_register(self, offset: int, size: int) -> int:
        """Read 4 or 8 bytes."""

    def request(self, op: dict) -> tuple:
        """Run one inbound transaction; return (status, spa or None, cause or None)."""

    def settle(self) -> None:
        """Let a fault record that is under way reach memory."""


@dataclass(frozen=True)
class Traits:
    """What decides which cases a design can run."""

    capabilities: frozenset
    pas: int
    ddt_levels: int = 3
    igs: int = 1
    skip: frozenset = DEFAULT_SKIP

    def applies(self, case):
        """Say whether the results of ``case`` hold for the design."""
        return (case.needs <= self.capabilities and not case.needs_not & self.capabilities
                and case.max_pa < 1 << self.pas
                and ("pas_exact" not in case.tags or case.pas == self.pas)
                and not case.tags & self.skip
                and not case.tags & {f"ddt{n}" for n in (1, 2, 3) if n > self.ddt_levels}
                and (case.igs == self.igs or not case.tags & {"irq", "iofence", "cmd_illegal"}))


@dataclass(frozen=True)
class Case:
    """One case; numbers parsed where they decide the selection."""

    id: str
    tags: frozenset
    needs: frozenset
    needs_not: frozenset
    pas: int
    igs: int
    max_pa: int
    raw: dict = field(repr=False)

    @classmethod
    def parse(cls, raw):
        """Make a case of a JSON object."""
        return cls(id=raw["id"], tags=frozenset(raw["tags"]), needs=frozenset(raw["needs"]),
                   needs_not=frozenset(raw["needs_not"]), pas=raw["pas"],
                   igs=int(raw["caps"], 16) >> 28 & 3, max_pa=int(raw["max_pa"], 16), raw=raw)


def load_cases(path):
    """Yield the cases of a file."""
    path = Path(path)
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    raw = json.loads(line)
                    case = Case.parse(raw)
                    missing = {"cq", "fq", "mem", "bad", "regs", "ops"} - raw.keys()
                    if missing:
                        raise KeyError(min(missing))
                except KeyError as error:
                    raise VectorError(f"{path}:{number}: case must have key {error}") from None
                except (ValueError, TypeError) as error:
                    raise VectorError(f"{path}:{number}: line must be a case: {error}") from None
                yield case
    except (OSError, UnicodeDecodeError) as error:
        raise VectorError(f"{path}: file must be readable .jsonl or .jsonl.gz: {error}") from None


def _words(pairs):
    return {int(address, 16): int(value, 16) for address, value in pairs}


def run_case(case, target):
    """Run ``case`` on ``target``; raise `Failure` at the first difference."""
    _Run(case, target).run()


class _Run:
    def __init__(self, case, target):
        self.case, self.target = case, target
        self.rings = []
        for key, entry in (("cq", 16), ("fq", 32)):
            base, log2 = case.raw[key]
            self.rings.append((int(base, 16), entry << log2))
        self.cq, self.fq = self.rings[0][0], self.rings[1][0]
        self.cq_entries = 1 << case.raw["cq"][1]
        self.fq_entries = 1 << case.raw["fq"][1]

    def run(self):
        raw = self.case.raw
        self.target.reset(_words(raw["mem"]),
                          [(int(a, 16), n, kind) for a, n, kind in raw["bad"]])
        for offset, size, value in raw["regs"]:
            self._write(offset, size, int(value, 16))
        self.target.changed()
        for number, op in enumerate(raw["ops"]):
            self.where = f"{self.case.id} op {number} {op['op']} {op.get('name', op.get('t', ''))}"
            self.fqt = self.target.read_register(FQT, 4)
            getattr(self, "_" + op["op"])(op)

    def _expect(self, what, got, expected):
        if got != expected:
            show = lambda value: hex(value) if isinstance(value, int) else repr(value)
            raise Failure(f"{self.where}: {what} must be {show(expected)}, is {show(got)}")

    def _write(self, offset, size, value):
        self.target.write_register(offset, size, value & (1 << 8 * size) - 1)
        if offset in BUSY:
            enabling = offset != DDTP and value & 1
            for _ in range(POLLS):
                now = self.target.read_register(offset, 8 if offset == DDTP else 4)
                if not now & BUSY[offset] and (not enabling or now & ON):
                    return
            raise Failure(f"register {offset} stays busy, or not on: {now:#x}")

    def _mem(self, op):
        self.target.write_memory(_words(op["w"]))

    def _wr(self, op):
        self._write(op["off"], op["size"], int(op["val"], 16))
        self._effects(op["exp"])

    def _rd(self, op):
        got = self.target.read_register(op["off"], op["size"])
        self._expect(f"register {op['off']}", got & int(op["mask"], 16), int(op["exp"]["val"], 16))

    def _cmd(self, op):
        tail = self.target.read_register(CQT, 4)
        address = self.cq + 16 * tail
        self.target.write_memory({address: int(op["lo"], 16), address + 8: int(op["hi"], 16)})
        tail = (tail + 1) % self.cq_entries
        self.target.write_register(CQT, 4, tail)
        for _ in range(POLLS):
            status = self.target.read_register(CQCSR, 4)
            if self.target.read_register(CQH, 4) == tail or status & CQ_ERRORS:
                break
        self._expect("cqh", self.target.read_register(CQH, 4), op["exp"]["cqh"])
        self._expect("cqcsr", self.target.read_register(CQCSR, 4) & 0xF00,
                     int(op["exp"]["cqcsr"], 16))
        self._effects(op["exp"])

    def _req(self, op):
        expected = op["exp"]
        status, spa, cause = self.target.request(op)
        self._expect("status", status, expected["st"])
        if "spa" in expected:
            self._expect("SPA", spa, int(expected["spa"], 16))
        if cause is not None:
            self._expect("cause", cause, expected.get("cause"))
        self._effects(expected)

    def _dbg(self, op):
        expected = op["exp"]
        iova = int(op["iova"], 16)
        self.target.write_register(TR_IOVA, 8, iova)
        self.target.write_register(TR_CTL, 8, 1 | op["priv"] << 1 | op["exec"] << 2
                                   | (0 if op["write"] else 1) << 3 | int(op["pid"], 16) << 12
                                   | op["pv"] << 32 | int(op["did"], 16) << 40)
        for _ in range(POLLS):
            if not self.target.read_register(TR_CTL, 8) & 1:
                break
        else:
            raise Failure(f"{self.where}: tr_req_ctl stays busy")
        response = self.target.read_register(TR_RESPONSE, 8)
        self._expect("fault", response & 1, int(expected["st"] == "fault"))
        if not response & 1:
            ppn = response >> 10 & (1 << 44) - 1
            if response >> 9 & 1:  # the lowest 0 bit gives the size; the bits above are the address
                low = (ppn ^ ppn + 1) & ppn | (~ppn & ppn + 1)
                ppn = ppn & ~low | iova >> 12 & low
            self._expect("SPA", ppn << 12, int(expected["spa"], 16))
            self._expect("PBMT", response >> 7 & 3, expected.get("pbmt", 0))
        self._effects(expected)

    def _effects(self, expected):
        if "fqt" in expected or "faults" in expected:
            if "cause" in expected or "faults" in expected:
                self.target.settle()
            records = expected.get("faults", [])
            fqt = expected.get("fqt", (self.fqt + len(records)) % self.fq_entries)
            self._expect("fqt", self.target.read_register(FQT, 4), fqt)
            for number, record in enumerate(records):
                base = self.fq + 32 * ((self.fqt + number) % self.fq_entries)
                words = [self.target.read_word(base + 8 * n) for n in range(4)]
                wanted = [int(word, 16) for word in record]
                if wanted[3] & 1:  # an implicit access may be reported without page offset
                    words[3], wanted[3] = words[3] & ~0xFFC, wanted[3] & ~0xFFC
                self._expect("fault record", list(map(hex, words)), list(map(hex, wanted)))
        changed = {address: word for address, word in self.target.changed().items()
                   if not any(base <= address < base + size for base, size in self.rings)}
        self._expect("memory writes", changed, _words(expected.get("mem", [])))
