"""Words of the template table: what a device reads, and what in it is checked or rewritten."""

from amaranth.lib import data, enum

__all__ = ["ADDRESSES", "CLASSES", "OPCODES", "SELECTORS", "VALUES", "AddressField", "Handler",
           "LengthForm", "Operation", "Partial", "Rule", "Selector", "TemplateWord", "ValueField"]

SELECTORS = 3
ADDRESSES = 4
VALUES    = 2
#: Classes that an entry may have; class 0 besides means that it is replaced.
CLASSES   = 7

#: The class of each opcode; 0 if the template does not name it.
OPCODES = data.ArrayLayout(2, 256)


class Handler(enum.Enum, shape=2):
    """What the entries are part of; the kind of the address by which they are read tells it too."""

    RING       = 0
    PRP_LIST   = 1  # every entry is a pointer to a page
    TYPED_LIST = 2  # every entry says what it is
    RANGE_LIST = 3  # entries have no pointers


class Partial(enum.Enum, shape=2):
    """What a read of part of an entry gets. 3 is reserved."""

    REJECT = 0  # part of a replaced entry
    WIDEN  = 1  # part of an entry that was read and checked as a whole
    KEEP   = 2  # part of the entry as it was checked first


class Rule(enum.Enum, shape=3):
    """What an address points to. 7 is reserved."""

    DATA       = 0
    PRP_LIST   = 1
    TYPED_LIST = 2
    PRP2       = 3  # unused, data or a PRP list, by the length and the reference
    RANGE_LIST = 4
    NONE       = 5  # the device must not use it: poison
    PLAIN      = 6  # no address in these classes: left alone


class Operation(enum.Enum, shape=3):
    """What happens to a value, with the guest's parameter p. 7 is reserved."""

    FORCE     = 0  # becomes p
    REQUIRE   = 1  # must be p
    RANGE     = 2  # value + length must be at most parameter p + 1
    RANGE_ADD = 3  # the same, then p is added
    CLIP      = 4  # becomes at most what is granted
    AND       = 5  # becomes value and p
    MAX       = 6  # must be at most p


class LengthForm(enum.Enum, shape=2):
    """Which bits of a doubleword are a length."""

    LOW16  = 0
    HIGH16 = 1
    LOW20  = 2
    FULL32 = 3


class Selector(data.Struct):
    """A byte of the entry that is compared: ``entry[byte] & mask == value``."""

    enable: 1
    byte:   7
    mask:   8
    value:  8


class AddressField(data.Struct):
    """A pointer in the entry. Length: ``(field + zero_based) << shift`` bytes."""

    enable:       1
    dword:        5
    wide:         1           # 64 bits, else 32, which are always poison
    classes:      7           # bit n: class n + 1; poison in others
    force_low:    4           # low bits forced to 0
    rule:         Rule
    child:        3           # for software: the template that reads the list
    length_dword: 5
    length_form:  LengthForm
    zero_based:   1
    queue_shift:  1           # shift by the block size of the queue, not by `shift`
    shift:        4
    reference:    2           # address field that has PRP1
    max_length:   4           # 4096 << n bytes; 15: no limit


class ValueField(data.Struct):
    """A number in the entry, `width` + 1 bits from bit `low` of a doubleword."""

    enable:       1
    dword:        5
    low:          5
    width:        6           # less 1
    op:           Operation
    parameter:    4           # of the guest
    classes:      7           # bit n: class n + 1; left alone in others
    length_dword: 5
    length_form:  LengthForm
    zero_based:   1
    reserved:     1


class TemplateWord(data.Struct):
    """One template, 512 bits."""

    valid:              1
    entry_size:         3         # 8 << n bytes, n in 0..4
    handler:            Handler
    device_writes:      1
    once:               1         # an entry is given once in each lap of a ring
    partial:            Partial
    align:              4         # log2 of the alignment of a list, in bytes
    no_cross:           4         # log2 of the block that a list may not leave, in bytes
    last_slot:          1         # the last slot of a PRP list's page may be data
    max_entries:        9         # of a list; 0: as many as `no_cross` allows
    second:             4         # Dword that decides the class, with selector 0's and a length's
    opcode_enable:      1
    opcode_byte:        7
    keep:               6         # first byte that a replaced entry keeps
    keep_bytes:         2
    safe_opcode:        8         # of a replaced entry
    alternative_enable: 1
    alternative:        3         # template that takes over where the first selector fails
    selectors:          data.ArrayLayout(Selector, SELECTORS)
    classes:            data.ArrayLayout(3, 32)  # by {opcode class, selectors}
    addresses:          data.ArrayLayout(AddressField, ADDRESSES)
    zero_mask:          32        # bit n: bytes 2n and 2n + 1 become 0
    values:             data.ArrayLayout(ValueField, VALUES)
