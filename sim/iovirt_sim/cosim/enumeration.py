"""Find the functions behind a root port and give them addresses, as firmware does.

Written from PCIe Base, chapter 7; nothing here knows what is behind the port.
"""

from dataclasses import dataclass, field

__all__ = ["Bar", "Bridge", "Endpoint", "Enumeration", "devfn"]

VENDOR, COMMAND, CLASS, HEADER_TYPE, BAR0, BUSES, CAPABILITIES = 0, 4, 8, 0xE, 0x10, 0x18, 0x34
MEMORY, PREFETCHABLE, PREFETCHABLE_HIGH = 0x20, 0x24, 0x28
MEMORY_ENABLE, BUS_MASTER = 2, 4
MULTI_FUNCTION, BRIDGE = 0x80, 1
EXPRESS, MSI = 0x10, 0x05
MIB = 1 << 20


def devfn(bus, device=0, function=0):
    """Return a RID."""
    return bus << 8 | device << 3 | function


@dataclass
class Bar:
    """Base address register, with its ``address`` once it has one."""

    offset: int
    size: int
    wide: bool
    prefetchable: bool
    address: int | None = None


@dataclass
class Endpoint:
    """Function with a header of type 0."""

    rid: int
    identity: int              # device and vendor ID, as in the first Dword
    bars: list = field(default_factory=list)
    capabilities: dict = field(default_factory=dict)   # offset by ID
    extended: dict = field(default_factory=dict)


@dataclass
class Bridge(Endpoint):
    """Function with a header of type 1, and what is behind it."""

    secondary: int = 0
    subordinate: int = 0
    children: list = field(default_factory=list)

    def endpoints(self):
        """Yield the endpoints behind it, at any depth."""
        for child in self.children:
            if isinstance(child, Bridge):
                yield from child.endpoints()
            else:
                yield child


class Enumeration:
    """Walks the buses behind the root port at device 0 of bus 0.

    Memory is given out depth first, so that what is behind a bridge is one range.

    Parameters
    ----------
    config : has ``read(rid, offset, size)`` and ``write(rid, offset, value, size)``.
    memory, prefetchable : first address of each kind; the first is below 4 GiB.
    devices : device numbers tried behind a switch.
    """

    def __init__(self, config, *, memory, prefetchable, devices=32):
        self.config  = config
        self.devices = devices
        self._next   = {False: memory, True: prefetchable}
        self._bus    = 0

    async def run(self):
        """Return the root port with everything behind it, with memory and bus mastering enabled."""
        port = await self._function(devfn(0))
        if not isinstance(port, Bridge):
            raise LookupError(f"Device 0 of bus 0 must be a bridge, not {port!r}")
        return port

    async def _function(self, rid):
        """Return the function at a RID, set up, or None."""
        identity = await self.config.read(rid, VENDOR, 4)
        if identity & 0xFFFF == 0xFFFF:
            return None
        layout = await self.config.read(rid, HEADER_TYPE, 1) & ~MULTI_FUNCTION
        kind = Bridge if layout == BRIDGE else Endpoint
        found = kind(rid, identity)
        await self._walk(found)
        await self._size(found, 2 if kind is Bridge else 6)
        await self._place(found)
        if kind is Bridge:
            await self._descend(found)
        await self.config.write(rid, COMMAND, MEMORY_ENABLE | BUS_MASTER, 2)
        return found

    async def _walk(self, found):
        """Find the capabilities."""
        first = await self.config.read(found.rid, CAPABILITIES, 1)
        await self._follow(found, found.capabilities, first, 2, 0xFF, 8)
        await self._follow(found, found.extended, 0x100, 4, 0xFFFF, 20)

    async def _follow(self, found, capabilities, offset, size, identity, pointer):
        """Walk one list of capabilities, whose headers have the next offset at bit ``pointer``."""
        visited = set()
        while offset and (header := await self.config.read(found.rid, offset, size)):
            if offset in visited:
                raise LookupError(f"Capabilities of {found.rid:#x} must not form a loop")
            visited.add(offset)
            capabilities[header & identity] = offset
            offset = header >> pointer & ~3   # bits 1:0 are reserved

    async def _size(self, found, count):
        """Find the BARs: ones that are written stay where the address is."""
        offset, end = BAR0, BAR0 + 4 * count
        while offset < end:
            await self.config.write(found.rid, offset, 0xFFFF_FFFF, 4)
            value = await self.config.read(found.rid, offset, 4)
            wide, mask = value & 6 == 4, value & ~0xF
            if wide:
                await self.config.write(found.rid, offset + 4, 0xFFFF_FFFF, 4)
                mask |= await self.config.read(found.rid, offset + 4, 4) << 32
            if mask:
                size = (mask ^ (1 << 64 if wide else 1 << 32) - 1) + 1
                found.bars.append(Bar(offset, size, wide, bool(value & 8)))
            offset += 8 if wide else 4

    async def _place(self, found):
        """Give the BARs addresses."""
        for bar in found.bars:
            high = bar.wide and bar.prefetchable
            bar.address = -(-self._next[high] // bar.size) * bar.size
            self._next[high] = bar.address + bar.size
            await self.config.write(found.rid, bar.offset, bar.address & 0xFFFF_FFFF, 4)
            if bar.wide:
                await self.config.write(found.rid, bar.offset + 4, bar.address >> 32, 4)

    async def _descend(self, bridge):
        """Enumerate what is behind a bridge, and tell the bridge."""
        self._bus += 1
        bridge.secondary, primary = self._bus, bridge.rid >> 8
        starts = dict(self._next)
        for kind, start in starts.items():
            starts[kind] = self._next[kind] = -(-start // MIB) * MIB
        await self.config.write(bridge.rid, BUSES, 0xFF << 16 | bridge.secondary << 8 | primary, 4)
        # Behind a root port or a downstream port there is one device, behind an upstream port a
        # bus with the downstream ports (device/port type 5; PCIe Base, 7.5.3.2).
        express = bridge.capabilities.get(EXPRESS)
        upstream = express and await self.config.read(bridge.rid, express + 2, 2) >> 4 & 0xF == 5
        for device in range(self.devices if upstream else 1):
            await self._device(bridge, device)
        bridge.subordinate = self._bus
        await self.config.write(bridge.rid, BUSES + 2, bridge.subordinate, 1)
        for kind, start in starts.items():
            self._next[kind] = -(-self._next[kind] // MIB) * MIB
            await self._window(bridge, kind, start, self._next[kind])

    async def _device(self, bridge, device):
        rid = devfn(bridge.secondary, device)
        first = await self._function(rid)
        if first is None:
            return
        bridge.children.append(first)
        if await self.config.read(rid, HEADER_TYPE, 1) & MULTI_FUNCTION:
            for function in range(1, 8):
                other = await self._function(rid + function)
                if other is not None:
                    bridge.children.append(other)

    async def _window(self, bridge, prefetchable, start, end):
        """Tell a bridge which addresses are behind it; a base above the limit means none."""
        base, limit = (start, end - 1) if end > start else (0xFFF0_0000, 0)
        offset = PREFETCHABLE if prefetchable else MEMORY
        value = (limit >> 16 & 0xFFF0) << 16 | base >> 16 & 0xFFF0
        await self.config.write(bridge.rid, offset, value, 4)
        if prefetchable:
            await self.config.write(bridge.rid, PREFETCHABLE_HIGH, base >> 32, 4)
            await self.config.write(bridge.rid, PREFETCHABLE_HIGH + 4, limit >> 32, 4)
