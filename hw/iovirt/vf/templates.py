"""Reading of templates: what software says in TOML of the entries that a device reads."""

from pathlib import Path

from iovirt.toml_file import load_toml

from .checks import check_template
from .description import Address, ClassRule, Length, Opcodes, Selector, Template, Value
from .reader import NAME, REQUIRED, Section, TemplateError, closest

__all__ = ["read_template"]

HANDLERS   = ("ring", "prp_list", "typed_list", "range_list")
PARTIALS   = ("reject", "widen", "keep")
RULES      = ("data", "prp_list", "typed_list", "prp2", "range_list", "none",
              "plain")
OPERATIONS = ("force", "require", "range", "range_add", "clip", "and", "max")
FORMS      = ("low16", "high16", "low20", "full32")
#: Bytes of the largest transfer that a length can be limited to.
MAX_LENGTHS = tuple(4096 << n for n in range(15))

TOP_KEYS = ("title", "handler", "entry_bytes", "device_writes", "once", "partial", "aligned_to",
            "within", "max_entries", "last_slot", "alternative", "zero", "opcode", "replace",
            "parameters", "selector", "class", "address", "value")


def read_template(path):
    """Return the template in the TOML file ``path``; its name is that of the file."""
    path = Path(path)
    table = load_toml(path, TemplateError)
    if not NAME.fullmatch(path.stem):
        raise TemplateError(f"{path}: name of the file must be lower-case letters, digits and _, "
                            f"not {path.stem!r}")
    template = _template(path, Section(path, "", table, TOP_KEYS))
    check_template(template)
    return template


def _template(path, top):
    entry   = top.choice("entry_bytes", (8, 16, 32, 64, 128))
    handler = top.choice("handler", HANDLERS)
    ring    = handler == "ring"
    opcodes   = _opcodes(top, entry)
    selectors = _selectors(top, entry)
    rules     = _rules(top, opcodes, selectors)
    classes   = list(dict.fromkeys(rule.name for rule in rules))
    replace   = top.section("replace", ("keep_byte", "keep_bytes", "opcode"))
    keep_byte, keep_bytes, safe = _replace(top, replace, entry, opcodes)
    parameters = _parameters(top)
    return Template(
        path=path, name=path.stem, title=top.text("title"), handler=handler, entry_bytes=entry,
        device_writes=top.flag("device_writes", False), once=top.flag("once", False),
        partial=top.choice("partial", PARTIALS, "reject" if ring else "widen"),
        aligned_to=top.power("aligned_to", 1, 1 << 15, 4096 if ring else REQUIRED),
        within=top.power("within", entry, 4096, 0 if ring else 4096),
        max_entries=top.integer("max_entries", 1, 4095, 0), last_slot=top.flag("last_slot", False),
        alternative=top.text("alternative", None),
        zero=top.numbers("zero", min(entry, 64) - 1, ()),
        keep_byte=keep_byte, keep_bytes=keep_bytes, safe_opcode=safe,
        opcodes=opcodes, parameters=parameters, selectors=selectors, rules=rules,
        addresses=_addresses(top, entry, classes),
        values=_values(top, entry, classes, parameters))


def _opcodes(top, entry):
    section = top.section("opcode", ("byte", "classes"))
    if section is None:
        return None
    byte = section.integer("byte", 0, entry - 1)
    named = section.section("classes", section.table.get("classes", ()))
    if named is None or not named.table:
        top.fail("opcode.classes", "be a table of names and opcodes", None)
    named.check_names()
    if "any" in named.table:
        named.fail("any", "be another name: it stands for all opcodes", "any")
    if len(named.table) > 3:
        top.fail("opcode.classes", "have at most 3 names", len(named.table))
    classes, owner = {}, {}
    for name in named.table:
        classes[name] = named.numbers(name, 255)
        for opcode in classes[name]:
            if opcode in owner:
                named.fail(name, f"have no opcode of {owner[opcode]!r}", opcode)
            owner[opcode] = name
    return Opcodes(byte, classes)


