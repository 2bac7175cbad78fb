import json
from pathlib import Path

import pytest

from iovirt.cli import gen, main
from iovirt.settings import read_toml


@pytest.fixture(autouse=True)
def quick(tmp_path, monkeypatch):
    """Leave the Verilog out, which takes seconds; tests/export looks at it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gen, "IOVirt", lambda config: None)
    monkeypatch.setattr(gen, "to_verilog", lambda block, name: f"module {name}; endmodule\n")
    monkeypatch.setattr(gen, "manifest", lambda config, block, verilog: json.dumps(
        {"module": verilog.split()[1].strip(";"), "configuration_hash": config.hash}))


def test_init_check_gen_go_together(capsys):
    assert main(["init", "mine.toml", "--preset", "tiny"]) == 0
    text = Path("mine.toml").read_text()
    Path("mine.toml").write_text(text.replace('name = "tiny"', 'name = "mine"')
                                 .replace("walks = 4", "walks = 6"))
    assert main(["check", "--config", "mine.toml"]) == 0
    assert main(["gen", "--config", "mine.toml", "--output", "out", "--json", "report.json"]) == 0
    config = read_toml("mine.toml")
    assert config.remap.walks == 6 and config.data_width == 64
    manifest = json.loads(Path("out/iovirt_mine.json").read_text())
    assert manifest == {"module": "iovirt_mine", "configuration_hash": config.hash}
    report = json.loads(Path("report.json").read_text())
    assert report["configuration_hash"] == config.hash
    assert report["files"] == {
        "verilog": "out/iovirt_mine.v", "manifest": "out/iovirt_mine.json",
        "waivers": "out/iovirt_mine.vlt", "header": "out/iovirt_mine.h",
        "registers": "out/iovirt_mine_registers.md"}
    out = capsys.readouterr().out
    for path in report["files"].values():
        assert Path(path).stat().st_size and path in out


def test_gen_writes_to_build_gen_if_not_told_otherwise():
    assert main(["gen", "--preset", "tiny"]) == 0
    assert Path("build/gen/iovirt_tiny.v").exists()


def test_gen_refuses_an_output_that_is_no_directory(capsys):
    Path("occupied").write_text("")
    assert main(["gen", "--preset", "tiny", "--output", "occupied"]) == 2
    assert capsys.readouterr().err == (
        "iovirt: --output occupied: must be a directory or a place for one: File exists\n")


def test_gen_refuses_a_file_that_it_cannot_write(capsys):
    Path("out/iovirt_tiny.v").mkdir(parents=True)
    assert main(["gen", "--preset", "tiny", "--output", "out"]) == 2
    assert capsys.readouterr().err == (
        "iovirt: out/iovirt_tiny.v: file must be writable: Is a directory\n")
