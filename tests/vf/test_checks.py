import pytest

from iovirt.vf.checks import class_table
from iovirt.vf.reader import TemplateError

from .template_text import PAGES, RANGES, RING, change, read

ADDRESS = "[[address]]\nname = 'more'\nbyte = {}\nrule = '{}'\n"
TYPED = """
title       = "Typed"
handler     = "typed_list"
entry_bytes = 16
aligned_to  = 8
[[class]]
name = "one"
[[address]]
name = "a"
byte = 0
classes = ["one"]
rule = "data"
"""
WRITTEN = "title = 'Written'\nhandler = 'ring'\nentry_bytes = 16\ndevice_writes = true\n"


def refuse(directory, text, message):
    with pytest.raises(TemplateError, match=message) as failure:
        read(directory, text)
    assert str(failure.value).startswith(f"{directory}/ring.toml: ")


@pytest.mark.parametrize("old, new, message", [
    # Rings
    ("once = true", "once = true\nwithin = 4096", r": within must be left out in a ring, not 4096"),
    ("once = true", "once = true\nmax_entries = 9", r": max_entries must be left out in a ring"),
    # Names
    ("name = \"third\"", "name = \"first\"", r"address\[2\]\.name must be the only one"),
    ("name = \"block\"", "name = \"owner\"", r"value\[1\]\.name must be the only one of its name"),
    # Classes
    ("when = [\"odd\"]", "when = [\"plain\"]\nunless = [\"odd\"]\n[[class]]\nname = \"late\"\n"
     "opcode = \"any\"\nwhen = [\"plain\"]\nunless = [\"odd\"]",
     r"class\[2\] must hold for an entry that no rule before it takes, not 'late'"),
    ("mask = 0xC3\nvalue = 0x41", "value = 0x41\n[[selector]]\nname = \"idler\"\nbyte = 9\n"
     "value = 1", r"selector\[1\]\.name must be used by a class, not 'idler'"),
    ("opcode = \"any\"", "opcode = \"move\"", r"classes\.idle must be used by a class, not 'idle'"),
    # Addresses
    ("rule = \"none\"", "rule = \"none\"\nclasses = [\"move\"]",
     r"address\[2\]\.classes must be left out with rule = 'none'"),
    ("rule = \"none\"", "rule = \"data\"",
     r"address\[2\]\.classes must be given with rule = 'data'"),
    ("byte = 16", "byte = 16\nbits = 32",
     r"address\[0\]\.bits must be 64: a device with 32-bit addresses cannot be shared, not 32"),
    ("child = \"pages\"", "", r"address\[1\]\.child must name a template, not None"),
    ("rule = \"data\"", "rule = \"data\"\nchild = \"pages\"",
     r"address\[0\]\.child must be left out with rule = 'data', not 'pages'"),
    ("length = { byte = 48, form = \"low16\", zero_based = true, shift = \"queue\" }", "",
     r"address\[0\]\.length must be given with max_length, not None"),
    ("length = { byte = 48, form = \"low16\", zero_based = true, shift = \"queue\" }\n[[address]]\n"
     "name = \"third\"", "[[address]]\nname = \"third\"",
     r"address\[1\]\.length must be given with rule = 'prp2', not None"),
    ("max_length = 65536", "",
     r"address\[0\]\.max_length must be given with length: rule 'data' uses it for nothing else"),
    ("reference = \"first\"", "",
     r"address\[1\]\.reference must name the address of the first page, not None"),
    ("rule = \"data\"", "rule = \"data\"\nreference = \"second\"",
     r"address\[0\]\.reference must be left out with rule = 'data', not 'second'"),
    ("reference = \"first\"", "reference = \"third\"",
     r"reference must name an address of rule 'data' in all the classes of this one, not 'third'"),
    # Values
    ("classes = [\"move\", \"idle\"]", "classes = []",
     r"value\[0\]\.classes must have at least one name, not \[\]"),
    ("length = { byte = 52, form = \"high16\" }", "",
     r"value\[1\]\.length must be given with op = 'range_add', not None"),
    ("op = \"range_add\"", "op = \"max\"",
     r"value\[1\]\.length must be left out with op = 'max', not 52"),
    ("block = 4", "block = 5", r"parameters\.block must be even: a range has a base and, after it"),
    # Parameters
    ("block = 4", "block = 4\nother = 6", r"parameters\.other must be used by a value, not 6"),
    ("owner = 1", "owner = 5", r"parameters\.block must use no number of 'owner', not 5"),
    # Places
    ("byte = 24", "byte = 20", r"address\[1\]\.byte must lie outside 'first', not 20"),
    ("byte = 12", "byte = 28", r"value\[0\]\.byte must lie outside 'second', not 28"),
    ("byte = 32\nrule = \"none\"", "byte = 16\nclasses = [\"move\"]\nrule = \"data\"",
     r"address\[2\]\.classes must have no class of 'first', which is at the same place"),
    ("zero = [\"8..11\", 60, 61]", "zero = [\"8..11\", 60]",
     r": zero must have bytes in pairs, 2n and 2n \+ 1, not 60"),
    ("zero = [\"8..11\", 60, 61]", "zero = [22, 23]", r": zero must have no byte of 'first', not"),
    ("zero = [\"8..11\", 60, 61]", "zero = [12, 13]", r": zero must have no byte of 'owner', not"),
    ("zero = [\"8..11\", 60, 61]", "zero = [4, 5]", r": zero must leave what selector 'odd' looks"),
    ("zero = [\"8..11\", 60, 61]", "zero = [0, 1]", r": zero must leave what selector 'plain' "),
    ("zero = [\"8..11\", 60, 61]", "zero = [48, 49]",
     r": zero must leave what the length of 'first' looks at"),
    ("byte = 12\nlow = 4", "byte = 4\nlow = 8", r"value\[0\]\.byte must leave what selector 'odd'"),
    ("byte = 12\nlow = 4\nwidth = 20", "byte = 0\nwidth = 4",
     r"value\[0\]\.byte must leave what the opcode looks at, not 0"),
    ("byte = 12\nlow = 4", "byte = 48\nlow = 0",
     r"value\[0\]\.byte must leave what the length of 'first' looks at, not 48"),
    ("byte = 32", "byte = 0", r"address\[2\]\.byte must leave what selector 'plain' looks at"),
    ("keep_byte = 2", "keep_byte = 15", r"replace\.keep_byte must keep no byte of 'first', not 15"),
    ("keep_byte = 2", "keep_byte = 14", r"replace\.keep_byte must keep no byte of 'owner', not 14"),
    ("keep_byte = 2", "keep_byte = 0", r"replace\.keep_byte must not keep the opcode, not 0"),
])
def test_ring_that_breaks_a_rule_is_refused(old, new, message, tmp_path):
    refuse(tmp_path, change(RING, old, new), message)


