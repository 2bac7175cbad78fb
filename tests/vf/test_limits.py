"""What hardware cannot do is refused, with what to change."""

import pytest

from iovirt.vf.library import load_templates
from iovirt.vf.reader import TemplateError

from .template_text import change, fitted

RING, PAGES = fitted()


def load(directory, text):
    (directory / "pages.toml").write_text(PAGES)
    (directory / "ring.toml").write_text(text)
    return load_templates([directory / "ring.toml"])


def test_what_fits_has_places(tmp_path):
    placement = load(tmp_path, RING)[0].placement
    assert [item and item.name for item in placement.addresses] == ["first", "second", "third",
                                                                    None]
    assert [item.name for item in placement.values] == ["owner", "block"]


@pytest.mark.parametrize("old, new, message", [
    ("entry_bytes = 64", "entry_bytes = 128", "entry_bytes must be at most 64"),
    ("partial = \"widen\"", "partial = \"keep\"", "partial must be 'reject' or 'widen'"),
    ("keep_byte = 2", "keep_byte = 3", "replace.keep_bytes must end in the doubleword of byte 3"),
    ("byte = 1", "byte = 9", r"selector must be, with the opcode, in at most two doublewords"),
    ("byte = 32", "byte = 52\nbits = 32", r"address\[2\]\.byte must be a multiple of 8, not 52"),
    ("rule = \"none\"", "classes = [\"move\"]\nrule = \"prp_list\"\nchild = \"pages\"\n"
     "aligned_to = 8\nlength = { byte = 48, form = \"low16\" }",
     r"address\[2\]\.rule must be 'prp2'"),
    ("once = true", "", r"partial must be 'reject', as 'first' needs entries that are whole"),
    ("aligned_to = 8", "aligned_to = 16", r"address\[1\]\.aligned_to must be 8 with rule = 'prp2'"),
    ("width = 32", "width = 20", r"value\[0\]\.width must be 1, 16, 32 or 64"),
    ("op = \"force\"", "op = \"max\"", None),
    ("width = 32", "low = 7\nwidth = 1", None),
    ("width = 32\nop = \"force\"", "low = 7\nwidth = 1\nop = \"max\"",
     r"value\[0\]\.op must be 'force' with 1 bit"),
    ("op = \"force\"\nparameter = \"owner\"", "op = \"clip\"", r"value\[0\]\.op must be another"),
    ("byte = 48", "byte = 52", r"address must have one length and max_length"),
])
def test_what_does_not_fit_is_refused_and_nothing_else(old, new, message, tmp_path):
    text = change(RING, old, new)
    if "clip" in new:
        text = change(text, "owner = 1", "")
    if old == "byte = 1":
        text = change(text, "zero          = [\"8..11\", 60, 61]", "")
    if message is None:  # just fits
        assert load(tmp_path, text)[0].placement.values[0].name == "owner"
        return
    with pytest.raises(TemplateError, match=rf"ring\.toml: {message}"):
        load(tmp_path, text)


TYPED = """
title       = "Typed"
handler     = "typed_list"
entry_bytes = 16
aligned_to  = 16
[parameters]
most = 1
[[selector]]
name = "kind"
byte = 15
value = 1
[[class]]
name = "one"
when = ["kind"]
[[class]]
name = "two"
[[address]]
name = "here"
byte = 0
classes = ["one"]
rule = "data"
[[address]]
name = "there"
byte = 0
classes = ["two"]
rule = "plain"
"""
VALUE = """
[[value]]
name = "most"
byte = 8
width = 16
op = "max"
parameter = "most"
classes = ["one"]
"""


@pytest.mark.parametrize("text, name", [
    (change(TYPED, "[parameters]\nmost = 1", ""), "there"),
    (change(TYPED, "plain", "data") + VALUE, "most"),
])
def test_parts_of_entries_are_not_joined_to_what_was_never_judged(text, name, tmp_path):
    # One half of a state of the entry in which the place has no address, one of a state in which it
    # has; a number of one state, and what limits it of another.
    path = tmp_path / "typed.toml"
    path.write_text(text)
    with pytest.raises(TemplateError, match=rf"partial must be 'reject', as '{name}' needs"):
        load_templates([path])
    path.write_text(change(text, "aligned_to = 16", "aligned_to = 16\npartial = \"reject\""))
    assert load_templates([path])
