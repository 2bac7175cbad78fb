"""Bit positions of template words, opcode maps and coloured addresses.

This table is the contract between the template compiler, the model and the hardware. A template is
one word of 512 bits and an opcode map of 256 x 2 bits (the class of opcode `o` is in bits
`2*o+1:2*o`). All numbers are little endian: bit 0 of a word is the lowest.

Meaning of the parts
--------------------
* A selector that is not enabled reads as 0. `class = classes[{opcode class[1:0], selectors[2:0]}]`,
  that is, index = 8 * opcode class + sel2 * 4 + sel1 * 2 + sel0. If opcodes are not enabled, the
  opcode class is 0. Class 0 always means: replace the entry.
* `alternative`: if it is enabled, and selector 0 is enabled and does not hold, another template (of
  the same handler and entry size, never with an alternative of its own) takes the entry.
* A set of classes has 7 bits; bit n stands for class n + 1.
* An address field covers Dword `dword` (and the next one if `wide`). Several fields may cover the
  same place: the lowest one that names the class decides, and poison is written if none does.
  Rule `plain`: in these classes the place holds no address, and stays as it is (a NIC's context
  descriptor); in a replaced entry it is poison like the others.
* The length of a transfer is `(field + zero_based) << shift` bytes, with the shift of the queue
  (LBA size) if `queue_shift`, else the constant `shift`. It must be at most 4096 << max_length (15
  = no limit), or the entry is bad. A field whose `max_length` is 15 and whose rule is data, typed
  list or none does not use its length. Length forms: `LENGTH_FORMS`.
* The queue, not the template, gives depth, LBA shift, and the guest whose parameters are used.
* PRP2 rule (NVM Express, 4.1.1): `reference` is the address field that holds PRP1. Bad if the list
  would pass the end of its page, or would use slot 511 although `last_slot` (in the word of the
  ring) is 0. `child` only tells the compiler which template reads the list: hardware finds it by
  the kind of the address.
* Range list rule: the list (offset in page + length) must end in its page, or the entry is bad.
* A value field is `width` bits from bit `low` of Dword `dword`, and may span two Dwords. Range
  operations use parameter p (base, only added by `range_add`) and p + 1 (limit, in blocks), p even:
  bad unless value + length <= limit, as numbers of 65 bits or more; then base is added.
* Fields outside their classes are left alone; `require`, `range`, `range_add`, `max` and
  a data length above its limit make an entry bad. A bad entry is replaced.
* `partial` is what a read of part of an entry gets. Rings: reject = the replaced entry, and the
  entry does not count as fetched; widen = the part of the checked entry, which counts as fetched.
  Lists: reject = the replaced entry; widen = the part, but of the replaced entry if the class makes
  a typed list of a pointer: two reads see two states of memory, and a descriptor whose halves
  disagree would make a list of what was patched as data. Range lists always reject, whatever the
  word says. PRP lists have no such halves.
* A replaced entry is all zeros, except: `keep_bytes` bytes from `keep` stay; byte `opcode_byte` is
  `safe_opcode` (if opcodes are enabled); every enabled address field is poison; `force` and
  `require` fields are all ones except their lowest bit; range fields are all ones (in any class).
* Order of application: zero mask, values, addresses; opcode, selectors and lengths are taken from
  the entry as it was fetched. The zero mask is not applied to units that a field covers.
"""

