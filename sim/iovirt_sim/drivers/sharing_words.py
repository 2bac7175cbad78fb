"""Words of the tables of the sharing block, as software writes them."""

from dataclasses import dataclass

__all__ = ["CAUSES", "COUNTERS", "KINDS", "MODES", "STATES", "Addresses", "GuestEntry",
           "PairEntry", "PairState", "Rates", "Reset"]

KINDS  = {"data": 0, "prp_list": 1, "typed_list": 2, "typed_list_8": 3, "range_list": 4, "ring": 5,
          "poison": 7}
MODES  = {"colour": 0, "rid": 1, "pasid": 2}
STATES = ("off", "run", "freeze", "drain", "quarantine")
CAUSES = ("none", "key", "address", "entry", "doorbell", "odd", "table")
#: Statistics of a guest, in the order of its page.
COUNTERS = ("commands", "bytes", "completed", "replaced", "denied", "doorbells", "dropped",
            "mailbox")
RING_LOG2 = 22


def _join(*fields):
    """Return the number that (value, width) make, lowest first."""
    number = at = 0
    for value, width in fields:
        if not 0 <= value < 1 << width:
            raise ValueError(f"Bits {at + width - 1}:{at} must be at most {(1 << width) - 1:#x}, "
                             f"not {value:#x}")
        number |= int(value) << at
        at += width
    return number


def _split(number, *widths):
    """Return the fields of these widths, lowest first."""
    fields = []
    for width in widths:
        fields.append(number & (1 << width) - 1)
        number >>= width
    return fields


@dataclass(frozen=True)
class Addresses:
    """Addresses of shared functions, {key, colour 8, kind 3, guard, offset}."""

    offset_bits: int = 40
    key_bits:    int = 12

    def pack(self, colour, kind, offset, *, key, guard=0):
        """Return an address; ``kind`` is a name."""
        return _join((offset, self.offset_bits), (guard, 1), (KINDS[kind], 3), (colour, 8),
                     (key, self.key_bits))

    def unpack(self, address):
        """Return {field: content}; ``kind`` is a number."""
        names = ("offset", "guard", "kind", "colour", "key")
        return dict(zip(names, _split(address, self.offset_bits, 1, 3, 8, self.key_bits),
                        strict=True))

    def ring(self, colour, pair, side, offset=0, *, key):
        """Return the address of a byte of a ring; ``side`` 1 is that of completions."""
        return self.pack(colour, "ring", self.ring_offset(pair, side, offset), key=key)

    @staticmethod
    def ring_offset(pair, side, offset=0):
        """Return the IOVA at which the hypervisor maps a byte of a ring."""
        return _join((offset, RING_LOG2), (side, 1), (pair, 10))


@dataclass(frozen=True)
class GuestEntry:
    """A guest. ``device_id`` is whose translation its data and lists have, ``ring_device_id`` its
    rings.
    """

    key:            int
    device_id:      int
    ring_device_id: int
    first_pair:     int = 0
    pairs:          int = 0
    function:       int = 0

    def words(self):
        """Return the two doublewords."""
        return (_join((self.key, 16), (self.device_id, 24), (self.first_pair, 10), (self.pairs, 8),
                      (self.function, 2)),
                _join((self.ring_device_id, 24)))


@dataclass(frozen=True)
class PairEntry:
    """A queue pair. Sizes of entries are in bytes; ``shift`` is log2 of the block size."""

    owner:         int
    template:      int
    depth:         int
    cq_depth:      int = 2
    valid:         bool = True
    once:          bool = True
    paired:        bool = True
    device_writes: bool = False
    entry_bytes:   int = 64
    cq_bytes:      int = 16
    shift:         int = 9
    patch_id:      bool = False
    function:      int = 0
    limit:         int = 0
    tail:          int = 0      # doorbell, bytes from the BAR

    def words(self):
        """Return the two doublewords."""
        if self.tail % 4:
            raise ValueError(f"Tail doorbell must be at a multiple of 4, not {self.tail:#x}")
        return (_join((self.valid, 1), (self.once, 1), (self.paired, 1), (self.device_writes, 1),
                      (self.owner, 8), (self.template, 3), (_size(self.entry_bytes), 3),
                      (_size(self.cq_bytes), 3), (self.shift, 4), (self.patch_id, 1),
                      (self.function, 2), (0, 4), (self.depth, 13), (self.cq_depth, 13)),
                _join((self.limit, 13), (0, 19), (self.tail // 4, 22)))


def _size(number):
    if number not in (8, 16, 32, 64):
        raise ValueError(f"Entries must be of 8, 16, 32 or 64 bytes, not {number!r}")
    return number.bit_length() - 4


@dataclass(frozen=True)
class PairState:
    """What hardware knows of a pair."""

    requested: int
    granted:   int
    first:     int
    head:      int
    in_flight: int
    unread:    int
    next:      int
    fetched:   int

    @classmethod
    def of(cls, words):
        """Make it from the doublewords 2 to 4 of a pair."""
        return cls(*_split(words[0], 16, 16, 16, 16), *_split(words[1], 16, 16, 16), words[2])


@dataclass(frozen=True)
class Rates:
    """What a guest may use; 0 is no limit, but for the weight. Bytes are counted in units of 512.

    Rates are per unit of time, ``1 << vf.tick_log2`` clocks.
    """

    weight:        int = 1
    limit:         int = 0      # commands in flight
    commands:      int = 0
    command_burst: int = 0
    bytes:         int = 0
    byte_burst:    int = 0

    def words(self):
        """Return the two doublewords."""
        return (_join((self.weight, 8), (0, 8), (self.limit, 13)),
                _join((self.commands, 16), (self.command_burst, 16), (self.bytes, 16),
                      (self.byte_burst, 16)))


@dataclass(frozen=True)
class Reset:
    """How the reset of a guest went. ``clocks`` by step; ``drained`` False: the device hung;
    ``quiet`` False: it takes no doorbells either, and the guest is still in quarantine.
    """

    drained: bool
    clocks:  dict
    quiet:   bool = True

    @property
    def total(self):
        """Clocks from the first write to the last."""
        return sum(self.clocks.values())
