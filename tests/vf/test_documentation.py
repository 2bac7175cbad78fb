import re
import tomllib
from pathlib import Path

from iovirt.vf import templates as reading
from iovirt.vf.library import library_names

from .template_text import read

TEXT = (Path(__file__).parents[2] / "docs" / "sharing.md").read_text()


def test_example_is_a_template(tmp_path):
    (example,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    template = read(tmp_path, example, "copy_engine")
    assert template.classes == ("move", "done")
    assert template.title == tomllib.loads(example)["title"]


def test_every_key_and_choice_is_told():
    words = set(re.findall(r"`[^`]*`", TEXT))
    told = set(re.findall(r"\w+", " ".join(words)))
    for names in (reading.TOP_KEYS, reading.HANDLERS, reading.PARTIALS, reading.RULES,
                  reading.OPERATIONS, reading.FORMS):
        assert set(names) <= told


def test_every_shipped_template_is_told():
    table = TEXT[TEXT.index("### Shipped templates"):TEXT.index("### What a template cannot say")]
    assert set(library_names()) == set(re.findall(r"`(\w+)`", table))