# (name, width), lowest bit first.
_HEADER = (
    ("valid", 1),
    ("entry_size", 3),          # bytes = 8 << n, n = 0..4
    ("handler", 2),             # HANDLERS
    ("device_writes", 1),       # the device may write here (rings)
    ("once", 1),                # each entry is fetched once a lap
    ("partial", 2),             # PARTIAL: what a request for part of an entry gets
    ("align", 4),               # log2 of the alignment of a list's first entry, in bytes
    ("no_cross", 4),            # log2 of the block that a list may not leave, in bytes (12)
    ("last_slot", 1),           # slot 511 of a PRP list may hold a data pointer
    ("max_entries", 9),         # entries of a list, 0 = no limit but no_cross
    ("second", 4),              # for hardware: where it finds what decides the class
    ("opcode_enable", 1),
    ("opcode_byte", 7),
    ("keep", 6),                # first byte kept in a replaced entry
    ("keep_bytes", 2),          # 0..3
    ("safe_opcode", 8),
    ("alternative_enable", 1),
    ("alternative", 3),
)
_SELECTOR = (("enable", 1), ("byte", 7), ("mask", 8), ("value", 8))
_ADDRESS = (
    ("enable", 1),
    ("dword", 5),
    ("wide", 1),                # 64 bits; 0: 32 bits, which no coloured device can use: poison
    ("classes", 7),
    ("force_low", 4),           # bits forced to 0 from bit 0 up: 0..12
    ("rule", 3),                # RULES
    ("child", 3),
    ("length_dword", 5),
    ("length_form", 2),         # LENGTH_FORMS
    ("zero_based", 1),
    ("queue_shift", 1),
    ("shift", 4),
    ("reference", 2),           # address field that holds PRP1
    ("max_length", 4),
)
_VALUE = (
    ("enable", 1),
    ("dword", 5),
    ("low", 5),
    ("width", 6),               # width - 1
    ("op", 3),                  # OPS
    ("parameter", 4),
    ("classes", 7),
    ("length_dword", 5),
    ("length_form", 2),
    ("zero_based", 1),
    ("reserved", 1),
)

HANDLERS     = {"ring": 0, "prp_list": 1, "typed_list": 2, "range_list": 3}
PARTIAL      = {"reject": 0, "widen": 1, "keep": 2}
RULES        = {"data": 0, "prp_list": 1, "typed_list": 2, "prp2": 3, "range_list": 4, "none": 5,
                "plain": 6}
OPS          = {"force": 0, "require": 1, "range": 2, "range_add": 3, "clip": 4, "and": 5, "max": 6}
LENGTH_FORMS = {"low16": 0, "high16": 1, "low20": 2, "full32": 3}

#: Kinds of a coloured address; typed lists: 2 starts at 0 and 3 at 8 modulo 16.
KINDS = {"data": 0, "prp_list": 1, "typed_list": 2, "typed_list_8": 3, "range_list": 4, "ring": 5,
         "poison": 7}


def _place():
    """Give every field its bit position: name -> (lowest bit, width)."""
    table, at = {}, 0

    def add(prefix, fields):
        nonlocal at
        for name, width in fields:
            table[prefix + name] = (at, width)
            at += width

    add("", _HEADER)                                            # bits   0 ..  59
    for n in range(3):
        add(f"selector{n}.", _SELECTOR)                         # bits  60 + 24 n, to 131
    add("", [(f"class{n}", 3) for n in range(32)])              # bits 132 +  3 n, to 227
    for n in range(4):
        add(f"address{n}.", _ADDRESS)                           # bits 228 + 43 n, to 399
    add("", [("zero_mask", 32)])                                # bits 400 .. 431, bit n: bytes 2n
    for n in range(2):
        add(f"value{n}.", _VALUE)                               # bits 432 + 40 n, to 511
    if at != 512:
        raise AssertionError(f"template words must have 512 bits, not {at}")
    return table


#: Field name -> (lowest bit, width) in the template word, such as `TABLE["address1.rule"]`.
TABLE = _place()


def pack(fields):
    """Return the template word whose `fields` (name -> number) are set, and all others 0."""
    word = 0
    for name, value in fields.items():
        low, width = TABLE[name]
        if not 0 <= value < 1 << width:
            raise ValueError(f"{name} must fit into {width} bits, not {value!r}")
        word |= value << low
    return word


def unpack(word):
    """Return all fields of a template word, name -> number."""
    return {name: word >> low & (1 << width) - 1 for name, (low, width) in TABLE.items()}


def pack_opcodes(classes):
    """Return the opcode map (512 bits) from opcode -> class (0..3); others are denied."""
    word = 0
    for opcode, number in classes.items():
        if not 0 <= opcode < 256 or not 0 <= number < 4:
            raise ValueError(f"opcode map must be 0..255 -> 0..3, not {opcode!r} -> {number!r}")
        word |= number << 2 * opcode
    return word
