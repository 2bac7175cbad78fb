import json

import pytest

from iovirt_sim.summary import main

SIMULATION = {"configuration_hash": "0123456789ab", "requests": 50, "bytes_checked": 4096,
              "trace": "/somewhere/demo.csv.zst", "translations_per_clk": 0.25, "cycles": 200,
              "bytes_per_clk": 20.48, "row_hit_rate": 0.5, "tlp_hit_rate": 0.9}
AREA       = {"LUT": 30, "FF": 20, "LUT RAM": 4, "block RAM": 1}
SYNTHESIS  = {"area": {"iovirt_tiny": AREA, "iovirt_tiny.dma": {**AREA, "LUT": 10},
                       "iovirt_tiny.remap": {**AREA, "LUT": 20},
                       "iovirt_tiny.remap.lookup": {**AREA, "LUT": 15}}}


@pytest.fixture
def build(tmp_path):
    for kind, name, report in (("sim", "tiny", SIMULATION), ("sim", "tiny_sharing", {"guests": 0}),
                               ("synth", "tiny_ecp5", SYNTHESIS)):
        (tmp_path / kind).mkdir(exist_ok=True)
        (tmp_path / kind / f"{name}.json").write_text(json.dumps(report))
    return tmp_path


def test_summary_tells_figures_and_files(build, capsys):
    assert main(["--preset", "tiny", "--build", str(build)]) == 0
    text = capsys.readouterr().out
    assert "50 TLPs of demo.csv.zst with 4096 bytes" in text
    assert "0.25 translations and 20.48 bytes per clock in 200 clocks" in text
    assert "30 LUT, 20 FF, 4 LUT RAM, 1 block RAM" in text
    assert "remap 20 LUT, dma 10 LUT\n" in text
    assert str(build / "gen" / "iovirt_tiny.v") in text and "0123456789ab" in text


def test_summary_tells_of_interrupts_and_cores_if_there_are_any(build, capsys):
    irq = {"sent": 7, "recorded": 7, "clocks_to_record": 12.5}
    pio = {"reads": 3, "writes": 4}
    (build / "sim" / "tiny.json").write_text(json.dumps(
        {**SIMULATION, "interrupts": irq, "programmed_io": pio}))
    assert main(["--preset", "tiny", "--build", str(build)]) == 0
    text = capsys.readouterr().out
    assert "7 sent, 7 recorded, each after the DMA before it, 12.5 clocks later" in text
    assert "3 reads and 4 writes of a device" in text


def test_summary_tells_of_sharing_if_the_preset_has_it(build, capsys):
    assert main(["--preset", "tiny", "--build", str(build)]) == 0
    assert "guests" not in capsys.readouterr().out
    (build / "sim" / "tiny_sharing.json").write_text(json.dumps(
        {"guests": 5, "commands": 70, "clocks": 900, "bytes_checked": 1234}))
    assert main(["--preset", "tiny", "--build", str(build)]) == 0
    text = capsys.readouterr().out
    assert "5 guests of one NVMe device" in text and "70 commands in 900 clocks" in text
    assert "1234 bytes compared" in text


def test_missing_report_names_what_writes_it(build, capsys):
    (build / "sim" / "tiny.json").unlink()
    assert main(["--preset", "tiny", "--build", str(build)]) == 2
    assert "tiny.json: report must be readable: No such file" in capsys.readouterr().err


@pytest.mark.parametrize("text, rule", [("{", "must be JSON"), ("{}", "must be one with 'area'")])
def test_broken_report_is_refused(text, rule, build, capsys):
    (build / "synth" / "tiny_ecp5.json").write_text(text)
    assert main(["--preset", "tiny", "--build", str(build)]) == 2
    error = capsys.readouterr().err
    assert rule in error and "`make synth` writes it again" in error
