"""The translation vectors, on the remap engine and on the whole block."""

import json
from pathlib import Path

import pytest

from iovirt.cli import main

VECTORS = sorted(str(path) for path in
                 (Path(__file__).parents[1] / "data" / "vectors").glob("*.jsonl.gz"))

pytestmark = pytest.mark.slow


def run(tmp_path, capsys, *arguments):
    """Run the verb; return its report and its last line."""
    report = tmp_path / "report.json"
    code = main(["vectors", *arguments, "--json", str(report), *VECTORS])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return json.loads(report.read_text()), captured.out.splitlines()[-1]


@pytest.mark.parametrize("preset, least", [
    pytest.param("default", 465, marks=pytest.mark.xdist_group("remap_default")),
    pytest.param("large", 520, marks=pytest.mark.xdist_group("remap_large")),
])
def test_engine_passes_every_vector_that_applies(preset, least, tmp_path, capsys):
    report, line = run(tmp_path, capsys, "--preset", preset)
    assert report["failed"] == 0 and report["passed"] >= least
    assert line == f"{report['passed']} passed, 0 failed, {report['not_applicable']} not applicable"


@pytest.mark.xdist_group("full_default")
def test_block_passes_every_vector_that_tlps_can_say(tmp_path, capsys):
    report, _ = run(tmp_path, capsys, "--preset", "default", "--target", "top")
    assert report["failed"] == 0 and report["passed"] >= 200


@pytest.mark.parametrize("preset, least", [("tiny", 150), ("default", 465), ("large", 520)])
def test_model_passes_every_vector_that_applies(preset, least, tmp_path, capsys):
    report, _ = run(tmp_path, capsys, "--preset", preset, "--target", "model")
    assert report["failed"] == 0 and report["passed"] >= least
