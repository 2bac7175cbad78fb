import json
from pathlib import Path

import pytest

from iovirt.cli import main
from iovirt.vf.encoding import encode_opcodes, encode_template
from iovirt.vf.library import library_names, load_templates


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Run in an empty directory, so that nothing lands in the checkout."""
    monkeypatch.chdir(tmp_path)


def refused(arguments, capsys):
    """Return the one-line message with which the verb refuses what is asked."""
    assert main(["template", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("iovirt: ") and error.count("\n") == 1
    return error


def test_words_are_shown_and_reported(capsys):
    assert main(["template", "nvme_prp", "--json", "report.json"]) == 0
    report = json.loads(Path("report.json").read_text())
    assert report["versions"]["iovirt"]
    templates = load_templates(["nvme_prp"])
    places = {template.name: place for place, template in enumerate(templates)}
    out = capsys.readouterr().out
    assert [record["name"] for record in report["templates"]] == list(places)
    for template, record in zip(templates, report["templates"], strict=True):
        assert record["place"] == places[template.name]
        assert int(record["word"], 16) == encode_template(template, places)
        assert int(record["opcodes"], 16) == encode_opcodes(template)
        assert record["parameters"] == template.parameters
        assert len(record["word"]) == 130
        assert f"{record['place']}  {template.name}: {template.title}" in out
        for at in range(2, 130, 32):
            assert record["word"][at:at + 32] in out
    assert "classes     1 data, 2 blocks, 3 flush, 4 ranges" in out
    assert "parameters  0 nsid, 2 lba" in out


def test_own_file_may_use_the_library(capsys):
    text = ("title = 'Mine'\nhandler = 'ring'\nentry_bytes = 16\n[[class]]\nname = 'a'\n"
            "[[address]]\nname = 'list'\nbyte = 0\nrule = 'typed_list'\nclasses = ['a']\n"
            "child = 'nvme_sgl_segment'\naligned_to = 8\nmax_length = 4096\n"
            "length = { byte = 8, form = 'full32' }\n")
    Path("mine.toml").write_text(text)
    assert main(["template", "mine.toml"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("0  mine: Mine (ring, 16 bytes)\n")
    assert "1  nvme_sgl_segment: NVMe SGL segment (typed list, 16 bytes)\n" in out


def test_header_is_written():
    assert main(["template", "nvme_prp_list", "--header", "t.h"]) == 0
    assert "#define IOVIRT_TEMPLATE_NVME_PRP_LIST 0\n" in Path("t.h").read_text()


def test_library_is_listed(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    assert main(["template", "--list", "--json", "report.json"]) == 0
    out = capsys.readouterr().out
    assert all(f" {name} " in out for name in library_names())
    assert "PRP list, 8 bytes" in out
    report = json.loads(Path("report.json").read_text())
    assert [record["name"] for record in report["library"]] == library_names()
    assert all(Path(record["file"]).exists() and record["title"] for record in report["library"])


def test_wrong_template_is_refused(capsys):
    Path("a.toml").write_text("handlre = 'ring'\n")
    assert refused(["a.toml"], capsys) == (
        "iovirt: a.toml: handlre must be a known key, not 'handlre' (value 'ring'); did you mean "
        "'handler'?\n")
    assert "did you mean 'nvme_sgl'?" in refused(["nvme_sgll"], capsys)
    assert "b.toml: file must be readable" in refused(["b.toml"], capsys)


def test_wrong_use_is_refused(capsys):
    assert "exactly one of FILE and --list must be given" in refused([], capsys)
    assert "exactly one of FILE and --list must be given" in refused(["a", "--list"], capsys)
    assert "--header must be used with FILE" in refused(["--list", "--header", "t.h"], capsys)
    assert "--header no/t.h: file must be writable: No such file" in refused(
        ["nvme_cq", "--header", "no/t.h"], capsys)
    assert "--json no/r.json: file must be in a directory" in refused(
        ["nvme_cq", "--json", "no/r.json"], capsys)
    assert not Path("r.json").exists()
