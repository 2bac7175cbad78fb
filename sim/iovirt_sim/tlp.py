"""Transaction layer packets in plain Python, written from the specification (PCIe Base, 2.2).

A packet travels as a 128-bit header (bit 127 = Fmt[2], a 3-DW header left-justified), its payload
in increasing byte order, and a PASID prefix or None.
"""

import enum
from dataclasses import dataclass, replace

__all__ = ["Kind", "Pasid", "Status", "Tlp", "byte_count", "completions", "enables",
           "lower_address", "split"]


class Kind(enum.Enum):
    """What a packet is: (has a payload, Type). Messages get their routing in Type[2:0]."""

    MRD      = (0, 0x00)
    MRDLK    = (0, 0x01)
    MWR      = (1, 0x00)
    IORD     = (0, 0x02)
    IOWR     = (1, 0x02)
    CFGRD0   = (0, 0x04)
    CFGWR0   = (1, 0x04)
    CFGRD1   = (0, 0x05)
    CFGWR1   = (1, 0x05)
    CPL      = (0, 0x0A)
    CPLD     = (1, 0x0A)
    CPLLK    = (0, 0x0B)
    CPLDLK   = (1, 0x0B)
    FETCHADD = (1, 0x0C)
    SWAP     = (1, 0x0D)
    CAS      = (1, 0x0E)
    DMWR     = (1, 0x1B)
    MSG      = (0, 0x10)
    MSGD     = (1, 0x10)

    @property
    def has_data(self):
        return bool(self.value[0])


class Status(enum.IntEnum):
    """Completion status."""

    SC  = 0
    UR  = 1
    RRS = 2
    CA  = 4


COMPLETIONS = {Kind.CPL, Kind.CPLD, Kind.CPLLK, Kind.CPLDLK}
MESSAGES    = {Kind.MSG, Kind.MSGD}
CONFIG      = {Kind.CFGRD0, Kind.CFGWR0, Kind.CFGRD1, Kind.CFGWR1}
ATOMICS     = {Kind.FETCHADD, Kind.SWAP, Kind.CAS}
POSTED      = {Kind.MWR} | MESSAGES
#: Requests with a 3-DW form for addresses below 4 GiB and a 4-DW form above.
ADDRESSED   = {Kind.MRD, Kind.MRDLK, Kind.MWR, Kind.DMWR} | ATOMICS


@dataclass(frozen=True)
class Pasid:
    """PASID prefix."""

    pid: int
    exec: bool = False
    priv: bool = False

    def pack(self):
        """Return the prefix Dword."""
        return 0x91 << 24 | self.priv << 21 | self.exec << 20 | self.pid

    @classmethod
    def unpack(cls, word):
        """Return the prefix that ``word`` is."""
        if word >> 24 != 0x91:
            raise ValueError(f"PASID prefix must begin with 0x91, not {word >> 24:#x}")
        return cls(word & 0xFFFFF, bool(word >> 20 & 1), bool(word >> 21 & 1))


def byte_count(length, first_be, last_be):
    """Bytes from the first to the last enabled one; 1 for a zero-length read."""
    enabled = [n for n in range(4) if first_be >> n & 1] or [0]
    first   = enabled[0]
    if length == 1:
        return enabled[-1] - first + 1
    last = max(n for n in range(4) if last_be >> n & 1)
    return 4 * (length - 1) - first + last + 1


def lower_address(address, first_be):
    """Lower address of the first completion of a memory read."""
    enabled = [n for n in range(4) if first_be >> n & 1] or [0]
    return (address & 0x7C) + enabled[0]


def enables(address, size):
    """Return ``(length, first_be, last_be)`` of an access to ``size`` bytes at ``address``."""
    if size == 0:
        return 1, 0, 0
    first, end = address // 4, (address + size - 1) // 4
    low  = 0xF << address % 4 & 0xF
    high = 0xF >> 3 - (address + size - 1) % 4
    return (1, low & high, 0) if first == end else (end - first + 1, low, high)


