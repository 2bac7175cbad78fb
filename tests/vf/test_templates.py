import re

import pytest

from iovirt.vf.reader import TemplateError
from iovirt.vf.templates import read_template

from .template_text import PAGES, RANGES, RING, change, read


def test_template_says_what_its_file_says(tmp_path):
    ring = read(tmp_path, RING)
    assert (ring.name, ring.title, ring.handler, ring.entry_bytes) == ("ring", "Ring", "ring", 128)
    assert (ring.device_writes, ring.once, ring.partial, ring.last_slot) == (
        True, True, "widen", True)
    assert ring.zero == (8, 9, 10, 11, 60, 61)
    assert ring.opcodes.classes == {"move": (1, 16, 17, 18), "idle": (2,)}
    assert ring.classes == ("move", "idle")
    assert [field.name for field in ring.addresses] == ["first", "second", "third"]
    assert ring.addresses[0].length.shift is None and ring.addresses[0].max_length == 65536
    assert ring.values[1].length.byte == 52
    assert ring.references == {"pages": "address[1].child"}


def test_defaults_refuse_what_is_not_allowed(tmp_path):
    ring = read(tmp_path, """title = "A"\nhandler = "ring"\nentry_bytes = 16
                             [[class]]\nname = "any"\n[[address]]\nname = "a"\nbyte = 0
                             rule = "none" """)
    assert (ring.device_writes, ring.once, ring.partial, ring.last_slot) == (
        False, False, "reject", False)
    assert (ring.aligned_to, ring.within, ring.max_entries, ring.zero) == (4096, 0, 0, ())
    assert read(tmp_path, PAGES, "pages").within == 4096
    assert read(tmp_path, PAGES, "pages").partial == "widen"


