"""Non-posted requests of a root complex in plain Python, from the specification (PCIe Base, 2.3.2).

Steps of the handling of a completion are numbered in the order in which they are taken.
"""

from dataclasses import dataclass, field

from iovirt_sim.tlp import Kind, Status, byte_count, lower_address

__all__ = ["End", "Outstanding", "RequesterModel"]

#: Cuts of the answer to a read lie on multiples of the read completion boundary; the smallest.
BOUNDARY = 64


@dataclass
class Outstanding:
    """A request that has a tag. ``request`` is its TLP as it was sent."""

    request:   object
    owner:     int = 0
    client:    int = 0
    core:      int = 0
    guest:     int = 0
    completer: int = 0
    mask:      int = 0xFFFF
    state:     str = "waiting"  # ended, quarantine, over
    poisoned:  bool = False
    data:      bytearray = field(default_factory=bytearray)

    def __post_init__(self):
        self.is_read = self.request.kind is Kind.MRD
        length, first_be, last_be = self.request.enabled()
        self.left = byte_count(length, first_be, last_be) if self.is_read else 4
        self.next = lower_address(self.request.address, first_be) if self.is_read else 0


@dataclass(frozen=True)
class End:
    """What became of a request: a status name, the completer, and the data."""

    owner:  int
    client: int
    tag:    int
    status: str
    rid:    int = 0
    data:   bytes = b""


class RequesterModel:
    """All requests of one Requester ID. A method returns ``(end or None, error or None)``."""

    def __init__(self, *, requester_id):
        self.requester_id = requester_id
        self.requests = {}

    def issue(self, outstanding):
        """Send a request; its tag must be free (rule S6)."""
        tag = outstanding.request.tag
        assert tag not in self.requests, f"tag {tag} is given out twice"
        self.requests[tag] = outstanding

    def release(self, tag):
        """Return a tag; it is free unless a late answer may come."""
        if self.requests[tag].state in ("ended", "over"):
            del self.requests[tag]
        else:
            self.requests[tag].released = True

    def complete(self, tlp):
        """Handle a completion."""
        # 1. For whom? Requester ID and tag must be those of a request.
        found = self.requests.get(tlp.tag)
        if tlp.rid != self.requester_id or found is None or found.state == "ended":
            return None, "UNEXPECTED_COMPLETION"
        # 2. A request that has timed out is not completed any more.
        late = found.state in ("quarantine", "over")
        # 3. It must not contradict the request.
        if not self._fits(found, tlp):
            return None, "COMPLETION_LATE" if late else "COMPLETION_MISMATCH"
        # 4. Does it end the request? A status other than SC does.
        ends = (tlp.status != Status.SC or not found.is_read
                or tlp.byte_count <= 4 * tlp.length - tlp.lower_addr % 4)
        if found.state == "over":
            return None, "COMPLETION_LATE"
        if tlp.status == Status.SC and tlp.kind.has_data:
            found.data     += tlp.payload
            found.poisoned |= tlp.ep
        if not ends:
            piece = 4 * tlp.length - found.next % 4
            found.left -= piece
            found.next += piece
            return None, "COMPLETION_LATE" if late else None
        if late:
            found.state = "over"
            if getattr(found, "released", False):
                del self.requests[tlp.tag]
            return None, "COMPLETION_LATE"
        # 5. The end.
        found.state = "ended"
        status, error = self._status(found, tlp)
        return self._end(found, status, tlp.cid), error

    def forget(self, tag):
        """Nothing can come any more for a request that timed out."""
        self.requests[tag].state = "over"

    def _fits(self, found, tlp):
        if tlp.kind not in (Kind.CPL, Kind.CPLD) or tlp.tc or tlp.attr:
            return False
        if (tlp.cid ^ found.completer) & ~found.mask & 0xFFFF:
            return False
        if tlp.status != Status.SC or found.request.kind in (Kind.CFGWR0, Kind.CFGWR1):
            return tlp.kind is Kind.CPL
        if tlp.kind is Kind.CPL or tlp.byte_count != found.left:
            return False
        if tlp.lower_addr != found.next % 128:
            return False
        covered = 4 * tlp.length - tlp.lower_addr % 4
        if covered < found.left:
            return found.is_read and (found.next + covered) % BOUNDARY == 0
        return covered - found.left < 4

    @staticmethod
    def _status(found, tlp):
        if tlp.status == Status.SC:
            return ("POISONED", "PIO_POISON") if found.poisoned else ("OK", None)
        if tlp.status == Status.CA:
            return "CA", "PIO_ABORT"
        if tlp.status == Status.RRS and not found.is_read:
            return "RRS", None
        return "UR", "PIO_UNSUPPORTED"

    @staticmethod
    def _end(found, status, rid=0):
        good = status in ("OK", "POISONED")
        return End(found.owner, found.client, found.request.tag, status, rid,
                   bytes(found.data) if good else b"")
