import getpass
import hashlib
import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

from iovirt import preset

pytestmark = pytest.mark.xdist_group("export")

FILES = ["iovirt_tiny.h", "iovirt_tiny.json", "iovirt_tiny.v", "iovirt_tiny.vlt",
         "iovirt_tiny_registers.md"]


@pytest.mark.slow
def test_other_process_and_directory_give_the_same_bytes(generated, tmp_path):
    """The other process hashes strings differently, so that it iterates over sets differently."""
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    work = tmp_path / "another" / "place"
    work.mkdir(parents=True)
    subprocess.run([sys.executable, "-m", "iovirt", "gen", "--preset", "tiny",
                    "--output", "out"], cwd=work, check=True, stdout=subprocess.DEVNULL,
                   env={**os.environ, "PYTHONHASHSEED": seed, "TZ": "Asia/Tokyo"})
    assert sorted(path.name for path in (work / "out").iterdir()) == FILES
    for name in FILES:
        assert (work / "out" / name).read_bytes() == (generated / name).read_bytes(), name


@pytest.mark.slow
def test_files_tell_nothing_of_where_and_when(generated):
    places = {str(Path.home()), str(Path.cwd()), str(generated), str(Path(sys.prefix)),
              "/tmp/", "site-packages", platform.node()} - {"/", "", "localhost"}
    if len(getpass.getuser()) > 4:
        places.add(getpass.getuser())
    for name in FILES:
        text = (generated / name).read_text()
        for place in places:
            assert place not in text, (name, place)
        assert not re.search(r"\b20\d\d-\d\d-\d\d\b|\b\d\d:\d\d:\d\d\b", text), name
        assert not re.search(r"(?<![\w.`*/])/(home|usr|opt|root|work\w*)/", text), name


@pytest.mark.slow
def test_manifest_describes_the_verilog(generated):
    manifest = json.loads((generated / "iovirt_tiny.json").read_text())
    config   = preset("tiny")
    assert list(manifest) == ["generator", "module", "configuration", "configuration_hash",
                              "verilog_sha256", "ports"]
    assert manifest["module"] == "iovirt_tiny"
    assert manifest["configuration_hash"] == config.hash
    assert manifest["configuration"] == json.loads(json.dumps(config.to_dict()))
    verilog = (generated / "iovirt_tiny.v").read_bytes()
    assert manifest["verilog_sha256"] == hashlib.sha256(verilog).hexdigest()
    report = json.loads((generated / "report.json").read_text())
    assert {Path(path).name for path in report["files"].values()} == set(FILES)


@pytest.mark.slow
def test_only_attributes_of_memories_stay(verilog):
    names = set(re.findall(r"\(\* (\w+)", verilog))
    assert names == {"ram_style", "no_rw_check"}
