"""The root complex of the model's devices, when it is the hardware: requests become TLPs.

Breaches are judged by what happened to memory: bytes of somebody else came back, or changed.
"""

from iovirt_sim.models.sharing.data import Data
from iovirt_sim.models.sharing.layout import KINDS
from iovirt_sim.tlp import Status, Tlp

__all__ = ["INTERRUPTS", "Memory", "RtlRoot"]

PAGE, SUPERPAGE = 4096, 2 << 20
#: Where the MSI window of the manager is.
INTERRUPTS = 0xfee0_0000
#: Clocks after which an interrupt has become a record, or an access of a core has its answer.
SETTLE = 150
#: Memory of the manager that nobody uses: what is read behind writes is read after them.
QUIET = 0xf000


class _Unmapped(set):
    """Pages that are not mapped. Adding one unmaps it, and waits until that is so."""

    def __init__(self, memory):
        super().__init__()
        self.memory = memory

    def add(self, page):
        super().add(page)
        system, memory = self.memory.system, self.memory
        system.platform.domain(memory.domain).unmap(memory.base + page * PAGE)
        system.invalidate(memory.domain, memory.base + page * PAGE)
        system.platform.fence()
        system.run()


class Memory:
    """Memory in front of which a domain of the IOMMU is; as the model's `Memory`.

    Parameters
    ----------
    pages : mapped one by one; behind them, up to 256 MiB and in the last page that offsets can
        reach, all addresses are the same 2 MiB, unless ``ring``.
    base : IOVA of offset 0.
    """

    def __init__(self, system, domain, frame, *, pages=1024, base=0, ring=False, top=1 << 40):
        self.system, self.domain, self.frame, self.base = system, domain, frame, base
        self.pages, self.ring, self.top = pages, ring, top
        self.hooks, self.unmapped = {}, _Unmapped(self)
        stage = system.platform.domain(domain)
        for page in range(pages):
            stage.map(base + page * PAGE, system.frame(frame + page))
        if not ring:
            places = [*range(pages * PAGE, 256 << 20, SUPERPAGE), top - SUPERPAGE]
            for at in places:
                stage.map(at, system.frame(frame + 2048), level=1)

    def spa(self, offset):
        """Return where a byte is in memory, or None if nothing can be there."""
        if offset < self.pages * PAGE:
            return self.system.frame(self.frame) + offset
        if not self.ring and (offset < 256 << 20 or self.top - SUPERPAGE <= offset < self.top):
            return self.system.frame(self.frame + 2048) + offset % SUPERPAGE
        return None

    def load(self, offset, length):
        """Read bytes as the guest itself, inside one page or in those that are mapped alone."""
        self.system.run()
        spa = self.spa(offset)
        low = spa & -8
        words = self.system.sim.read_memory(low, (spa + length - low + 7) // 8)
        data = b"".join(word.to_bytes(8, "little") for word in words)
        return data[spa - low:spa - low + length]

    def write(self, offset, data):
        """Write bytes as the guest."""
        spa, end = self.spa(offset), self.spa(offset) + len(data)
        low = spa & -8
        if spa % 8 or end % 8:
            lead = self.load(offset - spa % 8, spa % 8)
            data = lead + data + self.load(offset + len(data), -end % 8)
        self.system.program.write_memory(low, [int.from_bytes(data[n:n + 8], "little")
                                               for n in range(0, len(data), 8)])


class RtlRoot:
    """What a device of the model calls; see the model's `Root`.

    Parameters
    ----------
    world : has `layout`, `guests`, `monitor`, `run_program`, `manager_memory`.
    rid : of the device.
    """

    def __init__(self, world, rid):
        self.world, self.rid = world, rid
        self.system, self.layout = world.system, world.layout
        self.guests, self.monitor = world.guests, world.monitor

    def read(self, address, length, issuer=None, raw=False):
        """Return the data of a memory read, or None if the answer is an error."""
        parts = self._begin(address, length, raw)
        self._change(parts, length)
        target, before = self._target(parts, address, length)
        op = self.system.tlp(Tlp.read(address, length, rid=self.rid))
        self.system.program.wait()
        answers = self.system.completions(self.world.run_program(), op)
        if any(answer.status != Status.SC for answer in answers):
            return None
        skip = address % 4
        data = b"".join(answer.payload for answer in answers)[skip:skip + length]
        if issuer is not None and target and target != issuer and any(data) and data == before:
            self._breach(target)
        return Data(data, self._forged(parts, data, issuer))

    def write(self, address, data, issuer=None, raw=False):
        """Write; tell whether it had an effect. Data that are there already have none."""
        parts = self._begin(address, len(data), raw)
        target, before = self._target(parts, address, len(data))
        self.post(address, data)
        events = self.world.run_program()
        if issuer is not None and any(event.kind == "record" for event in events):
            self.monitor.breach("interrupt")
        _, after = self._target(parts, address, len(data))
        if before == after:
            return False
        if issuer is not None and target != issuer:
            self._breach(target)
        return True

    def post(self, address, data, **fields):
        """Append the TLPs of a write, and wait until memory has it."""
        done = 0
        while done < len(data):
            part = min(len(data) - done, 256 - (address + done) % 256)
            self.system.tlp(Tlp.write(address + done, data[done:done + part],
                                      **{"rid": self.rid, **fields}))
            done += part
        self.system.tlp(Tlp.read(QUIET, 4, rid=fields.get("rid", self.rid)))
        self.system.program.wait()
        if not address >> 40:
            self.system.program.run(SETTLE)

    def _begin(self, address, length, raw):
        if length < 1 or address % PAGE + length > PAGE:
            raise ValueError(f"a request must stay in a page, not {address:#x} + {length}")
        if raw:
            self.monitor.breach("raw pointer")
        return self.layout.unpack(address)

    def _breach(self, target):
        self.monitor.breach("manager memory" if target == "manager" else "foreign memory")

    def _target(self, parts, address, length):
        """Return whose memory an address would be without any check, and what is there."""
        if not address >> 40:
            memory = self.world.manager_memory
            if address + length <= memory.pages * PAGE:
                return "manager", memory.load(address, length)
            return None, None
        guest = self.guests.get(parts.colour)
        if guest is None or parts.kind == KINDS["ring"] or guest.memory.spa(parts.offset) is None:
            return None, None
        return parts.colour, guest.memory.load(parts.offset, length)

    def _change(self, parts, length):
        """Let guests change their memory at the last moment."""
        guest = self.guests.get(parts.colour)
        if guest is None:
            return
        if parts.kind == KINDS["ring"]:
            index, start = divmod(parts.offset, 1 << self.layout.ring)
            if index in guest.hostile:
                ring = guest.hostile[index]
                first, last = start // 64, -(-(start + length) // 64)
                guest.rings[index].write(64 * first, ring.read(64 * first, 64 * (last - first)))
            return
        page = parts.offset // PAGE
        if page in guest.memory.hooks:
            guest.memory.hooks[page](guest.memory)
        if guest.fresh and guest.memory.spa(parts.offset) is not None:
            low = max(parts.offset - 16 & -16, page * PAGE)
            high = min(parts.offset + length + 31 & -16, page * PAGE + PAGE)
            guest.memory.write(low, guest.fresh.read(low, high - low, parts.kind))

    def _forged(self, parts, data, issuer):
        """Tell which bytes the patcher made: pointers of the issuer in rings and lists."""
        forged = bytearray(len(data))
        guest = self.guests.get(issuer)
        if guest is None or parts.kind == KINDS["data"]:
            return bytes(forged)
        for at in range(-parts.offset % 8, len(data) - 7, 8):
            pointer = self.layout.unpack(int.from_bytes(data[at:at + 8], "little"))
            if (pointer.colour, pointer.key) == (issuer, guest.key):
                forged[at:at + 8] = b"\1" * 8
        return bytes(forged)
