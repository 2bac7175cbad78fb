"""Interpreter of template words (:mod:`.layout`): checks and patches one entry."""

from .address import PAGE
from .data import Data
from .layout import HANDLERS, KINDS, LENGTH_FORMS, OPS, PARTIAL, RULES, unpack

__all__ = ["Template"]

WORD = (1 << 64) - 1


class Template:
    """A template word with its opcode map.

    Members: `size` of an entry, and all fields of :data:`.layout.TABLE` in `fields`.
    """

    def __init__(self, word, opcodes=0):
        self.fields = fields = unpack(word)
        self.size = 8 << fields["entry_size"]
        self.handler = {number: name for name, number in HANDLERS.items()}[fields["handler"]]
        self.partial = {number: name for name, number in PARTIAL.items()}[fields["partial"]]
        self.opcodes = opcodes
        self.selectors = [self._group(f"selector{n}.") for n in range(3)]
        self.addresses = [self._group(f"address{n}.") for n in range(4)]
        self.values = [self._group(f"value{n}.") for n in range(2)]

    def _group(self, prefix):
        return {name.removeprefix(prefix): value for name, value in self.fields.items()
                if name.startswith(prefix)}

    def selector(self, n, entry):
        """Tell whether selector `n` is enabled and holds."""
        selector = self.selectors[n]
        return bool(selector["enable"]) and (
            entry[selector["byte"] % self.size] & selector["mask"] == selector["value"])

    def classify(self, entry):
        """Return the class of an entry, 0..7."""
        number = 0
        if self.fields["opcode_enable"]:
            number = self.opcodes >> 2 * entry[self.fields["opcode_byte"] % self.size] & 3
        index = number << 3 | sum(self.selector(n, entry) << n for n in range(3))
        return self.fields[f"class{index}"]

    def other(self, entry):
        """Return the number of the alternative if it takes the entry, else None."""
        if (self.fields["alternative_enable"] and self.selectors[0]["enable"]
                and not self.selector(0, entry)):
            return self.fields["alternative"]
        return None

    def halves(self, entry):
        """Tell whether part of a list entry may be given out; the rest comes from another read.

        A half that says "segment" could meet an address that was patched as data, and a length the
        start of another range.
        """
        number = self.classify(entry)
        makes_list = any(field["enable"] and field["classes"] << 1 >> number & 1
                         and field["rule"] == RULES["typed_list"] for field in self.addresses)
        return self.handler == "prp_list" or (
            self.handler == "typed_list" and self.partial == "widen" and not makes_list)

    def patch(self, entry, owner, allowed=True):
        """Return (patched or replaced entry, whether it was replaced)."""
        number = self.classify(entry)
        if "opcode" in owner.off and number == 0:
            number = 1
        if "typed_type" in owner.off and self.handler == "typed_list":
            number = 1
        whole = int.from_bytes(entry, "little")
        fixes, bad = [], number == 0 or not allowed
        for field in self.values:
            if field["enable"] and field["classes"] << 1 >> number & 1:
                value, fits = self._value(field, whole, owner)
                bad |= not fits
                fixes.append((field, value))
        pointers = {}
        for field in self.addresses:
            if not field["enable"]:
                continue
            if field["classes"] << 1 >> number & 1 and field["dword"] not in pointers:
                pointer, fits = self._pointer(field, whole, owner)
                bad |= not fits
                pointers[field["dword"]] = pointer
        if bad:
            return self.replaced(entry, owner), True
        for unit in range(32):
            if self.fields["zero_mask"] >> unit & 1 and not self._covered(unit):
                whole &= ~(0xffff << 16 * unit)
        for field, value in fixes:
            whole = _insert(whole, field, value)
        return self._finish(whole, owner, pointers), False

    def _covered(self, unit):
        return any(field["enable"] and field["dword"] * 2 <= unit < field["dword"] * 2 + 4
                   for field in self.addresses)

    def _finish(self, whole, owner, pointers):
        forged = bytearray(self.size)
        for field in self.addresses:
            pointer = pointers.get(field["dword"], owner.poison)
            unused = "mptr" in owner.off and field["classes"] == 0
            if field["enable"] and pointer is not None and not unused:
                low = field["dword"] * 32
                whole &= ~(WORD << low)
                whole |= pointer << low
                if "colour" not in owner.off:
                    forged[low // 8:low // 8 + 8] = bytes([1]) * 8
        whole &= (1 << 8 * self.size) - 1
        return Data(whole.to_bytes(self.size, "little"), bytes(forged[:self.size]))

    def replaced(self, entry, owner):
        """Return the entry that a device rejects, with the identifier of the old one."""
        fields = self.fields
        whole = 0
        for field in self.values:
            if field["enable"]:
                ones = (2 << field["width"]) - 1
                if field["op"] in (OPS["force"], OPS["require"]):
                    whole = _insert(whole, field, ones - 1)
                elif field["op"] in (OPS["range"], OPS["range_add"]):
                    whole = _insert(whole, field, ones)
        for at in range(fields["keep"], fields["keep"] + fields["keep_bytes"]):
            whole |= entry[at] << 8 * at
        if fields["opcode_enable"]:
            at = 8 * fields["opcode_byte"]
            whole = whole & ~(0xff << at) | fields["safe_opcode"] << at
        return self._finish(whole, owner._replace(off=frozenset()), {})

    def cost(self, entry, owner):
        """Return the bytes that a good entry moves, for the guest's account."""
        whole = int.from_bytes(entry, "little")
        for field in self.addresses:
            if field["queue_shift"] and field["classes"] << 1 >> self.classify(entry) & 1:
                return self._length(field, whole) << owner.shift
        return 0

    def _length(self, field, whole):
        dword = whole >> 32 * field["length_dword"] & 0xffff_ffff
        form = field["length_form"]
        if form == LENGTH_FORMS["low16"]:
            dword &= 0xffff
        elif form == LENGTH_FORMS["high16"]:
            dword >>= 16
        elif form == LENGTH_FORMS["low20"]:
            dword &= 0xf_ffff
        return dword + field["zero_based"]

    def _value(self, field, whole, owner):
        """Return (new value, whether the entry passes)."""
        ones = (2 << field["width"]) - 1
        value = whole >> 32 * field["dword"] + field["low"] & ones
        op, p = field["op"], field["parameter"]
        parameter = owner.parameters[p]
        if op == OPS["force"]:
            return (value if "nsid" in owner.off else parameter & ones), True
        if op == OPS["require"]:
            return value, value == parameter & ones
        if op in (OPS["range"], OPS["range_add"]):
            end = value + self._length(field, whole)
            if "range65" in owner.off:
                end &= ones
            fits = end <= owner.parameters[p + 1] or "range" in owner.off
            return (value + parameter & ones if op == OPS["range_add"] else value), fits
        if op == OPS["and"]:
            return value & parameter, True
        return value, op != OPS["max"] or value <= parameter

    def _pointer(self, field, whole, owner):
        """Return (address or None if it stays, whether the entry passes)."""
        pointer = whole >> 32 * field["dword"] & WORD
        rule, low = field["rule"], field["force_low"]
        if rule == RULES["plain"]:
            return None, True
        shift = owner.shift if field["queue_shift"] else field["shift"]
        length = self._length(field, whole) << shift
        fits = field["max_length"] == 15 or length <= PAGE << field["max_length"]
        if not field["wide"] or rule == RULES["none"]:
            return owner.poison, fits
        if rule == RULES["prp2"]:
            return self._prp2(field, whole, pointer, length, owner, fits)
        if rule == RULES["range_list"]:
            start = pointer & PAGE - 1 & -1 << low
            return (owner.address(KINDS["range_list"], pointer, low),
                    fits and start + length <= PAGE)
        if rule == RULES["typed_list"]:
            kind = KINDS["typed_list_8"] if pointer & 8 else KINDS["typed_list"]
            start = pointer & PAGE - 1 & ~7
            inside = length % 16 == 0 and 0 < length and start + length <= PAGE
            return owner.address(kind, pointer, 3), fits and (inside or "typed_page" in owner.off)
        kind = KINDS["prp_list"] if rule == RULES["prp_list"] else KINDS["data"]
        return owner.address(kind, pointer, low), fits

    def _prp2(self, field, whole, pointer, length, owner, fits):
        """Return what PRP2 is, by the rules of NVM Express, and whether its list may be used."""
        reference = self.addresses[field["reference"]]
        start = whole >> 32 * reference["dword"] & PAGE - 1 & -1 << reference["force_low"]
        if "prp1_offset" in owner.off:
            start = 0
        rest = length - min(length, PAGE - start)
        if rest == 0:
            return owner.poison, fits
        if rest <= PAGE:
            return owner.address(KINDS["data"], pointer, 12), fits
        entries = (pointer & PAGE - 8) // 8 + -(-rest // PAGE)
        limit = 512 if self.fields["last_slot"] else 511
        if "chaining" in owner.off:
            limit = 1023
        return (owner.address(KINDS["prp_list"], pointer, 3, entries),
                fits and entries <= limit)


def _insert(whole, field, value):
    low, ones = 32 * field["dword"] + field["low"], (2 << field["width"]) - 1
    return whole & ~(ones << low) | (value & ones) << low
