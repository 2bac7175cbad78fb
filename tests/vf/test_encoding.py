import itertools
import tomllib

import pytest

from iovirt.vf.encoding import (
    decode_opcodes,
    decode_template,
    encode_opcodes,
    encode_template,
)
from iovirt.vf.layouts import Handler, Rule
from iovirt.vf.library import LIBRARY, library_names, load_templates
from iovirt_sim.models.sharing import layout as model

from .template_text import PAGES, RANGES, RING, change, read

SLOTS = {"pages": 5, "other": 6}
LENGTH = "length = { byte = 48, form = \"low16\", zero_based = true, shift = \"queue\" }"


def fields(template):
    return model.unpack(encode_template(template, SLOTS))


@pytest.mark.parametrize("old, new, changed", [
    ("device_writes = true", "", {"device_writes": 0}),
    ("once = true", "", {"once": 0}),
    ("partial = \"widen\"", "partial = \"reject\"", {"partial": 0}),
    ("partial = \"widen\"", "partial = \"keep\"", {"partial": 2}),
    ("aligned_to = 512", "aligned_to = 32768", {"align": 15}),
    ("last_slot = true", "", {"last_slot": 0}),
    ("once = true", "once = true\nalternative = \"other\"",
     {"alternative_enable": 1, "alternative": 6}),
    ("zero = [\"8..11\", 60, 61]", "zero = [\"58..63\"]", {"zero_mask": 7 << 29}),
    ("byte = 0", "byte = 127", {"opcode_byte": 127}),
    ("keep_byte = 2", "keep_byte = 61", {"keep": 61}),
    ("keep_bytes = 2", "keep_bytes = 3", {"keep_bytes": 3}),
    ("opcode = 0x60", "opcode = 0xFF", {"safe_opcode": 255}),
    ("owner = 1", "owner = 15", {"value0.parameter": 15}),
    ("block = 4", "block = 14", {"value1.parameter": 14}),
    ("byte = 1", "byte = 126", {"selector0.byte": 126}),
    ("mask = 0xC3", "mask = 0xFF", {"selector0.mask": 255}),
    ("value = 0x41", "value = 0xC3", {"selector0.value": 0xC3}),
    ("byte = 5", "byte = 6", {"selector1.byte": 6}),
    ("aligned_to = 4", "aligned_to = 4096", {"address0.force_low": 12}),
    ("max_length = 65536", "max_length = 67108864", {"address0.max_length": 14}),
    ("max_length = 65536", "max_length = 4096", {"address0.max_length": 0}),
    ("byte = 48", "byte = 124", {"address0.length_dword": 31}),
    ("form = \"low16\"", "form = \"low20\"", {"address0.length_form": 2}),
    ("zero_based = true", "zero_based = false", {"address0.zero_based": 0}),
    ("shift = \"queue\"", "shift = 15", {"address0.queue_shift": 0, "address0.shift": 15}),
    ("byte = 16", "byte = 120", {"address0.dword": 30}),
    ("byte = 32", "byte = 124\nbits = 32", {"address2.dword": 31, "address2.wide": 0}),
    ("rule = \"data\"", "rule = \"typed_list\"\nchild = \"pages\"", None),
    ("byte = 12", "byte = 8", None),
    ("byte = 12", "byte = 56", {"value0.dword": 14}),
    ("low = 4", "low = 12", {"value0.low": 12}),
    ("width = 20", "width = 1", {"value0.width": 0}),
    ("op = \"force\"", "op = \"require\"", {"value0.op": 1}),
    ("op = \"force\"", "op = \"and\"", {"value0.op": 5}),
    ("op = \"force\"", "op = \"max\"", {"value0.op": 6}),
    ("op = \"range_add\"", "op = \"range\"", {"value1.op": 2}),
    ("classes = [\"move\", \"idle\"]", "classes = [\"idle\"]", {"value0.classes": 2}),
    ("byte = 52", "byte = 56", {"value1.length_dword": 14}),
    ("form = \"high16\"", "form = \"full32\"", {"value1.length_form": 3}),
    ("form = \"high16\"", "form = \"high16\", zero_based = true", {"value1.zero_based": 1}),
])
def test_a_key_changes_its_bits_and_no_others(old, new, changed, tmp_path):
    text = change(RING, old, new)
    if changed is None:  # a rule is broken: nothing is encoded
        with pytest.raises(ValueError, match=r"must"):
            read(tmp_path, text)
        return
    before, after = fields(read(tmp_path, RING)), fields(read(tmp_path, text))
    assert {name: after[name] for name in after if after[name] != before[name]} == changed


def test_an_operation_without_parameter_has_none(tmp_path):
    text = change(change(RING, "op = \"force\"\nparameter = \"owner\"", "op = \"clip\""),
                  "owner = 1", "")
    assert fields(read(tmp_path, text))["value0.op"] == model.OPS["clip"]


@pytest.mark.parametrize("line, changed", [
    ("within = 1024", {"no_cross": 10}), ("max_entries = 256", {"max_entries": 256}),
    ("partial = 'reject'", {"partial": 0}),
])
def test_a_key_of_lists_changes_its_bits_and_no_others(line, changed, tmp_path):
    before, after = fields(read(tmp_path, PAGES)), fields(read(tmp_path, f"{line}\n{PAGES}"))
    assert {name: after[name] for name in after if after[name] != before[name]} == changed


