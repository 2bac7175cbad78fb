"""Plain model of the DMA engine: what memory requests do, byte by byte."""

from collections import Counter
from dataclasses import dataclass

from .axi import DECERR, OKAY, SLVERR
from .tlp import Kind, Status, byte_count, completions, lower_address

__all__ = ["CAUSES", "CID", "DmaModel", "Page"]

#: Causes in the error log, by name.
CAUSES = {"poisoned write": 5, "write error": 7, "read poison": 8, "read abort": 9}
#: Completer ID.
CID = 0x0123


@dataclass(frozen=True)
class Page:
    """Where a page of a device leads: a frame, and what happens in the upper half of it."""

    frame:  int = 0
    read:   int = OKAY
    write:  int = OKAY
    denied: str = ""   # "UR" or "CA": no access


class DmaModel:
    """Expected effects of the TLPs that were added, and their comparison with what came.

    Parameters
    ----------
    pages : ``{(device_id, iova page): Page}``.
    max_payload : largest completion, in bytes.
    """

    def __init__(self, *, pages, max_payload):
        self.pages, self.max_payload = pages, max_payload
        self.frames   = {page.frame: page for page in pages.values() if not page.denied}
        self.memory   = None        # an AxiMemory, set by the user
        self.ops      = []          # (tlp, segment, aborted), in link order
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
        if tlp.kind != Kind.MWR or aborted:
            return
        device = segment << 16 | tlp.rid
        page   = self.pages[device, tlp.address >> 12]
        if tlp.ep:
            self.expected_errors.append((CAUSES["poisoned write"], device, tlp.address))
            return
        enables = [tlp.first_be, *[0xF] * (tlp.length - 2), tlp.last_be][:tlp.length]
        last    = (tlp.address & 0xFFF) + 4 * tlp.length - 1
        if page.denied or not any(enables):
            return
        if page.write != OKAY and last & 0x800:
            self.expected_errors.append((CAUSES["write error"], device, tlp.address))
            return
        for n, byte in enumerate(tlp.payload):
            if enables[n // 4] >> n % 4 & 1:
                spa = (page.frame << 12) + (tlp.address & 0xFFF) + n
                history = self.history.setdefault(spa, [(-1, self.memory.read(spa, 1)[0])])
                history.append((index, byte))

    def check(self):
        """Compare memory, completions, errors and retirements with the model."""
        assert self.memory.idle
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
        if page.denied:
            refusals.append((tlp.rid, tlp.tag, tlp.tc, tlp.attr, Status[page.denied].value, count,
                             lower_address(tlp.address, tlp.first_be)))
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
