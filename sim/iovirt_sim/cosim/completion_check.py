"""Rules for the completions that a device gets, which its model does not check."""

from cocotbext.pcie.core.tlp import CplStatus, TlpType

__all__ = ["CompletionCheck"]

RCB = 64
MEMORY_READS = {TlpType.MEM_READ, TlpType.MEM_READ_64}


def _extent(request):
    """Return the address of the first byte of a memory read and the number of bytes to its last."""
    first = [n for n in range(4) if request.first_be >> n & 1] or [0]
    last  = first
    if request.length > 1:
        last = [n for n in range(4) if request.last_be >> n & 1]
    return request.address + first[0], 4 * (request.length - 1) - first[0] + last[-1] + 1


class CompletionCheck:
    """Holds completions to PCIe Base, 2.2.9 and 2.3.1.1: byte count, lower address, boundaries.

    Parameters
    ----------
    max_payload : largest payload of a completion, in bytes.
    """

    def __init__(self, max_payload):
        self.max_payload = max_payload
        self._open = {}   # (requester, tag): request, next address, bytes left

    def asked(self, request):
        """Note a non-posted request of the device."""
        key = int(request.requester_id), request.tag
        assert key not in self._open, f"the device uses tag {request.tag} twice"
        extent = _extent(request) if request.fmt_type in MEMORY_READS else (0, 4)
        self._open[key] = (request, *extent)

    def sent(self, completion):
        """Check a completion of the block."""
        key = int(completion.requester_id), completion.tag
        assert key in self._open, f"nobody asked for {completion!r}"
        request, address, left = self._open.pop(key)
        assert (completion.tc, completion.attr) == (request.tc, request.attr)
        assert completion.byte_count == left, f"byte count is not {left}: {completion!r}"
        assert completion.lower_address == address % 128, f"address is {address:#x}: {completion!r}"
        if completion.status != CplStatus.SC:
            assert not completion.has_data()
            return
        size = 4 * completion.length
        assert size <= self.max_payload, f"more than {self.max_payload} bytes: {completion!r}"
        carried = size - address % 4
        if carried < left:
            assert (address + carried) % RCB == 0, f"it does not end at a boundary: {completion!r}"
            self._open[key] = request, address + carried, left - carried
        else:
            assert carried - left < 4, f"it carries too much: {completion!r}"
