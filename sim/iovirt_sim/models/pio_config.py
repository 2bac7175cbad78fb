"""Models of configuration accesses and of the header of a root port, from PCIe Base."""

__all__ = ["HeaderModel", "config_outcome", "config_target", "rrs_is_visible"]

ONES = 0xffffffff


def config_target(address, *, legal=True, primary, secondary, subordinate, ari):
    """Return where an access to the ECAM window goes.

    Returns
    -------
    str
        "header", "type0", "type1" or "none".
    """
    bus, device, function = address >> 20, address >> 15 & 31, address >> 12 & 7
    if not legal:
        return "none"
    if bus == primary:
        return "header" if (device, function) == (0, 0) else "none"
    if secondary == 0:
        return "none"
    if bus == secondary:
        return "type0" if ari or device == 0 else "none"
    return "type1" if secondary < bus <= subordinate else "none"


def rrs_is_visible(address, be, write):
    """Return whether RRS may be told to software: a read of both bytes of the Vendor ID."""
    return not write and address & 0xffc == 0 and be & 3 == 3


#: {offset: [(lowest bit, width, kind, reset)]}. Bits not named are 0. Kinds: ro, rw, w1c, and x for
#: those that the model treats by name.
FIELDS = {
    0x04: [(1, 1, "rw", 0), (2, 1, "rw", 0), (6, 1, "rw", 0), (8, 1, "rw", 0), (10, 1, "rw", 0),
           (20, 1, "ro", 1), (30, 1, "w1c", 0)],
    0x0c: [(0, 8, "rw", 0), (16, 7, "ro", 1)],
    0x18: [(0, 24, "rw", 0)],
    0x1c: [(24, 1, "w1c", 0), (27, 1, "w1c", 0), (28, 1, "w1c", 0), (29, 1, "w1c", 0),
           (30, 1, "w1c", 0), (31, 1, "w1c", 0)],
    0x20: [(4, 12, "rw", 0), (20, 12, "rw", 0)],
    0x24: [(0, 4, "ro", 1), (4, 12, "rw", 0), (16, 4, "ro", 1), (20, 12, "rw", 0)],
    0x28: [(0, 32, "rw", 0)],
    0x2c: [(0, 32, "rw", 0)],
    0x34: [(0, 8, "ro", 0x40)],
    0x3c: [(0, 8, "rw", 0), (8, 8, "ro", 1), (16, 2, "rw", 0), (22, 1, "rw", 0)],
    0x40: [(0, 8, "ro", 0x10), (8, 8, "ro", 0x80), (16, 4, "ro", 2), (20, 4, "ro", 4)],
    0x48: [(0, 4, "rw", 0), (4, 1, "rw", 1), (5, 3, "rw", 0), (8, 1, "rw", 1), (11, 1, "rw", 1),
           (12, 3, "rw", 2), (16, 4, "w1c", 0)],
    0x50: [(3, 1, "ro", 0), (4, 1, "rw", 0), (6, 1, "rw", 0), (7, 1, "rw", 0)],
    0x58: [(22, 1, "ro", 1)],
    0x5c: [(0, 5, "rw", 0), (16, 1, "ro", 1)],
    0x60: [(0, 16, "ro", 0), (16, 1, "w1c", 0), (17, 1, "ro", 0)],
    0x64: [(0, 4, "ro", 15), (4, 1, "ro", 1), (5, 1, "ro", 1), (16, 1, "ro", 1), (21, 1, "ro", 1),
           (22, 2, "ro", 1)],
    0x68: [(0, 4, "rw", 0), (4, 1, "rw", 0), (5, 1, "rw", 0)],
    0x70: [(0, 4, "rw", 3)],
    0x80: [(0, 8, "ro", 1), (16, 3, "ro", 3)],
    0x84: [(0, 2, "x", 0), (3, 1, "ro", 1)],
    0x100: [(0, 16, "ro", 1), (16, 4, "ro", 2), (20, 12, "ro", 0x148)],
    0x114: [(13, 1, "rw", 1)],
    0x110: [(13, 1, "w1c", 0)],
    0x118: [(0, 5, "ro", 0)],
    0x12c: [(0, 3, "rw", 0)],
    0x130: [(n, 1, "w1c", 0) for n in range(7)],
    0x134: [(0, 32, "ro", 0)],
    0x148: [(0, 16, "ro", 13), (16, 4, "ro", 1)],
    0x14c: [(0, 5, "ro", 31), (16, 5, "rw", 0)],
}
#: Uncorrectable errors by bit: fatal after reset?
ERRORS = {5: True, 12: False, 14: False, 15: False, 16: False, 18: True, 20: False, 21: False}
FIELDS[0x104] = [(bit, 1, "w1c", 0) for bit in ERRORS]
FIELDS[0x108] = [(bit, 1, "rw", 0) for bit in ERRORS]
FIELDS[0x10c] = [(bit, 1, "rw", int(fatal)) for bit, fatal in ERRORS.items()]

