import json

import pytest
from tests.sharing.rtl_world import CONFIG

from iovirt_sim import sharing_demo
from iovirt_sim.verilated import Design


def test_preset_without_sharing_has_nothing_to_show(tmp_path, capsys):
    file = tmp_path / "report.json"
    assert sharing_demo.main(["--preset", "tiny", "--json", str(file)]) == 0
    assert json.loads(file.read_text())["guests"] == 0
    assert "nothing to show" in capsys.readouterr().err


def test_unknown_preset_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        sharing_demo.main(["--preset", "huge"])
    assert "invalid choice: 'huge'" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.xdist_group("verilated_weak")
def test_guests_share_a_device(monkeypatch):
    monkeypatch.setattr(Design, "of_full", Design.of_weak)  # compiled for other tests anyway
    results = sharing_demo.share_device(CONFIG, guests=4, commands=20)
    assert (results["guests"], results["commands"], results["breaches"]) == (4, 80, {})
    assert results["bytes_checked"] > 100_000
