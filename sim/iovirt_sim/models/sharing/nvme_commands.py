"""What an NVMe device does for one command: PRP and SGL walks, data, and blocks."""

from .address import PAGE

__all__ = ["execute"]

OK, BAD_OPCODE, BAD_FIELD, BAD_NAMESPACE, BAD_RANGE, BAD_SGL = 0, 1, 2, 0x0b, 0x80, 0x0d
ABORTED = 7
FLUSH, WRITE, READ, COMPARE, ZEROES, DSM, VERIFY, COPY = 0, 1, 2, 5, 8, 9, 12, 0x19
VENDOR = 0x80       # stands for all commands that work on the device as a whole


class _Stop(Exception):
    """The command ends with the status `args[0]`."""


def execute(device, issuer, entry):
    """Execute one entry and return its status."""
    opcode, flags, namespace = entry.value[0], entry.value[1], entry.number(4, 4)
    if opcode == VENDOR:
        device.root.monitor.breach("device-wide command")
        return OK
    if opcode not in (FLUSH, WRITE, READ, COMPARE, ZEROES, DSM, VERIFY, COPY):
        return BAD_OPCODE
    if flags & 3 or flags >> 6 > 1:
        return BAD_FIELD
    if namespace not in device.namespaces:
        return BAD_NAMESPACE
    if namespace != device.root.guests[issuer].parameters[0]:
        device.root.monitor.breach("foreign namespace")
    try:
        if opcode in (DSM, COPY):
            _ranges(device, issuer, entry, opcode)
        elif opcode != FLUSH:
            _blocks(device, issuer, entry, opcode, flags >> 6)
    except _Stop as stop:
        return stop.args[0]
    return OK


def _touch_blocks(device, issuer, start, count):
    if start + count > device.blocks:
        raise _Stop(BAD_RANGE)
    own = device.root.guests[issuer].blocks
    if count and not (own.start <= start and start + count <= own.stop):
        device.root.monitor.breach("foreign block")


def _blocks(device, issuer, entry, opcode, psdt):
    start, count = entry.number(40, 8), entry.number(48, 2) + 1
    if opcode == ZEROES and entry.number(50, 1) & 0x80:  # NSZ: the namespace, whatever the blocks
        start, count = 0, device.blocks
    _touch_blocks(device, issuer, start, count)
    if opcode in (ZEROES, VERIFY):
        return
    length = count * ((1 << device.shift) + device.options.metadata)
    walk = _sgl if psdt else _prp
    done = 0
    content = b"".join(device.disk.get(start + n, bytes(1 << device.shift))
                       for n in range(count)) if device.options.payload else b""
    taken = bytearray()
    for number, (pointer, raw, size) in enumerate(walk(device, issuer, entry, length)):
        if device.options.patience and number == device.options.patience:
            raise _Stop(ABORTED)
        if opcode == READ:
            data = content[done:done + size] if device.options.payload else b"\0"
            _pages(device, issuer, pointer, raw, len(data), data)
        else:
            taken += _pages(device, issuer, pointer, raw,
                            size if device.options.payload else 1, None)
        done += size
    if opcode == WRITE and device.options.payload:
        for n in range(count):
            device.disk[start + n] = bytes(taken[n << device.shift:n + 1 << device.shift])


def _pages(device, issuer, pointer, raw, size, data):
    """Move data by requests that stay in a page each."""
    result, done = b"", 0
    while done < size:
        at = pointer + done
        part = min(size - done, PAGE - at % PAGE)
        if data is None:
            got = device.fetch(at, part, issuer, raw)
            if got is None:
                raise _Stop(BAD_FIELD)
            result += got.value
        else:
            device.root.write(at, data[done:done + part], issuer, raw)
        done += part
    return result