def test_reference_is_the_number_of_an_address(tmp_path):
    before = "[[address]]\nname = \"none\"\nbyte = 64\nrule = \"none\"\n"
    text = change(RING, "[[address]]\nname = \"first\"", f"{before}[[address]]\nname = \"first\"")
    assert fields(read(tmp_path, RING))["address1.reference"] == 0
    assert fields(read(tmp_path, text))["address2.reference"] == 1


def test_children_are_places(tmp_path):
    assert fields(read(tmp_path, RING))["address1.child"] == 5


@pytest.mark.parametrize("rule", ["typed_list", "range_list", "prp_list", "plain"])
def test_every_rule_has_its_number(rule, tmp_path):
    child = "" if rule == "plain" else "child = \"pages\"\n"
    more = f"{LENGTH}\nmax_length = 8192\n" if child else ""
    text = change(RING, "rule = \"none\"",
                  f"rule = \"{rule}\"\nclasses = [\"idle\"]\n{child}{more}")
    assert fields(read(tmp_path, text))["address2.rule"] == model.RULES[rule]


@pytest.mark.parametrize("text", [RING, PAGES, RANGES])
def test_word_reads_back(text, tmp_path):
    template = read(tmp_path, text)
    word = encode_template(template, SLOTS)
    decoded, flat = decode_template(word), model.unpack(word)
    assert decoded["handler"] is Handler[template.handler.upper()]
    assert [int(number) for number in decoded["classes"]] == [flat[f"class{n}"] for n in range(32)]
    for array, name in (("selectors", "selector"), ("addresses", "address"), ("values", "value")):
        for number, item in enumerate(decoded[array]):
            for key, value in item.items():
                assert getattr(value, "value", value) == flat[f"{name}{number}.{key}"]
    if text is RING:
        assert decoded["addresses"][1]["rule"] is Rule.PRP2


def test_opcode_map_reads_back(tmp_path):
    template = read(tmp_path, RING)
    word = encode_opcodes(template)
    assert decode_opcodes(word) == [{1: 1, 16: 1, 17: 1, 18: 1, 2: 2}.get(n, 0) for n in range(256)]
    assert word == model.pack_opcodes({1: 1, 16: 1, 17: 1, 18: 1, 2: 2})
    assert encode_opcodes(read(tmp_path, PAGES, "pages")) == 0


def numbers(items):
    for item in items:
        first, last = (int(part, 0) for part in item.split("..")) if type(item) is str else (item,
                                                                                            item)
        yield from range(first, last + 1)


def class_by_file(table, opcode, holds):
    """Return the name of the class as the text of a file says, without any of our code."""
    named = table.get("opcode", {}).get("classes", {})
    kind = next((name for name, items in named.items() if opcode in numbers(items)), None)
    for rule in table.get("class", []):
        if (rule.get("opcode", "any") in ("any", kind) and holds.issuperset(rule.get("when", []))
                and holds.isdisjoint(rule.get("unless", []))):
            return rule["name"]
    return None


@pytest.mark.parametrize("name", library_names())
def test_shipped_words_mean_what_their_files_say(name):
    templates = load_templates([name])
    places = {template.name: place for place, template in enumerate(templates)}
    table = tomllib.loads((LIBRARY / f"{name}.toml").read_text())
    flat = model.unpack(encode_template(templates[0], places))
    opcodes = decode_opcodes(encode_opcodes(templates[0]))
    names = list(dict.fromkeys(rule["name"] for rule in table.get("class", [])))
    selectors = table.get("selector", [])
    for opcode, *bits in itertools.product(range(256), *[(0, 1)] * len(selectors)):
        holds = {item["name"] for item, bit in zip(selectors, bits, strict=True) if bit}
        index = 8 * opcodes[opcode] + sum(bit << n for n, bit in enumerate(bits))
        number = flat[f"class{index}"]
        assert (names[number - 1] if number else None) == class_by_file(table, opcode, holds)
    where = templates[0].placement
    places_of = {kind: [item and item.name for item in getattr(where, many)] for kind, many in
                 (("selector", "selectors"), ("address", "addresses"), ("value", "values"))}
    for kind, found in places_of.items():
        for number, name_ in enumerate(found):
            assert flat[f"{kind}{number}.enable"] == (name_ is not None)
        assert {item["name"] for item in table.get(kind, [])} == {*found} - {None}
    for item in table.get("address", []):
        number = places_of["address"].index(item["name"])
        keys = ("dword", "rule", "classes", "child")
        assert {key: flat[f"address{number}.{key}"] for key in keys} == {
            "dword": item["byte"] // 4, "rule": model.RULES[item["rule"]],
            "classes": sum(1 << names.index(each) for each in item.get("classes", [])),
            "child": places[item["child"]] if "child" in item else 0}
    for item in table.get("value", []):
        number = places_of["value"].index(item["name"])
        assert flat[f"value{number}.width"] == item["width"] - 1
        assert flat[f"value{number}.parameter"] == table["parameters"][item["parameter"]]