def test_value_that_only_looks_may_be_where_others_look(tmp_path):
    text = change(RING, "byte = 12\nlow = 4\nwidth = 20\nop = \"force\"",
                  "byte = 48\nwidth = 16\nop = \"max\"")
    assert read(tmp_path, text).values[0].op == "max"


def test_last_slot_is_of_a_ring_with_lists(tmp_path):
    refuse(tmp_path, WRITTEN + "last_slot = true",
           r"last_slot must be left out without an address of rule 'prp2', not True")


def test_alternative_needs_a_first_selector(tmp_path):
    refuse(tmp_path, WRITTEN + "alternative = 'other'",
           r"alternative must be left out without a first selector, not 'other'")


def test_first_selector_may_serve_the_alternative_alone(tmp_path):
    text = WRITTEN + ("alternative = 'other'\n[[class]]\nname = 'a'\n[[selector]]\nname = 'a'\n"
                      "byte = 0\nvalue = 0\n")
    assert read(tmp_path, text).alternative == "other"


def test_ring_that_is_only_written_needs_no_class(tmp_path):
    assert read(tmp_path, WRITTEN).classes == ()
    refuse(tmp_path, change(WRITTEN, "device_writes = true", ""),
           r": class must be given: without classes, every entry is replaced")


@pytest.mark.parametrize("line, message", [
    ("device_writes = true", r"device_writes must be left out in a list, not True"),
    ("once = true", r"once must be left out in a list, not True"),
    ("last_slot = true", r"last_slot must be left out in a list, not True"),
    ("alternative = 'pages'", r"alternative must be left out in a list, not 'pages'"),
    ("partial = 'keep'", r"partial must be 'reject' or 'widen' in a list, not 'keep'"),
    ("within = 1024\nmax_entries = 65", r"max_entries must be at most 64, what 1024 bytes hold"),
    ("within = 8192", r"within must be an integer in 16\.\.4096, not 8192"),
    ("replace = { keep_byte = 0, keep_bytes = 1 }", r"replace\.keep_bytes must be left out in a"),
])
@pytest.mark.parametrize("text", [RANGES, TYPED])
def test_list_that_breaks_a_rule_is_refused(text, line, message, tmp_path):
    refuse(tmp_path, f"{line}\n{text}", message)


def test_entries_of_lists_have_one_size(tmp_path):
    refuse(tmp_path, change(TYPED, "16", "32"), r"entry_bytes must be 16 in a typed list, not 32")
    refuse(tmp_path, change(PAGES, "8", "16"), r"entry_bytes must be 8 in a PRP list, not 16")


@pytest.mark.parametrize("name, text", [
    ("opcode", "[opcode]\nbyte = 0\nclasses = { a = [1] }\n[replace]\nopcode = 0"),
    ("selector", "[[selector]]\nname = 'a'\nbyte = 0\nvalue = 0"),
    ("class", "[[class]]\nname = 'a'"),
    ("address", ADDRESS.format(0, "none")),
    ("value", "[parameters]\na = 0\n[[value]]\nname = 'a'\nbyte = 0\nwidth = 1\nop = 'force'\n"
     "parameter = 'a'\nclasses = []"),
    ("zero", "zero = [0, 1]"),
])
def test_prp_list_has_pointers_and_nothing_else(name, text, tmp_path):
    message = (rf": {name} must be left out in a PRP list, whose every entry is a pointer"
               if name != "value" else r"value must be left out in a PRP list")
    refuse(tmp_path, PAGES + text, message)


def test_class_table_takes_the_first_rule_that_holds(tmp_path):
    table = class_table(read(tmp_path, RING))
    # Rows: opcodes not named, move, idle. Columns: odd, plain. Class 1 is move, 2 is idle.
    assert [table[8 * row:8 * row + 4] for row in range(4)] == [
        [0, 0, 2, 2], [0, 1, 2, 2], [0, 0, 2, 2], [0, 0, 0, 0]]
    assert not any(table[8 * row + column] for row in range(4) for column in range(4, 8))