class _List:
    """Reads slots of a PRP list page in the device's style; each piece is read when needed."""

    def __init__(self, device, issuer, pointer, raw, slots):
        self.device, self.issuer, self.raw = device, issuer, raw
        self.base, self.start = pointer & -PAGE, pointer % PAGE // 8
        style = device.options.lists
        self.pieces, self.step = {}, style // 8 if isinstance(style, int) else 1
        if style in ("exact", "page"):
            end = 512 if style == "page" else min(512, self.start + slots)
            self._load(self.start, end)

    def _load(self, first, last):
        data = self.device.fetch(self.base + 8 * first, 8 * (last - first), self.issuer, self.raw)
        if data is None:
            raise _Stop(BAD_FIELD)
        for n in range(last - first):
            self.pieces[first + n] = data.pointer(8 * n)

    def __getitem__(self, slot):
        if slot not in self.pieces:
            first = slot // self.step * self.step
            self._load(first, first + self.step)
        return self.pieces[slot]


def _prp(device, issuer, entry, length):
    """Yield (pointer, raw, size) of the data, by the rules of PRP entries."""
    options = device.options
    page = options.page
    pointer, raw = entry.pointer(24)
    pointer &= ~3
    size = min(length, page - pointer % page)
    yield pointer, raw, size
    rest = length - size
    if rest == 0:
        return
    pointer, raw = entry.pointer(32)
    if rest <= page - (pointer % page if options.honours_low else 0):
        yield pointer if options.honours_low else pointer & -page, raw, rest
        return
    pointer &= ~7
    for _ in range(16):
        slots = -(-rest // page)
        pages = _List(device, issuer, pointer, raw, slots)
        slot = pages.start
        while rest:
            if slot == 511 and (options.always_link or rest > page):
                break
            if slot > 511:
                return
            address, raw = pages[slot]
            offset = address % page if options.honours_low else 0
            size = min(rest, page - offset)
            yield (address & -page) + offset, raw, size
            rest -= size
            slot += 1
        if not rest:
            return
        pointer, raw = pages[511]
        pointer &= -page


def _sgl(device, issuer, entry, length):
    """Yield (pointer, raw, size) of the data, by the rules of scatter-gather lists."""
    queue = [entry[24:40]]
    for _ in range(64):
        if not queue or length <= 0:
            return
        descriptor = queue.pop(0)
        pointer, raw = descriptor.pointer(0)
        size, kind = descriptor.number(8, 4), descriptor.value[15]
        if kind == 0:
            size = min(size, length)
            if size:
                yield pointer, raw, size
            length -= size
        elif kind == 0x10:
            length -= size
        elif kind in (0x20, 0x30):
            if queue or size % 16 or not size:
                raise _Stop(BAD_SGL)
            queue = _segment(device, issuer, pointer, raw, min(size, 16 * 64))
        else:
            raise _Stop(BAD_SGL)


def _segment(device, issuer, pointer, raw, size):
    step = device.options.lists if isinstance(device.options.lists, int) else PAGE
    data, at = None, pointer
    while at < pointer + size:
        part = min(pointer + size - at, step - at % step, PAGE - at % PAGE)
        got = device.fetch(at, part, issuer, raw)
        if got is None:
            raise _Stop(BAD_SGL)
        data = got if data is None else data.join(got)
        at += part
    return [data[n:n + 16] for n in range(0, size, 16)]


def _ranges(device, issuer, entry, opcode):
    step = 16 if opcode == DSM else 32
    count = entry.number(40, 1) + 1 if opcode == DSM else entry.number(48, 1) + 1
    pointer, raw = entry.pointer(24)
    at, left = pointer & ~3, count * step
    second, second_raw = entry.pointer(32)
    data = None
    while left:
        style = device.options.lists
        part = min(left, PAGE - at % PAGE, style if isinstance(style, int) else PAGE)
        got = device.fetch(at, part, issuer, raw)
        if got is None:
            raise _Stop(BAD_FIELD)
        data = got if data is None else data.join(got)
        left -= part
        at += part
        if at % PAGE == 0:
            at, raw = second & -PAGE, second_raw
    for n in range(count):
        size = data.number(step * n + 4, 4) if opcode == DSM else data.number(step * n + 16, 2) + 1
        _touch_blocks(device, issuer, data.number(step * n + 8, 8), size)