@pytest.mark.parametrize("old, new, message", [
    # Keys
    ("entry_bytes = 128", "entry_byte = 128",
     r"ring\.toml: entry_byte must be a known key, not 'entry_byte' \(value 128\); "
     r"did you mean 'entry_bytes'\?"),
    ("[replace]", "[replaced]", r": replaced must be a known key, .*did you mean 'replace'\?"),
    ("keep_bytes = 2", "keep_byts = 2", r"did you mean 'replace\.keep_bytes'\?"),
    ("value = 0x41", "valeu = 0x41", r"selector\[0\]\.valeu must be .*'selector\[0\]\.value'\?"),
    ("unless =", "unles =", r"class\[0\]\.unles must be a known key.*'class\[0\]\.unless'\?"),
    ("rule = \"prp2\"", "rules = 1", r"did you mean 'address\[1\]\.rule'\?"),
    ("form = \"high16\"", "forms = 1",
     r"value\[1\]\.length\.forms must be .* did you mean 'value\[1\]\.length\.form'\?"),
    ("{ byte = 52,", "{ shift = 1, byte = 52,", r"value\[1\]\.length\.shift must be a known key"),
    ("title = \"Ring\"", "", r": title must be given$"),
    ("handler = \"ring\"", "", r": handler must be given$"),
    ("byte = 0", "", r": opcode\.byte must be given$"),
    ("opcode = 0x60", "", r": replace\.opcode must be given$"),
    ("keep_byte = 2", "", r": replace\.keep_byte must be given$"),
    ("opcode = \"move\"", "", r": class\[0\]\.opcode must be given$"),
    ("parameter = \"owner\"", "", r": value\[0\]\.parameter must be given$"),
    # Kinds of values
    ("title = \"Ring\"", "title = 3", r": title must be a string with something in it, not 3"),
    ("title = \"Ring\"", "title = ''", r": title must be a string with something in it, not ''"),
    ("entry_bytes = 128", "entry_bytes = 64.0", r"must be one of 8, 16, 32, 64, 128, not 64\.0"),
    ("once = true", "once = 1", r": once must be true or false, not 1"),
    ("aligned_to = 512", "aligned_to = true", r": aligned_to must be an integer, not True"),
    ("[opcode]\nbyte = 0\n[opcode.classes]\nmove = [1, \"0x10..0x12\"]\nidle = [2]", "opcode = 3",
     r": opcode must be a table, not 3"),
    ("[opcode.classes]\nmove = [1, \"0x10..0x12\"]\nidle = [2]", "classes = 7",
     r": opcode\.classes must be a table, not 7"),
    ("[parameters]\nowner = 1\nblock = 4", "[[parameters]]",
     r": parameters must be a table, not \[\{\}\]"),
    ("classes = [\"move\", \"idle\"]", "classes = 'move'",
     r": value\[0\]\.classes must be a list of names, not 'move'"),
    ("length = { byte = 52, form = \"high16\" }", "length = 3",
     r": value\[1\]\.length must be a table, not 3"),
    ("idle = [2]", "idle = 2", r"idle must be a list of integers and \"first\.\.last\", not 2"),
    # Ranges of values
    ("entry_bytes = 128", "entry_bytes = 48", r": entry_bytes must be one of 8, .* not 48"),
    ("handler = \"ring\"", "handler = \"rings\"",
     r": handler must be one of ring, .* not 'rings'; did you mean 'ring'\?"),
    ("partial = \"widen\"", "partial = \"wide\"", r": partial must be one of .*mean 'widen'\?"),
    ("aligned_to = 512", "aligned_to = 513", r": aligned_to must be a power of two in 1\.\.32768"),
    ("aligned_to = 512", "aligned_to = 0", r": aligned_to must be an integer in 1\.\.32768, not 0"),
    ("aligned_to = 4", "aligned_to = 8192",
     r": address\[0\]\.aligned_to must be an integer in 1\.\.4096, not 8192"),
    ("byte = 16", "byte = 18",
     r"address\[0\]\.byte must be an integer in 0\.\.120 that is a multiple of 4, not 18"),
    ("byte = 16", "byte = 124", r"address\[0\]\.byte must be an integer in 0\.\.120 "),
    ("byte = 1", "byte = 128", r"selector\[0\]\.byte must be an integer in 0\.\.127, not 128"),
    ("mask = 0xC3", "mask = 0", r"selector\[0\]\.mask must be an integer in 1\.\.255, not 0"),
    ("value = 0x41", "value = 0x45", r"selector\[0\]\.value must have only bits of the mask 0xc3"),
    ("keep_bytes = 2", "keep_bytes = 4", r"replace\.keep_bytes must be an integer in 0\.\.3"),
    ("keep_byte = 2", "keep_byte = 63", r"replace\.keep_byte must be an integer in 0\.\.62, not"),
    ("owner = 1", "owner = 16", r"parameters\.owner must be an integer in 0\.\.15, not 16"),
    ("width = 20", "width = 61", r"value\[0\]\.width must be an integer in 1\.\.60, not 61"),
    ("low = 4", "low = 32", r"value\[0\]\.low must be an integer in 0\.\.31, not 32"),
    ("max_length = 65536", "max_length = 65535", r"address\[0\]\.max_length must be one of 4096, "),
    ("shift = \"queue\"", "shift = \"queues\"", r"length\.shift must be an integer, not 'queues'"),
    ("form = \"low16\"", "form = \"low17\"", r"length\.form must be one of .*mean 'low16'\?"),
    ("idle = [2]", "idle = [256]",
     r"idle must have only integers and \"first\.\.last\" in 0\.\.255, not 256"),
    ("idle = [2]", "idle = ['3..2']", r"idle must have only .*, not '3\.\.2'"),
    ("idle = [2]", "idle = ['2-3']", r"idle must have only .*, not '2-3'"),
    ("idle = [2]", "idle = [2, 2]", r"idle must have each number once, not 2"),
    ("idle = [2]", "idle = [0x11]", r"classes\.idle must have no opcode of 'move', not 17"),
    ("zero = [\"8..11\", 60, 61]", "zero = [64]", r": zero must have only .* in 0\.\.63, not 64"),
    # Names
    ("name = \"plain\"", "name = \"Plain\"",
     r"selector\[0\]\.name must be lower-case letters, digits and _, not 'Plain'"),
    ("name = \"odd\"", "name = \"plain\"", r"selector\[1\]\.name must be the only one of its name"),
    ("owner = 1", "\"own er\" = 1", r"parameters\.own er must be named with lower-case letters"),
    ("idle = [2]", "Idle = [2]", r"opcode\.classes\.Idle must be named with lower-case letters"),
    ("idle = [2]", "any = [2]", r"opcode\.classes\.any must be another name"),
    ("when = [\"plain\"]", "when = [\"plane\"]",
     r"class\[0\]\.when must have only names of plain, odd, not 'plane'; did you mean 'plain'\?"),
    ("when = [\"plain\"]", "when = [\"plain\", \"plain\"]", r"when must have each name once"),
    ("when = [\"plain\"]", "when = [\"odd\"]", r"unless must have no selector of `when`, not 'o"),
    ("opcode = \"move\"", "opcode = \"mov\"", r"class\[0\]\.opcode must be .*mean 'move'\?"),
    ("classes = [\"move\"]", "classes = [\"moves\"]", r"\[0\]\.classes must .*mean 'move'\?"),
    ("parameter = \"owner\"", "parameter = \"owners\"",
     r"value\[0\]\.parameter must be one of \[parameters\], owner, block, not .*mean 'owner'\?"),
    ("op = \"force\"", "op = \"clip\"", r"value\[0\]\.parameter must be left out with op = 'clip'"),
    # Numbers of things
    ("idle = [2]", "idle = [2]\na = [3]\nb = [4]", r"classes must have at most 3 names, not 4"),
    ("[opcode.classes]\nmove = [1, \"0x10..0x12\"]\nidle = [2]", "",
     r"opcode\.classes must be a table of names and opcodes, not None"),
])
def test_wrong_template_is_refused(old, new, message, tmp_path):
    with pytest.raises(TemplateError, match=message) as failure:
        read(tmp_path, change(RING, old, new))
    assert str(failure.value).startswith(f"{tmp_path}/ring.toml: ")


