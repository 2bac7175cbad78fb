"""Rules that a template must keep, beyond the kinds and ranges of its values."""

import itertools

from .reader import TemplateError

__all__ = ["check_template", "class_table"]

#: Rules of addresses that point to lists.
LISTS = ("prp_list", "typed_list", "prp2", "range_list")


def check_template(template):
    """Raise :class:`~iovirt.vf.reader.TemplateError` if the template breaks a rule."""
    if template.handler == "ring":
        _check_ring(template)
    else:
        _check_list(template)
    for kind in ("address", "value"):
        names = set()
        for number, item in enumerate(_items(template, kind)):
            if item.name in names:
                _fail(template, f"{kind}[{number}].name", "be the only one of its name", item.name)
            names.add(item.name)
    _check_classes(template)
    for number, address in enumerate(template.addresses):
        _check_address(template, f"address[{number}].", address)
    for number, value in enumerate(template.values):
        _check_value(template, f"value[{number}].", value)
    _check_parameters(template)
    _check_places(template)


def class_table(template):
    """Return the class of each {opcode class, selectors}: 32 numbers, 0 for refused entries."""
    opcodes = [None, *template.opcodes.classes] if template.opcodes else [None]
    table = [0] * 32
    for number, opcode in enumerate(opcodes):
        for bits in range(1 << len(template.selectors)):
            rule = _rule_for(template, opcode, bits)
            if rule is not None:
                table[8 * number + bits] = 1 + template.classes.index(rule.name)
    return table


def _rule_for(template, opcode, bits):
    holds = {selector.name for n, selector in enumerate(template.selectors)
             if selector is not None and bits >> n & 1}
    for rule in template.rules:
        if (rule.opcode in (None, opcode)
                and holds.issuperset(rule.when) and holds.isdisjoint(rule.unless)):
            return rule
    return None


def _items(template, kind):
    return template.addresses if kind == "address" else template.values


def _fail(template, key, rule, value):
    raise TemplateError(f"{template.path}: {key} must {rule}, not {value!r}")


def _check_ring(template):
    for key in ("within", "max_entries"):
        if getattr(template, key):
            _fail(template, key, "be left out in a ring", getattr(template, key))
    if template.last_slot and not any(field.rule == "prp2" for field in template.addresses):
        _fail(template, "last_slot", "be left out without an address of rule 'prp2'", True)
    if template.alternative is not None and not template.selectors:
        _fail(template, "alternative", "be left out without a first selector",
              template.alternative)


def _check_list(template):
    for key in ("device_writes", "once", "last_slot", "alternative", "keep_bytes"):
        if getattr(template, key) and (key, template.handler) != ("last_slot", "prp_list"):
            name = "replace.keep_bytes" if key == "keep_bytes" else key
            _fail(template, name, "be left out in a list", getattr(template, key))
    if template.partial == "keep":
        _fail(template, "partial", "be 'reject' or 'widen' in a list", "keep")
    if template.max_entries * template.entry_bytes > template.within:
        _fail(template, "max_entries",
              f"be at most {template.within // template.entry_bytes}, what {template.within} bytes "
              "hold", template.max_entries)
    if template.handler == "typed_list" and template.entry_bytes != 16:
        _fail(template, "entry_bytes", "be 16 in a typed list", template.entry_bytes)
    if template.handler == "prp_list":
        if template.entry_bytes != 8:
            _fail(template, "entry_bytes", "be 8 in a PRP list", template.entry_bytes)
        for key, name in (("opcodes", "opcode"), ("selectors", "selector"), ("rules", "class"),
                          ("addresses", "address"), ("values", "value"), ("zero", "zero")):
            if getattr(template, key):
                raise TemplateError(f"{template.path}: {name} must be left out in a PRP list, "
                                    "whose every entry is a pointer")


def _check_classes(template):
    # A ring that the device only writes needs none.
    if template.handler != "prp_list" and not template.device_writes and not template.rules:
        raise TemplateError(f"{template.path}: class must be given: without classes, every entry "
                            "is replaced")
    opcodes = [None, *template.opcodes.classes] if template.opcodes else [None]
    used = [_rule_for(template, opcode, bits) for opcode in opcodes
            for bits in range(1 << len(template.selectors))]
    for number, rule in enumerate(template.rules):
        if not any(rule is other for other in used):
            _fail(template, f"class[{number}]", "hold for an entry that no rule before it takes",
                  rule.name)
    named = set(itertools.chain.from_iterable(rule.when + rule.unless for rule in template.rules))
    for number, selector in enumerate(template.selectors):
        first = number == 0 and template.alternative is not None
        if selector.name not in named and not first:
            _fail(template, f"selector[{number}].name", "be used by a class", selector.name)
    for name in template.opcodes.classes if template.opcodes else ():
        if not any(rule.opcode in (None, name) for rule in template.rules):
            _fail(template, f"opcode.classes.{name}", "be used by a class", name)


