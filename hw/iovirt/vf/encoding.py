"""Templates to and from the words of the template table."""

from dataclasses import replace

from amaranth.lib import data

from .checks import class_table
from .layouts import OPCODES, Handler, LengthForm, Operation, Partial, Rule, TemplateWord

__all__ = ["decode_opcodes", "decode_template", "encode_opcodes", "encode_template"]

#: `max_length` of the layout that is no limit.
NO_LIMIT = 15


def encode_template(template, slots):
    """Return the 512-bit word of ``template``.

    ``slots`` gives the places of the templates in the table, by name. What hardware can do with it
    depends on the places of addresses, values and selectors, which a template has that was loaded
    together with those that it refers to.
    """
    placement = template.placement
    if placement is not None:
        template = replace(template, addresses=placement.addresses, values=placement.values,
                           selectors=placement.selectors)
    selectors = {n: _selector(item) for n, item in enumerate(template.selectors) if item}
    addresses = {n: _address(template, item, slots)
                 for n, item in enumerate(template.addresses) if item}
    values = {n: _value(template, item) for n, item in enumerate(template.values) if item}
    if placement is not None:
        _fill(template, placement, selectors, addresses, values)
    return TemplateWord.const({
        "valid":              1,
        "entry_size":         _log2(template.entry_bytes) - 3,
        "handler":            Handler[template.handler.upper()],
        "device_writes":      template.device_writes,
        "once":               template.once,
        "partial":            Partial[template.partial.upper()],
        "align":              _log2(template.aligned_to),
        "no_cross":           _log2(template.within) if template.within else 0,
        "last_slot":          template.last_slot,
        "max_entries":        template.max_entries % 512,  # 512 are all that a page can have
        "second":             placement.second if placement is not None else 0,
        "opcode_enable":      template.opcodes is not None,
        "opcode_byte":        template.opcodes.byte if template.opcodes else 0,
        "keep":               template.keep_byte,
        "keep_bytes":         template.keep_bytes,
        "safe_opcode":        template.safe_opcode,
        "alternative_enable": template.alternative is not None,
        "alternative":        slots.get(template.alternative, 0),
        "selectors":          selectors,
        "classes":            class_table(template),
        "addresses":          addresses,
        "zero_mask":          sum(1 << byte // 2 for byte in template.zero if byte % 2 == 0),
        "values":             values,
    }).as_bits()


def _fill(template, placement, selectors, addresses, values):
    """Tell hardware what to take out of entries, where no item of the template does."""
    def fill(items, number, **fields):
        if fields:
            items[number] = fields | items.get(number, {})

    if template.selectors[0] is None and template.opcodes:
        fill(selectors, 0, byte=template.opcodes.byte)
    for number, dword in enumerate(placement.pointers):
        if template.addresses[number] is None and dword is not None:
            fill(addresses, number, dword=dword, max_length=NO_LIMIT)
    first = template.addresses[0]
    if placement.length is not None and (first is None or first.length is None):
        addresses[0] = addresses.get(0, {"max_length": NO_LIMIT}) | _length(placement.length)
    for number, dword in enumerate(placement.lists, start=2):
        field = template.addresses[number]
        if dword is not None and (field is None or field.length is None):
            addresses[number] = addresses.get(number, {"max_length": NO_LIMIT}) | {
                "length_dword": dword}
    for number, what in enumerate(placement.numbers):
        if template.values[number] is None and what is not None:
            fill(values, number, dword=what[0], parameter=what[1])


def encode_opcodes(template):
    """Return the opcode map, 256 classes of 2 bits; 0 for opcodes that are not named."""
    classes = template.opcodes.classes if template.opcodes else {}
    return sum(number << 2 * opcode for number, opcodes in enumerate(classes.values(), start=1)
               for opcode in opcodes)


def _log2(value):
    return value.bit_length() - 1


def _class_set(template, names):
    return sum(1 << template.classes.index(name) for name in names)


def _selector(selector):
    return {"enable": 1, "byte": selector.byte, "mask": selector.mask, "value": selector.value}


def _length(length):
    if length is None:
        return {}
    return {"length_dword": length.byte // 4, "length_form": LengthForm[length.form.upper()],
            "zero_based": length.zero_based}


def _address(template, field, slots):
    names = [other and other.name for other in template.addresses]
    queue_shift = field.length is not None and field.length.shift is None
    return {
        "enable":      1,
        "dword":       field.byte // 4,
        "wide":        field.bits == 64,
        "classes":     _class_set(template, field.classes),
        "force_low":   _log2(field.aligned_to),
        "rule":        Rule[field.rule.upper()],
        "child":       slots.get(field.child, 0),
        **_length(field.length),
        "queue_shift": queue_shift,
        "shift":       field.length.shift if field.length and not queue_shift else 0,
        "reference":   names.index(field.reference) if field.reference is not None else 0,
        "max_length":  NO_LIMIT if field.max_length is None else _log2(field.max_length) - 12,
    }


def _value(template, value):
    return {
        "enable":    1,
        "dword":     value.byte // 4,
        "low":       value.low,
        "width":     value.width - 1,
        "op":        Operation[value.op.upper()],
        "parameter": template.parameters.get(value.parameter, 0),
        "classes":   _class_set(template, value.classes),
        **_length(value.length),
    }


def decode_template(word):
    """Return what a template word says, as nested dictionaries with the names of the layouts."""
    return _plain(TemplateWord.from_bits(word))


def decode_opcodes(word):
    """Return the classes of the 256 opcodes."""
    return _plain(OPCODES.from_bits(word))


def _plain(value):
    if not isinstance(value, data.Const):
        return value
    shape = value.shape()
    if isinstance(shape, data.ArrayLayout):
        return [_plain(value[n]) for n in range(shape.length)]
    return {name: _plain(value[name]) for name, _ in shape}