def split(address, size, *, mps, rcb):
    """Cut ``size`` bytes at ``address`` into completions; yield ``(address, size)``.

    Cuts are at the multiples of ``mps``, so that every piece but the last ends at a multiple of
    ``rcb``.
    """
    if mps % rcb:
        raise ValueError(f"Payload limit {mps} must be a multiple of the read boundary {rcb}")
    while size:
        piece = min(size, mps - address % mps)
        yield address, piece
        address, size = address + piece, size - piece


@dataclass(frozen=True)
class Tlp:
    """One packet. Only the fields that its kind has are packed.

    ``address`` is that of the first Dword, with bits 1:0 the PH field; ``length`` counts Dwords, 1
    to 1024. ``wide`` forces a 4-DW header (None: by the address). A message keeps header Dwords 2
    and 3 in ``words``; a configuration request its target in ``cid``, its register in ``address``.
    """

    kind:       Kind
    rid:        int = 0
    tag:        int = 0
    address:    int = 0
    length:     int = 1
    first_be:   int = 0xF
    last_be:    int = 0
    payload:    bytes = b""
    tc:         int = 0
    attr:       int = 0
    at:         int = 0
    ep:         bool = False
    td:         bool = False
    th:         bool = False
    wide:       bool | None = None
    cid:        int = 0
    status:     int = Status.SC
    byte_count: int = 0
    lower_addr: int = 0
    code:       int = 0
    routing:    int = 0
    words:      int = 0
    pasid:      Pasid | None = None

    @classmethod
    def write(cls, address, payload, **fields):
        """Memory write of ``payload`` bytes at a byte address; pads to Dwords."""
        length, first_be, last_be = enables(address, len(payload))
        before = address % 4
        padded = (bytes(before) + bytes(payload)).ljust(4 * length, b"\0")
        return cls(Kind.MWR, address=address - before, length=length, first_be=first_be,
                   last_be=last_be, payload=padded, **fields)

    @classmethod
    def read(cls, address, size, **fields):
        """Memory read of ``size`` bytes at a byte address."""
        length, first_be, last_be = enables(address, size)
        return cls(Kind.MRD, address=address & ~3, length=length, first_be=first_be,
                   last_be=last_be, **fields)

    @property
    def is_wide(self):
        """Whether the header has 4 Dwords."""
        if self.kind in MESSAGES:
            return True
        if self.kind not in ADDRESSED:
            return False
        return self.address >= 1 << 32 if self.wide is None else self.wide

    def enabled(self):
        """Return ``(length, first_be, last_be)`` with the enables that TH implies."""
        if self.th and self.kind != Kind.MWR:
            return self.length, 0xF, 0xF if self.length > 1 else 0
        return self.length, self.first_be, self.last_be

    def pack(self):
        """Return ``(header, payload, prefix)``; prefix is None without PASID."""
        has_data, kind = self.kind.value
        if self.kind in MESSAGES:
            kind |= self.routing
        length = self.length % 1024
        if not has_data and (self.kind in COMPLETIONS or self.kind in MESSAGES):
            length = 0
        dw0 = (has_data << 30 | self.is_wide << 29 | kind << 24 | (self.tag >> 9 & 1) << 23
               | self.tc << 20 | (self.tag >> 8 & 1) << 19 | (self.attr >> 2) << 18 | self.th << 16
               | self.td << 15 | self.ep << 14 | (self.attr & 3) << 12 | self.at << 10 | length)
        tag = self.tag & 0xFF
        if self.kind in COMPLETIONS:
            dw1  = self.cid << 16 | self.status << 13 | self.byte_count % 4096
            tail = (self.rid << 16 | tag << 8 | self.lower_addr) << 32
        elif self.kind in MESSAGES:
            dw1, tail = self.rid << 16 | tag << 8 | self.code, self.words
        else:
            dw1 = self.rid << 16 | tag << 8 | self.last_be << 4 | self.first_be
            if self.kind in CONFIG:
                tail = (self.cid << 16 | self.address) << 32
            else:
                tail = self.address if self.is_wide else self.address << 32
        return (dw0 << 96 | dw1 << 64 | tail, bytes(self.payload),
                None if self.pasid is None else self.pasid.pack())

    @classmethod
    def unpack(cls, header, payload=b"", prefix=None):
        """Return the packet; raises :class:`ValueError` if Fmt and Type are undefined."""
        dw0, dw1, dw2, _ = (header >> shift & 0xFFFFFFFF for shift in (96, 64, 32, 0))
        fmt, kind = dw0 >> 29, dw0 >> 24 & 0x1F
        key = (fmt >> 1 & 1, 0x10 if kind >> 3 == 2 else kind)
        if fmt >> 2 or key not in {entry.value for entry in Kind}:
            raise ValueError(f"Fmt and Type {dw0 >> 24:#04x} are undefined")
        kind = Kind(key)
        if kind not in ADDRESSED and (fmt & 1) != (kind in MESSAGES):
            raise ValueError(f"Fmt {fmt} is undefined for {kind.name}")
        tag  = (dw0 >> 23 & 1) << 9 | (dw0 >> 19 & 1) << 8 | dw1 >> 8 & 0xFF
        base = cls(kind, rid=dw1 >> 16, tag=tag, length=(dw0 & 0x3FF) or 1024,
                   payload=bytes(payload), tc=dw0 >> 20 & 7,
                   attr=(dw0 >> 18 & 1) << 2 | dw0 >> 12 & 3, at=dw0 >> 10 & 3,
                   ep=bool(dw0 >> 14 & 1), td=bool(dw0 >> 15 & 1), th=bool(dw0 >> 16 & 1),
                   pasid=None if prefix is None else Pasid.unpack(prefix))
        if kind in COMPLETIONS:
            tag = tag & 0x300 | dw2 >> 8 & 0xFF
            return replace(base, cid=dw1 >> 16, status=dw1 >> 13 & 7, rid=dw2 >> 16, tag=tag,
                           byte_count=(dw1 & 0xFFF) or 4096, lower_addr=dw2 & 0x7F)
        if kind in MESSAGES:
            return replace(base, code=dw1 & 0xFF, routing=dw0 >> 24 & 7,
                           words=header & (1 << 64) - 1)
        base = replace(base, last_be=dw1 >> 4 & 0xF, first_be=dw1 & 0xF)
        if kind in CONFIG:
            return replace(base, cid=dw2 >> 16, address=dw2 & 0xFFFF)
        if fmt & 1:
            return replace(base, address=header & (1 << 64) - 1, wide=True)
        return replace(base, address=dw2, wide=False)

    def beats(self, data_width, *, segment=0, nullify=False):
        """Yield the packet beat by beat, as dicts of the signals of the TLP streams."""
        header, payload, prefix = self.pack()
        per_beat = data_width // 8
        count = max(1, -(-len(payload) // per_beat))
        for n in range(count):
            piece = payload[n * per_beat:][:per_beat]
            yield {
                "data": int.from_bytes(piece, "little"), "strb": (1 << len(piece) // 4) - 1,
                "hdr": header, "prefix": prefix or 0, "prefix_valid": int(prefix is not None),
                "segment": segment, "first": int(n == 0), "last": int(n == count - 1),
                "nullify": int(nullify and n == count - 1),
            }

    @classmethod
    def from_beats(cls, beats, data_width):
        """Return the packet whose beats are the dicts ``beats``."""
        payload = b"".join(beat["data"].to_bytes(data_width // 8, "little")
                           [:4 * beat["strb"].bit_count()] for beat in beats)
        first = beats[0]
        return cls.unpack(first["hdr"], payload,
                          first["prefix"] if first.get("prefix_valid") else None)


def completions(request, memory, *, cid=0, mps=256, rcb=64):
    """Return the completions with data of a memory read; ``memory(address, size)`` gives bytes."""
    length, first_be, last_be = request.enabled()
    left  = byte_count(length, first_be, last_be)
    start = (request.address & ~3) + (lower_address(0, first_be) & 3)
    made  = []
    for address, size in split(start, left, mps=mps, rcb=rcb):
        low, high = address & ~3, (address + size + 3) & ~3
        made.append(Tlp(Kind.CPLD, rid=request.rid, tag=request.tag, tc=request.tc,
                        attr=request.attr, cid=cid, byte_count=left, lower_addr=address & 0x7F,
                        length=(high - low) // 4, payload=memory(low, high - low)))
        left -= size
    return made
