import re
import subprocess

import pytest

from iovirt.vf.encoding import encode_template
from iovirt.vf.export import c_header
from iovirt.vf.library import LIBRARY, PLACES, find_template, library_names, load_templates
from iovirt.vf.reader import TemplateError

from .template_text import RANGES, change, fitted

RING, PAGES = fitted()

TYPED = """
title       = "Typed"
handler     = "typed_list"
entry_bytes = 16
aligned_to  = 8
[[class]]
name = "one"
"""


@pytest.fixture
def write(tmp_path):
    """Write files and return their paths, in the order given."""
    def write(**texts):
        paths = [tmp_path / f"{name}.toml" for name in texts]
        for path, text in zip(paths, texts.values(), strict=True):
            path.write_text(text)
        return paths
    return write


def refuse(names, message):
    with pytest.raises(TemplateError, match=message):
        load_templates(names)


@pytest.mark.parametrize("name", library_names())
def test_library_compiles(name):
    templates = load_templates([name])
    slots = {template.name: place for place, template in enumerate(templates)}
    assert templates[0].name == name
    for template in templates:
        assert set(template.references) <= set(slots)
        assert 0 < encode_template(template, slots) < 1 << 511


def test_all_of_an_nvme_and_a_network_adapter_fit_the_table():
    names = [template.name for template in
             load_templates(["nvme_prp", "nvme_cq", "e1000e_tx", "e1000e_rx"])]
    assert names == ["nvme_prp", "nvme_cq", "e1000e_tx", "e1000e_rx", "nvme_sgl", "nvme_prp_list",
                     "nvme_dsm_ranges", "nvme_sgl_segment"]
    assert len(names) == PLACES


def test_references_are_found_beside_a_file_before_the_library(write):
    ring, pages = write(ring=RING, pages=PAGES)
    assert [template.path for template in load_templates([ring])] == [ring, pages]
    ring, pages = write(ring=change(RING, "\"pages\"", "\"nvme_prp_list\""), nvme_prp_list=PAGES)
    assert load_templates([ring])[1].path == pages
    pages.unlink()
    assert load_templates([ring])[1].path == LIBRARY / "nvme_prp_list.toml"


def test_references_mean_templates_that_are_given(write, tmp_path):
    (ring,) = write(ring=RING)
    (tmp_path / "elsewhere").mkdir()
    given = tmp_path / "elsewhere" / "pages.toml"
    given.write_text(PAGES)
    assert [template.path for template in load_templates([given, ring])] == [given, ring]


def test_name_that_is_not_there_is_refused(write):
    refuse(["nvme_pr"], r"^nvme_pr: template must be a TOML file or one of the library, e1000e_rx, "
           r".*; did you mean 'nvme_prp'\?")
    (ring,) = write(ring=change(RING, "\"pages\"", "\"nvme_prp_lost\""))
    refuse([ring], r"ring\.toml: address\[1\]\.child must be a template beside this file or of the "
           r"library, not 'nvme_prp_lost'; did you mean 'nvme_prp_list'\?")
    assert find_template("nvme_prp") == LIBRARY / "nvme_prp.toml"


def test_names_are_unique(write, tmp_path):
    write(nvme_prp_list=PAGES)
    refuse([tmp_path / "nvme_prp_list.toml", "nvme_prp_list"],
           r"nvme_prp_list\.toml: name must be the only one, not that of ")


def test_table_holds_eight(write):
    paths = write(**{f"pages_{n}": PAGES for n in range(9)})
    refuse(paths, r"^Templates must be at most 8 with those they refer to, not 9: pages_0, ")
    assert len(load_templates(paths[:8])) == 8


def test_child_must_be_what_the_rule_says(write):
    (ring, _) = write(ring=RING, pages=RANGES)
    refuse([ring], r"address\[1\]\.child must be a prp_list with rule = 'prp2', not 'pages', a "
           r"range_list")
    (ring, _) = write(ring=change(RING, "aligned_to = 8", "aligned_to = 4"), pages=PAGES)
    refuse([ring], r"address\[1\]\.aligned_to must be at least 8 as 'pages', not 4")


@pytest.mark.parametrize("old, new, message", [
    ("once = true", "", r"have once = True as this one, not False as 'other'"),
    ("entry_bytes = 64", "entry_bytes = 128", r"have entry_bytes = 64 as .* not 128 as"),
    ("partial = \"widen\"", "", r"have partial = 'widen' as this one, not 'reject' as"),
    ("device_writes = true", "", r"have device_writes = True as this one, not False as"),
    ("once = true", "once = true\nalternative = \"ring\"",
     r"have no alternative of its own, not 'ring' as 'other'"),
])
def test_alternative_is_of_the_same_ring(old, new, message, write):
    first = change(RING, "once = true", "once = true\nalternative = \"other\"")
    ring, _, _ = write(ring=first, other=change(RING, old, new), pages=PAGES)
    refuse([ring], r"ring\.toml: alternative must " + message)


