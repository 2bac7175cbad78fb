"""What a template may ask for, of all that can be said, so that hardware can do it."""

import itertools

from .reader import TemplateError

__all__ = ["CHECKED", "check_limits", "measured", "value_fits"]

#: Rules of addresses of lists that are checked to end in their page.
CHECKED = ("typed_list", "range_list")


def check_limits(template):
    """Raise :class:`~iovirt.vf.reader.TemplateError` if no hardware can do what is wanted."""
    if template.entry_bytes > 64:
        _fail(template, "entry_bytes", "be at most 64: hardware has no larger entries",
              template.entry_bytes)
    if template.partial == "keep":
        _fail(template, "partial", "be 'reject' or 'widen': hardware keeps no entries", "keep")
    if template.keep_byte % 4 + template.keep_bytes > 4:
        _fail(template, "replace.keep_bytes", f"end in the doubleword of byte {template.keep_byte}",
              template.keep_bytes)
    _check_deciding_bytes(template)
    _check_parts(template)
    for number, address in enumerate(template.addresses):
        _check_address(template, f"address[{number}].", address)
    for number, value in enumerate(template.values):
        _check_value(template, f"value[{number}].", value)
    _check_together(template)
    _check_lengths(template)
    _check_lists(template)


def _fail(template, key, rule, value):
    raise TemplateError(f"{template.path}: {key} must {rule}, not {value!r}")


def _check_deciding_bytes(template):
    dwords = {selector.byte // 4 for selector in template.selectors}
    if template.opcodes:
        dwords.add(template.opcodes.byte // 4)
    items = (*measured(template), *template.values)
    length = {item.length.byte // 4 for item in items if item.length is not None}
    if len(dwords - length) > 2:
        _fail(template, "selector", "be, with the opcode, in at most two doublewords of the entry "
              "besides that of the length", sorted(4 * dword for dword in dwords))


def _check_parts(template):
    """Parts of an entry are of two states of memory: they must not be judged by each other."""
    ring = template.handler == "ring"
    if template.partial != "widen" or template.once or template.handler not in ("ring",
                                                                               "typed_list"):
        return
    alone = ("data", "none") if ring else ("data", "none", "typed_list")
    items = [field for field in template.addresses
             if field.rule not in alone or (field.length and field.rule != "typed_list")]
    for item in (*items, *template.values):
        _fail(template, "partial", f"be 'reject', as {item.name!r} needs entries that are whole",
              template.partial)


def _check_address(template, key, field):
    if field.byte % 8:
        _fail(template, key + "byte", "be a multiple of 8", field.byte)
    if field.rule == "prp_list":
        _fail(template, key + "rule", "be 'prp2' for the list of a transfer: hardware checks no "
              "other against links", field.rule)
    if field.rule == "prp2" and field.aligned_to != 8:
        _fail(template, key + "aligned_to", f"be 8 with rule = {field.rule!r}", field.aligned_to)
    if field.rule == "range_list" and field.aligned_to != 16:
        _fail(template, key + "aligned_to", "be 16 with rule = 'range_list'", field.aligned_to)
    if field.rule in CHECKED and field.length is not None:
        if field.length.shift not in (0, 4):
            _fail(template, key + "length.shift", "be 0 or 4 for a list",
                  "queue" if field.length.shift is None else field.length.shift)
        if field.length.form not in ("low16", "full32"):
            _fail(template, key + "length.form", "be 'low16' or 'full32' for a list",
                  field.length.form)
    if field.rule in CHECKED and field.length is None:
        _fail(template, key + "length", f"be given with rule = {field.rule!r}", None)


def value_fits(value, second):
    """Tell whether the first or the second place for values can hold ``value``."""
    widths = {False: (1, 16, 32), True: (16, 32, 64)}[second]
    if second:
        ops = ("force", "range", "range_add") if value.width != 16 else ("force",)
    else:
        ops = ("force", "require", "and", "max") if value.width != 1 else ("force",)
    return value.width in widths and value.op in ops


def _check_value(template, key, value):
    if value.op == "clip":
        _fail(template, key + "op", "be another: hardware does not clip", value.op)
    if value.width not in (1, 16, 32, 64) or (8 * value.byte + value.low) % value.width:
        _fail(template, key + "width", "be 1, 16, 32 or 64, at a multiple of itself", value.width)
    if not (value_fits(value, False) or value_fits(value, True)):
        _fail(template, key + "op", "be 'force' with 1 bit; 'force', 'require', 'and' or 'max' "
              "with 16 bits, or 'range' or 'range_add' too with 32; 'force', 'range' or "
              f"'range_add' with 64 bits: this one has {value.width}", value.op)


def _check_together(template):
    """No doubleword is written for both values: hardware writes it whole."""
    if len(template.values) == 2:
        one, two = ({value.byte // 4, (8 * value.byte + value.low + value.width - 1) // 32}
                    for value in template.values)
        if one & two:
            _fail(template, "value[1].byte", "be in another doubleword than the first value",
                  template.values[1].byte)


def measured(template):
    """Return what has the length of a transfer, as opposed to that of a list."""
    return [address for address in template.addresses
            if address.length is not None and address.rule not in CHECKED]


def _check_lengths(template):
    users   = measured(template)
    lengths = {address.length for address in users}
    if len(lengths) > 1 or len({address.max_length for address in users} - {None}) > 1:
        _fail(template, "address", "have one length and max_length for all addresses that are no "
              "lists", [address.name for address in users])
    places  = {(length.byte, length.form, length.zero_based) for length in lengths}
    places |= {(value.length.byte, value.length.form, value.length.zero_based)
               for value in template.values if value.length is not None}
    if len(places) > 1:
        _fail(template, "length", "be the same for values and for addresses that are no lists",
              sorted(places))


def _check_lists(template):
    lists = [address for address in template.addresses if address.rule in CHECKED]
    for one, other in itertools.combinations(lists, 2):
        both = sorted(set(one.classes) & set(other.classes))
        if both:
            _fail(template, "address", f"have one list for each class: {one.name!r} and "
                  f"{other.name!r} are both in", both)
    for field in template.addresses:
        if field.rule != "prp2":
            continue
        for other in lists:
            if set(field.classes) & set(other.classes):
                _fail(template, "address", "have one list for each class: both in", other.classes)
    if sum(field.rule == "prp2" for field in template.addresses) > 1:
        _fail(template, "address", "have one with rule 'prp2'", len(template.addresses))
