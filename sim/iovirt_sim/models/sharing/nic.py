"""A ring NIC with the descriptor formats of the e1000e family, at transaction level."""

from .address import PAGE
from .data import Data
from .nvme import Ring

__all__ = ["Nic"]


class Nic:
    """Transmit rings of 16-byte descriptors and receive rings of 32 bytes (packet split).

    Sent packets are in `sent` (queue, bytes, VLAN tag); `contexts` has what context descriptors
    the device saw. A descriptor is fetched once, up to `prefetch` at a time, never past the tail.
    """

    def __init__(self, root, prefetch=8):
        self.root, self.prefetch = root, prefetch
        self.transmit, self.receive, self.sent, self.contexts = {}, {}, [], []

    def create(self, number, base, depth, issuer, receive=False):
        """Create a ring (by the manager)."""
        (self.receive if receive else self.transmit)[number] = Ring(base, depth, issuer)

    def doorbell(self, number, tail):
        """Take a write of a transmit tail."""
        self.transmit[number].tail = tail

    def step(self):
        """Send what the transmit rings hold."""
        for number, ring in self.transmit.items():
            count = min((ring.tail - ring.head) % ring.depth, self.prefetch, ring.depth - ring.head)
            if count:
                entries = self._fetch(ring, count, 16)
                for n in range(count):
                    self._send(number, ring, entries[16 * n:16 * n + 16])
                    ring.head = (ring.head + 1) % ring.depth

    def _fetch(self, ring, count, size):
        at, end, result = ring.base + size * ring.head, 0, Data(b"", b"")
        end = at + size * count
        while at < end:
            part = min(end - at, PAGE - at % PAGE)
            result = result.join(self.root.read(at, part, ring.issuer))
            at += part
        return result

    def _send(self, number, ring, entry):
        if entry.value[11] & 0x20 and not entry.value[10] & 0xf0:
            self.contexts.append(entry.value)
            return
        length = entry.number(8, 4) & (0xf_ffff if entry.value[11] & 0x20 else 0xffff)
        pointer, raw = entry.pointer(0)
        packet, done = b"", 0
        while done < length:
            at = pointer + done
            part = min(length - done, PAGE - at % PAGE)
            packet += self.root.read(at, part, ring.issuer, raw).value
            done += part
        if length:
            self.sent.append((number, packet, entry.number(14, 2)))
        self.root.write(ring.base + 16 * ring.head + 12, b"\1", ring.issuer)

    def deliver(self, number, pieces):
        """Receive a packet, split over the four buffers of one descriptor."""
        ring = self.receive[number]
        entry = self._fetch(ring, 1, 32)
        for n, piece in enumerate(pieces):
            pointer, raw = entry.pointer(8 * n)
            self.root.write(pointer, piece, ring.issuer, raw)
        self.root.write(ring.base + 32 * ring.head, bytes(8) + b"\1" + bytes(23), ring.issuer)
        ring.head = (ring.head + 1) % ring.depth