#: {name of a cause: (bit in AER, advisory, bit in Secondary Status)}
CAUSES = {
    "MALFORMED": (18, False, None), "BUS_RANGE": (21, False, None),
    "UNSUPPORTED": (20, None, None), "POISONED_WRITE": (12, False, 15),
    "UNEXPECTED_COMPLETION": (16, True, None), "COMPLETION_MISMATCH": (16, True, None),
    "COMPLETION_LATE": (16, True, None), "MEMORY_READ_ABORT": (15, True, 11),
    "PIO_TIMEOUT": (14, False, None), "PIO_POISON": (12, False, 15),
    "PIO_UNSUPPORTED": (None, None, 13), "PIO_ABORT": (None, None, 12),
}


class HeaderModel:
    """The configuration space of a root port, Dword by Dword.

    Parameters
    ----------
    ids : dict of int to int
        Dwords that tell what the port is: identification and capabilities.
    """

    def __init__(self, ids):
        self.ids   = ids
        self.words = {offset: sum(reset << low for low, _, _, reset in fields)
                      for offset, fields in FIELDS.items()}
        self.primary, self.link_up, self.link_status = 0, False, 0
        self.first_error = None   # bit that the first error pointer is about
        self.waiting     = None   # requester of a second power management event

    def get(self, offset, low, width=1):
        """Return a field."""
        return self.words[offset] >> low & (1 << width) - 1

    def put(self, offset, low, width, value):
        """Set a field."""
        mask = (1 << width) - 1 << low
        self.words[offset] = self.words[offset] & ~mask | value << low & mask

    def read(self, offset):
        """Read the Dword at ``offset``."""
        word = self.ids.get(offset, self.words.get(offset, 0))
        if offset == 0x04:
            word |= self.pending << 19
        if offset == 0x50:
            word |= self.link_status << 16 | self.link_up << 29
        return word

    def write(self, offset, be, data):
        """Write the bytes of ``be`` of the Dword at ``offset``."""
        if offset not in FIELDS or offset in self.ids:
            return
        strobes = sum(0xff << 8 * n for n in range(4) if be >> n & 1)
        old, new = self.words[offset], self.words[offset]
        for low, width, kind, _ in FIELDS[offset]:
            mask = ((1 << width) - 1 << low) & strobes
            if kind == "rw":
                new = new & ~mask | data & mask
            elif kind == "w1c":
                new &= ~(data & mask)
        if offset == 0x84 and be & 1 and data & 3 in (0, 3):
            new = new & ~3 | data & 3
        self.words[offset] = new
        if offset == 0x104 and self.first_error is not None and not new >> self.first_error & 1:
            self.first_error = None
        if offset == 0x60 and old >> 16 & 1 and not new >> 16 & 1 and self.waiting is not None:
            self.put(0x60, 0, 18, self.waiting | 1 << 16)
            self.waiting = None

    def event(self, cause, advisory=False):
        """An error is found."""
        bit, always, secondary = CAUSES.get(cause, (None, None, None))
        if secondary is not None:
            self.put(0x1c, 16 + secondary, 1, 1)
            if cause == "PIO_POISON" and self.get(0x3c, 16):
                self.put(0x1c, 24, 1, 1)
        if bit is not None:
            self.error(bit, advisory if always is None else always)

    def error(self, bit, advisory):
        """An uncorrectable error of the port itself (6.2.3)."""
        masked, fatal = self.get(0x108, bit), self.get(0x10c, bit)
        reports = self.get(0x48, 0, 4)
        if bit == 20:
            self.put(0x48, 19, 1, 1)
        lets = bit != 20 or reports >> 3 & 1
        if advisory and not fatal:
            self.put(0x48, 16, 1, 1)
            self.put(0x110, 13, 1, 1)
            if self.get(0x114, 13):
                return
            self.log(bit, masked)
            if reports & 1 and lets:
                self.reported(0, self.primary << 8)
            return
        self.put(0x48, 18 if fatal else 17, 1, 1)
        self.log(bit, masked)
        serr = self.get(0x04, 8)
        if not masked and (serr or (reports >> (2 if fatal else 1) & 1 and lets)):
            if serr:
                self.put(0x04, 30, 1, 1)
            self.reported(2 if fatal else 1, self.primary << 8)

    def log(self, bit, masked):
        """Note an error in the status, and as the first one if it is."""
        self.put(0x104, bit, 1, 1)
        if not masked and self.first_error is None:
            self.first_error = bit
            self.put(0x118, 0, 5, bit)

    def message(self, code, rid):
        """A message is received."""
        if code == 0x18:
            if not self.get(0x60, 16):
                self.put(0x60, 0, 17, rid | 1 << 16)
            elif self.waiting is None:
                self.waiting = rid
                self.put(0x60, 17, 1, 1)
        elif code in (0x30, 0x31, 0x33):
            if code != 0x30:
                self.put(0x1c, 30, 1, 1)
            if self.get(0x3c, 17):
                self.reported({0x30: 0, 0x31: 1, 0x33: 2}[code], rid)

    def reported(self, grade, rid):
        """An error message counts in Root Error Status (7.8.4.10)."""
        valid, more = (0, 1) if grade == 0 else (2, 3)
        if self.get(0x130, valid):
            self.put(0x130, more, 1, 1)
        else:
            self.put(0x134, 0 if grade == 0 else 16, 16, rid)
            self.put(0x130, valid, 1, 1)
            if grade == 2:
                self.put(0x130, 4, 1, 1)
        if grade:
            self.put(0x130, 4 + grade, 1, 1)

    def link(self, up):
        """The link changes."""
        asked = self.get(0x50, 4) or self.get(0x3c, 22)
        if self.link_up and not up and not asked:
            self.error(5, False)
        self.link_up = up

    @property
    def pending(self):
        """An interrupt is due, if the Command register permits it."""
        status, command = self.words[0x130], self.words[0x12c]
        due = status >> 0 & command | status >> 5 & command >> 1 | status >> 6 & command >> 2
        return due & 1 | self.get(0x60, 16) & self.get(0x5c, 3)

    @property
    def interrupt(self):
        """The interrupt of the port."""
        return self.pending & ~self.get(0x04, 10) & 1


def config_outcome(address, be, write, completions, *, visible, count):
    """Return what becomes of an access to a device.

    ``completions`` are {"status": name, "data": Dword} of one request after the other, as many as
    might be needed; ``count`` is how often a request may be repeated.

    Returns
    -------
    tuple
        Name of the status, data, number of requests, and name of the error recorded or None.
    """
    for number, completion in enumerate(completions, 1):
        status, data = completion["status"], completion["data"]
        if status == "RRS":
            if visible and rrs_is_visible(address, be, write):
                return "OK", 0xffff0001, number, None
            if number <= count:
                continue
        good = status in ("OK", "POISONED")
        data = 0 if write else data if good else ONES
        return status, data, number, "PIO_RETRY" if status == "RRS" else None
    raise ValueError("More completions are needed")