@pytest.mark.parametrize("kind, most, text", [
    ("selector", 3, "[[selector]]\nname = 'x{}'\nbyte = 0\nvalue = 0\n"),
    ("class", 32, "[[class]]\nname = 'move'\nopcode = 'any'\n"),
    ("address", 4, "[[address]]\nname = 'x{}'\nbyte = 0\nrule = 'none'\n"),
    ("value", 2, "[[value]]\nname = 'x{}'\nbyte = 0\nrule = 'none'\n"),
])
def test_template_has_limited_room(kind, most, text, tmp_path):
    many = RING + "".join(text.format(n) for n in range(most))
    with pytest.raises(TemplateError, match=rf": {kind} must be at most {most} tables, not "):
        read(tmp_path, many)


def test_template_has_seven_classes(tmp_path):
    more = "".join(f"[[class]]\nname = 'x{n}'\nopcode = 'any'\n" for n in range(6))
    with pytest.raises(TemplateError, match=r": class must have at most 7 names, not 8"):
        read(tmp_path, RING + more)


@pytest.mark.parametrize("text", ["selector = 3", "selector = [3]", "[selector]\nname = 'a'"])
def test_array_must_be_one_of_tables(text, tmp_path):
    with pytest.raises(TemplateError, match=r"must be an array of tables, \[\[selector\]\], not"):
        read(tmp_path, f"title = 'A'\nhandler = 'ring'\nentry_bytes = 8\n{text}")


@pytest.mark.parametrize("key", ["class", "replace"])
def test_opcode_needs_opcodes(key, tmp_path):
    text = change(RING, RING[RING.index("[opcode]"):RING.index("[replace]")], "")
    if key == "class":
        text = change(text, "opcode = 0x60", "")
    else:
        text = change(change(text, "opcode = \"move\"", ""), "opcode = \"any\"", "")
    name = re.escape("class[0]" if key == "class" else key)
    with pytest.raises(TemplateError, match=rf"{name}\.opcode must be left out if the template "
                                            r"has no opcodes"):
        read(tmp_path, text)


@pytest.mark.parametrize("content, message", [
    (b"= 3", r"a\.toml: file must be TOML: "),
    (b"\xff", r"a\.toml: file must be UTF-8 text"),
])
def test_file_must_be_toml(content, message, tmp_path):
    (tmp_path / "a.toml").write_bytes(content)
    with pytest.raises(TemplateError, match=message):
        read_template(tmp_path / "a.toml")


def test_file_must_be_there_and_have_a_name(tmp_path):
    with pytest.raises(TemplateError, match=r"b\.toml: file must be readable: No such file"):
        read_template(tmp_path / "b.toml")
    with pytest.raises(TemplateError, match=r"name of the file must be lower-case .* not 'A-b'"):
        read(tmp_path, RANGES, "A-b")
