"""The root complex as a shared device sees it: attribution, containment, and check on fetch."""

from .address import LISTS, PAGE
from .data import Data, Owner
from .layout import KINDS
from .templates import KIND_TEMPLATES

__all__ = ["Root"]


class Root:
    """Answer the requests of one device; patch what comes from rings and lists.

    `issuer` (the colour on whose command the device acts, None if on its own malice) and `raw` (the
    pointer holds bytes that a guest wrote) are for the monitor only; no decision depends on them.

    Parameters
    ----------
    guests : colour -> Guest.
    queues : index -> Queue.
    manager : ranges of colour 0, start -> bytearray; `interrupts` is the start of the MSI window.
    off : defences that are switched off.
    """

    def __init__(self, *, layout, guests, queues, templates, monitor, off=frozenset(),
                 manager=None, interrupts=0xfee0_0000):
        self.layout, self.guests, self.queues = layout, guests, queues
        self.templates, self.monitor, self.off = templates, monitor, off
        self.manager = {} if manager is None else manager
        self.interrupts = interrupts

    def read(self, address, length, issuer=None, raw=False):
        """Return the data of a memory read, or None for an unsupported request."""
        self._page_rule(address, length)
        if raw:
            self.monitor.breach("raw pointer")
        parts = self.layout.unpack(address)
        found = self._manager(address, parts, length, issuer)
        if found is not None:
            start, store = found
            return Data.plain(store[address - start:address - start + length])
        guest = self._admit(parts, issuer)
        if guest is None:
            return self._contained(parts, length)
        if parts.kind == KINDS["data"]:
            if not guest.memory.mapped(parts.offset):
                return self._fault(guest, parts, length)
            return Data.plain(guest.memory.read(parts.offset, length, parts.kind))
        if parts.kind in LISTS:
            return self._read_list(guest, parts, length)
        return self._read_ring(guest, parts, length)

    def write(self, address, data, issuer=None, raw=False):
        """Take a memory write; tell whether it had an effect."""
        self._page_rule(address, len(data))
        if raw:
            self.monitor.breach("raw pointer")
        parts = self.layout.unpack(address)
        found = self._manager(address, parts, len(data), issuer)
        if found is not None:
            start, store = found
            store[address - start:address - start + len(data)] = data
            return True
        guest = self._admit(parts, issuer)
        if guest is None:
            return False
        if parts.kind == KINDS["ring"]:
            return self._write_ring(guest, parts, data)
        if parts.kind != KINDS["data"]:
            self._freeze(guest, "write to a list")
            return False
        if not guest.memory.mapped(parts.offset):
            self._freeze(guest, "fault")
            return False
        guest.memory.write(parts.offset, data)
        return True

    def _page_rule(self, address, length):
        if length < 1 or address % PAGE + length > PAGE:
            raise ValueError(f"a request must stay in a page, not {address:#x} + {length}")

    def _manager(self, address, parts, length, issuer):
        """Find the manager's range: 64 bits compared, and only for colour 0."""
        if parts.colour and "manager" not in self.off:
            return None
        wanted = parts.offset if "manager" in self.off else address
        for start, store in self.manager.items():
            if start <= wanted and wanted + length <= start + len(store):
                if issuer:
                    self.monitor.breach(
                        "interrupt" if start == self.interrupts else "manager memory")
                return start - wanted + address, store
        return None

    def _admit(self, parts, issuer):
        """Attribute a request to its guest, or deny it. A wrong key freezes nobody."""
        guest = self.guests.get(parts.colour)
        if guest is None or guest.state in ("off", "quarantine"):
            self.monitor.record("no guest")
            return None
        if "key" not in self.off and not self.layout.own_key(parts, guest.key):
            self.monitor.record("key")
            return None
        if parts.guard and "guard" not in self.off:
            self._freeze(guest, "guard")
            return None
        if parts.kind not in LISTS | {KINDS["data"], KINDS["ring"]}:
            self._freeze(guest, "poison")
            return None
        if issuer is not None and issuer != parts.colour:
            self.monitor.breach("foreign memory")
        return guest

    def _freeze(self, guest, reason):
        self.monitor.record(reason)
        if guest.state == "run":
            guest.state = "freeze"
        guest.fatal = True

    def _fault(self, guest, parts, length):
        self._freeze(guest, "fault")
        return self._contained(parts, length)

    def _contained(self, parts, length):
        """Answer in place of memory: zeros, but poison where the device may expect pointers."""
        if "contain" in self.off:
            return None
        if parts.kind not in LISTS | {KINDS["ring"]}:
            return Data.plain(bytes(length))
        return self._poison(parts, length)

    def _poison(self, parts, length):
        poison = self.layout.poison(parts.key, parts.colour).to_bytes(8, "little")
        lead = parts.offset % 8
        return Data((poison * (length // 8 + 2))[lead:lead + length], bytes([1]) * length)

    def _owner(self, guest, shift=9):
        return Owner(self.layout, guest.colour, guest.key, guest.parameters, shift, self.off)

    def _read_list(self, guest, parts, length):
        """Widen to whole entries, patch each, and trim. The page's ends may hold half entries."""
        if not guest.memory.mapped(parts.offset):
            return self._fault(guest, parts, length)
        template = self.templates[KIND_TEMPLATES[parts.kind]]
        size = template.size
        phase = 8 if parts.kind == KINDS["typed_list_8"] else 0
        page, start = parts.offset & -PAGE, parts.offset % PAGE
        first = (start - phase) // size * size + phase
        last = -(-(start + length - phase) // size) * size + phase
        whole = guest.memory.read(page + max(first, 0), min(last, PAGE) - max(first, 0), parts.kind)
        result, owner = Data(b"", b""), self._owner(guest)
        at = first
        while at < last:
            if at < 0 or at + size > PAGE:
                part = self._poison(parts._replace(offset=0), 8)
            else:
                entry = whole[at - max(first, 0):at - max(first, 0) + size]
                whole_entry = start <= at and at + size <= start + length
                allowed = whole_entry or "halves" in self.off or template.halves(entry)
                part = self._patch_entry(template, entry, at // 8, owner, parts, allowed)
            result = result.join(part)
            at += size
        lead = start - max(first, 0)
        return result[lead:lead + length]

    def _patch_entry(self, template, entry, slot, owner, parts, allowed):
        if template.handler != "prp_list":
            result, replaced = template.patch(entry, owner, allowed)
            if replaced:
                self.monitor.record("replaced descriptor")
            return result
        pointer = int.from_bytes(entry, "little")
        barred = slot == 511 and not template.fields["last_slot"]
        if barred or (self.layout.entries and slot >= parts.entries):
            address = owner.poison
        elif slot == 511 and parts.entries > 512:
            address = owner.address(parts.kind, pointer, 12, parts.entries - 511)
        else:
            address = owner.address(KINDS["data"], pointer, 12)
        forged = "colour" not in self.off and not (slot == 511 and "slot_511" in self.off)
        return Data(address.to_bytes(8, "little") if forged else entry, bytes([forged]) * 8)

    def _ring(self, guest, parts, length):
        """Find the queue of a ring address; None if it is not the guest's, or out of it."""
        index = parts.offset >> self.layout.ring
        start = parts.offset & (1 << self.layout.ring) - 1
        queue = self.queues.get(index)
        if queue is None or (queue.owner != guest.colour and "owner" not in self.off):
            self._freeze(guest, "ring owner")
            return None
        if queue.owner != guest.colour:
            self.monitor.breach("foreign ring")
        if start + length > queue.depth * self.templates[queue.template].size:
            self._freeze(guest, "ring depth")
            return None
        return queue, self.guests[queue.owner].rings[index], start

    def _read_ring(self, guest, parts, length):
        found = self._ring(guest, parts, length)
        if found is None:
            return self._contained(parts, length)
        queue, ring, start = found
        template = self.templates[queue.template]
        size, end = template.size, start + length
        result, owner = Data(b"", b""), self._owner(guest, queue.shift)
        for index in range(start // size, -(-end // size)):
            whole = start <= index * size and (index + 1) * size <= end
            entry, used = ring.read(index * size, size), template
            allowed = whole or template.partial != "reject"
            if allowed and template.fields["once"]:
                allowed = queue.allow(index, self.off)
                if not allowed and index in queue.kept:
                    result = result.join(queue.kept[index])
                    continue
            other = template.other(entry)
            if other is not None:
                used = self.templates[other]
            data, replaced = used.patch(entry, owner, allowed)
            if replaced:
                self.monitor.record("replaced")
            elif queue.charge:
                queue.charge(used.cost(entry, owner))
            if template.partial == "keep" and allowed:
                queue.kept[index] = data
            result = result.join(data)
        lead = start - start // size * size
        return result[lead:lead + length]

    def _write_ring(self, guest, parts, data):
        found = self._ring(guest, parts, len(data))
        if found is None:
            return False
        queue, ring, start = found
        template = self.templates[queue.template]
        if not template.fields["device_writes"]:
            self._freeze(guest, "write to a ring")
            return False
        ring.write(start, data)
        size = template.size
        for index in range(start // size, -(-(start + len(data)) // size)):
            if start <= index * size + size - 2 and (index + 1) * size <= start + len(data):
                if index == queue.next_write:
                    queue.next_write = (index + 1) % queue.depth
                    if queue.completed:
                        queue.completed()
                else:
                    self.monitor.record("odd completion")
        return True
