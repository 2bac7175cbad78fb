"""Plain model of the DMA engine: what memory requests do, byte by byte."""

from collections import Counter
from dataclasses import dataclass

from .axi import DECERR, OKAY, SLVERR
from .tlp import POSTED, Kind, Status, byte_count, completions, lower_address

__all__ = ["CAUSES", "CID", "DmaModel", "Page"]

#: Causes in the error log, by name.
CAUSES = {"poisoned write": 5, "write error": 7, "read poison": 8, "read abort": 9,
          "aperture": 16}
#: Completer ID.
CID = 0x0123


@dataclass(frozen=True)
class Page:
    """Where a page of a device leads: a frame, and what happens in the upper half of it."""

    frame:  int = 0
    read:   int = OKAY
    write:  int = OKAY
    denied: str = ""   # "UR" or "CA": no access
    peer:   bool = False   # the frame is in the aperture that no device may use

    @property
    def refused(self):
        """How an access is refused, if it is."""
        return self.denied or ("UR" if self.peer else "")


class DmaModel:
    """Expected effects of the TLPs that were added, and their comparison with what came.

    Parameters
    ----------
    pages : ``{(device_id, iova page): Page}``.
    max_payload : largest completion, in bytes.
    """

    def __init__(self, *, pages, max_payload):
        self.pages, self.max_payload = pages, max_payload
        self.frames   = {page.frame: page for page in pages.values() if not page.refused}
        self.memory   = None        # an AxiMemory, set by the user
        self.ops      = []          # (tlp, segment, aborted), in link order
        self.interrupts = set()     # those of them that are no accesses to memory
        self.signals  = []          # (index of op, device, kind, offset, data) that came
        self.history  = {}          # SPA: [(index of op, byte)]
        self.answers  = {}          # (rid, tag): [Tlp, ...] that came
        self.refusals = []
        self.errors   = []
        self.expected_errors = []

    def _error(self, address, write):
        page = self.frames.get(address >> 12)
        assert page is not None, f"access to frame {address >> 12:#x}, which nobody may use"
        return (page.write if write else page.read) if address & 0x800 else OKAY

    def add(self, tlp, *, segment=0, aborted=False):
        """Add a TLP to the link."""
        index = len(self.ops)
        self.ops.append((tlp, segment, aborted))
        if tlp.kind not in POSTED or aborted:
            return
        device = segment << 16 | tlp.rid
        if tlp.ep:
            self.expected_errors.append((CAUSES["poisoned write"], device, tlp.address))
            return
        if index in self.interrupts:
            return
        page = self.pages[device, tlp.address >> 12]
        if page.peer:
            self.expected_errors.append((CAUSES["aperture"], device, tlp.address))
        enables = [tlp.first_be, *[0xF] * (tlp.length - 2), tlp.last_be][:tlp.length]
        last    = (tlp.address & 0xFFF) + 4 * tlp.length - 1
        if page.refused or not any(enables):
            return
        if page.write != OKAY and last & 0x800:
            self.expected_errors.append((CAUSES["write error"], device, tlp.address))
            return
        for n, byte in enumerate(tlp.payload):
            if enables[n // 4] >> n % 4 & 1:
                spa = (page.frame << 12) + (tlp.address & 0xFFF) + n
                history = self.history.setdefault(spa, [(-1, self.memory.read(spa, 1)[0])])
                history.append((index, byte))

    def add_interrupt(self, tlp, *, segment=0, aborted=False):
        """Add a write of one Dword, or a message, that is an interrupt."""
        self.interrupts.add(len(self.ops))
        self.add(tlp, segment=segment, aborted=aborted)

    def writes_before(self, index, device):
        """Count the writes of ``device`` before an op that memory must have answered."""
        count = 0
        for n, (tlp, segment, aborted) in enumerate(self.ops[:index]):
            if (tlp.kind == Kind.MWR and n not in self.interrupts and not (aborted or tlp.ep)
                    and segment << 16 | tlp.rid == device):
                page   = self.pages[device, tlp.address >> 12]
                count += not page.refused and bool(tlp.first_be or tlp.last_be)
        return count

    def _check_signals(self):
        """All interrupts came, those of one device in order."""
        want = {}
        for index in sorted(self.interrupts):
            tlp, segment, aborted = self.ops[index]
            if not (aborted or tlp.ep):
                want.setdefault(segment << 16 | tlp.rid, []).append(index)
        came = {}
        for index, device, *got in self.signals:
            tlp = self.ops[index][0]
            is_message = tlp.kind == Kind.MSG
            assert got == [1 + is_message, 0 if is_message else tlp.address & 0xFFFC,
                           tlp.code if is_message else int.from_bytes(tlp.payload, "little")]
            came.setdefault(device, []).append(index)
        assert came == want

    def check(self):
        """Compare memory, completions, errors and retirements with the model."""
        assert self.memory.idle
        self._check_signals()
        refusals = []
        for index, (tlp, segment, _) in enumerate(self.ops):
            if tlp.kind == Kind.MRD:
                self._check_read(index, tlp, segment, refusals)
        assert not any(self.answers.values()), f"left over: {self.answers}"
        assert Counter(self.refusals) == Counter(refusals)
        assert Counter(self.errors) == Counter(self.expected_errors)
        for spa, history in self.history.items():
            assert self.memory.read(spa, 1)[0] == history[-1][1], f"wrong byte at {spa:#x}"

    def _check_read(self, index, tlp, segment, refusals):
        device = segment << 16 | tlp.rid
        page   = self.pages[device, tlp.address >> 12]
        count  = byte_count(tlp.length, tlp.first_be, tlp.last_be)
        if page.refused:
            refusals.append((tlp.rid, tlp.tag, tlp.tc, tlp.attr, Status[page.refused].value, count,
                             lower_address(tlp.address, tlp.first_be)))
            if page.peer:
                self.expected_errors.append((CAUSES["aperture"], device, tlp.address))
            return
        base = page.frame << 12
        made = completions(tlp, lambda at, size: bytes(size), cid=CID, mps=self.max_payload)
        at   = tlp.address & 0xFFF
        came = self.answers.get((tlp.rid, tlp.tag), [])
        for model in made:
            assert came, f"no answer to {tlp}"
            got, size = came.pop(0), 4 * model.length
            rows = (at + size - 1) // self.memory.size * self.memory.size
            bad  = page.read if (at | rows) & 0x800 else OKAY
            assert all(getattr(got, name) == getattr(model, name) for name in (
                "rid", "tag", "tc", "attr", "cid", "byte_count", "lower_addr")), \
                f"{got} is not {model}"
            if bad == DECERR:
                assert (got.kind, got.status) == (Kind.CPL, Status.CA)
                self.expected_errors.append((CAUSES["read abort"], device, tlp.address))
                return
            assert (got.kind, got.status, got.length) == (Kind.CPLD, Status.SC, model.length)
            assert got.ep == (bad == SLVERR)
            if bad == SLVERR:
                self.expected_errors.append((CAUSES["read poison"], device, tlp.address))
            for n, byte in enumerate(got.payload):
                self._check_byte(index, base + at + n, byte, tlp)
            at += size

    def _check_byte(self, index, spa, byte, tlp):
        # What the writes before the read left, or a later write, which may pass the read.
        history = self.history.get(spa)
        if history is None:
            assert self.memory.read(spa, 1)[0] == byte, f"wrong byte of {spa:#x} for {tlp}"
            return
        before = [value for at, value in history if at < index][-1]
        after  = [value for at, value in history if at > index]
        assert byte in (before, *after), f"byte {byte:#x} of {spa:#x} is not {before:#x} for {tlp}"