def _check_address(template, key, field):
    if field.rule == "none" and field.classes and field.length is None:
        _fail(template, key + "classes", "be left out with rule = 'none', unless there is a length",
              field.classes)
    if not field.classes and (field.rule != "none" or field.length is not None):
        _fail(template, key + "classes", f"be given with rule = {field.rule!r}", field.classes)
    if field.rule not in ("none", "plain") and field.bits == 32:
        _fail(template, key + "bits", "be 64: a device with 32-bit addresses cannot be shared", 32)
    if (field.child is not None) != (field.rule in LISTS):
        _fail(template, key + "child", "name a template" if field.rule in LISTS else
              f"be left out with rule = {field.rule!r}", field.child)
    if field.max_length is not None and field.length is None:
        _fail(template, key + "length", "be given with max_length", None)
    if field.rule in ("prp_list", "prp2", "range_list"):
        if field.length is None:
            _fail(template, key + "length", f"be given with rule = {field.rule!r}", None)
    elif field.length is not None and field.max_length is None:
        _fail(template, key + "max_length",
              f"be given with length: rule {field.rule!r} uses it for nothing else", None)
    if (field.reference is not None) != (field.rule == "prp2"):
        _fail(template, key + "reference", "name the address of the first page" if
              field.rule == "prp2" else f"be left out with rule = {field.rule!r}", field.reference)
    if field.reference is not None:
        first = {other.name: other for other in template.addresses}.get(field.reference)
        if first is None or first.rule != "data" or not set(field.classes) <= set(first.classes):
            _fail(template, key + "reference", "name an address of rule 'data' in all the classes "
                  "of this one", field.reference)


def _check_value(template, key, value):
    ranged = value.op in ("range", "range_add")
    if not value.classes:
        _fail(template, key + "classes", "have at least one name", [])
    if ranged != (value.length is not None):
        _fail(template, key + "length", f"be {'given' if ranged else 'left out'} with "
              f"op = {value.op!r}", value.length and value.length.byte)
    if ranged and template.parameters[value.parameter] % 2:
        _fail(template, f"parameters.{value.parameter}", "be even: a range has a base and, after "
              "it, a limit", template.parameters[value.parameter])


def _check_parameters(template):
    owner = {}
    for name, number in template.parameters.items():
        users = [value for value in template.values if value.parameter == name]
        if not users:
            _fail(template, f"parameters.{name}", "be used by a value", number)
        pair = any(value.op in ("range", "range_add") for value in users)
        for used in range(number, number + 1 + pair):
            if used in owner:
                _fail(template, f"parameters.{name}", f"use no number of {owner[used]!r}", used)
            owner[used] = name


def _bits(byte, low, width):
    return (1 << width) - 1 << 8 * byte + low


def _length_bits(length):
    low, width = {"low16": (0, 16), "high16": (16, 16), "low20": (0, 20),
                  "full32": (0, 32)}[length.form]
    return _bits(length.byte, low, width)


def _check_places(template):
    """Nothing is written twice, and nothing that was looked at is changed afterwards."""
    written = [(f"address[{n}]", field, _bits(field.byte, 0, field.bits))
               for n, field in enumerate(template.addresses)]
    written += [(f"value[{n}]", value, _bits(value.byte, value.low, value.width))
                for n, value in enumerate(template.values)]
    for (_, one, mine), (key, other, theirs) in itertools.combinations(written, 2):
        same = mine == theirs and type(one) is type(other)
        if mine & theirs and not same:
            _fail(template, f"{key}.byte", f"lie outside {one.name!r}", other.byte)
        if mine & theirs and set(one.classes) & set(other.classes):
            _fail(template, f"{key}.classes", f"have no class of {one.name!r}, which is at the "
                  "same place", list(other.classes))
    zero = sum(_bits(byte, 0, 8) for byte in template.zero)
    for byte in template.zero:
        if byte ^ 1 not in template.zero:
            _fail(template, "zero", "have bytes in pairs, 2n and 2n + 1", byte)
    for _, item, mine in written:
        if mine & zero:
            _fail(template, "zero", f"have no byte of {item.name!r}", item.byte)
    seen = _looked_at(template)
    kept = _bits(template.keep_byte, 0, 8 * template.keep_bytes)
    for name, mask, _ in seen:
        if mask & zero:
            _fail(template, "zero", f"leave what {name} looks at", list(template.zero))
    for key, item, mine in written:
        for name, mask, classes in seen:
            changes = getattr(item, "op", None) not in ("require", "range", "max")
            if mask & mine and changes and _meet(item, classes):
                _fail(template, f"{key}.byte", f"leave what {name} looks at", item.byte)
        if kept & mine:
            _fail(template, "replace.keep_byte", f"keep no byte of {item.name!r}",
                  template.keep_byte)
    if template.opcodes and kept & _bits(template.opcodes.byte, 0, 8):
        _fail(template, "replace.keep_byte", "not keep the opcode", template.keep_byte)


def _looked_at(template):
    """Return what judges an entry: names, bits, and classes in which they do (None: all)."""
    seen = [(f"selector {selector.name!r}", selector.mask << 8 * selector.byte, None)
            for selector in template.selectors]
    if template.opcodes:
        seen.append(("the opcode", _bits(template.opcodes.byte, 0, 8), None))
    for item in (*template.addresses, *template.values):
        if item.length is not None:
            seen.append((f"the length of {item.name!r}", _length_bits(item.length), item.classes))
    return seen


def _meet(item, classes):
    """Tell whether writing ``item`` may change what is looked at in ``classes``."""
    # An address is written in every class: where it is not one, it becomes poison.
    return classes is None or not hasattr(item, "op") or bool(set(classes) & set(item.classes))