def _selectors(top, entry):
    selectors = []
    for section in top.sections("selector", ("name", "byte", "mask", "value"), 3):
        mask = section.integer("mask", 1, 255, 255)
        selector = Selector(section.name("name"), section.integer("byte", 0, entry - 1), mask,
                            section.integer("value", 0, 255))
        if selector.value & ~mask:
            section.fail("value", f"have only bits of the mask {mask:#04x}")
        if selector.name in [other.name for other in selectors]:
            section.fail("name", "be the only one of its name")
        selectors.append(selector)
    return tuple(selectors)


def _rules(top, opcodes, selectors):
    names, rules = [selector.name for selector in selectors], []
    for section in top.sections("class", ("name", "opcode", "when", "unless"), 32):
        opcode = None
        if opcodes is None and "opcode" in section:
            section.fail("opcode", "be left out if the template has no opcodes")
        if opcodes is not None and section.table.get("opcode") != "any":
            # Opcodes that the file does not name are refused unless a rule says `any`.
            opcode = section.choice("opcode", (*opcodes.classes, "any"))
        rule = ClassRule(section.name("name"), opcode, section.choices("when", names, ()),
                         section.choices("unless", names, ()))
        for name in rule.when:
            if name in rule.unless:
                section.fail("unless", "have no selector of `when`", name)
        rules.append(rule)
    if len({rule.name for rule in rules}) > 7:
        top.fail("class", "have at most 7 names", len({rule.name for rule in rules}))
    return tuple(rules)


def _replace(top, section, entry, opcodes):
    if section is None:
        section = Section(top.path, "replace.", {}, ())
    if opcodes is None and "opcode" in section:
        section.fail("opcode", "be left out if the template has no opcodes")
    count = section.integer("keep_bytes", 0, 3, 0)
    first = section.integer("keep_byte", 0, min(entry, 64) - count, REQUIRED if count else 0)
    return first, count, section.integer("opcode", 0, 255, REQUIRED if opcodes else 0)


def _parameters(top):
    section = top.section("parameters", top.table.get("parameters", ()))
    if section is None:
        return {}
    section.check_names()
    return {name: section.integer(name, 0, 15) for name in section.table}


def _length(section, entry, *, shifted):
    keys = ("byte", "form", "zero_based") + (("shift",) if shifted else ())
    length = section.section("length", keys)
    if length is None:
        return None
    shift = None
    if length.table.get("shift") != "queue":
        shift = length.integer("shift", 0, 15, 0)
    return Length(length.integer("byte", 0, entry - 4, multiple=4), length.choice("form", FORMS),
                  length.flag("zero_based", False), shift if shifted else 0)


def _addresses(top, entry, classes):
    keys = ("name", "byte", "bits", "classes", "aligned_to", "rule", "child", "length",
            "reference", "max_length")
    addresses = []
    for section in top.sections("address", keys, 4):
        bits = section.choice("bits", (32, 64), 64)
        addresses.append(Address(
            section.name("name"), section.integer("byte", 0, entry - bits // 8, multiple=4), bits,
            section.choices("classes", classes, ()), section.power("aligned_to", 1, 4096, 1),
            section.choice("rule", RULES), section.text("child", None),
            _length(section, entry, shifted=True), section.text("reference", None),
            section.choice("max_length", MAX_LENGTHS, None)))
    return tuple(addresses)


def _values(top, entry, classes, parameters):
    keys = ("name", "byte", "low", "width", "op", "parameter", "classes", "length")
    values = []
    for section in top.sections("value", keys, 2):
        op   = section.choice("op", OPERATIONS)
        low  = section.integer("low", 0, 31, 0)
        byte = section.integer("byte", 0, entry - 4, multiple=4)
        width = section.integer("width", 1, min(64, 8 * (entry - byte)) - low)
        parameter = section.text("parameter", None if op == "clip" else REQUIRED)
        if op == "clip" and parameter is not None:
            section.fail("parameter", "be left out with op = 'clip'")
        if parameter is not None and parameter not in parameters:
            section.fail("parameter", f"be one of [parameters], {', '.join(parameters) or 'none'}",
                         hint=closest(parameter, parameters))
        values.append(Value(section.name("name"), byte, low, width, op, parameter,
                            section.choices("classes", classes),
                            _length(section, entry, shifted=False)))
    return tuple(values)