def test_alternative_must_be_a_ring(write):
    first = change(RING, "once = true", "once = true\nalternative = \"pages\"")
    ring, _ = write(ring=first, pages=PAGES)
    refuse([ring], r"alternative must have handler = 'ring' as this one, not 'prp_list' as 'pages'")


def third_is(text, name):
    """Let the third address of a ring point to a list."""
    text = change(text, "byte = 32", "byte = 24")  # of the second address
    return change(text, "rule = \"none\"", f"""rule = "{name}_list"\nclasses = ["idle"]
        child = "{name}"\naligned_to = 16\nlength = {{ byte = 48, form = "low16" }}
        max_length = 4096\n""")


@pytest.mark.parametrize("rule", ["prp2", "prp_list"])
def test_ring_and_list_agree_on_the_last_slot(rule, write):
    text = RING
    if rule == "prp_list":
        text = change(text, "rule = \"none\"", """rule = "prp_list"\nclasses = ["idle"]
            child = "pages"\naligned_to = 8\nlength = { byte = 48, form = "low16" }""")
        text = change(text, "rule = \"prp2\"\nreference = \"first\"\nchild = \"pages\"",
                      "rule = \"data\"")
        text = change(text, "last_slot = true", "")
        text = change(text, "shift = \"queue\" }\n[[address]]\nname = \"third\"",
                      "shift = \"queue\" }\nmax_length = 65536\n[[address]]\nname = \"third\"")
    else:
        text = change(text, "last_slot = true", "last_slot = false")
    ring, _ = write(ring=text, pages=PAGES)
    refuse([ring], r"child must have last_slot = False as this one, not True as 'pages'")


def test_one_device_has_one_list_of_a_kind(write):
    other = third_is(change(RING, "\"plain\"", "\"plain\""), "range")
    typed = TYPED + """[[address]]\nname = "a"\nbyte = 0\nclasses = ["one"]\nrule = "typed_list"
        child = "typed_too"\naligned_to = 8\n"""
    (path, _) = write(typed=typed, typed_too=TYPED)
    refuse([path], r"references must reach one typed_list, not both 'typed' and 'typed_too': the "
           r"kind of an address is all that tells lists apart")
    ring, _, _ = write(ring=other, pages=PAGES, range=RANGES)
    assert len(load_templates([ring])) == 3
    # Templates of different devices may differ.
    assert len(load_templates(write(a=TYPED, b=TYPED))) == 2


@pytest.mark.parametrize("old, new, message", [
    ("block = 4", "block = 6", r"range\.toml: parameters\.block must be 4 as in 'ring', not 6"),
    ("[parameters] block = 4 [[class]] name = \"range\" [[value]] name = \"block\" byte = 8 "
     "width = 64 op = \"range_add\" parameter = \"block\"",
     "[parameters]\nlba = 4\n[[class]]\nname = \"range\"\n[[value]]\nname = \"block\"\nbyte = 8\n"
     "width = 64\nop = \"range_add\"\nparameter = \"lba\"",
     r"parameters\.lba must be another number than 'block' in 'ring', not 4"),
])
def test_one_guest_has_one_meaning_of_a_parameter(old, new, message, write):
    ring, _, _ = write(ring=third_is(RING, "range"), pages=PAGES, range=change(RANGES, old, new))
    refuse([ring], message)


def test_header_has_places_parameters_and_words(write, tmp_path):
    ring, _ = write(ring=change(RING, "\"Ring\"", "\"A */ ring\""), pages=PAGES)
    templates = load_templates([ring])
    text = c_header(templates)
    assert "/* A * / ring. */" in text
    assert re.findall(r"#define IOVIRT_(\w+) (\d+)", text) == [
        ("TEMPLATE_RING", "0"), ("PARAMETER_RING_OWNER", "1"), ("PARAMETER_RING_BLOCK", "4"),
        ("TEMPLATE_PAGES", "1")]
    words = [int(number, 16) for number in re.findall(r"UINT64_C\((0x\w{16})\)", text)]
    assert len(words) == 32
    assert sum(part << 64 * n for n, part in enumerate(words[:8])) == encode_template(
        templates[0], {"ring": 0, "pages": 1})


def test_header_is_c(tmp_path):
    (tmp_path / "t.h").write_text(c_header(load_templates(["nvme_prp", "e1000e_tx"])))
    (tmp_path / "t.c").write_text(
        '#include "t.h"\nint main(void) { return (int)iovirt_template_nvme_prp[0] '
        "+ (int)iovirt_opcodes_nvme_prp[0] + IOVIRT_TEMPLATE_E1000E_TX; }\n")
    subprocess.run(["cc", "-std=c11", "-fsyntax-only", "-Wall", "-Wno-unused", "-Werror", "t.c"],
                   cwd=tmp_path, check=True)
