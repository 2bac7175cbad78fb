"""docs/sharing.md names tests that exist, and every defence has a twin without it."""

import re
from pathlib import Path

from iovirt.vf.share_layouts import Weaken
from iovirt_sim.models.sharing.tables import DEFENCES

HERE  = Path(__file__).parent
TEXT  = (HERE.parents[1] / "docs" / "sharing.md").read_text()
TESTS = "\n".join(path.read_text() for path in HERE.glob("test_*.py"))
DEFINED = set(re.findall(r"^def (test_\w+)", TESTS, re.MULTILINE))


def attacks():
    """Return the rows of the table of attacks: number, cells."""
    return {int(number): row for number, row in re.findall(r"^\| A(\d+) (.*)\|$", TEXT,
                                                          re.MULTILINE)}


def test_every_attack_and_corner_case_has_tests():
    assert set(attacks()) == set(range(1, 24))
    for number in range(1, 24):
        assert any(name.startswith(f"test_a{number:02}_") for name in DEFINED)
    for number in range(1, 16):
        assert any(name.startswith(f"test_c{number:02}_") for name in DEFINED)


def test_tests_that_are_named_exist():
    for number, row in attacks().items():
        prefix = f"test_a{number:02}_"
        named = [name.replace("..._", prefix) for name in re.findall(r"`([\w.]+)`", row)
                 if name.startswith(("test_", "..._"))]
        assert named and set(named) <= DEFINED, set(named) - DEFINED


def test_every_defence_has_a_twin_without_it():
    names = {name for name, _ in Weaken.as_shape()}
    used = {name for name in names if f'("{name}"' in TESTS or f'"{name}",' in TESTS
            or (name == "ecc" and "weaken.ecc" in TESTS)}
    assert names - used == set()
    assert set(DEFENCES) <= names
    assert names - set(re.findall(r"`(\w+)`", TEXT)) == set()
